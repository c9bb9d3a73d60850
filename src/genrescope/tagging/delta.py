"""A binary delta from a changed file back to the file before it: small, and checked by SHA-256.

Tags grow and shrink, and the sound behind them moves. So a delta predicts the old file from the new one: up
to a split point, bytes are where they were; from there on, they moved by the difference in length. What the
prediction misses is stored: old tags, sizes in headers, offset tables, checksums of pages.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

import numpy as np

from genrescope.errors import TagError
from genrescope.types import UInt8Array
from genrescope.utils import sha256_stream

MAX_BYTES: Final = 4 << 20
CHUNK_BYTES: Final = 1 << 20

# Old length, new length, split, number of corrections.
_HEAD = struct.Struct("<QQQQ")
# A correction costs 12 bytes; gaps shorter than that are cheaper to store along.
_GAP = 12


@dataclass(frozen=True)
class Delta:
    """From a new file back to the old one.

    Attributes
    ----------
    old, new : str
        SHA-256 of the two files, in hexadecimal.
    data : bytes or None
        What to do, compressed; None where the files differ by more than the limit.
    """

    old: str
    new: str
    data: bytes | None


def create_delta(old: Path, new: Path, *, max_bytes: int = MAX_BYTES) -> Delta:
    """Compare two files, and say how to get the first from the second.

    Files are read in chunks, twice; memory is bounded by ``max_bytes``.

    Parameters
    ----------
    old, new : Path
        The files.
    max_bytes : int
        Where more bytes than this would have to be stored, the delta has no data.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    with old.open("rb") as before, new.open("rb") as after:
        sizes = _size(before), _size(after)
        split = _split_point(before, after, sizes)
        corrections = _corrections(before, after, sizes, split, max_bytes)
        digests = sha256_stream(before), sha256_stream(after)
    if corrections is None:
        return Delta(*digests, None)
    starts, lengths, stored = corrections
    head = _HEAD.pack(*sizes, split, len(starts))
    table = np.array(starts, "<u8").tobytes() + np.array(lengths, "<u4").tobytes()
    return Delta(*digests, zlib.compress(head + table + stored, 9))


def apply_delta(patch: Delta, new: Path, old: Path) -> None:
    """Write the old file to ``old``, from the new one and the delta.

    Parameters
    ----------
    patch : Delta
        With data.
    new, old : Path
        The file to read, and the file to write.

    Raises
    ------
    TagError
        ``tags_corrupt``: the new file is not the one that the delta was made for, or the delta is damaged;
        what stands in ``old`` is then not to be used.
    OSError
        ``new`` cannot be read, or ``old`` not written.
    """
    digest = hashlib.sha256()
    with new.open("rb") as after, old.open("wb") as before:
        try:
            for chunk in _restored(patch, after):
                before.write(chunk)
                digest.update(chunk)
        except (zlib.error, struct.error, ValueError):
            raise _unfit(new) from None
    if digest.hexdigest() != patch.old:
        raise _unfit(new)


def _unfit(path: Path) -> TagError:
    return TagError(
        "tags_corrupt",
        f"{path}: its bytes before the change cannot be brought back: the delta does not fit this file",
        "restore the file from a backup; nothing was changed now",
    )


def _restored(patch: Delta, after: BufferedReader) -> Iterator[bytes]:
    raw = zlib.decompress(patch.data or b"")
    old_size, new_size, split, count = _HEAD.unpack_from(raw)
    if _size(after) != new_size:
        raise ValueError("another file")
    starts = np.frombuffer(raw, "<u8", count, _HEAD.size).astype(np.int64)
    lengths = np.frombuffer(raw, "<u4", count, _HEAD.size + 8 * count).astype(np.int64)
    stored = memoryview(raw)[_HEAD.size + 12 * count :]
    places = np.cumsum(lengths) - lengths
    # Corrections do not cross chunks: they were made chunk by chunk.
    for begin, end in _chunks(old_size):
        chunk = _predicted(after, (old_size, new_size), split, begin, end)
        first, last = np.searchsorted(starts, (begin, end))
        for start, length, place in zip(
            starts[first:last], lengths[first:last], places[first:last], strict=True
        ):
            chunk[start - begin : start - begin + length] = np.frombuffer(stored, np.uint8, length, place)
        yield chunk.tobytes()


def _split_point(before: BufferedReader, after: BufferedReader, sizes: tuple[int, int]) -> int:
    """Return from which byte of the old file on "moved" predicts better than "in place"."""
    shift = sizes[1] - sizes[0]
    total = best = split = 0
    if shift == 0:
        return split
    for begin, end in _chunks(sizes[0]):
        old = _window(before, begin, end)
        in_place = old != _window(after, begin, end)
        moved = old != _window(after, begin + shift, end + shift)
        costs = total + np.cumsum(in_place.astype(np.int64) - moved)
        lowest = int(costs.argmin())
        if costs[lowest] < best:
            best, split = int(costs[lowest]), begin + lowest + 1
        total = int(costs[-1])
    return split


def _corrections(
    before: BufferedReader, after: BufferedReader, sizes: tuple[int, int], split: int, max_bytes: int
) -> tuple[list[int], list[int], bytes] | None:
    starts: list[int] = []
    lengths: list[int] = []
    stored = bytearray()
    for begin, end in _chunks(sizes[0]):
        old = _window(before, begin, end)
        wrong = np.flatnonzero(old != _predicted(after, sizes, split, begin, end))
        if not len(wrong):
            continue
        for run in np.split(wrong, np.flatnonzero(np.diff(wrong) > _GAP) + 1):
            first, last = int(run[0]), int(run[-1]) + 1
            starts.append(begin + first)
            lengths.append(last - first)
            stored += old[first:last].tobytes()
        if len(stored) + 12 * len(starts) > max_bytes:
            return None
    return starts, lengths, bytes(stored)


def _predicted(after: BufferedReader, sizes: tuple[int, int], split: int, begin: int, end: int) -> UInt8Array:
    """Return bytes ``begin`` to ``end`` of the old file, as the new one suggests them."""
    shift = sizes[1] - sizes[0]
    cut = min(max(split, begin), end)
    return np.concatenate([_window(after, begin, cut), _window(after, cut + shift, end + shift)])


def _window(stream: BufferedReader, begin: int, end: int) -> UInt8Array:
    """Return bytes ``begin`` to ``end``, zeros where the file has none."""
    window = np.zeros(end - begin, np.uint8)
    first = max(begin, 0)
    if end > first:
        stream.seek(first)
        found = np.frombuffer(stream.read(end - first), np.uint8)
        window[first - begin : first - begin + len(found)] = found
    return window


def _chunks(size: int) -> Iterator[tuple[int, int]]:
    for begin in range(0, size, CHUNK_BYTES):
        yield begin, min(begin + CHUNK_BYTES, size)


def _size(stream: BufferedReader) -> int:
    return stream.seek(0, 2)
