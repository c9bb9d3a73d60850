"""Where the sound of a FLAC file ends, by the numbers of its frames (RFC 9639, section 9)."""

from __future__ import annotations

import re
from io import SEEK_END
from typing import BinaryIO

# Frames of 4,608 samples of 24-bit stereo have 28 kB at most: several of them are in the last part.
_TAIL_BYTES = 2**18
_CHUNK_BYTES = 2**18
_MIDDLE_BYTES = 2**17
_STREAM_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_SYNC = re.compile(rb"\xff[\xf8\xf9](?=[\x10-\xff])")
# Block sizes by their code; 6 and 7 are stored behind the number of the frame.
_BLOCK_SIZES = {1: 192, **{code: 576 << (code - 2) for code in range(2, 6)}}
_BLOCK_SIZES |= {code: 256 << (code - 8) for code in range(8, 16)}


def is_joined(file: BinaryIO) -> bool:
    """Return whether another FLAC stream begins behind the first one.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    """
    file.seek(4)
    kept = b""
    while chunk := file.read(_CHUNK_BYTES):
        # Joining them to search once would take longer than the search: it copies the chunk.
        if _STREAM_START.search(chunk) or _STREAM_START.search(kept + chunk[:8]):
            return True
        kept = chunk[-8:]
    return False


def has_middle(file: BinaryIO, head: bytes) -> bool:
    """Return whether frames from the middle of a FLAC stream lie in the middle of the file; False if small.

    In a file of two streams that were joined, the end of the first and the start of the second lie there.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    head : bytes
        As of `find_flac_end`.
    """
    block_size, stated = _stream_info(head)
    size = file.seek(0, SEEK_END)
    if size < 4 * _MIDDLE_BYTES:
        return False  # Nothing is gained over reading all of it.
    file.seek(size // 2 - _MIDDLE_BYTES // 2)
    data = file.read(_MIDDLE_BYTES)
    spans = [span for match in _SYNC.finditer(data) if (span := _frame_span(data, match.start(), block_size))]
    # Two that follow each other: a pattern of bits in the sound may look like the header of a frame.
    starts = {start for start, _ in spans}
    followed = [end for _, end in spans if end in starts]
    return bool(followed) and all(0.1 * stated < end < 0.9 * stated for end in followed)


def _stream_info(head: bytes) -> tuple[int, int]:
    """Return the fixed size of blocks and the number of samples that STREAMINFO states (0: unknown)."""
    return int.from_bytes(head[10:12], "big"), int.from_bytes(head[21:26], "big") & (2**36 - 1)


def find_flac_end(file: BinaryIO, head: bytes) -> tuple[int, int] | None:
    """Find where the last frame of a FLAC file ends.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    head : bytes
        The start of the file, at least its first 42 bytes.

    Returns
    -------
    tuple of int or None
        The number of samples that the header states (0: none) and the number at which the last frame ends;
        None where the file does not begin with STREAMINFO, or has no frames that follow each other.
    """
    if not _STREAM_START.match(head):
        return None
    block_size, stated = _stream_info(head)
    size = file.seek(0, SEEK_END)
    file.seek(max(42, size - _TAIL_BYTES))
    tail = file.read()
    spans = [span for match in _SYNC.finditer(tail) if (span := _frame_span(tail, match.start(), block_size))]
    ends = {end for _, end in spans}
    if stated in ends:
        return stated, stated
    # A pattern of bits in the sound may look like the header of a frame, but not follow another one.
    following = [end for start, end in spans if start == 0 or start in ends]
    return (stated, following[-1]) if following else None


def _frame_span(data: bytes, at: int, fixed_size: int) -> tuple[int, int] | None:
    """Return the first sample of the frame whose header is at ``at``, and the one behind its last."""
    # Sync and flags 2 bytes, sizes and channels 2, number up to 7, size and rate up to 2 each, CRC 1.
    # The last frame may be shorter than that: one of silence has 9 to 13 bytes, with its header and CRC.
    header = data[at : at + 16]
    if len(header) < 9 or header[3] & 1:
        return None
    number, place = _coded_number(header)
    code, rate_code = header[2] >> 4, header[2] & 15
    if number is None or code == 0 or rate_code == 15:
        return None
    size = _BLOCK_SIZES.get(code, 0)
    if code in (6, 7):
        size = int.from_bytes(header[place : place + code - 5], "big") + 1
        place += code - 5
    place += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if place >= len(header) or _crc8(header[:place]) != header[place]:
        return None
    start = number if header[1] & 1 else number * fixed_size
    return start, start + size


def _coded_number(header: bytes) -> tuple[int | None, int]:
    """Return the number of a frame or sample, coded as in UTF-8, and where its bytes end."""
    first = header[4]
    length = 8 - (first ^ 0xFF).bit_length()
    if length == 0:
        return first, 5
    if length == 1 or length > 7:
        return None, 5
    number = first & (0x7F >> length)
    for byte in header[5 : 4 + length]:
        if byte & 0xC0 != 0x80:
            return None, 5
        number = number << 6 | byte & 0x3F
    return number, 4 + length


def _crc8_table() -> bytes:
    table = bytearray(range(256))
    for _ in range(8):
        table = bytearray((value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF for value in table)
    return bytes(table)


_CRC8_TABLE = _crc8_table()


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8_TABLE[value ^ byte]
    return value
