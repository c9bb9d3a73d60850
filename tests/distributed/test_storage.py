"""Remote files: which bytes are fetched, and what becomes of requests that fail."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest

from genrescope.audio import inspect_header
from genrescope.distributed import open_remote, storage, worker
from genrescope.distributed.storage import RangeReader, locate, storage_errors
from genrescope.errors import AudioError, ConfigError, DataError, StorageError
from helpers import sounds
from helpers.small_data import RATE, drone

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory() -> Any:
    """Return fsspec's file system in memory, empty."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    return filesystem


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(storage, "_PAUSE_SECONDS", 0)


def test_reads_are_those_of_a_file(memory: Any) -> None:
    data = np.random.default_rng(0).bytes(1_000_003)
    memory.pipe_file("/a", data)
    reader, expected = open_remote("memory://a").reader, io.BytesIO(data)
    generator = np.random.default_rng(1)
    for _ in range(200):
        place, count = (int(one) for one in generator.integers(0, len(data) + 99, 2))
        whence = int(generator.integers(0, 3)) if place else 0
        offset = place - len(data) if whence == io.SEEK_END else place if whence == 0 else 0
        if offset >= 0 or (whence == io.SEEK_END and offset >= -len(data)):
            assert reader.seek(offset, whence) == expected.seek(offset, whence)
        assert reader.read(count) == expected.read(count)
        assert reader.tell() == expected.tell()
    reader.seek(0)
    assert reader.read() == data
    with pytest.raises(OSError, match="no position"):
        reader.seek(-1)


def test_blocks_are_fetched_once_and_in_larger_requests_as_reading_goes_on(memory: Any) -> None:
    memory.pipe_file("/a", bytes(4 * 2**20))
    reader = open_remote("memory://a").reader
    while reader.read(1000):
        pass
    assert reader.bytes_read == 4 * 2**20
    assert reader.requests <= 16
    reader.seek(2**21 - 5)
    reader.read(10)
    assert reader.bytes_read == 4 * 2**20


def encode(path: Path, kind: str, seconds: float = 240) -> None:
    """Write a drone in noise, which does not compress well."""
    coding = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}[kind]
    music = drone(seconds, 1)[:, None] + sounds.noise(seconds, RATE)[: round(seconds * RATE)]
    sounds.write(path, music, RATE, kind=kind, coding=coding)


@pytest.mark.parametrize(("kind", "most"), [("WAV", 0.3), ("FLAC", 0.3), ("OGG", 0.95), ("MP3", 1.0)])
def test_scores_are_those_of_the_local_file_and_a_part_of_it_is_fetched(
    memory: Any, tmp_path: Path, kind: str, most: float
) -> None:
    """Of small files, as the one in Ogg here, blocks are a large part."""
    path = tmp_path / "long"
    encode(path, kind)
    memory.pipe_file("/long", path.read_bytes())
    classify = worker.create_handler("default", excerpts=True)
    local, remote = classify({"path": str(path)}), classify({"path": "memory://long"})
    same = ("scores", "styles", "answer", "genre_set", "seconds", "flags", "timeline", "size", "format")
    assert {name: remote["entry"][name] for name in same} == {name: local["entry"][name] for name in same}
    assert "excerpts" in remote["entry"]["flags"]
    assert remote["entry"]["path"] == "memory://long"
    fetched, requests = remote["traffic"]
    assert 0 < fetched <= most * path.stat().st_size
    assert 1 < requests < 100


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("damage", ["none", "joined", "joined to itself", "cut off", "tagged", "short"])
def test_joined_and_cut_files_are_recognized_by_few_reads(
    memory: Any, tmp_path: Path, kind: str, damage: str
) -> None:
    """What is said of the file is what reading all of it says."""
    path = tmp_path / "long"
    encode(path, kind, 60)
    data = path.read_bytes()
    encode(tmp_path / "other", kind, 3 if damage == "short" else 30)
    changed = {
        "none": data,
        "short": (tmp_path / "other").read_bytes(),
        "joined": data + (tmp_path / "other").read_bytes(),
        "joined to itself": data + data,
        "cut off": data[: len(data) // 3],
        "tagged": data + b"TAG" + bytes(125),
    }[damage]
    if (kind, damage) == ("OGG", "joined to itself"):
        pytest.skip("a stream has its serial number once: no program joins a file to itself")
    memory.pipe_file("/long", changed)
    assert inspect_header(cast(BinaryIO, open_remote("memory://long").reader), whole=False) == inspect_header(
        io.BytesIO(changed)
    )


class Unreliable:
    """A file system that fails, or returns less than was asked for, the first times."""

    def __init__(self, failures: list[Exception | int]) -> None:
        self.failures = failures

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        """Return the bytes of a range, or fail."""
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, Exception):
            raise failure
        return bytes(range(256))[start:end][:failure]


