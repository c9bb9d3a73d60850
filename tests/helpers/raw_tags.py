"""What a file holds besides its genre, byte for byte, by parsers that share no code with the package.

They do not fail on damaged files: what they cannot divide is one entry.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator

Entry = tuple[str, bytes]


def entries(content: bytes) -> list[Entry]:
    """Return all of a file but the genre and what has to follow it: sizes, offsets, padding, checksums."""
    if content[:4] == b"RIFF":
        return list(_riff(content, "little", (b"id3 ", b"ID3 ")))
    if content[:4] == b"FORM":
        return list(_riff(content, "big", (b"ID3 ",)))
    if content[:4] == b"OggS":
        return list(_ogg(content))
    if content[4:8] == b"ftyp":
        return list(_mp4(content))
    tag = _tag_length(content)
    if content[tag : tag + 4] == b"fLaC":
        return [("before", content[:tag]), *_flac(content[tag:])]
    return [*_unless_empty(_id3(content[:tag]) if tag else iter(())), *_sound(content[tag:])]


def _unless_empty(found: Iterator[Entry]) -> list[Entry]:
    """Return the entries of an ID3v2 tag, none of one that was made for the genre and has nothing else."""
    header, *others = [*found] or [("", b"")]
    return [header, *others] if any(entry for _, entry in others) else []


def _sound(content: bytes) -> Iterator[Entry]:
    if content[-128:-125] == b"TAG":
        content = content[:-1]  # the genre of ID3v1
    yield "sound", content


def _tag_length(content: bytes) -> int:
    if content[:3] != b"ID3" or len(content) < 10:
        return 0
    return 10 + _seven(content[6:10]) + (10 if content[3] == 4 and content[5] & 16 else 0)


def _seven(field: bytes) -> int:
    return sum((byte & 127) << 7 * place for place, byte in enumerate(reversed(field)))


def _id3(tag: bytes) -> Iterator[Entry]:
    version, flags = tag[3], tag[5]
    yield "ID3 header", tag[:6]
    footer = version == 4 and flags & 16
    if footer:
        assert tag[-10:] == b"3DI" + tag[3:10]
    body = tag[10:-10] if footer else tag[10:]
    if version < 4 and flags & 128 and not _never_unsynchronized(body):
        body = body.replace(b"\xff\0", b"\xff")
    if flags & 64 and version > 2 and not body[:4].isalnum():
        size = _seven(body[:4]) if version == 4 else 4 + struct.unpack(">I", body[:4])[0]
        _check_extended(body[:size], body[size:], version)
        yield "extended header", bytes([*body[:6]])
        body = body[size:]
    head, width = (6, 3) if version == 2 else (10, 4)
    plain = version == 3 or (version == 4 and _plain_sizes(body))
    while len(body) >= head and body[:width].strip(b"\0"):
        field = body[width : 2 * width]
        size = _seven(field) if version == 4 and not plain else int.from_bytes(field, "big")
        if head + size > len(body):
            yield "cut off", body
            return
        frame, body = body[: head + size], body[head + size :]
        if frame[:width] not in (b"TCO", b"TCO\0", b"TCON"):
            yield frame[:width].decode("latin-1"), frame[width:]
    yield "after the frames", body.rstrip(b"\0")


def _never_unsynchronized(body: bytes) -> bool:
    return body.endswith(b"\xff") or any(
        body[place + 1] >= 0xE0 for place in range(len(body) - 1) if body[place] == 255
    )


def _plain_sizes(body: bytes) -> bool:
    """Return whether a walk with plain sizes meets more names of frames than one with synchsafe sizes."""
    counts = []
    for plain in (False, True):
        place = count = 0
        while body[place : place + 4].strip(b"\0") and place + 10 <= len(body):
            field = body[place + 4 : place + 8]
            count += body[place : place + 4].isalnum() and body[place : place + 1].isupper()
            place += 10 + (int.from_bytes(field, "big") if plain else _seven(field))
        counts.append((count, place <= len(body)))
    return counts[1] > counts[0]


def _check_extended(extended: bytes, rest: bytes, version: int) -> None:
    if version == 3:
        frames = rest.rstrip(b"\0")
        padding = struct.unpack(">I", extended[6:10])[0]
        assert rest[len(rest) - padding :].strip(b"\0") == b""
        if extended[4] & 128:
            frames = rest[: len(rest) - padding]
            assert struct.unpack(">I", extended[10:14])[0] == zlib.crc32(frames)
    elif extended[5] & 32:
        place = 6 + (1 if extended[5] & 64 else 0)
        crc = 0
        for byte in extended[place + 1 : place + 6]:
            crc = crc << 7 | byte
        assert crc == zlib.crc32(rest)


def _comments(data: bytes) -> Iterator[Entry]:
    size = struct.unpack("<I", data[:4])[0]
    yield "vendor", data[4 : 4 + size]
    place = 8 + size
    for _ in range(struct.unpack("<I", data[place - 4 : place])[0]):
        size = struct.unpack("<I", data[place : place + 4])[0]
        comment = data[place + 4 : place + 4 + size]
        place += 4 + size
        if comment[:6].upper() != b"GENRE=":
            yield "comment", comment
    if data[place:]:
        yield "after the comments", data[place:]


def _flac(content: bytes) -> Iterator[Entry]:
    place, last = 4, False
    while not last:
        last, kind = bool(content[place] & 128), content[place] & 127
        size = int.from_bytes(content[place + 1 : place + 4], "big")
        block = content[place + 4 : place + 4 + size]
        place += 4 + size
        if kind == 4:
            for name, entry in _comments(block):
                if name != "vendor" or entry != b"genrescope":
                    yield name, entry
        elif kind != 1:
            yield f"block {kind}", block
    yield "sound", content[place:]


class _Stream:
    """What is collected of one stream of an Ogg file: packets, positions, numbers of pages by link."""

    def __init__(self) -> None:
        self.packets: list[bytearray] = []
        self.positions: list[int] = []
        self.numbers: list[list[int]] = [[]]

    def add(self, flags: int, position: int, number: int, laces: bytes, body: bytes) -> None:
        if not flags & 1 or not self.packets:
            self.packets.append(bytearray())
        if flags & 2:
            self.numbers.append([])
        self.numbers[-1].append(number)
        if position not in (0, (1 << 64) - 1):
            self.positions.append(position)
        for place, lace in enumerate(laces, 1):
            self.packets[-1] += body[:lace]
            body = body[lace:]
            if lace < 255 and place < len(laces):
                self.packets.append(bytearray())


def _ogg(content: bytes) -> Iterator[Entry]:
    """Yield each stream's packets, and the positions of its pages after the headers, which are to stay."""
    streams: dict[int, _Stream] = {}
    place, right = 0, set()
    while content[place : place + 4] == b"OggS":
        head = struct.unpack("<xBQIIIB", content[place + 4 : place + 27])
        flags, position, serial, number, crc, count = head
        laces = content[place + 27 : place + 27 + count]
        end = place + 27 + count + sum(laces)
        page = content[place:end]
        if len(page) < end - place:
            break
        right.add(_ogg_crc(page[:22] + bytes(4) + page[26:]) == crc)
        streams.setdefault(serial, _Stream()).add(flags, position, number, laces, page[27 + count :])
        place = end
    yield "checksums", repr(sorted(right)).encode()
    for serial, stream in streams.items():
        yield f"stream {serial}", repr(stream.positions).encode()
        steps = {b - a for link in stream.numbers for a, b in itertools.pairwise(link)}
        yield "steps of page numbers", repr(sorted(steps)).encode()
        for number, packet in enumerate(stream.packets):
            yield from _packet(bytes(packet), bytes(stream.packets[0]) if number == 1 else b"")
    yield "after the pages", content[place:]


