"""The frames of an MP3 file, found by their headers: how many there are, and whether they are intact.

A count in the file (Xing, Info, VBRI) describes what the encoder wrote, not what was appended, joined or lost
since. Frames follow each other without gaps and state their own lengths (ISO 11172-3 and 13818-3, 2.4.1), so
counting them costs some percent of decoding them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

import numpy as np

from genrescope.types import IntArray

_CHUNK_BYTES = 2**22
# The longest frame: 320 kbit/s at 32 kHz, or 160 kbit/s at 8 kHz, and a byte of padding.
_MAX_FRAME_BYTES = 1441
# What is searched for the first frame, and what tags may take behind the last one.
_SEARCH_BYTES = 65536
_MAX_ID3_TAGS = 16
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_KBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_XING = re.compile(rb"(?:Xing|Info)\x00\x00\x00(.)(....)", re.DOTALL)


@dataclass(frozen=True)
class Mp3Frames:
    """The frames of an MP3 file.

    Attributes
    ----------
    samples : int
        Samples of a channel in all frames, without that which holds the count.
    sample_rate : int
        In Hz, of the first frame.
    stated_frames : int or None
        The count in the first frame; None where there is none, or 0.
    regular : bool
        One frame follows the other up to the end or its tags, all of one rate, and none of them claims more
        bits than there are.
    size_patch : tuple of tuple of int and bytes
        Where the first frame states the size of the sound in bytes, and what it should say. libmpg123 warns
        on the standard error stream of any difference.
    start : int
        Where the ID3 tags at the start of the file end, in bytes.
    """

    samples: int
    sample_rate: int
    stated_frames: int | None
    regular: bool
    size_patch: tuple[tuple[int, bytes], ...] = ()
    start: int = 0

    @property
    def frames(self) -> int:
        """Number of frames, without that which holds the count."""
        return self.samples // self.samples_per_frame

    @property
    def samples_per_frame(self) -> int:
        """Samples of a channel in a frame."""
        return 1152 if self.sample_rate >= 32_000 else 576


def _lengths() -> dict[int, int]:
    """Return the length in bytes of a frame, by what of its header decides: bytes 1 (without CRC bit), 2."""
    lengths = {}
    for version, rates in _RATES.items():
        for kbits, kbit in enumerate(_KBITS[version == 3]):
            for number, rate in enumerate(rates):
                for padding in (0, 1):
                    key = (0xE2 | version << 3) << 8 | kbits << 4 | number << 2 | padding << 1
                    factor = 144_000 if version == 3 else 72_000
                    if kbit:
                        lengths[key] = factor * kbit // rate + padding
    return lengths


_LENGTHS = _lengths()


def _length_at(data: bytes, at: int) -> int:
    """Return the length of the frame that begins at ``at``; 0 where none begins."""
    if at + 4 > len(data) or data[at] != 0xFF:
        return 0
    return _LENGTHS.get((data[at + 1] & 0xFE) << 8 | (data[at + 2] & 0xFE), 0)


def find_mp3_frames(file: BinaryIO) -> Mp3Frames | None:
    """Follow the frames of an MP3 file from the first one to the end.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.

    Returns
    -------
    Mp3Frames or None
        None where no two frames follow each other near the start: no MP3 file of layer III.
    """
    size = file.seek(0, SEEK_END)
    start = _end_of_tags(file, size)
    file.seek(start)
    head = file.read(_SEARCH_BYTES)
    first = _first_frame(head)
    if first is None:
        return None
    stated, holds_count = _stated_count(head[first : first + _MAX_FRAME_BYTES])
    begin = first + _length_at(head, first) if holds_count else first
    key = (head[first + 1] & 0x18, head[first + 2] & 0x0C)
    version, rate = (key[0] >> 3), _RATES[key[0] >> 3][key[1] >> 2]
    count, regular = _follow(file, start + begin, size, key)
    samples = count * (1152 if version == 3 else 576)
    frame = head[first : first + _MAX_FRAME_BYTES]
    patch = _size_patch(frame, start + first, size)
    return Mp3Frames(samples, rate, stated, regular and first == 0, patch, start)


def _end_of_tags(file: BinaryIO, size: int) -> int:
    """Return where the ID3 tags at the start of a file end; there may be several."""
    start = 0
    for _ in range(_MAX_ID3_TAGS):
        file.seek(start)
        head = file.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            break
        # Four bytes of seven bits each (ID3 tag version 2.4.0, section 6.2).
        length = sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        start += 10 + length + (10 if head[5] & 16 else 0)
    return min(start, size)


def _first_frame(head: bytes) -> int | None:
    """Return where the first of three frames that follow each other, or end the file, begins."""
    at = head.find(b"\xff")
    while at >= 0:
        place = at
        for _ in range(3):
            length = _length_at(head, place)
            place += length
            if not length or place >= len(head):
                break
        if length and place <= len(head):
            return at
        at = head.find(b"\xff", at + 1)
    return None


def _stated_count(frame: bytes) -> tuple[int | None, bool]:
    """Return the count of frames that a frame holds, and whether it is one that holds a count."""
    if (xing := _XING.search(frame)) is not None:
        # The first of the flags after the name says that a number of frames follows.
        count = int.from_bytes(xing[2], "big") if xing[1][0] & 1 else 0
        return count or None, True
    if (vbri := frame.find(b"VBRI")) >= 0:
        # Version, delay and quality, 2 bytes each, then the bytes and the frames, 4 each (Fraunhofer).
        return int.from_bytes(frame[vbri + 14 : vbri + 18], "big") or None, True
    return None, False


def _size_patch(frame: bytes, at: int, size: int) -> tuple[tuple[int, bytes], ...]:
    """Return the correction of the size in bytes that the frame at ``at`` states; none where it is right."""
    xing = _XING.search(frame)
    if xing is None or not xing[1][0] & 2:
        return ()
    place = xing.start() + 8 + 4 * (xing[1][0] & 1)
    stated, found = int.from_bytes(frame[place : place + 4], "big"), size - at
    # libmpg123 accepts one percent, and tags at the end belong to no frame.
    if found >= 2**32 or abs(stated - found) < found // 200:
        return ()
    return ((at + place, found.to_bytes(4, "big")),)


def _follow(file: BinaryIO, start: int, size: int, key: tuple[int, int]) -> tuple[int, bool]:
    """Count frames from ``start`` on; stop where none follows. Return also whether all is regular."""
    count, regular = 0, True
    while start < size:
        file.seek(start)
        data = file.read(_CHUNK_BYTES)
        places, at = _follow_chunk(data, is_last=start + len(data) >= size)
        count += len(places)
        if places:
            regular &= _all_fit(data, places, key)
        if start + at + 4 > size:
            break
        if not _length_at(data, at):
            # Joined files: the tag of the next one, or what is left of one, lies between two frames.
            if _is_tag(data[at:]) and _first_frame(data[at:]) is None:
                break
            regular = False
            again = _first_frame(data[at + 1 :])
            if again is None:
                if len(data) < _CHUNK_BYTES:
                    break
                at = max(at + 1, len(data) - _MAX_FRAME_BYTES)
            else:
                at += 1 + again
        elif not places:
            # A frame that is cut off by the end of the file.
            break
        start += at
    return count, regular


def _is_tag(rest: bytes) -> bool:
    """Return whether ``rest`` is a tag as it may follow the last frame, or padding."""
    return rest.startswith((b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")) or not rest.strip(b"\0")


def _follow_chunk(data: bytes, *, is_last: bool) -> tuple[list[int], int]:
    """Return where the whole frames in ``data`` begin, and where the next one does."""
    places, at, lengths = [], 0, _LENGTHS
    # A frame is taken here only when the header of the next one can be seen, too.
    limit = len(data) if is_last else len(data) - _MAX_FRAME_BYTES - 4
    try:
        while at < limit:
            if data[at] != 0xFF:
                break
            length = lengths.get((data[at + 1] & 0xFE) << 8 | (data[at + 2] & 0xFE))
            if length is None or at + length > len(data):
                break
            places.append(at)
            at += length
    except IndexError:
        pass
    return places, at


def _all_fit(data: bytes, places: list[int], key: tuple[int, int]) -> bool:
    """Return whether all frames are of one kind and claim no more bits than they can have.

    The side information of a frame gives the length of each granule's data, which may begin in earlier
    frames, ``main_data_begin`` bytes back (ISO 11172-3, 2.4.1.7; 13818-3, 2.4.1.7).
    """
    raw: IntArray = np.frombuffer(data + bytes(64), np.uint8).astype(np.int64)
    at: IntArray = np.array(places, np.int64)
    second, third, fourth = raw[at + 1], raw[at + 2], raw[at + 3]
    if not ((second & 0x18 == key[0]) & (third & 0x0C == key[1])).all():
        return False
    mono = fourth >> 6 == 3
    side = at + 4 + 2 * (second & 1 == 0)
    if (mono != mono[0]).any():
        return False
    first_version = key[0] == 0x18
    channels = 1 if mono[0] else 2
    side_bytes = {(True, 1): 17, (True, 2): 32, (False, 1): 9, (False, 2): 17}[first_version, channels]

    def field(bit: int, width: int) -> IntArray:
        place = side + bit // 8
        window = raw[place] << 24 | raw[place + 1] << 16 | raw[place + 2] << 8 | raw[place + 3]
        bits: IntArray = window >> (32 - bit % 8 - width) & ((1 << width) - 1)
        return bits

    if first_version:
        begin, header, granule = field(0, 9), (20 if channels == 2 else 18), 59
    else:
        begin, header, granule = field(0, 8), (10 if channels == 2 else 9), 63
    units = channels * (2 if first_version else 1)
    claimed = sum((field(header + unit * granule, 12) for unit in range(units)), np.zeros(len(at), np.int64))
    big = np.max([field(header + unit * granule + 12, 9) for unit in range(units)], axis=0)
    lengths = np.array([_length_at(data, place) for place in places], np.int64)
    own = lengths - (side - at) - side_bytes
    # Whether earlier frames really hold that much is not followed.
    fits = (claimed <= 8 * (own + begin)) & (big <= 288)
    return bool(fits.all())
