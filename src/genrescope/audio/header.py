"""What the headers of sound files say of their length, and whether the file keeps to it."""

from __future__ import annotations

import re
from io import SEEK_END
from typing import BinaryIO

# Size fields are off by a pad byte or a small header often enough in files that are whole.
_BYTES_OF_SLACK = 64

_SIZES_IN_LOG = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.M
)
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def log_tells_cut(log: str) -> bool:
    """Whether libsndfile's notes on the header say that the file holds less than it declares."""
    sizes = [(int(declared), int(found)) for declared, found in _SIZES_IN_LOG.findall(log)]
    return any(declared - found > _BYTES_OF_SLACK and not _is_unknown(declared) for declared, found in sizes)


def _is_unknown(size: int) -> bool:
    """Whether a size field holds what programs write that cannot know it yet: all ones, or nearly."""
    return any(abs(size - limit) < 4096 for limit in (2**31, 2**32))


def ends_early(file: BinaryIO) -> bool:
    """Whether an Ogg, ASF or CAF file lacks its end; false for other formats."""
    file.seek(0)
    head = file.read(16384)
    size = file.seek(0, SEEK_END)
    if head.startswith(b"OggS"):
        return not _ogg_ends(file, size)
    return _declared_size(head) > size + _BYTES_OF_SLACK


def is_chained(file: BinaryIO) -> bool:
    """Whether an Ogg file holds streams one behind the other: none of them states the length of all."""
    here = file.tell()
    file.seek(0)
    head = file.read(18)
    size = file.seek(0, SEEK_END)
    tail, at = _last_page(file, size) if head.startswith(b"OggS") else (b"", -1)
    file.seek(here)
    return at >= 0 and tail[at + 14 : at + 18] != head[14:18]


def _declared_size(head: bytes) -> int:
    """Return the size that an ASF or CAF file says it has, at least; 0 where it says none."""
    if (at := head.find(_ASF_FILE_PROPERTIES)) >= 0:
        # Object id 16, object size 8, file id 16, then the size of the file (ASF specification, 3.2).
        return int.from_bytes(head[at + 40 : at + 48], "little")
    if head.startswith(b"caff") and (at := head.find(b"data")) >= 0:
        # Chunk type 4, chunk size 8 (-1: up to the end), then the chunk (Apple CAF specification).
        return at + 12 + int.from_bytes(head[at + 4 : at + 12], "big", signed=True)
    return 0


def _last_page(file: BinaryIO, size: int) -> tuple[bytes, int]:
    """Return the end of an Ogg file, and where in it its last page begins; -1 where there is none."""
    file.seek(max(0, size - 2 * 65536))
    tail = file.read()
    return tail, tail.rfind(b"OggS")


def _ogg_ends(file: BinaryIO, size: int) -> bool:
    """Whether the last Ogg page is whole and marked as end of stream (RFC 3533, section 6)."""
    tail, at = _last_page(file, size)
    if at < 0 or len(tail) < at + 27:
        return False
    lacing = tail[at + 27 : at + 27 + tail[at + 26]]
    whole = at + 27 + tail[at + 26] + sum(lacing) <= len(tail)
    return whole and bool(tail[at + 5] & 4)


def mp3_states_length(file: BinaryIO) -> bool:
    """Whether an MP3 file begins with a frame that counts the others (Xing, Info or VBRI)."""
    file.seek(0)
    tag = file.read(10)
    is_tag = len(tag) == 10 and tag.startswith(b"ID3")
    file.seek(
        10 + sum(byte << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)) if is_tag else 0
    )
    head = file.read(8192)
    xing = re.search(rb"(?:Xing|Info)\x00\x00\x00(.)", head, re.DOTALL)
    return b"VBRI" in head or (xing is not None and bool(xing[1][0] & 1))
