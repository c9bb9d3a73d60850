"""The sizes that containers of uncompressed sound state, compared with what the file holds.

A recorder that stops, or a program that appends, leaves a size that counts too little, and decoders stop at
it. What follows the sound in a correct file is another chunk, up to the end of the file; anything else there
is more of the sound. The size is then corrected in what the decoder reads, not in the file.
"""

from __future__ import annotations

from io import SEEK_END
from typing import BinaryIO, Literal, NamedTuple

# Less than this behind the sound is padding.
_MIN_REST_BYTES = 4096
_MAX_CHUNKS = 1000
_TAGS = (b"TAG", b"ID3", b"APETAGEX")
# The second half of most chunk identifiers of Sony Wave64.
_W64_SUFFIX = bytes.fromhex("f3acd3118cd100c04f8edb8a")
# Format tags of MPEG audio (layers I and II, layer III) in the chunk "fmt " (RFC 2361).
_MPEG_TAGS = (0x50, 0x55)
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
# Sizes from here on are written by programs that do not know the size yet.
_UNKNOWN_32 = 2**31 - 4096


class _Layout(NamedTuple):
    """How a container is made of chunks: an identifier, a size, and the body.

    ``first``: where the chunks begin; ``name`` and ``number``: bytes of an identifier and of a size;
    ``order`` of the bytes of a size; ``counts_head``: whether a size includes identifier and size;
    ``align`` of chunks; ``data``: the identifier of the chunk with the sound.
    """

    first: int
    name: int
    number: int
    order: str
    counts_head: bool
    align: int
    data: bytes


def _layout(head: bytes) -> _Layout | None:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _Layout(12, 4, 4, "little", False, 2, b"data")
    if head[:4] == b"RIFX" and head[8:12] == b"WAVE":
        return _Layout(12, 4, 4, "big", False, 2, b"data")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _Layout(12, 4, 4, "big", False, 2, b"SSND")
    if head[:4] == b"caff":
        return _Layout(8, 4, 8, "big", False, 1, b"data")
    if head[:16] == _W64_RIFF:
        return _Layout(40, 16, 8, "little", True, 8, b"data" + _W64_SUFFIX)
    return None


def correct_sizes(file: BinaryIO, head: bytes) -> tuple[tuple[int, bytes], ...]:
    """Find out whether the sound goes on behind its stated end, and what the size should be.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    head : bytes
        The start of the file.

    Returns
    -------
    tuple of tuple of int and bytes
        Positions in the file, and the bytes that should be there; empty where nothing is wrong.
    """
    size = file.seek(0, SEEK_END)
    if head[:4] == b".snd":
        # Size of the header and of the sound; all ones: up to the end (Sun's .au).
        start, stated = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
        short = stated < _UNKNOWN_32 and start + stated + _MIN_REST_BYTES < size
        return ((8, b"\xff\xff\xff\xff"),) if short else ()
    layout = _layout(head)
    return _corrections(file, size, head, layout) if layout else ()


def holds_mpeg(file: BinaryIO, head: bytes) -> bool:
    """Return whether the sound of a WAV file is MPEG audio, as its chunk ``fmt`` states.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    head : bytes
        The start of the file.
    """
    layout = _layout(head)
    if layout is None:
        return False
    at = layout.first
    for _ in range(_MAX_CHUNKS):
        name, length = _chunk(file, at, layout)
        if length < 0 or not name or name == layout.data:
            return False
        if name[:4] == b"fmt ":
            return int.from_bytes(file.read(2), _order(layout)) in _MPEG_TAGS
        at += _step(length, layout)
    return False


def _corrections(file: BinaryIO, size: int, head: bytes, layout: _Layout) -> tuple[tuple[int, bytes], ...]:
    at, common = layout.first, None
    for _ in range(_MAX_CHUNKS):
        name, length = _chunk(file, at, layout)
        body = at + layout.name + layout.number
        if name == layout.data:
            break
        if name == b"COMM":
            common = body
        if length < 0 or not name:
            return ()
        at += _step(length, layout)
    else:
        return ()
    is_wide = head[:4] == b"RF64" and length == 0xFFFFFFFF
    if is_wide:
        # The chunk ds64 comes first: sizes of file and sound, and the number of samples (EBU Tech 3306).
        length = int.from_bytes(head[28:36], "little")
    unknown = length <= 0 or (layout.number == 4 and not is_wide and length >= _UNKNOWN_32)
    end = at + (_step(length, layout))
    if unknown or end + _MIN_REST_BYTES > size or not _goes_on(file, end, size, layout):
        return ()
    right = size - (at if layout.counts_head else body)
    right = min(right, 2 ** (8 * layout.number) - 1)
    if is_wide:
        return ((28, right.to_bytes(8, "little")),)
    fixed = [(at + layout.name, right.to_bytes(layout.number, _order(layout)))]
    if common is not None:
        fixed += _frame_count(file, common, right - 8)
    return tuple(fixed)


def _order(layout: _Layout) -> Literal["little", "big"]:
    return "little" if layout.order == "little" else "big"


def _chunk(file: BinaryIO, at: int, layout: _Layout) -> tuple[bytes, int]:
    # The sizes of a damaged file may lead anywhere.
    if not 0 <= at < 2**63:
        return b"", -1
    file.seek(at)
    head = file.read(layout.name + layout.number)
    if len(head) < layout.name + layout.number:
        return b"", -1
    return head[: layout.name], int.from_bytes(head[layout.name :], _order(layout), signed=layout.number == 8)


def _step(length: int, layout: _Layout) -> int:
    whole = length if layout.counts_head else length + layout.name + layout.number
    return max(-(-whole // layout.align) * layout.align, 1)


def _goes_on(file: BinaryIO, at: int, size: int, layout: _Layout) -> bool:
    """Return whether something other than chunks and tags follows."""
    file.seek(at)
    if file.read(8).startswith(_TAGS):
        return False
    for _ in range(_MAX_CHUNKS):
        if at + _MIN_REST_BYTES > size:
            return False
        name, length = _chunk(file, at, layout)
        known = (
            name.endswith(_W64_SUFFIX)
            if layout.name == 16
            else name.isascii() and name.decode().isprintable()
        )
        if not known or length < 0 or at + _step(length, layout) > size + layout.align:
            return True
        # Another file behind the first.
        if name in (b"RIFF", b"FORM", b"RF64"):
            return True
        at += _step(length, layout)
    return False


def _frame_count(file: BinaryIO, at: int, sound_bytes: int) -> list[tuple[int, bytes]]:
    """Return the correction of the number of frames in the chunk COMM of AIFF, whose body is at ``at``."""
    file.seek(at)
    common = file.read(8)
    channels, bits = int.from_bytes(common[:2], "big"), int.from_bytes(common[6:8], "big")
    frame = channels * -(-bits // 8)
    count = min(sound_bytes // frame, 2**32 - 1) if frame else 0
    return [(at + 2, count.to_bytes(4, "big"))]
