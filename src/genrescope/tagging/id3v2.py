"""The genre in the bytes of an ID3v2 tag (2.2, 2.3 and 2.4), every other frame staying as it is.

Formats: https://id3.org/id3v2-00, https://id3.org/id3v2.3.0, https://id3.org/id3v2.4.0-structure. Frames are
found where mutagen finds them, so that what is written here is what it reads.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, Final, NamedTuple

from genrescope.tagging.edits import Edit, LayoutError, file_size, read_at

# ID3v2.2 and 2.3 have no several values: one text, and the separator that Picard's guide recommends.
SEPARATOR: Final = "; "

_HEADER_BYTES = 10
_ID3V1_BYTES = 128
_PADDING_BYTES = 1024  # of a tag that is made or grows, so that the next change need not move the sound
_UNSYNCHRONIZED, _EXTENDED, _FOOTER = 0x80, 0x40, 0x10
# "TCO" with a zero byte is what some programs write into 2.3; mutagen reads it.
_GENRE_FRAMES = (b"TCO", b"TCO\0", b"TCON")
_LATIN1, _UTF16, _UTF8 = b"\0", b"\1", b"\3"


class _Frame(NamedTuple):
    name: bytes
    start: int
    stop: int


@dataclass
class _Body:
    """What stands between header and footer of a tag.

    ``raw`` are the bytes of the file, ``decoded`` those without unsynchronization, in which ``frames`` and
    ``end``, where they end, are counted.
    """

    raw: bytes
    decoded: bytes
    frames: list[_Frame]
    end: int
    plain_sizes: bool
    unsynchronized: bool

    def __post_init__(self) -> None:
        # Where in the decoded bytes a stuffed zero was left out, each right before the offset.
        found = re.finditer(rb"\xff\0", self.raw) if self.unsynchronized else ()
        self._stuffed = [match.start() + 1 - count for count, match in enumerate(found)]

    def span(self, start: int, stop: int) -> bytes:
        """Return the bytes of the file for a stretch of the decoded ones."""
        first, last = (place + bisect_right(self._stuffed, place) for place in (start, stop))
        return self.raw[first:last]


def id3v1_offset(stream: BinaryIO) -> int | None:
    """Return where the ID3v1 tag of a file begins; None where it has none.

    Parameters
    ----------
    stream : binary file
    """
    start = file_size(stream) - _ID3V1_BYTES
    return start if start >= 0 and read_at(stream, start, 3) == b"TAG" else None


def read_tag(stream: BinaryIO, start: int) -> bytes | None:
    """Return the bytes of the ID3v2 tag at an offset, footer included; None where no tag begins there.

    Parameters
    ----------
    stream : binary file
    start : int
        Offset in bytes.

    Raises
    ------
    LayoutError
        The file ends within the tag.
    """
    if file_size(stream) < start + _HEADER_BYTES or read_at(stream, start, 3) != b"ID3":
        return None
    head = read_at(stream, start, _HEADER_BYTES)
    footer = head[3] == 4 and head[5] & _FOOTER
    return read_at(stream, start, _HEADER_BYTES + _synchsafe(head[6:10]) + (_HEADER_BYTES if footer else 0))


def empty_tag(version: int = 4) -> bytes:
    """Return a tag without frames.

    Parameters
    ----------
    version : int
        2, 3 or 4, for ID3v2.2 to 2.4.
    """
    return b"ID3" + bytes([version]) + bytes(6)


def with_genres(tag: bytes, genres: tuple[str, ...]) -> bytes:
    """Return a tag with other genres: all other frames are the same bytes, in the same order.

    The version stays. Padding takes up the difference where it can; otherwise the tag changes its size.

    Parameters
    ----------
    tag : bytes
        As of `read_tag` or `empty_tag`.
    genres : tuple of str
        Empty: the tag is left without a genre.

    Raises
    ------
    LayoutError
        The tag has parts that cannot be found safely, or would become too large.
    """
    version, flags = tag[3], tag[5]
    if version not in (2, 3, 4) or (version == 2 and flags & _EXTENDED):
        raise LayoutError(f"its ID3v2.{version} tag is of a kind that cannot be changed")
    footer = flags & _FOOTER if version == 4 else 0
    content = tag[_HEADER_BYTES : len(tag) - (_HEADER_BYTES if footer else 0)]
    extended = _extended_header(content, version) if flags & _EXTENDED else b""
    unsynchronized = version < 4 and bool(flags & _UNSYNCHRONIZED)
    body = _parse(content[len(extended) :], version, unsynchronized)
    new = _genre_frame(genres, version, body)
    rest, overruns = _rest(body, version)
    frames = _joined(_spliced(body, new), body)
    size = len(extended) + len(frames) + len(rest)
    # A footer excludes padding; a frame that is cut off by the end of the tag must not reach into any.
    if footer or overruns:
        padding = 0
    elif size <= len(content):
        padding = len(content) - size
    else:
        padding = _PADDING_BYTES
    if size + padding >= 1 << 28:
        raise LayoutError("its ID3v2 tag would be larger than 256 MB", "remove pictures from its tag")
    if extended:
        extended = _updated_extended(extended, version, frames + rest, padding, unsynchronized)
    head = tag[:6] + _to_synchsafe(size + padding, 4)
    tail = b"3DI" + head[3:] if footer else b""
    return head + extended + frames + rest + bytes(padding) + tail


def mp3_edits(stream: BinaryIO, genres: tuple[str, ...]) -> list[Edit]:
    """Return the edits that give an MP3 file other genres, in ID3v2 and, where it is there, ID3v1.

    Parameters
    ----------
    stream : binary file
    genres : tuple of str

    Raises
    ------
    LayoutError
        As of `with_genres`.
    """
    from mutagen.id3 import TCON

    edits = []
    old, v1 = read_tag(stream, 0), id3v1_offset(stream)
    if old is not None:
        edits.append(Edit(0, len(old), with_genres(old, genres)))
    elif genres:
        tag = empty_tag() if v1 is None else _tag_from_id3v1(stream)
        edits.append(Edit(0, 0, with_genres(tag, genres)))
    if v1 is not None and v1 >= len(old or b""):
        numbers = {normalize_name(name): number for number, name in reversed(list(enumerate(TCON.GENRES)))}
        number = numbers.get(normalize_name(genres[0]), 255) if genres else 255
        edits.append(Edit(v1 + _ID3V1_BYTES - 1, v1 + _ID3V1_BYTES, bytes([number])))
    return edits


def normalize_name(name: str) -> str:
    """Return what of a name counts when two are compared: "Hip-Hop" is "hip hop".

    Parameters
    ----------
    name : str
        A genre.
    """
    return "".join(filter(str.isalnum, name.casefold()))


def _tag_from_id3v1(stream: BinaryIO) -> bytes:
    """Return an ID3v2.4 tag that says what the file's ID3v1 tag says."""
    from mutagen import id3

    stream.seek(0)
    load: Callable[..., Any] = id3.ID3
    tag, buffer = load(stream), BytesIO()
    tag.save(buffer, v1=0, v2_version=4, padding=lambda _: 0)
    return buffer.getvalue()


