"""Damaged blocks of WavPack files, replaced by empty ones: FFmpeg ends at the first that has no valid header.

A file is a sequence of blocks, each with a header of 32 bytes that states its length (WavPack 4 and 5 Binary
File / Block Format, https://www.wavpack.com/WavPack5FileFormat.pdf).
"""

from __future__ import annotations

from typing import BinaryIO

_HEADER_BYTES = 32
_MAX_BLOCK_BYTES = 2**20  # FFmpeg refuses longer ones
_MAX_BLOCKS = 200_000
_MAX_PATCHES = 1000
_CHUNK_BYTES = 2**18
_TAGS = (b"TAG", b"APETAGEX", b"ID3")
# Bits of the flags: size of a sample, rate; mono, which may differ between the blocks of more than two
# channels; first and last block of these channels.
_FIXED_FLAGS = 0x07800003
_MONO_FLAG = 0x4
_FIRST_AND_LAST = 0x1800


def replace_damaged_blocks(file: BinaryIO, size: int) -> tuple[tuple[tuple[int, bytes], ...], bool]:
    """Find the places where no block begins, and what to read there instead.

    Parameters
    ----------
    file : binary file, seekable
        Its position changes.
    size : int
        Of the file, in bytes.

    Returns
    -------
    patches : tuple of tuple of int and bytes
        Positions in the file, and the bytes that should be there: headers of empty blocks, or the length of a
        block; empty where nothing is damaged, or nothing follows the damage.
    is_damaged : bool
        Whether any of these places is other than a tag, which is between two joined files.
    """
    flags = _flags(_read(file, 0, _HEADER_BYTES))
    patches: list[tuple[int, bytes]] = []
    at, before, is_damaged = 0, 0, False
    for _ in range(_MAX_BLOCKS):
        if at >= size or len(patches) >= _MAX_PATCHES:
            break
        if length := _block_length(_read(file, at, _HEADER_BYTES), flags):
            before, at = at, at + length
            continue
        following = _find_block(file, before + _HEADER_BYTES, flags)
        if following is None:
            break
        is_damaged |= not _read(file, at, 8).startswith(_TAGS)
        if following < at + _HEADER_BYTES:
            # The length of the block before is wrong, or a few bytes follow it, too few for an empty block.
            patches.append((before + 4, (following - before - 8).to_bytes(4, "little")))
        else:
            patches += _empty_blocks(at, following, flags)
        before = at = following
    return tuple(patches), is_damaged


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def _flags(header: bytes) -> int:
    return int.from_bytes(header[24:28], "little")


def _block_length(header: bytes, first_flags: int) -> int:
    """Return the length of the block with this header, in bytes; 0 where FFmpeg would refuse it."""
    length = int.from_bytes(header[4:8], "little") + 8
    is_header = len(header) == _HEADER_BYTES and header.startswith(b"wvpk")
    is_known = 0x402 <= int.from_bytes(header[8:10], "little") <= 0x410
    if not (is_header and is_known and _HEADER_BYTES <= length <= _MAX_BLOCK_BYTES):
        return 0
    is_alone = first_flags & _FIRST_AND_LAST == _FIRST_AND_LAST
    mask = _FIXED_FLAGS | (_MONO_FLAG if is_alone else 0)
    holds_samples = header[20:24] != bytes(4)
    return 0 if holds_samples and (_flags(header) ^ first_flags) & mask else length


def _find_block(file: BinaryIO, start: int, flags: int) -> int | None:
    """Return where the first block from ``start`` on begins."""
    while len(data := _read(file, start, _CHUNK_BYTES)) >= _HEADER_BYTES:
        at = data.find(b"wvpk")
        while 0 <= at <= len(data) - _HEADER_BYTES:
            if _block_length(data[at : at + _HEADER_BYTES], flags):
                return start + at
            at = data.find(b"wvpk", at + 1)
        start += len(data) - _HEADER_BYTES + 1
    return None


def _empty_blocks(start: int, end: int, flags: int) -> list[tuple[int, bytes]]:
    """Return the headers of blocks without samples that fill a gap; none where it is too short for one."""
    blocks = []
    while end - start >= _HEADER_BYTES:
        # What is left for the last one must not be shorter than a header.
        length = min(end - start, _MAX_BLOCK_BYTES - _HEADER_BYTES)
        if 0 < end - start - length < _HEADER_BYTES:
            length -= _HEADER_BYTES
        fields = ((length - 8, 4), (0x410, 2), (0, 14), (flags | _FIRST_AND_LAST, 4), (0, 4))
        blocks.append((start, b"wvpk" + b"".join(value.to_bytes(size, "little") for value, size in fields)))
        start += length
    return blocks
