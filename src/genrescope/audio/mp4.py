"""Whether the edit list of an MP4 file leaves out sound (ISO 14496-12)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

# The delay of an encoder, which edit lists leave out rightly, is below a tenth of a second.
_TOLERANCE_SECONDS = 0.5
_MAX_INDEX_BYTES = 2**26
_MAX_BOXES = 10_000


def leaves_out_sound(file: BinaryIO, size: int) -> bool:
    """Return whether an edit list plays clearly less of a sound track than it has.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    size : int
        Of the file, in bytes.
    """
    index = _read_index(file, size)
    movie = next(_boxes(index, b"mvhd"), b"")
    scale = _number(movie, 20 if movie[:1] == b"\1" else 12, 4)
    return any(_is_cut(track, scale) for track in _boxes(index, b"trak"))


def _read_index(file: BinaryIO, size: int) -> bytes:
    """Return the body of the box ``moov``; empty where there is none."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, start = _number(head, 0, 4), 8
        if length == 1:
            length, start = _number(head, 8, 8), 16
        elif length == 0:
            length = size - at
        if head[4:8] == b"moov" and length <= _MAX_INDEX_BYTES:
            file.seek(at + start)
            return file.read(max(0, length - start))
        if length < start or at + length > size:
            break
        at += length
    return b""


def _boxes(data: bytes, *path: bytes) -> Iterator[bytes]:
    """Yield the bodies of all boxes at a path."""
    at = 0
    while at + 8 <= len(data):
        length = _number(data, at, 4) or len(data) - at
        if length < 8:
            return
        if data[at + 4 : at + 8] == path[0]:
            body = data[at + 8 : at + length]
            if len(path) == 1:
                yield body
            else:
                yield from _boxes(body, *path[1:])
        at += length


def _is_cut(track: bytes, movie_scale: int) -> bool:
    handler = next(_boxes(track, b"mdia", b"hdlr"), b"")
    edits = next(_boxes(track, b"edts", b"elst"), b"")
    media = next(_boxes(track, b"mdia", b"mdhd"), b"")
    times = next(_boxes(track, b"mdia", b"minf", b"stbl", b"stts"), b"")
    scale = _number(media, 20 if media[:1] == b"\1" else 12, 4)
    if handler[8:12] != b"soun" or not edits or not scale or not movie_scale:
        return False
    entries = range(8, len(times) - 7, 8)
    held = sum(_number(times, at, 4) * _number(times, at + 4, 4) for at in entries) / scale
    wide = 8 if edits[:1] == b"\1" else 4
    played = 0
    for at in range(8, len(edits) - 2 * wide - 3, 2 * wide + 4):
        # A start of -1 is silence before the sound; a duration of 0 is all of a fragmented file.
        is_empty = edits[at + wide : at + 2 * wide] == b"\xff" * wide
        duration = _number(edits, at, wide)
        if not is_empty and duration == 0:
            return False
        played += 0 if is_empty else duration
    return held - played / movie_scale > _TOLERANCE_SECONDS


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")
