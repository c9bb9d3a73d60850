"""Folders are walked once, in order, whatever they contain."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import pytest

from genrescope.audio import discovery as inventory
from genrescope.audio.discovery import FoundFile


def test_iter_files(tmp_path: Path) -> None:
    kept = ["a/2.FLAC", "a/z/1.mp3", "b.wav", "c/x.m4a"]
    passed_over = ["a/._2.FLAC", "a/cover.jpg", ".hidden/1.mp3", "notes.txt", ".x.wav"]
    for name in [*kept, *passed_over]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(inventory.audio_files([tmp_path])) == [tmp_path / name for name in kept]
    assert list(inventory.audio_files([tmp_path], suffixes={".jpg"})) == [tmp_path / "a/cover.jpg"]


def test_iter_files_yields_what_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "odd.name").touch()
    given = [tmp_path / "odd.name", tmp_path / "missing.mp3"]
    assert list(inventory.audio_files(map(str, given))) == given


def test_iter_files_survives_loops_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.mp3").touch()
    (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    assert list(inventory.audio_files([tmp_path])) == [tmp_path / "a" / "1.mp3", tmp_path / "dangling.wav"]


def test_discovery_separates_audio_from_other_files(tmp_path: Path) -> None:
    (tmp_path / "b.MP3").write_bytes(b"12345")
    (tmp_path / "cover.jpg").touch()
    (tmp_path / ".hidden.mp3").touch()
    os.utime(tmp_path / "b.MP3", ns=(1, 2_000_000_001))
    found = list(inventory.discover([tmp_path]))
    assert found == [
        FoundFile(str(tmp_path / "b.MP3"), "audio", 5, 2_000_000_001),
        FoundFile(str(tmp_path / "cover.jpg"), "other"),
    ]


def test_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp3")).write_bytes(b"1")
    except OSError:
        pytest.skip("this file system takes no names that are not UTF-8")
    (entry,) = inventory.discover([tmp_path])
    assert os.fsencode(entry.path).endswith(b"caf\xe9.mp3")
    assert entry.size == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir(mode=0)
    assert list(inventory.discover([tmp_path])) == [FoundFile(str(tmp_path / "secret"), "unreadable")]


def test_folders_deeper_than_python_recurses(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    deep.mkdir(parents=True)
    (deep / "a.mp3").write_bytes(b"1")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        found = list(inventory.discover([tmp_path]))
    finally:
        sys.setrecursionlimit(limit)
    assert [entry.size for entry in found] == [1]


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "loop.mp3").symlink_to("loop.mp3")
    assert [entry.kind for entry in inventory.discover([tmp_path])] == ["other", "audio"]
