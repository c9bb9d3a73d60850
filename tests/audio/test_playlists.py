"""M3U playlists and lists of paths, as players and other programs write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from genrescope.audio import read_path_list, read_playlist
from genrescope.errors import AudioError


def entries(folder: Path, content: bytes, name: str = "list.m3u") -> list[str]:
    path = folder / name
    path.write_bytes(content)
    return [entry.removeprefix(f"{folder}{os.sep}") for entry in read_playlist(path)]


def test_marks_line_ends_and_directives(tmp_path: Path) -> None:
    content = "\ufeff#EXTM3U\r\n#EXTINF:12,Artist - Title\r\nsub/a.mp3\r\n\r\n  b.flac  \r\n".encode()
    assert entries(tmp_path, content) == ["sub/a.mp3", "b.flac"]


def test_absolute_paths_addresses_and_file_urls(tmp_path: Path) -> None:
    content = b"/music/a.mp3\nhttp://radio.example/stream\nfile:///music/b%20c%C3%A9.mp3\n"
    assert entries(tmp_path, content) == ["/music/a.mp3", "http://radio.example/stream", "/music/b cé.mp3"]


def test_backslashes_of_windows(tmp_path: Path) -> None:
    if os.sep != "/":
        pytest.skip("a backslash is no part of a name there")
    (tmp_path / "odd\\name.mp3").touch()
    assert entries(tmp_path, b"sub\\a.mp3\nodd\\name.mp3\n") == ["sub/a.mp3", "odd\\name.mp3"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    assert entries(tmp_path, b"caf\xe9.mp3\n") == ["café.mp3"]
    if os.name == "posix":
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp3")).touch()
        assert entries(tmp_path, b"caf\xe9.mp3\n") == [os.fsdecode(b"caf\xe9.mp3")]


def test_what_is_no_playlist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError) as failure:
        entries(tmp_path, b"RIFF\0\0\0\0")
    assert failure.value.code == "audio_unreadable"
    with pytest.raises(AudioError, match="no such file"):
        read_playlist(tmp_path / "none.m3u")
    with pytest.raises(AudioError, match="not a playlist"):
        read_playlist(tmp_path)


def test_lists_of_paths() -> None:
    assert read_path_list(b"a b.mp3\r\n#1.flac\n\nc\xff.ogg") == [
        "a b.mp3",
        "#1.flac",
        os.fsdecode(b"c\xff.ogg"),
    ]
    assert read_path_list(b"two\nlines.mp3\0b.mp3\0") == ["two\nlines.mp3", "b.mp3"]
    assert read_path_list(b"") == []
