"""The file that a decoder reads from: errors stay out of C code, sizes are corrected, reading is limited."""

from __future__ import annotations

from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import BinaryIO

# What one excerpt may make a decoder read before the file seems to end. A binary search by time stamps reads
# a few dozen pages. One that finds none, as in a download with a hole, reads on to the end of the hole.
_SHARE_PER_EXCERPT = 0.25
_BYTES_PER_EXCERPT = 2**22


class DecoderFile:
    """A file for a C library to read through callbacks, which cannot pass on Python's exceptions.

    Parameters
    ----------
    file : binary file, seekable
    patches : sequence of tuple of int and bytes, optional
        Positions, and the bytes to be read there instead of the file's own.

    Attributes
    ----------
    name : str
        FFmpeg's guess of the format takes the ending of the name into account.
    failure : OSError or None
        The last failure of the system to read the file.
    exhausted : bool
        Whether reading was stopped by the limit.
    """

    def __init__(self, file: BinaryIO, patches: tuple[tuple[int, bytes], ...] = ()) -> None:
        self._file = file
        self._patches = patches
        self._size = file.seek(0, SEEK_END)
        file.seek(0)
        name = getattr(file, "name", None)
        self.name = name if isinstance(name, str) else "<none>"
        self.failure: OSError | None = None
        self.exhausted = False
        self._allowance: int | None = None

    def limit_reading(self, *, limited: bool) -> None:
        """Limit what may be read from now on to what one excerpt is worth, or remove the limit.

        Parameters
        ----------
        limited : bool
            False: read without a limit.
        """
        self.exhausted = False
        self._allowance = int(_SHARE_PER_EXCERPT * self._size) + _BYTES_PER_EXCERPT if limited else None

    def read(self, count: int = -1) -> bytes:
        """Return up to ``count`` bytes; none at the end, after a failure, and beyond the limit.

        Parameters
        ----------
        count : int
            Number of bytes; negative: all.
        """
        if self._allowance is not None and self._allowance <= 0:
            self.exhausted = True
            return b""
        try:
            start = self._file.tell() if self._patches else 0
            data = self._file.read(count)
        except OSError as failure:
            self.failure = failure
            return b""
        if self._allowance is not None:
            self._allowance -= len(data)
        for place, patch in self._patches:
            data = _patched(data, place - start, patch)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as `read` would, and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a position and return it; -1, which C takes for a failure, where there is no such place.

        Parameters
        ----------
        offset : int
            In bytes; damaged headers ask for negative ones.
        whence : int
            As of ``io.IOBase.seek``.
        """
        base = self._file.tell() if whence == SEEK_CUR else self._size if whence == SEEK_END else 0
        if base + offset < 0:
            return -1
        try:
            return self._file.seek(base + offset)
        except (OSError, ValueError, OverflowError):
            return -1

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()


def _patched(data: bytes, at: int, patch: bytes) -> bytes:
    """Return ``data`` with the part of ``patch`` that falls into it, ``at`` bytes from its start."""
    first, last = max(0, at), min(len(data), at + len(patch))
    if first >= last:
        return data
    return data[:first] + patch[first - at : last - at] + data[last:]
