"""The comment packet of Ogg files (Vorbis, Opus, FLAC), put back into pages that differ as little as can be.

Formats: RFC 3533 (Ogg), RFC 7845 (Opus), https://xiph.org/flac/ogg_mapping.html.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from genrescope.tagging import vorbis
from genrescope.tagging.edits import Edit, LayoutError, file_size, read_at

# Begin of the first packet of a stream, begin of its comment packet, bytes before the comments.
MARKS: Final = {
    "OggVorbis": (b"\x01vorbis", b"\x03vorbis", 7),
    "OggOpus": (b"OpusHead", b"OpusTags", 8),
    "OggFLAC": (b"\x7fFLAC", b"", 4),
}

_HEAD_BYTES = 27
_MAX_LACES = 255
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_NO_POSITION = (1 << 64) - 1
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class _Page:
    """An Ogg page; ``laces`` are the lengths of its segments, a packet ends with one below 255."""

    start: int
    flags: int
    position: int
    serial: int
    sequence: int
    laces: bytes

    @property
    def body_start(self) -> int:
        return self.start + _HEAD_BYTES + len(self.laces)

    @property
    def stop(self) -> int:
        return self.body_start + sum(self.laces)

    def encoded(self, body: bytes) -> bytes:
        """Return the bytes of the page, with its checksum."""
        numbers = struct.pack("<QII", self.position, self.serial, self.sequence & 0xFFFFFFFF)
        head = b"OggS\0" + bytes([self.flags]) + numbers
        tail = bytes([len(self.laces)]) + self.laces + body
        return head + _checksum(head + bytes(4) + tail).to_bytes(4, "little") + tail


def ogg_edits(stream: BinaryIO, genres: tuple[str, ...], kind: str) -> list[Edit]:
    """Return the edits that give an Ogg file other genres.

    The number of pages stays where it can; otherwise the later pages of this stream are numbered anew.

    Parameters
    ----------
    stream : binary file
    genres : tuple of str
    kind : str
        A key of ``MARKS``.

    Raises
    ------
    LayoutError
        The comment packet does not stand where it should, or is damaged.
    """
    pages, old = _comment_pages(stream, kind)
    count = next(place for place, lace in enumerate(_laces(pages)) if lace < 255) + 1
    size = sum(_laces(pages)[:count])
    new = _new_packet(old[:size], genres, kind) + old[size:]
    if new == old:
        return []
    length = len(new) - (len(old) - size)
    laces = b"\xff" * (length // 255) + bytes([length % 255]) + _laces(pages)[count:]
    encoded = _paginated(pages, laces, new)
    # A page that is no longer needed leaves nothing; pages too many follow the last one.
    edits = [
        Edit(page.start, page.stop, encoded[place] if place < len(encoded) else b"")
        for place, page in enumerate(pages)
    ]
    edits[-1] = edits[-1]._replace(data=b"".join(encoded[len(pages) - 1 :]))
    if len(encoded) != len(pages):
        edits += _renumbered(stream, pages[-1], len(encoded) - len(pages))
    return edits


def _comment_pages(stream: BinaryIO, kind: str) -> tuple[list[_Page], bytes]:
    """Return the pages on which the comment packet lies, and what is in them."""
    first_mark, mark, _ = MARKS[kind]
    pages = _pages(stream, 0)
    for first in pages:
        if first.flags & _FIRST and read_at(stream, first.body_start, len(first_mark)) == first_mark:
            break
    else:
        raise LayoutError("its stream does not begin with a header")
    found: list[_Page] = []
    while not any(lace < 255 for lace in _laces(found)):
        found.append(_next_of(pages, first.serial))
    bodies = [read_at(stream, page.body_start, sum(page.laces)) for page in found]
    content = b"".join(bodies)
    # Written anew, a damaged page would get a checksum that says it is sound.
    if any(
        read_at(stream, page.start, page.body_start - page.start) + body != page.encoded(body)
        for page, body in zip(found, bodies, strict=True)
    ):
        raise LayoutError("the pages of its comments are damaged: their checksums are wrong")
    # Header packets have position 0: where there is another, sound begins on the same page.
    if not content.startswith(mark) or any(
        page.position not in (0, _NO_POSITION) or page.flags & _FIRST for page in found
    ):
        raise LayoutError("its comments do not stand on pages of their own after the first one")
    return found, content


def _next_of(pages: Iterator[_Page], serial: int) -> _Page:
    for page in pages:
        if page.serial == serial:
            return page
    raise LayoutError("it is cut short: it ends before its comments do")


def _new_packet(old: bytes, genres: tuple[str, ...], kind: str) -> bytes:
    start = MARKS[kind][2]
    comments = vorbis.with_genres(old[start:], genres)
    if kind != "OggFLAC":
        return old[:start] + comments
    if len(comments) >= 1 << 24:
        raise LayoutError("its comments would be larger than 16 MB", "remove pictures from its comments")
    return old[:1] + len(comments).to_bytes(3) + comments


def _paginated(pages: list[_Page], laces: bytes, content: bytes) -> list[bytes]:
    """Divide content among pages: each holds as many segments as before, the last one what is left."""
    counts = [len(page.laces) for page in pages]
    counts[-1] += len(laces) - sum(counts)
    while counts[-1] <= 0:
        counts[-2] += counts.pop()
    while counts[-1] > _MAX_LACES:
        counts[-1:] = [_MAX_LACES, counts[-1] - _MAX_LACES]
    encoded = []
    lace = place = 0
    for number, count in enumerate(counts):
        old, mine = pages[min(number, len(pages) - 1)], laces[lace : lace + count]
        continued = _CONTINUED if lace and laces[lace - 1] == 255 else 0
        last = pages[-1].flags & _LAST if number == len(counts) - 1 else 0
        ends_packet = any(length < 255 for length in mine)
        page = _Page(
            start=0,
            flags=continued | last,
            position=old.position if number < len(pages) - 1 else 0 if ends_packet else _NO_POSITION,
            serial=old.serial,
            sequence=pages[0].sequence + number,
            laces=mine,
        )
        encoded.append(page.encoded(content[place : place + sum(mine)]))
        lace, place = lace + count, place + sum(mine)
    return encoded


def _renumbered(stream: BinaryIO, last: _Page, shift: int) -> Iterator[Edit]:
    """Yield edits of number and checksum for the pages of a stream after ``last``, until it ends."""
    for page in _pages(stream, last.stop):
        if page.serial != last.serial:
            continue
        if page.flags & _FIRST:
            return
        # The checksum is linear in the bytes: it changes by that of the difference. So a page that is damaged
        # keeps a checksum that says so, and no sound needs to be read.
        number = (page.sequence + shift) & 0xFFFFFFFF
        difference = (page.sequence ^ number).to_bytes(4, "little")
        changed = _checksum(bytes(18) + difference + bytes(page.stop - page.start - 22))
        old = int.from_bytes(read_at(stream, page.start + 22, 4), "little")
        yield Edit(page.start + 18, page.start + 26, struct.pack("<II", number, old ^ changed))
        if page.flags & _LAST:
            return


def _pages(stream: BinaryIO, start: int) -> Iterator[_Page]:
    end = file_size(stream)
    while start + _HEAD_BYTES <= end:
        head = read_at(stream, start, _HEAD_BYTES)
        if head[:5] != b"OggS\0":
            return
        laces = read_at(stream, start + _HEAD_BYTES, head[26])
        position, serial, sequence = struct.unpack("<QII", head[6:22])
        page = _Page(start, head[5], position, serial, sequence, laces)
        if page.stop > end:
            return
        yield page
        start = page.stop


def _laces(pages: list[_Page]) -> bytes:
    return b"".join(page.laces for page in pages)


def _checksum(data: bytes) -> int:
    """Return Ogg's CRC-32, which is that of zlib with bits in the other order and no inversion."""
    value = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{value:032b}"[::-1], 2)