@pytest.mark.usefixtures("no_pause")
def test_requests_that_fail_or_return_too_little_are_tried_again() -> None:
    flaky: Any = Unreliable([TimeoutError("slow"), 7, ConnectionResetError("gone")])
    reader = RangeReader(storage.Location(flaky, "a", "s3://b/a"), 256)
    assert reader.read() == bytes(range(256))
    assert reader.requests == 4


@pytest.mark.usefixtures("no_pause")
def test_what_fails_for_good_is_an_error_of_the_system() -> None:
    broken: Any = Unreliable([TimeoutError("slow")] * 9)
    with pytest.raises(OSError, match="slow"):
        RangeReader(storage.Location(broken, "a", "s3://b/a"), 256).read(1)
    short: Any = Unreliable([7] * 9)
    with pytest.raises(OSError, match="7 of 256"):
        RangeReader(storage.Location(short, "a", "s3://b/a"), 256).read(1)
    denied: Any = Unreliable([PermissionError()])
    with pytest.raises(PermissionError):
        RangeReader(storage.Location(denied, "a", "s3://b/a"), 256).read(1)


def test_remote_files_that_cannot_be_classified_have_the_usual_errors(memory: Any) -> None:
    memory.pipe_file("/empty.mp3", b"")
    memory.pipe_file("/folder/a.mp3", b"text")
    classify = worker.create_handler("default")
    found = {
        name: classify({"path": f"memory://{name}"})["entry"] for name in ("empty.mp3", "gone", "folder")
    }
    assert {name: entry["error"] for name, entry in found.items()} == {
        "empty.mp3": "audio_empty", "gone": "audio_missing", "folder": "audio_is_directory",
    }  # fmt: skip
    text = classify({"path": "memory://folder/a.mp3"})
    assert text["entry"]["error"] == "audio_unreadable"
    assert text["entry"]["message"].startswith("memory://folder/a.mp3")
    assert text["traffic"][0] >= 4


def test_failures_of_storage_are_typed() -> None:
    class NoCredentialsError(Exception):
        """As of botocore."""

    expected = {
        FileNotFoundError("x"): (DataError, "dataset_not_found"),
        PermissionError("x"): (StorageError, "storage_permission_denied"),
        NoCredentialsError("x"): (StorageError, "storage_permission_denied"),
        OSError("x"): (StorageError, "storage_unreachable"),
    }
    for reason, (kind, code) in expected.items():
        with pytest.raises(kind) as failure, storage_errors("s3://bucket"):
            raise reason
        assert failure.value.code == code
        assert failure.value.message.startswith("s3://bucket")
    with pytest.raises(AudioError), storage_errors("s3://bucket"):
        raise AudioError("audio_empty", "a", "b")


def test_addresses(tmp_path: Path) -> None:
    assert locate(str(tmp_path)).path == str(tmp_path)
    assert locate("file:///a%20b").path == "/a b"
    assert locate("memory://bucket/a").child("b").uri == "memory://bucket/a/b"
    with pytest.raises(ConfigError):
        locate("nothing://a")
