"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from genrescope.errors import WriteError
from genrescope.utils import cache_folder, data_folder, write_atomic


def test_text_and_bytes_are_written(tmp_path: Path) -> None:
    write_atomic(tmp_path / "new" / "a.txt", "naïve")
    write_atomic(tmp_path / "new" / "b.bin", b"\x00\xff")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf8") == "naïve"
    assert (tmp_path / "new" / "b.bin").read_bytes() == b"\x00\xff"


def test_results_are_ordinary_files(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model.onnx"
    target.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WriteError, match="No space left") as caught:
        write_atomic(target, "new")
    assert caught.value.code == "write_failed"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert target.read_text() == "old"


def test_a_full_file_system() -> None:
    """/dev/full's folder cannot take files, and a file cannot be a folder: both are one clear error."""
    with pytest.raises(WriteError):
        write_atomic(Path("/dev/full/model.onnx"), "new")


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a", "x")
    assert list(tmp_path.iterdir()) == []


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENRESCOPE_CACHE", "/somewhere")
    assert cache_folder("features") == Path("/somewhere/features")
    monkeypatch.delenv("GENRESCOPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder("weights") == Path("/elsewhere/genrescope/weights")


@pytest.mark.skipif(sys.platform != "linux", reason="where folders are depends on the system")
def test_the_folders_on_linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GENRESCOPE_CACHE", "GENRESCOPE_DATA", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("models") == tmp_path / ".cache" / "genrescope" / "models"
    assert data_folder() == tmp_path / ".local" / "share" / "genrescope"
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert data_folder() == Path("/elsewhere/genrescope")
    monkeypatch.setenv("GENRESCOPE_DATA", "/somewhere")
    assert data_folder() == Path("/somewhere")
