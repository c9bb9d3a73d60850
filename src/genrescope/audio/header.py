"""What the headers of audio files say about length and completeness, without decoding.

Decoders stop quietly where a file ends. Whether it was meant to end there, only its container can tell: by a
size field (ASF, CAF), by a page that is marked as the last (Ogg), or by the notes that libsndfile takes on
chunk sizes (WAV, AIFF and the like).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

# Size fields are off by a pad byte or a small header often enough in files that are whole.
_TOLERANCE_BYTES = 64
_HEAD_BYTES = 16384
# The largest page of Ogg has 65,307 bytes (RFC 3533, section 6): two of that size hold a whole one.
_TAIL_BYTES = 2 * 65536
# Where the first frame of an MP3 file is looked for, after an ID3 tag.
_MP3_HEAD_BYTES = 8192

_SIZES_IN_LOG = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.M
)
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


@dataclass(frozen=True)
class HeaderInfo:
    """What was found in the header and at the end of a file.

    Attributes
    ----------
    truncated : bool
        An Ogg, ASF or CAF file lacks its end; false for other formats.
    chained : bool
        An Ogg file holds several streams one behind the other, none of which states the length of all.
    counts_mp3_frames : bool
        An MP3 file begins with a frame that counts the others (Xing, Info or VBRI): its length is known.
    """

    truncated: bool
    chained: bool
    counts_mp3_frames: bool


def inspect_header(file: BinaryIO) -> HeaderInfo:
    """Read what an audio file says about its length and its end.

    Parameters
    ----------
    file : binary file, seekable
        Its position is left where it was.

    Returns
    -------
    HeaderInfo
    """
    position = file.tell()
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    size = file.seek(0, SEEK_END)
    truncated = chained = False
    if head.startswith(b"OggS"):
        tail, last_page = _last_ogg_page(file, size)
        truncated = not _is_final_page(tail, last_page)
        # Bytes 14 to 17 of a page are the serial number of its stream (RFC 3533, section 6).
        chained = last_page >= 0 and tail[last_page + 14 : last_page + 18] != head[14:18]
    else:
        truncated = _declared_size(head) > size + _TOLERANCE_BYTES
    counts_mp3_frames = _counts_mp3_frames(file, head)
    file.seek(position)
    return HeaderInfo(truncated, chained, counts_mp3_frames)


def log_reports_truncation(log: str) -> bool:
    """Return whether libsndfile's notes on a header say that the file holds less than it declares.

    Parameters
    ----------
    log : str
        ``SoundFile.extra_info``.
    """
    sizes = [(int(declared), int(found)) for declared, found in _SIZES_IN_LOG.findall(log)]
    return any(declared - found > _TOLERANCE_BYTES and not _is_unknown(declared) for declared, found in sizes)


def _is_unknown(size: int) -> bool:
    """Return whether a size field holds what programs write that cannot know it yet: all ones, or nearly."""
    return any(abs(size - limit) < 4096 for limit in (2**31, 2**32))


def _declared_size(head: bytes) -> int:
    """Return the size that an ASF or CAF file says it has, at least; 0 where it says none."""
    if (at := head.find(_ASF_FILE_PROPERTIES)) >= 0:
        # Object id 16, object size 8, file id 16, then the size of the file (ASF specification, 3.2).
        return int.from_bytes(head[at + 40 : at + 48], "little")
    if head.startswith(b"caff") and (at := head.find(b"data")) >= 0:
        # Chunk type 4, chunk size 8 (-1: up to the end), then the chunk (Apple CAF specification).
        return at + 12 + int.from_bytes(head[at + 4 : at + 12], "big", signed=True)
    return 0


def _last_ogg_page(file: BinaryIO, size: int) -> tuple[bytes, int]:
    """Return the end of an Ogg file, and where in it its last page begins; -1 where there is none."""
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    return tail, tail.rfind(b"OggS")


def _is_final_page(tail: bytes, at: int) -> bool:
    """Return whether the Ogg page at ``at`` is whole and marked as end of stream (RFC 3533, section 6)."""
    if at < 0 or len(tail) < at + 27:
        return False
    # Byte 26 counts the lacing values that follow; they add up to the length of the page's body.
    lacing = tail[at + 27 : at + 27 + tail[at + 26]]
    whole = at + 27 + tail[at + 26] + sum(lacing) <= len(tail)
    return whole and bool(tail[at + 5] & 4)


def _counts_mp3_frames(file: BinaryIO, head: bytes) -> bool:
    """Return whether an MP3 file begins with a frame that counts the others (Xing, Info or VBRI)."""
    start = 0
    if head.startswith(b"ID3") and len(head) >= 10:
        # Four bytes of seven bits each (ID3 tag version 2.4.0, section 6.2).
        sizes = zip(head[6:10], (21, 14, 7, 0), strict=True)
        start = 10 + sum(byte << shift for byte, shift in sizes)
    file.seek(start)
    frame = file.read(_MP3_HEAD_BYTES)
    # The first of the flags after the name says that a number of frames follows.
    xing = re.search(rb"(?:Xing|Info)\x00\x00\x00(.)", frame, re.DOTALL)
    return b"VBRI" in frame or (xing is not None and bool(xing[1][0] & 1))
