"""A library's entries for other programs: CSV, JSON lines, Parquet, and playlists."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from genrescope.library.albums import AlbumResult
from genrescope.library.parquet import entries_to_table, parquet_schema
from genrescope.library.records import COLUMNS, LibraryEntry
from genrescope.types import STYLE_THRESHOLD
from genrescope.utils import open_atomic, safe_file_name, spreadsheet_cell, write_atomic

GroupBy = Literal["genre", "style"]

ALBUM_COLUMNS = (
    "path", "album", "artist", "verdict", "genre", "score", "answer", "agreement", "set", "tracks",
    "answered", "uncertain", "not_music", "failed", "genres", "answers", "scores", "styles",
)  # fmt: skip
# About 2 MiB in a file.
_ROWS_PER_GROUP = 5_000
_NESTED = ("scores", "styles", "flags", "timeline", "genre_set", "set", "genres", "answers")


def write_jsonl(entries: Iterable[LibraryEntry], stream: TextIO) -> None:
    """Write one JSON object per line, all columns.

    Parameters
    ----------
    entries : iterable of LibraryEntry
    stream : text file
        Open for writing.
    """
    for entry in entries:
        columns = entry.to_columns()
        stream.write(json.dumps({name: columns[name] for name in COLUMNS}, ensure_ascii=False) + "\n")


def write_csv(entries: Iterable[LibraryEntry], stream: TextIO) -> None:
    """Write a header and one line per entry; mappings and lists are JSON in their cells.

    Text is made safe for spreadsheets (`genrescope.utils.spreadsheet_cell`); JSON lines have it as it is.

    Parameters
    ----------
    entries : iterable of LibraryEntry
    stream : text file
        Open for writing.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        columns = entry.to_columns()
        writer.writerow([spreadsheet_cell(_cell(columns[name], name)) for name in COLUMNS])