def _packet(packet: bytes, first: bytes) -> Iterator[Entry]:
    """Yield the comments of the packet after the first one, any other packet whole."""
    for head, mark, length in (
        (b"\x01vorbis", b"\x03vorbis", 7),
        (b"OpusHead", b"OpusTags", 8),
        (b"\x7fFLAC", b"", 4),
    ):
        if first.startswith(head) and packet.startswith(mark):
            yield from _comments(packet[length:])
            return
    yield "packet", packet


def _ogg_crc(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = (crc << 8) & 0xFFFFFFFF ^ _CRC[crc >> 24 ^ byte]
    return crc


def _crc_entry(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1) ^ (0x04C11DB7 if value & 1 << 31 else 0)
    return value & 0xFFFFFFFF


_CRC = [_crc_entry(byte) for byte in range(256)]


def _riff(content: bytes, order: str, names: tuple[bytes, ...]) -> Iterator[Entry]:
    yield "form", content[8:12]
    end = min(8 + int.from_bytes(content[4:8], order), len(content))  # type: ignore[arg-type]
    place, tagged = 12, False
    while place + 8 <= end:
        size = int.from_bytes(content[place + 4 : place + 8], order)  # type: ignore[arg-type]
        name, data = content[place : place + 4], content[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
        if name in names and not tagged:
            tagged = True
            length = _tag_length(data)
            yield from _unless_empty(_id3(data[:length]) if length else iter(()))
            yield "after the tag", data[length:]
        else:
            yield name.decode("latin-1"), data
    if not tagged:
        yield "after the tag", b""
    yield "after the form", content[max(end, min(place, len(content))) :].lstrip(b"\0")


_CONTAINERS = (b"moov", b"udta", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mfra", b"ilst")


def _mp4(content: bytes) -> Iterator[Entry]:
    for path, start, body, stop in _boxes(content, 0, len(content), ""):
        name = path.rsplit("/", 1)[-1].encode("latin-1")
        data = content[body:stop]
        if name in (b"stco", b"co64"):
            width = 4 if name == b"stco" else 8
            offsets = (
                int.from_bytes(data[place : place + width], "big") for place in range(8, len(data), width)
            )
            yield path, b"".join(content[offset : offset + 64] for offset in offsets)
        elif name == b"tfhd" and data[3] & 1:
            offset = int.from_bytes(data[8:16], "big")
            yield path, data[:8] + content[offset : offset + 8] + data[16:]
        elif name == b"tfra":
            width = 8 if data[0] else 4
            step = 2 * width + 3 + sum(data[11] >> shift & 3 for shift in (0, 2, 4))
            for entry in range(16, len(data) - step + 1, step):
                offset = int.from_bytes(data[entry + width : entry + 2 * width], "big")
                yield path, content[offset + 4 : offset + 8]
        elif name in (b"free", b"skip"):
            assert stop - start >= 8
        elif "ilst" in path and (name in (b"\xa9gen", b"gnre") or _is_genre_list(data)):
            continue
        elif name == b"hdlr" and path == "/moov/udta/meta/hdlr":
            continue  # made along with the first genre
        else:
            yield path, data


def _is_genre_list(data: bytes) -> bool:
    return data[12:28] == b"com.apple.iTunes" and data[40:45] == b"GENRE" and data[:4] == b"\0\0\0\x1c"


def _boxes(content: bytes, start: int, end: int, parents: str) -> Iterator[tuple[str, int, int, int]]:
    while start + 8 <= end:
        size, name = struct.unpack(">I4s", content[start : start + 8])
        body = start + 8
        if size == 1:
            size, body = struct.unpack(">Q", content[start + 8 : start + 16])[0], start + 16
        elif size == 0:
            size = end - start
        path = f"{parents}/{name.decode('latin-1')}"
        stop = min(start + size, end)
        if name in _CONTAINERS and "ilst/" not in path:
            yield from _boxes(content, body, stop, path)
        elif name == b"meta" and parents.endswith("udta"):
            yield from _boxes(
                content, body if content[body + 4 : body + 8] == b"hdlr" else body + 4, stop, path
            )
        else:
            yield path, start, body, stop
        if size < 8:
            return
        start += size
