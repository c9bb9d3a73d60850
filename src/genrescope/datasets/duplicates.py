"""Which files are the same, byte for byte."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

_HEAD = 1 << 16


def find_duplicates(paths: Sequence[Path]) -> list[list[int]]:
    """Return sets of indices of byte-identical files; a file unlike all others is in none.

    Only files of one size are opened, and only those with the same first 64 KiB are read whole.

    Raises
    ------
    OSError
        A file that cannot be read.
    """
    sets = [list(range(len(paths)))]
    for key in (_size, _head_digest, _digest):
        sets = [alike for members in sets for alike in _alike(members, paths, key)]
    return sets


def _alike(members: Iterable[int], paths: Sequence[Path], key: Callable[[Path], Hashable]) -> list[list[int]]:
    sets: defaultdict[Hashable, list[int]] = defaultdict(list)
    for member in members:
        sets[key(paths[member])].append(member)
    return [alike for alike in sets.values() if len(alike) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _head_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(_HEAD)).digest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()
