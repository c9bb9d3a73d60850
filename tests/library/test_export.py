"""Entries are written as tables and playlists, and read back with the same values."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from genrescope.library import LibraryEntry, export
from genrescope.reporting import library_page


def row(path: str, genre: str = "pop", **changes: Any) -> dict[str, Any]:
    scores = {genre: 0.75, "blues": 0.25}
    return {
        "path": path, "genre": genre, "score": 0.75, "unsure": False, "scores": scores,
        "styles": {"soul": 0.5, "ska": 0.25}, "seconds": 200.4, "format": "mp3", "codec": "mpeg_layer_iii",
        "sample_rate": 44100, "channels": 2, "size": 10, "mtime_ns": 2**60, "hash": "00ff", "model": "ab",
        "model_name": "student@ab", "excerpts": True, "flags": ["excerpts"],
        "timeline": [{"start": 0.0, "end": 200.4, "genre": genre, "score": 0.75}],
        "error": None, "message": None, "hint": None, "scanned": 1.5, "missing": False,
        "music": 0.99, "not_music": False, "genre_set": [genre], "answer": genre,
        "album": "Album", "album_artist": "", "artist": "Artist", "title": "",
    } | changes  # fmt: skip


def failure(path: str) -> dict[str, Any]:
    blank = dict.fromkeys(export.COLUMNS)
    kept = {"path": path, "error": "audio_empty", "message": f"{path}: empty", "hint": "copy it again"}
    return (
        blank
        | kept
        | {
            "size": 0,
            "mtime_ns": 1,
            "model": "ab",
            "model_name": "student@ab",
            "missing": False,
            "excerpts": False,
            "scanned": 1.5,
        }
    )


ROWS = [row("/m/a.mp3"), row("/m/b é.mp3", "rock"), failure("/m/c.mp3"), row("/m/caf\udce9.mp3")]
ENTRIES = [LibraryEntry.from_columns(columns) for columns in ROWS]


def test_jsonl() -> None:
    stream = io.StringIO()
    export.write_jsonl(ENTRIES, stream)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == ROWS


def test_csv() -> None:
    stream = io.StringIO()
    export.write_csv(ENTRIES, stream)
    first, _, failed, _ = csv.DictReader(io.StringIO(stream.getvalue()))
    assert json.loads(first["scores"]) == ROWS[0]["scores"]
    assert (first["genre"], first["score"], first["unsure"], first["mtime_ns"]) == (
        "pop",
        "0.75",
        "0",
        str(2**60),
    )
    assert (first["music"], first["not_music"], json.loads(first["genre_set"])) == ("0.99", "0", ["pop"])
    assert (failed["genre"], failed["error"], failed["hint"]) == ("", "audio_empty", "copy it again")


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export.write_parquet(ENTRIES, tmp_path / "rows.parquet")
    first, second, failed, odd = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert dict(first["scores"]) == ROWS[0]["scores"]
    assert first["mtime_ns"] == 2**60
    assert first["timeline"] == ROWS[0]["timeline"]
    assert second["path"] == "/m/b é.mp3"
    assert (second["not_music"], second["genre_set"], second["answer"]) == (False, ["rock"], "rock")
    assert failed["genre"] is None
    assert odd["path"] == "/m/caf\\xe9.mp3"


def test_playlists(tmp_path: Path) -> None:
    written = export.write_playlists(
        [*ENTRIES, LibraryEntry.from_columns(row("/m/two\nlines.mp3"))], tmp_path
    )
    assert [path.name for path in written.paths] == ["pop.m3u8", "rock.m3u8"]
    assert (
        written.paths[0].read_text() == f"#EXTM3U\n#EXTINF:200,a\n{os.path.relpath('/m/a.mp3', tmp_path)}\n"
    )
    assert written.omitted == ("/m/caf\udce9.mp3", "/m/two\nlines.mp3")
    speech = LibraryEntry.from_columns(row("/m/speech.mp3", not_music=True, answer=None, genre_set=[]))
    assert export.write_playlists([speech], tmp_path / "none").paths == ()
    by_style = export.write_playlists(ENTRIES, tmp_path, by="style")
    assert [path.name for path in by_style.paths] == ["ska.m3u8", "soul.m3u8"]
    assert by_style.paths[0].read_text().count("/m/") == 2


def test_playlists_name_artist_and_title(tmp_path: Path) -> None:
    tagged = [
        row("/m/1.mp3", title="Title"),
        row("/m/2.mp3", title="Two\tTitles", artist=""),
        row("/m/3.mp3", title="Title", artist="", album_artist="Band"),
        row("/m/4.mp3", title=None, artist=None, album_artist=None, seconds=None),
    ]
    written = export.write_playlists(map(LibraryEntry.from_columns, tagged), tmp_path)
    lines = written.paths[0].read_text().splitlines()
    assert [line for line in lines if line.startswith("#EXTINF")] == [
        "#EXTINF:200,Artist - Title", "#EXTINF:200,Two Titles", "#EXTINF:200,Band - Title", "#EXTINF:0,4",
    ]  # fmt: skip


def playlist_paths(folder: Path, *paths: str | Path, **options: Any) -> list[str]:
    entries = [LibraryEntry.from_columns(row(str(path))) for path in paths]
    (written,) = export.write_playlists(entries, folder, **options).paths
    return [line for line in written.read_text().splitlines() if not line.startswith("#EXT")]


def test_paths_in_playlists_are_relative_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "playlists"
    paths = (tmp_path / "music" / "a.mp3", folder / "b.mp3", folder / "#1.mp3")
    expected = [f"..{os.sep}music{os.sep}a.mp3", "b.mp3", f".{os.sep}#1.mp3"]
    assert playlist_paths(folder, *paths) == expected
    assert playlist_paths(folder, *paths, absolute=True) == [str(path) for path in paths]


@pytest.mark.skipif(os.sep != "/", reason="paths of POSIX")
def test_folders_of_another_computer(tmp_path: Path) -> None:
    paths = ("/srv/music/x/a.mp3", "/srv/music2/b.mp3", "/srv/music/live/c.mp3")
    container = {"/srv/music/": "/music", "/srv/music/live": "/live"}
    assert playlist_paths(tmp_path, *paths, absolute=True, prefixes=container) == [
        "/music/x/a.mp3", "/srv/music2/b.mp3", "/live/c.mp3",
    ]  # fmt: skip
    (first, *_) = playlist_paths(tmp_path, *paths, prefixes={"/srv/music": "M:\\"})
    assert first == "M:\\x\\a.mp3"
    (first, *_) = playlist_paths(tmp_path, *paths, prefixes={"/srv/music": ""})
    assert first == "x/a.mp3"


def test_the_library_page(tmp_path: Path) -> None:
    uncertain = LibraryEntry.from_columns(row("/m/<odd>.mp3", unsure=True, score=0.3))
    page = library_page([*ENTRIES, uncertain], title="Library")
    assert "4 tracks" in page
    assert "1 files could not be read" in page
    assert "&lt;odd&gt;.mp3" in page
    assert "<odd>" not in page
    assert "audio_empty" in page
    assert "http" not in page.replace("http-equiv", "")
    (tmp_path / "page.html").write_text(page, "utf8", "backslashreplace")
    assert "0 tracks" in library_page([], title="Library")
