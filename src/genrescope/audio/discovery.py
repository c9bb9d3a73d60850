"""The one walk through folders, for classifying, scanning and reading data sets, and its one rule for links.

Symbolic links to files and folders are followed, and a folder is entered once, however many links lead to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from genrescope.errors import DataError
from genrescope.types import AUDIO_SUFFIXES

Kind = Literal["audio", "other", "unreadable"]
_Identities = set[tuple[int, int | str]]


class FoundFile(NamedTuple):
    """What was found at a path.

    Attributes
    ----------
    path : str
    kind : {"audio", "other", "unreadable"}
        A file with one of the suffixes looked for, another file, or a folder that may not be read.
    size : int
        In bytes, of audio files; 0 where unknown.
    mtime_ns : int
        Time of modification in nanoseconds since 1970, of audio files; 0 where unknown.
    """

    path: str
    kind: Kind
    size: int = 0
    mtime_ns: int = 0


def discover(
    paths: Iterable[str | os.PathLike[str]],
    suffixes: Iterable[str] = AUDIO_SUFFIXES,
    *,
    reserved: Iterable[str | os.PathLike[str]] = (),
) -> Iterator[FoundFile]:
    """Yield what ``paths`` lead to.

    Files count as audio as given, whatever their suffix, and so do paths that do not exist: decoding them
    then gives the typed error. Folders are walked in sorted order. Names that begin with a dot are ignored.
    Symbolic links are followed, and a folder is entered once, however many of them lead to it.

    Parameters
    ----------
    paths : iterable of str or PathLike
        Files and folders.
    suffixes : iterable of str
        Endings of the names of audio files, lower case, with the dot.
    reserved : iterable of str or PathLike
        Folders that are entered only where ``paths`` name them, not by a link from another folder.
    """
    wanted, seen = frozenset(suffixes), _Identities()
    closed = {_identity(os.stat(path), os.fspath(path)) for path in reserved}  # noqa: PTH116
    for path in (os.fspath(path) for path in paths):
        if os.path.isdir(path):  # noqa: PTH112
            yield from _folder(path, wanted, seen, closed)
        else:
            yield _audio(path)


def audio_files(
    paths: Iterable[str | os.PathLike[str]], *, suffixes: Iterable[str] = AUDIO_SUFFIXES
) -> Iterator[Path]:
    """Yield the audio files that `discover` finds, and the folders that may not be read.

    Parameters
    ----------
    paths : iterable of str or PathLike
        Files and folders.
    suffixes : iterable of str
        Endings of the names of audio files, lower case, with the dot.
    """
    return (Path(entry.path) for entry in discover(paths, suffixes) if entry.kind != "other")


def find_audio(paths: Iterable[Path]) -> list[Path]:
    """Return the audio files at paths: files as named, folders searched through.

    Parameters
    ----------
    paths : iterable of Path
        Files and folders. A folder without audio files is returned itself: classifying it gives an error row.

    Returns
    -------
    list of Path

    Raises
    ------
    DataError
        ``dataset_empty``: nothing there has the suffix of an audio file.
    """
    paths = list(paths)
    found = [list(audio_files([path])) for path in paths]
    if not any(found):
        names = ", ".join(map(str, paths))
        suffixes = " ".join(sorted(AUDIO_SUFFIXES))
        raise DataError(
            "dataset_empty", f"{names}: no audio files there", f"files are known by their suffix: {suffixes}"
        )
    return [file for path, files in zip(paths, found, strict=True) for file in files or [path]]


def _folder(
    top: str, suffixes: frozenset[str], seen: _Identities, closed: _Identities
) -> Iterator[FoundFile]:
    """Yield what lies below a folder.

    The paths still to visit are kept on a list instead of in recursive calls: folders can be nested deeper
    than Python recurses.
    """
    pending = [(top, True)]
    while pending:
        path, is_folder = pending.pop()
        if not is_folder:
            known = os.path.splitext(path)[1].lower() in suffixes  # noqa: PTH122
            yield _audio(path) if known else FoundFile(path, "other")
            continue
        try:
            status = os.stat(path)  # noqa: PTH116
            with os.scandir(path) as listing:
                # Sorted, because the order of a directory differs from one file system to the next.
                within = sorted((entry.path, _is_folder(entry)) for entry in listing if entry.name[0] != ".")
        except OSError:
            yield FoundFile(path, "unreadable")
            continue
        # A folder is visited once, by whatever links it is reached, so that a link to a folder above it ends.
        identity = _identity(status, path)
        if identity not in seen and (path == top or identity not in closed):
            seen.add(identity)
            # Reversed, because the last of the list is visited next: files come in the order of their names.
            pending += reversed(within)


def _identity(status: os.stat_result, path: str) -> tuple[int, int | str]:
    """Return what tells a folder from all others, by whatever path it was reached."""
    # Some network disks of Windows number all files 0.
    return status.st_dev, status.st_ino or os.path.realpath(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into a folder that may not be entered, or back to itself
        return False


def _audio(path: str) -> FoundFile:
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return FoundFile(path, "audio")
    return FoundFile(path, "audio", status.st_size, status.st_mtime_ns)
