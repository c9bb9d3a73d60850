"""An object store: a real client (s3fs), a server on loopback (moto), and a proxy that is slow or fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genrescope import Classifier
from genrescope.distributed import storage, worker
from genrescope.distributed.results import ResultStore
from genrescope.distributed.source import Manifest, open_source, read_paths
from genrescope.errors import DataError, StorageError
from genrescope.library import LibraryEntry, entries_to_table
from helpers import sounds
from helpers.cluster_handlers import entry_of
from helpers.s3_server import FaultyServer
from helpers.small_data import RATE, drone

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("moto", reason="moto is not installed: pip install 'moto[s3]' flask flask-cors")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    """Return the servers."""
    server = FaultyServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def options(server: FaultyServer) -> dict[str, Any]:
    """Return what a client needs to reach the server."""
    return {
        "key": "test",
        "secret": "test",
        "client_kwargs": {"endpoint_url": server.address, "region_name": "eu-west-1"},
        "config_kwargs": {"read_timeout": 20, "retries": {"max_attempts": 1}},
    }


@pytest.fixture(scope="module")
def bucket(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the local copies of the objects by name."""
    folder = tmp_path_factory.mktemp("objects")
    filesystem = s3fs.S3FileSystem(**options)
    filesystem.mkdir("music")
    files = {name: folder / name for name in ("long.wav", "flaky.flac", "cut.ogg", "hang.wav", "text.mp3")}
    sounds.write(files["long.wav"], drone(240, 1)[:, None], RATE, kind="WAV", coding="PCM_16")
    sounds.write(files["flaky.flac"], drone(5, 2)[:, None], RATE, kind="FLAC", coding="PCM_16")
    sounds.write(files["cut.ogg"], drone(5, 3)[:, None], RATE, kind="OGG", coding="VORBIS")
    sounds.write(files["hang.wav"], drone(5, 4)[:, None], RATE, kind="WAV", coding="PCM_16")
    files["text.mp3"].write_text("no music")
    for name, path in files.items():
        filesystem.pipe_file(f"music/{name}", path.read_bytes())
    return files


@pytest.mark.parametrize("name", ["long.wav", "flaky.flac", "cut.ogg"])
def test_scores_are_those_of_the_local_file(
    bucket: dict[str, Path], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(storage, "_PAUSE_SECONDS", 0)
    answer = worker.create_handler("default", excerpts=True, storage_options=options)(
        {"path": f"s3://music/{name}"}
    )
    expected = Classifier.from_pretrained().predict(bucket[name], excerpts=True).to_dict()
    row = LibraryEntry.from_columns(answer["entry"]).to_dict()
    assert row == expected | {"path": f"s3://music/{name}"}
    fetched, _ = answer["traffic"]
    size = bucket[name].stat().st_size
    assert fetched <= (0.5 * size if name == "long.wav" else 2 * size)


def test_an_object_that_hangs_is_a_row_with_an_error(
    bucket: dict[str, Path], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(storage, "_TRIES", 2)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    impatient = options | {"config_kwargs": {"read_timeout": 0.2, "retries": {"max_attempts": 0}}}
    entry = worker.create_handler("default", storage_options=impatient)({"path": "s3://music/hang.wav"})[
        "entry"
    ]
    assert entry["error"] == "audio_read_failed"
    assert entry["message"].startswith("s3://music/hang.wav")


def test_listings_and_manifests(bucket: dict[str, Path], options: dict[str, Any]) -> None:
    names = sorted(f"s3://music/{name}" for name in bucket)
    assert open_source("s3://music", options=options) == names
    assert open_source("s3://music/*.wav", options=options) == [one for one in names if one.endswith("wav")]
    s3fs.S3FileSystem(**options).pipe_file("music/lists/tracks.csv", b"path\n../a.mp3\nb.mp3\ns3://c/d.mp3\n")
    found = open_source("s3://music/lists/tracks.csv", options=options)
    assert isinstance(found, Manifest)
    assert next(read_paths(found)) == ["s3://music/lists/../a.mp3", "s3://music/lists/b.mp3", "s3://c/d.mp3"]


@pytest.mark.usefixtures("bucket")
def test_parts_in_a_bucket(options: dict[str, Any]) -> None:
    store = ResultStore("s3://music/rows", options)
    store.begin({"model": "m"})
    store.write(entries_to_table(map(entry_of, ["s3://music/a", "/b"])))
    store.write(entries_to_table([entry_of("/b")]))
    assert store.remove_doubled() == 1
    again = ResultStore("s3://music/rows", options)
    again.begin({"model": "m"})
    assert len(again.written()) == 2


@pytest.mark.usefixtures("bucket")
def test_one_clear_line_for_what_cannot_be_reached(options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_source("s3://nowhere/tracks.csv", options=options)
    with pytest.raises(DataError, match="nowhere"):
        open_source("s3://nowhere/music", options=options)
    with pytest.raises(DataError, match="nowhere"):
        ResultStore("s3://nowhere/rows", options).begin({})
    wrong = options | {"key": "WRONG"}
    for attempt in (
        lambda: open_source("s3://music", options=wrong),
        lambda: ResultStore("s3://music/rows", wrong).begin({}),
    ):
        with pytest.raises(StorageError, match="access denied") as failure:
            attempt()
        assert failure.value.code == "storage_permission_denied"
    closed = options | {"client_kwargs": {"endpoint_url": "http://127.0.0.1:9", "region_name": "eu-west-1"}}
    with pytest.raises(StorageError) as failure:
        open_source("s3://music", options=closed)
    assert failure.value.code == "storage_unreachable"
