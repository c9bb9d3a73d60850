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
# What may follow the last frame, or lie between joined files.
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")
_MAX_PADDING_BYTES = 65536
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
    is_regular : bool
        One frame follows the other up to the last one, all of one rate.
    is_complete : bool
        There are as many frames as the file states; or it states none, is regular, and nothing that may be
        lost sound follows.
    """

    samples: int
    sample_rate: int
    stated_frames: int | None
    is_regular: bool
    is_complete: bool

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
    count, regular, ends_well = _follow(file, start + begin, size, key)
    samples = count * (1152 if version == 3 else 576)
    # Encoders disagree about whether the frame that holds the count counts itself.
    is_complete = count + 1 >= stated if stated is not None else regular and ends_well
    return Mp3Frames(samples, rate, stated, regular and first == 0, is_complete)


def is_frame_header(data: bytes) -> bool:
    """Return whether ``data`` begins with the header of a frame of MPEG audio, layer III."""
    return _length_at(data, 0) > 0


def begins_like_mpeg(file: BinaryIO) -> bool:
    """Return whether a file begins with the sync bits of MPEG audio, behind ID3 tags.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    """
    file.seek(_end_of_tags(file, file.seek(0, SEEK_END)))
    head = file.read(2)
    return len(head) == 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0


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


def _follow(file: BinaryIO, start: int, size: int, key: tuple[int, int]) -> tuple[int, bool, bool]:
    """Count frames from ``start`` on, and describe what is between them and behind the last one.

    Returns
    -------
    tuple of int, bool and bool
        The number of frames; whether one follows the other, all of the rate in ``key``; whether what is
        behind the last one is no lost sound.
    """
    count, regular = 0, True
    while start < size:
        file.seek(start)
        data = file.read(_CHUNK_BYTES)
        is_last = start + len(data) >= size
        found, kinds, at = _follow_chunk(data, is_last=is_last)
        count += found
        regular &= all((kind >> 8 & 0x18, kind & 0x0C) == key for kind in kinds)
        if start + at + 4 > size:
            break
        if not _length_at(data, at):
            rest, again = data[at:], _first_frame(data[at + 1 :])
            if again is None and (is_last or rest.startswith(_TAGS)):
                return count, regular, _is_no_sound(rest)
            # Joined files: the tag of the next one, or what is left of one, lies between two frames.
            regular = False
            at = max(at + 1, len(data) - _MAX_FRAME_BYTES) if again is None else at + 1 + again
        elif not found:
            # A frame that is cut off by the end of the file.
            break
        start += at
    return count, regular, True


def _is_no_sound(rest: bytes) -> bool:
    """Return whether the end of a file is a tag, padding, or no longer than two frames."""
    is_padding = len(rest) <= _MAX_PADDING_BYTES and not rest.strip(b"\0")
    return is_padding or rest.startswith(_TAGS) or len(rest) <= 2 * _MAX_FRAME_BYTES


def _follow_chunk(data: bytes, *, is_last: bool) -> tuple[int, set[int], int]:
    """Return how many whole frames are in ``data``, the keys of their lengths, and where the next begins."""
    count, at, kinds, lengths = 0, 0, set(), _LENGTHS
    # A frame is taken here only when the header of the next one can be seen, too.
    limit = len(data) if is_last else len(data) - _MAX_FRAME_BYTES - 4
    try:
        while at < limit:
            if data[at] != 0xFF:
                break
            kind = (data[at + 1] & 0xFE) << 8 | (data[at + 2] & 0xFE)
            length = lengths.get(kind)
            if length is None or at + length > len(data):
                break
            count += 1
            kinds.add(kind)
            at += length
    except IndexError:
        pass
    return count, kinds, at
