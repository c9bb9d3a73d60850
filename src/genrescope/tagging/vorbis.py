"""Genres in Vorbis comments, and in FLAC files, which have a metadata block of them.

Formats: https://xiph.org/vorbis/doc/v-comment.html, RFC 9639. Comments need not be UTF-8, nor have the form
NAME=value: all but those that are named GENRE stay the same bytes.
"""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from genrescope.tagging.edits import Edit, LayoutError, read_at
from genrescope.tagging.id3v2 import read_tag

_VENDOR = b"genrescope"
_NAME = b"genre="
_STREAMINFO, _PADDING, _COMMENT = 0, 1, 4
_LAST = 0x80
_MAX_BLOCK = (1 << 24) - 1


class _Block(NamedTuple):
    """A metadata block: its type, with the flag of the last one; where its header begins; its size."""

    head: int
    start: int
    size: int

    @property
    def kind(self) -> int:
        return self.head & ~_LAST

    @property
    def stop(self) -> int:
        return self.start + 4 + self.size


def with_genres(comments: bytes, genres: tuple[str, ...]) -> bytes:
    """Return Vorbis comments with other genres; the vendor, other comments and what follows stay.

    Parameters
    ----------
    comments : bytes
        From the length of the vendor on; whatever follows the last comment is kept.
    genres : tuple of str

    Raises
    ------
    LayoutError
        Comments reach past the end.
    """
    vendor, listed, rest = _parse(comments)
    kept = [comment for comment in listed if not _is_genre(comment)]
    kept += [f"GENRE={name}".encode() for name in genres]
    head = _with_length(vendor) + len(kept).to_bytes(4, "little")
    return head + b"".join(map(_with_length, kept)) + rest


def read_flac(stream: BinaryIO) -> tuple[list[str], float]:
    """Return the genres and the length in seconds of a FLAC file.

    Other blocks are not looked into, so that a damaged picture or list of tracks does no harm.

    Parameters
    ----------
    stream : binary file
        The FLAC file.

    Raises
    ------
    LayoutError
        The metadata blocks do not lead to the sound, or the comments are damaged.
    """
    blocks = _blocks(stream)
    info = int.from_bytes(read_at(stream, blocks[0].start + 14, 8))
    rate, total = info >> 44, info & (1 << 36) - 1
    block = next((block for block in blocks if block.kind == _COMMENT), None)
    listed = [] if block is None else _parse(read_at(stream, block.start + 4, block.size))[1]
    genres = [comment[len(_NAME) :].decode("utf8", "replace") for comment in listed if _is_genre(comment)]
    return genres, total / rate if rate else 0.0


def flac_edits(stream: BinaryIO, genres: tuple[str, ...]) -> list[Edit]:
    """Return the edits that give a FLAC file other genres.

    A padding block takes up the difference where one is large enough; otherwise what follows moves.

    Parameters
    ----------
    stream : binary file
    genres : tuple of str

    Raises
    ------
    LayoutError
        The metadata blocks do not lead to the sound, or the comments are damaged or too large.
    """
    blocks = _blocks(stream)
    edits = []
    old = next((block for block in blocks if block.kind == _COMMENT), None)
    if old is not None:
        comments = with_genres(read_at(stream, old.start + 4, old.size), genres)
        head, start, stop = old.head, old.start, old.stop
    elif not genres:
        return []
    else:
        comments = with_genres(_with_length(_VENDOR) + bytes(4), genres)
        first = blocks[0]
        start = stop = first.stop
        head = _COMMENT | (first.head & _LAST)
        edits.append(Edit(first.start, first.start + 1, bytes([first.kind])))
    if len(comments) > _MAX_BLOCK:
        raise LayoutError("its comments would be larger than 16 MB", "remove pictures from its comments")
    edits.append(Edit(start, stop, bytes([head]) + len(comments).to_bytes(3) + comments))
    grown = 4 + len(comments) - (stop - start)
    padding = next((block for block in reversed(blocks) if block.kind == _PADDING), None)
    if padding is not None and grown and 0 <= padding.size - grown <= _MAX_BLOCK:
        size = padding.size - grown
        kept = read_at(stream, padding.start + 4, min(size, padding.size))
        content = bytes([padding.head]) + size.to_bytes(3) + kept.ljust(size, b"\0")
        edits.append(Edit(padding.start, padding.stop, content))
    return edits


def _blocks(stream: BinaryIO) -> list[_Block]:
    tag = read_tag(stream, 0)
    place = 0 if tag is None else len(tag)
    if read_at(stream, place, 4) != b"fLaC":
        raise LayoutError("the FLAC stream does not begin where it should")
    place += 4
    blocks: list[_Block] = []
    while not blocks or not blocks[-1].head & _LAST:
        head = read_at(stream, place, 4)
        blocks.append(_Block(head[0], place, int.from_bytes(head[1:])))
        place = blocks[-1].stop
    stream.seek(place)
    sync = stream.read(2)
    # Pictures of more than 16 MB with a wrong size lead astray.
    if blocks[0].kind != _STREAMINFO or (sync and (sync[:1] != b"\xff" or sync[1:] < b"\xf8")):
        raise LayoutError("its metadata blocks state sizes that do not lead to the sound")
    return blocks


def _parse(comments: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Return the vendor, the comments, and what follows them."""
    vendor, place = _counted(comments, 0)
    count = int.from_bytes(comments[place : place + 4], "little")
    place += 4
    listed = []
    for _ in range(count):
        comment, place = _counted(comments, place)
        listed.append(comment)
    return vendor, listed, comments[place:]


def _is_genre(comment: bytes) -> bool:
    return comment.lower().startswith(_NAME)


def _counted(data: bytes, place: int) -> tuple[bytes, int]:
    """Return the bytes whose number stands at an offset before them, and the offset after them."""
    stop = place + 4 + int.from_bytes(data[place : place + 4], "little")
    if place + 4 > len(data) or stop > len(data):
        raise LayoutError("its comments reach past the end of their block")
    return data[place + 4 : stop], stop


def _with_length(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data
