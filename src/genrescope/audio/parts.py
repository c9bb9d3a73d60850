"""Files of ASF (WMA) and MP4 that were joined: where the further ones begin.

FFmpeg reads one header of these containers, and ends where that says so, or refuses the file.
"""

from __future__ import annotations

from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import BinaryIO

# The identifier of the header object, with which a file begins (ASF specification, section 10.2).
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_CHUNK_BYTES = 2**20
_MAX_PARTS = 1000
_MAX_BOXES = 10_000


def find_asf_parts(file: BinaryIO) -> tuple[int, ...]:
    """Return where ASF files begin behind the first one; reads the whole file.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    """
    file.seek(0)
    found: list[int] = []
    kept, start = b"", 0
    while (chunk := file.read(_CHUNK_BYTES)) and len(found) < _MAX_PARTS:
        data = kept + chunk
        at = data.find(ASF_HEADER)
        while at >= 0:
            found.append(start + at)
            at = data.find(ASF_HEADER, at + len(ASF_HEADER))
        # Shorter than the identifier, so that none is found twice.
        kept = data[1 - len(ASF_HEADER) :]
        start += len(data) - len(kept)
    return tuple(place for place in found[:_MAX_PARTS] if place > 0)


def find_mp4_parts(file: BinaryIO, size: int) -> tuple[int, ...]:
    """Return where MP4 files begin behind the first one: at further boxes ``ftyp`` (ISO 14496-12, 4.3).

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    size : int
        Of the file, in bytes.
    """
    found: list[int] = []
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        length, least = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, least = int.from_bytes(head[8:16], "big"), 16
        if len(head) < 8 or length < least or at + length > size:
            break
        if head[4:8] == b"ftyp" and at > 0 and len(found) < _MAX_PARTS:
            found.append(at)
        at += length
    return tuple(found)


class FilePart:
    """A part of a file, to be read as if it were one; its position is independent of the file's.

    Parameters
    ----------
    file : binary file, seekable
    start, end : int
        First byte, and the one behind the last.

    Attributes
    ----------
    name : str or None
        The file's.
    """

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        self._file, self._start, self._end = file, start, end
        self._at = 0
        self.name = getattr(file, "name", None)

    def read(self, count: int = -1) -> bytes:
        """Return up to ``count`` bytes.

        Parameters
        ----------
        count : int
            Number of bytes; negative: all.
        """
        left = max(0, self._end - self._start - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if count < 0 else min(count, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a position and return it.

        Parameters
        ----------
        offset : int
            In bytes.
        whence : int
            As of ``io.IOBase.seek``.

        Raises
        ------
        ValueError
            The position is negative.
        """
        base = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._end - self._start}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at