def _parse(raw: bytes, version: int, unsynchronized: bool) -> _Body:
    # An FF followed by E0 or more, or by nothing, shows that nothing was unsynchronized.
    unsynchronized = unsynchronized and not re.search(rb"\xff(?:[\xe0-\xff]|\Z)", raw)
    decoded = raw.replace(b"\xff\0", b"\xff") if unsynchronized else raw
    plain = version == 3 or (version == 4 and _has_plain_sizes(decoded))
    frames, place, head = [], 0, 6 if version == 2 else 10
    while place + head <= len(decoded):
        name = decoded[place : place + (3 if version == 2 else 4)]
        field = decoded[place + len(name) : place + 2 * len(name)]
        size = int.from_bytes(field) if version < 4 or plain else _synchsafe(field)
        stop = place + head + size
        if not name.strip(b"\0") or stop > len(decoded):
            break
        frames.append(_Frame(name, place, stop))
        place = stop
    return _Body(raw, decoded, frames, place, plain, unsynchronized)


def _has_plain_sizes(data: bytes) -> bool:
    """Return whether the sizes in a 2.4 tag are not synchsafe, as iTunes wrote them, by mutagen's rule."""
    from mutagen.id3 import Frames, _tags

    rule: Callable[..., object] = _tags.determine_bpi
    return rule(data, Frames) is int


