"""Changed copies of files: a few stretches are replaced, all other bytes are copied as they are.

mutagen writes a tag anew from what it has understood of it, and loses the rest. So genres are written by
edits of the bytes that hold them, and of the sizes, offsets and checksums that depend on these bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

_CHUNK_BYTES: Final = 1 << 20

REPAIR: Final = "repair the file with a tag editor, or copy it again; it was not changed"


class Edit(NamedTuple):
    """A stretch of a file, and the bytes that are to stand in its place.

    Attributes
    ----------
    start, stop : int
        Offsets in the old file; equal where bytes are inserted.
    data : bytes
        Of any length.
    """

    start: int
    stop: int
    data: bytes


class LayoutError(Exception):
    """A file whose structure does not allow a safe edit.

    Parameters
    ----------
    reason : str
        What is wrong with the file.
    hint : str
        What to do next.
    """

    def __init__(self, reason: str, hint: str = REPAIR) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


def file_size(stream: BinaryIO) -> int:
    """Return the number of bytes in an open file.

    Parameters
    ----------
    stream : binary file
        Seekable; its position is moved to the end.
    """
    return stream.seek(0, 2)


def read_at(stream: BinaryIO, start: int, size: int) -> bytes:
    """Return exactly ``size`` bytes of a file.

    Parameters
    ----------
    stream : binary file
        Seekable; its position is moved.
    start, size : int
        Offset and number of bytes.

    Raises
    ------
    LayoutError
        The file ends before.
    """
    # Sizes come from the file: one that is absurdly large must not be allocated.
    if start < 0 or start + size > file_size(stream):
        raise LayoutError("it is cut short: it ends before its tags do")
    stream.seek(start)
    return stream.read(size)


def write_edited(source: BinaryIO, target: Path, edits: Iterable[Edit]) -> None:
    """Write a copy of a file with edits.

    Parameters
    ----------
    source : binary file
        The old file.
    target : Path
        The copy; an existing file is overwritten.
    edits : iterable of Edit
        Must not overlap.

    Raises
    ------
    LayoutError
        Edits overlap: structures in the file overlap each other.
    OSError
        ``source`` cannot be read, or ``target`` not written.
    """
    end, place = file_size(source), 0
    with target.open("wb") as copy:
        for edit in [*sorted(edits), Edit(end, end, b"")]:
            if not place <= edit.start <= edit.stop <= end:
                raise LayoutError("parts of its tags overlap each other")
            source.seek(place)
            left = edit.start - place
            while left:
                chunk = source.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise OSError("the file became shorter while it was read")
                copy.write(chunk)
                left -= len(chunk)
            copy.write(edit.data)
            place = edit.stop
