"""What lies in folders: audio files, other files, and folders that may not be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from genrescope.errors import DataError
from genrescope.types import AUDIO_SUFFIXES

Kind = Literal["audio", "other", "unreadable"]
_Seen = set[tuple[int, int]]


class FoundFile(NamedTuple):
    """A thing found: ``size`` in bytes and ``mtime_ns`` are those of audio files, 0 where unknown."""

    path: str
    kind: Kind
    size: int = 0
    mtime_ns: int = 0


def discover(
    paths: Iterable[str | os.PathLike[str]], suffixes: Iterable[str] = AUDIO_SUFFIXES
) -> Iterator[FoundFile]:
    """Yield what ``paths`` lead to.

    Files count as audio as given, whatever their suffix, and so do paths that do not exist: decoding them
    then gives the typed error. Folders are walked in sorted order; files with one of ``suffixes`` (lower
    case, with the dot) are audio, names that begin with a dot are passed over, and a folder is entered once,
    however many symbolic links lead to it.
    """
    wanted, seen = frozenset(suffixes), _Seen()
    for path in (os.fspath(path) for path in paths):
        if os.path.isdir(path):  # noqa: PTH112
            yield from _folder(path, wanted, seen)
        else:
            yield _audio(path)


def audio_files(
    paths: Iterable[str | os.PathLike[str]], *, suffixes: Iterable[str] = AUDIO_SUFFIXES
) -> Iterator[Path]:
    """Yield the audio files among what ``walk`` finds, and the folders that may not be read."""
    return (Path(entry.path) for entry in discover(paths, suffixes) if entry.kind != "other")


def find_audio(paths: Iterable[Path]) -> list[Path]:
    """Return the audio files at ``paths``: files as named, folders searched through.

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
    # An empty folder beside others stands for itself: it becomes an error row.
    return [file for path, files in zip(paths, found, strict=True) for file in files or [path]]


def _folder(top: str, suffixes: frozenset[str], seen: _Seen) -> Iterator[FoundFile]:
    """Walk without recursion, which depth could exhaust: what is still to come lies on a stack."""
    ahead = [(top, True)]
    while ahead:
        path, is_folder = ahead.pop()
        if not is_folder:
            known = os.path.splitext(path)[1].lower() in suffixes  # noqa: PTH122
            yield _audio(path) if known else FoundFile(path, "other")
            continue
        try:
            status = os.stat(path)  # noqa: PTH116
            with os.scandir(path) as listing:
                within = sorted((entry.path, _is_folder(entry)) for entry in listing if entry.name[0] != ".")
        except OSError:
            yield FoundFile(path, "unreadable")
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            ahead += reversed(within)


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