def _rest(body: _Body, version: int) -> tuple[bytes, bool]:
    """Return what follows the frames and is not padding, and whether it is a frame that is cut off."""
    rest = body.span(body.end, len(body.decoded))
    name = body.decoded[body.end : body.end + (3 if version == 2 else 4)]
    if not name.strip(b"\0"):
        return rest.rstrip(b"\0"), False
    if name in _GENRE_FRAMES:
        raise LayoutError("its genre frame reaches past the end of its ID3v2 tag")
    return rest, True


def _spliced(body: _Body, new: bytes) -> list[bytes]:
    """Return the frames, the new genre where the first old one stood, or else as the last."""
    spans: list[bytes] = []
    place = None
    for frame in body.frames:
        if frame.name not in _GENRE_FRAMES:
            spans.append(body.span(frame.start, frame.stop))
        elif place is None:
            place = len(spans)
    spans.insert(len(spans) if place is None else place, new)
    return spans


def _joined(spans: list[bytes], body: _Body) -> bytes:
    """Return spans as one, without a false synchronization where two meet in an unsynchronized tag."""
    joined = bytearray()
    for span in [*spans, b"\0"]:
        if body.unsynchronized and joined.endswith(b"\xff") and (span[:1] == b"\0" or span[:1] >= b"\xe0"):
            joined += b"\0"
        joined += span
    return bytes(joined[:-1])


def _genre_frame(genres: tuple[str, ...], version: int, body: _Body) -> bytes:
    if not genres:
        return b""
    # An opening parenthesis starts a reference by number; doubled, it is itself.
    texts = [f"({name}" if name.startswith("(") else name for name in genres]
    if version == 4:
        text = _UTF8 + "\0".join(texts).encode()
    else:
        joined = SEPARATOR.join(texts)
        wide = _UTF16 + b"\xff\xfe" + joined.encode("utf-16-le")
        text = _LATIN1 + joined.encode() if joined.isascii() else wide
    if version == 2:
        frame = b"TCO" + len(text).to_bytes(3) + text
    else:
        size = len(text).to_bytes(4) if body.plain_sizes else _to_synchsafe(len(text), 4)
        frame = b"TCON" + size + bytes(2) + text
    if body.unsynchronized:
        frame = re.sub(rb"\xff(?=[\xe0-\xff\0]|\Z)", b"\xff\0", frame)
    return frame


def _extended_header(content: bytes, version: int) -> bytes:
    """Return the extended header; mutagen's rule says whether there is one although the flag says so."""
    from mutagen.id3 import Frames

    if content[:4].decode("ascii", "replace") in Frames:
        return b""
    size = _synchsafe(content[:4]) if version == 4 else 4 + int.from_bytes(content[:4])
    if not 6 <= size <= len(content):
        raise LayoutError("the extended header of its ID3v2 tag has an impossible size")
    return content[:size]


def _updated_extended(
    extended: bytes, version: int, frames: bytes, padding: int, unsynchronized: bool
) -> bytes:
    """Return an extended header whose size of padding and checksum fit the new frames."""
    new = bytearray(extended)
    if version == 3 and len(new) >= 10:
        new[6:10] = padding.to_bytes(4)
        if new[4] & 0x80 and len(new) >= 14:
            checked = frames.replace(b"\xff\0", b"\xff") if unsynchronized else frames
            new[10:14] = zlib.crc32(checked).to_bytes(4)
    elif version == 4 and new[5] & 0x20:
        place = 6 + (1 + new[6] if new[5] & 0x40 else 0)
        if new[place : place + 1] != b"\5" or place + 6 > len(new):
            raise LayoutError("the checksum in its ID3v2 tag has an impossible size")
        new[place + 1 : place + 6] = _to_synchsafe(zlib.crc32(frames + bytes(padding)), 5)
    if unsynchronized and new != extended and b"\xff" in new:
        raise LayoutError("the checksum in its ID3v2 tag cannot be written anew")
    return bytes(new)


def _synchsafe(field: bytes) -> int:
    value = 0
    for byte in field:
        value = value << 7 | byte & 127
    return value


def _to_synchsafe(value: int, size: int) -> bytes:
    return bytes(value >> 7 * place & 127 for place in reversed(range(size)))
