"""What the headers of audio files say about length and completeness, without decoding, and whether it is so.

Decoders stop quietly where a file ends. Whether it was meant to end there, only its container can tell: by a
size field (ASF, CAF), by a page that is marked as the last (Ogg), or by the notes that libsndfile takes on
chunk sizes (WAV, AIFF and the like).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from errno import EINVAL
from io import SEEK_END
from typing import BinaryIO

from genrescope.audio.flac import find_flac_end, has_middle, is_joined
from genrescope.audio.mp4 import leaves_out_sound
from genrescope.audio.mpeg import begins_like_mpeg, find_mp3_frames
from genrescope.audio.parts import ASF_HEADER, find_asf_parts, find_mp4_parts
from genrescope.audio.riff import correct_sizes, holds_mpeg
from genrescope.audio.wavpack import replace_damaged_blocks

# Size fields are off by a pad byte or a small header often enough in files that are whole.
_TOLERANCE_BYTES = 64
_HEAD_BYTES = 16384
# The largest page of Ogg has 65,307 bytes (RFC 3533, section 6): two of that size hold a whole one.
_TAIL_BYTES = 2 * 65536
_CHUNK_BYTES = 2**20
_OGG_PAGE = re.compile(rb"OggS\x00([\x00-\x07])", re.DOTALL)
# Encoders disagree about whether the frame that holds the count counts itself.
_TOLERANCE_SECONDS = 0.5
# Wave, Core Audio, Wave64, AIFF, Sun, Matroska, Monkey's Audio, ASF.
_OTHER_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"caff", b"riff", b"FORM", b".snd", b"MAC ", b"\x0bw"),
    *(b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75"),
)

_SIZES_IN_LOG = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.M
)
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


@dataclass(frozen=True)
class HeaderInfo:
    """What was found in the header, in the frames and at the end of a file.

    Attributes
    ----------
    truncated : bool
        The file lacks its end, as far as that shows without decoding.
    chained : bool
        An Ogg file holds several streams one behind the other, none of which states the length of all.
    counts_mp3_frames : bool
        An MP3 file begins with a frame that counts the others (Xing, Info or VBRI): its length is known.
    header_mismatch : bool
        There is more sound than the header states.
    needs_ffmpeg : bool
        libsndfile would stop early.
    is_mpeg : bool
        The file begins as libsndfile expects it of MPEG audio, or is a WAV file with such sound. libsndfile
        leaves this to libmpg123, which writes to the standard error stream about most kinds of damage, and
        cannot be told not to. Where no frame counts the others, it overestimates the length.
    mp3_seconds : float
        Length of all frames of an MP3 file.
    is_regular : bool
        False for an MP3 file with gaps, in which frames cannot be counted.
    has_all_frames : bool
        Of an MP3 file: what else is in it is no lost sound.
    ignores_edits : bool
        The edit list of an MP4 file leaves out sound.
    is_flac : bool
        A FLAC file.
    corrects_length : bool
        With ``patches``, the header states the right length.
    patches : tuple of tuple of int and bytes
        Positions in the file, and the sizes or headers that should be there.
    parts : tuple of int
        Where further ASF or MP4 files begin, which were appended to the first.
    """

    truncated: bool = False
    chained: bool = False
    counts_mp3_frames: bool = False
    header_mismatch: bool = False
    needs_ffmpeg: bool = False
    is_mpeg: bool = False
    mp3_seconds: float = 0.0
    is_regular: bool = True
    has_all_frames: bool = False
    ignores_edits: bool = False
    is_flac: bool = False
    corrects_length: bool = False
    patches: tuple[tuple[int, bytes], ...] = ()
    parts: tuple[int, ...] = ()


def inspect_header(file: BinaryIO, *, whole: bool = True) -> HeaderInfo:
    """Read what an audio file says about its length and its end, and compare it with what it holds.

    MP3, FLAC and Ogg files are read to their end, which takes some percent of the time of decoding them.

    Parameters
    ----------
    file : binary file, seekable
        Its position is left where it was.
    whole : bool
        False: read less where start, middle and end of FLAC and Ogg files agree that nothing was appended or
        lost. MP3 files are read to their end in any case, since decoders read them so, too.

    Returns
    -------
    HeaderInfo
    """
    position = file.tell()
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    size = file.seek(0, SEEK_END)
    try:
        return _inspect(file, head, size, whole)
    # Sizes in a damaged file may lead to places that no file has.
    except (OSError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno != EINVAL:
            raise
        return HeaderInfo()
    finally:
        file.seek(position)


def _inspect(file: BinaryIO, head: bytes, size: int, whole: bool) -> HeaderInfo:
    if head.startswith(b"OggS"):
        return _inspect_ogg(file, head, size, whole)
    if head.startswith(b"fLaC"):
        return _inspect_flac(file, head, whole)
    if head.startswith(b"wvpk"):
        patches, is_damaged = replace_damaged_blocks(file, size)
        return HeaderInfo(truncated=is_damaged, patches=patches)
    if head[4:8] == b"ftyp":
        cut, parts = leaves_out_sound(file, size), find_mp4_parts(file, size)
        return HeaderInfo(ignores_edits=cut, header_mismatch=cut or bool(parts), parts=parts)
    if head.startswith(ASF_HEADER):
        return _inspect_asf(file, head, size)
    is_mpeg = holds_mpeg(file, head)
    if patches := correct_sizes(file, head):
        return HeaderInfo(header_mismatch=True, patches=patches, corrects_length=True, is_mpeg=is_mpeg)
    if _declared_size(head) > size + _TOLERANCE_BYTES:
        return HeaderInfo(truncated=True, is_mpeg=is_mpeg)
    # Other formats begin with a name of their own, and ADTS with a header like that of MP3, but of layer 0.
    is_adts = head[:1] == b"\xff" and head[1:2] != b"" and head[1] & 0xF6 == 0xF0
    if head.startswith(_OTHER_MAGIC) or is_adts:
        return HeaderInfo(is_mpeg=is_adts or is_mpeg)
    return _inspect_mp3(file)


def _inspect_asf(file: BinaryIO, head: bytes, size: int) -> HeaderInfo:
    declared = _declared_size(head)
    parts = find_asf_parts(file) if declared + _TOLERANCE_BYTES < size else ()
    end = parts[0] if parts else size
    return HeaderInfo(truncated=declared > end + _TOLERANCE_BYTES, header_mismatch=bool(parts), parts=parts)


def _inspect_ogg(file: BinaryIO, head: bytes, size: int, whole: bool) -> HeaderInfo:
    tail, last_page = _last_ogg_page(file, size)
    # Bytes 14 to 17 of a page are the serial number of its stream (RFC 3533, section 6).
    other_stream = last_page >= 0 and tail[last_page + 14 : last_page + 18] != head[14:18]
    truncated = not _is_final_page(tail, last_page)
    # Serial numbers are random: another file that was appended ends with another one.
    agrees = not whole and not truncated and not other_stream
    return HeaderInfo(truncated=truncated, chained=other_stream or (not agrees and _starts_again(file)))


def _starts_again(file: BinaryIO) -> bool:
    """Return whether streams begin in an Ogg file behind pages that do not begin one.

    All streams that sound together begin before any other page (RFC 3533, section 4).
    """
    file.seek(0)
    kept, begun = b"", False
    while chunk := file.read(_CHUNK_BYTES):
        data = kept + chunk
        for page in _OGG_PAGE.finditer(data):
            is_first = bool(page[1][0] & 2)
            if is_first and begun:
                return True
            begun |= not is_first
        kept = data[-5:]
    return False


def _inspect_flac(file: BinaryIO, head: bytes, whole: bool) -> HeaderInfo:
    found = find_flac_end(file, head)
    agrees = not whole and found is not None and 0 < found[0] == found[1] and has_middle(file, head)
    joined = not agrees and is_joined(file)
    if found is None or not found[0]:
        return HeaderInfo(header_mismatch=joined, needs_ffmpeg=joined, is_flac=True)
    stated, end = found
    mismatch = joined or end > stated
    # libsndfile loses the last block where the file ends between two blocks, before its stated end.
    return HeaderInfo(
        truncated=end < stated and not joined,
        header_mismatch=mismatch,
        needs_ffmpeg=mismatch or end < stated,
        is_flac=True,
    )


def _inspect_mp3(file: BinaryIO) -> HeaderInfo:
    found = find_mp3_frames(file)
    if found is None:
        return HeaderInfo(is_mpeg=begins_like_mpeg(file))
    stated = found.stated_frames
    surplus = (found.frames - stated) * found.samples_per_frame / found.sample_rate if stated else 0.0
    return HeaderInfo(
        truncated=surplus < -_TOLERANCE_SECONDS,
        counts_mp3_frames=stated is not None,
        header_mismatch=surplus > _TOLERANCE_SECONDS,
        is_mpeg=True,
        mp3_seconds=found.samples / found.sample_rate,
        is_regular=found.is_regular,
        has_all_frames=found.is_complete,
    )


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
