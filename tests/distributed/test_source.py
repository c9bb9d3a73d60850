"""What a source leads to, and one clear line for what it does not."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from genrescope.distributed.source import Manifest, absolute, open_source, read_paths
from genrescope.errors import ConfigError, DataError, GenrescopeError

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return a folder with names of audio files and of others."""
    for name in ("b.mp3", "a.flac", "sub/c.ogg", ".hidden.mp3", "cover.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_local_files(music: Path) -> None:
    names = [str(music / name) for name in ("a.flac", "b.mp3", "sub/c.ogg")]
    assert open_source(str(music)) == names
    assert open_source(f"{music}/**/*.ogg") == names[2:]
    assert open_source(f"{music}/cover.jpg") == [f"{music}/cover.jpg"]
    assert open_source(f"file://{music}") == names


def test_remote_files(music: Path) -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    for name in ("m/b.mp3", "m/sub/a.flac", "m/cover.jpg"):
        filesystem.pipe_file(f"/{name}", b"x")
    names = ["memory:///m/b.mp3", "memory:///m/sub/a.flac"]
    assert open_source("memory://m") == names
    assert open_source("memory://m/*.mp3") == names[:1]
    assert open_source("memory://m/cover.jpg") == ["memory://m/cover.jpg"]
    assert open_source("https://example.org/a.mp3") == ["https://example.org/a.mp3"]


def test_manifests(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,path\n1,x.mp3\n")
    (tmp_path / "a.jsonl").write_text('{"track": "x.mp3"}\n')
    for number in range(2):
        parquet.write_table(pyarrow.table({"url": ["x"], "n": [1]}), tmp_path / f"{number}.parquet")
    found = {name: open_source(str(tmp_path / name)) for name in ("a.csv", "a.jsonl", "*.parquet")}
    manifests = [one for one in found.values() if isinstance(one, Manifest)]
    assert [(one.kind, one.column, len(one.files)) for one in manifests] == [
        ("csv", "path", 1), ("json", "track", 1), ("parquet", "url", 2),
    ]  # fmt: skip
    assert [list(read_paths(one)) for one in manifests[:2]] == [[[f"{tmp_path}/x.mp3"]]] * 2
    assert list(chain(*read_paths(manifests[2]))) == [f"{tmp_path}/x"] * 2
    chosen = open_source(str(tmp_path / "a.csv"), "id")
    assert isinstance(chosen, Manifest)
    assert chosen.column == "id"


def test_paths_of_digits_stay_text_and_damage_further_on_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,path\n1,0017\n2,\n")
    assert list(read_paths(open_source(str(tmp_path / "a.csv")))) == [[f"{tmp_path}/0017"]]
    (tmp_path / "b.csv").write_text("n,path\n1,a\n2,b,c\n")
    with pytest.raises(DataError, match=r"b\.csv: no csv manifest"):
        list(read_paths(open_source(str(tmp_path / "b.csv"))))


def test_paths_of_a_manifest() -> None:
    assert absolute("a/b.mp3", "s3://bucket/lists") == "s3://bucket/lists/a/b.mp3"
    assert absolute("/a/b.mp3", "s3://bucket/lists") == "/a/b.mp3"
    assert absolute("https://example.org/a.mp3", "/m") == "https://example.org/a.mp3"
    assert absolute("file:///a%20b.mp3", "/m") == "/a b.mp3"


@pytest.mark.parametrize(
    ("source", "column", "code", "part"),
    [
        ("nowhere", None, "dataset_not_found", "nowhere"),
        ("nowhere/*.mp3", None, "dataset_not_found", "nowhere"),
        ("nowhere.csv", None, "dataset_not_found", "nowhere.csv"),
        ("empty", None, "dataset_empty", "no audio files"),
        ("many.csv", None, "invalid_argument", "none of its columns"),
        ("many.csv", "pth", "invalid_argument", "no column 'pth'"),
        ("zero.csv", None, "dataset_empty", "zero.csv"),
        ("bad.parquet", None, "dataset_invalid", "no parquet manifest"),
        ("empty", "path", "invalid_argument", "no manifest"),
        ("strange://x", None, "invalid_argument", "strange"),
    ],
)
def test_one_clear_line_for_bad_sources(
    tmp_path: Path, source: str, column: str | None, code: str, part: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "many.csv").write_text("pat,x\n1,2\n")
    (tmp_path / "zero.csv").touch()
    (tmp_path / "bad.parquet").write_text("x" * 99)
    place = source if "://" in source else str(tmp_path / source)
    with pytest.raises(GenrescopeError, match=part) as failure:
        open_source(place, column)
    assert isinstance(failure.value, ConfigError | DataError)
    assert failure.value.code == code
    assert "\n" not in failure.value.message