def write_albums_csv(albums: Iterable[AlbumResult], stream: TextIO) -> None:
    """Write a header and one line per album; mappings and lists are JSON in their cells.

    Parameters
    ----------
    albums : iterable of AlbumResult
        Text is made safe for spreadsheets, as by `write_csv`.
    stream : text file
        Open for writing.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(ALBUM_COLUMNS)
    for album in albums:
        row = album.to_dict()
        writer.writerow([spreadsheet_cell(_cell(row[name], name)) for name in ALBUM_COLUMNS])


def write_parquet(entries: Iterable[LibraryEntry], path: Path) -> None:
    """Write a Parquet file with the columns of `genrescope.library.parquet_schema`.

    Parameters
    ----------
    entries : iterable of LibraryEntry
    path : Path
        The file to write.

    Raises
    ------
    GenrescopeError
        ``missing_dependency`` without pyarrow; ``write_failed``.
    """
    schema = parquet_schema()
    from pyarrow import parquet

    remaining = iter(entries)
    with open_atomic(path) as stream, parquet.ParquetWriter(stream, schema) as writer:
        while batch := list(itertools.islice(remaining, _ROWS_PER_GROUP)):
            writer.write_table(entries_to_table(batch))


@dataclass(frozen=True)
class PlaylistExport:
    """What `write_playlists` wrote.

    Attributes
    ----------
    paths : tuple of Path
        The playlists, sorted by name.
    omitted : tuple of str
        Files that are in none of them, because no playlist can hold their names: a name that is not UTF-8,
        or of several lines.
    """

    paths: tuple[Path, ...]
    omitted: tuple[str, ...]


def write_playlists(
    entries: Iterable[LibraryEntry],
    folder: Path,
    *,
    by: GroupBy = "genre",
    absolute: bool = False,
    prefixes: Mapping[str, str] | None = None,
) -> PlaylistExport:
    """Write one M3U8 playlist for each genre, or for each style, of which a track may have several.

    Each track has its length, artist and title. Files without an answer, or that are not music, are left out.

    Parameters
    ----------
    entries : iterable of LibraryEntry
        What is written.
    folder : Path
        Where the playlists are written.
    by : {"genre", "style"}
        What makes a playlist.
    absolute : bool
        Write absolute paths. Otherwise they count from ``folder``: music and playlists can move together.
    prefixes : mapping of str to str, optional
        Folders of this computer, and what another one calls them that reads the playlists, such as
        ``/srv/music`` and ``/music`` of a container, or ``M:\\`` of a Windows share. The longest counts;
        paths in none of them are written as without it.

    Raises
    ------
    WriteError
        ``write_failed``.
    """
    lists: dict[str, list[str]] = {}
    place = os.path.abspath(folder)  # noqa: PTH100
    omitted = []
    for entry in entries:
        labels = [] if entry.error is not None else _labels(entry, by)
        if labels and not _fits_a_line(entry.path):
            omitted.append(entry.path)
            continue
        for name in labels:
            lists.setdefault(name, []).append(
                _playlist_item(entry, _playlist_path(entry.path, None if absolute else place, prefixes or {}))
            )
    written = []
    taken: set[str] = set()
    for name, items in sorted(lists.items()):
        path = folder / f"{_free_name(safe_file_name(name), taken)}.m3u8"
        write_atomic(path, "#EXTM3U\n" + "".join(items))
        written.append(path)
    return PlaylistExport(tuple(sorted(written)), tuple(omitted))


def _free_name(name: str, taken: set[str]) -> str:
    """Return a name that no playlist has yet, also where capitals do not count, and note it."""
    free = next(
        one
        for number in itertools.count(1)
        if (one := name if number == 1 else f"{name} ({number})").casefold() not in taken
    )
    taken.add(free.casefold())
    return free


def _labels(entry: LibraryEntry, by: GroupBy) -> Sequence[str]:
    if not entry.is_music:
        return []
    if by == "genre":
        return [] if entry.genre is None else [entry.genre]
    return [name for name, probability in entry.styles.items() if probability >= STYLE_THRESHOLD]


def _playlist_item(entry: LibraryEntry, path: str) -> str:
    artist = entry.artist or entry.album_artist
    # The name of a file without a title often holds the artist already.
    title = f"{artist} - {entry.title}" if artist and entry.title else entry.title or Path(entry.path).stem
    return f"#EXTINF:{round(entry.seconds or 0)},{' '.join(title.split())}\n{path}\n"


def _playlist_path(path: str, folder: str | None, prefixes: Mapping[str, str]) -> str:
    """Return a path as a playlist in ``folder`` has it; None: an absolute one."""
    for old in sorted(prefixes, key=len, reverse=True):
        start = os.path.join(os.path.abspath(os.path.expanduser(old)), "")  # noqa: PTH100, PTH111, PTH118
        if os.path.normcase(path).startswith(os.path.normcase(start)):
            new, rest = prefixes[old], path[len(start) :]
            # A drive, or a share, of Windows.
            if "\\" in new or new[1:2] == ":":
                return new.rstrip("\\") + "\\" + rest.replace("/", "\\")
            return (new.rstrip("/") + "/" if new else "") + rest
    if folder is None:
        return path
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return path
    # Windows reads both separators, so that playlists and music can move to any system.
    relative = relative.replace(os.sep, "/")
    # A line that begins with a number sign would be a comment, and spaces at its start are not kept.
    return f"./{relative}" if relative[0] in "# " else relative


def _fits_a_line(path: str) -> bool:
    """Whether a path is UTF-8 and of one line, as a playlist needs it."""
    # M3U8 is UTF-8 by definition and has one entry per line, without any way of quoting.
    try:
        path.encode("utf8")
    except UnicodeEncodeError:
        return False
    return "\n" not in path and "\r" not in path


def _cell(value: Any, name: str) -> Any:
    if value is None:
        return ""
    if name in _NESTED:
        return json.dumps(value, ensure_ascii=False)
    return int(value) if isinstance(value, bool) else value
