"""Genres of MP4 files: one list of items, in which only the genre is replaced.

Formats: ISO/IEC 14496-12 and, for the list of items, the QuickTime File Format. Items that are short, unknown
or there twice are neither understood nor changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np

from genrescope.tagging.edits import Edit, LayoutError, file_size, read_at

_GENRE, _NUMBER, _FREEFORM = b"\xa9gen", b"gnre", b"----"
_UTF16 = 2
_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mfra"})
_MAX_ITEM_BYTES = 1 << 24


class _Atom(NamedTuple):
    """A box: where its header begins, its content begins, and it ends."""

    name: bytes
    start: int
    content: int
    stop: int


class Tagged(NamedTuple):
    """What is read of a file.

    Attributes
    ----------
    genres : list of str
        In the order of the file, those of ``----:com.apple.iTunes:GENRE`` last.
    seconds : float
        Length, as its movie header has it.
    """

    genres: list[str]
    seconds: float


@dataclass
class _Items:
    """The list of items in a file, as far as there is one: the atoms on the way to it, and the genres."""

    path: list[_Atom]
    genres: list[_Atom]
    freeform: list[_Atom]


def read(stream: BinaryIO) -> Tagged:
    """Return the genres and the length of an MP4 file.

    Parameters
    ----------
    stream : binary file

    Raises
    ------
    LayoutError
        It has no movie header, or its atoms are damaged.
    """
    found = _find_items(stream)
    names = [name for item in found.genres for name in _values(stream, item)]
    # A freeform list beside it says what the one standard genre of other programs cannot hold.
    more = [name for item in found.freeform for name in _values(stream, item)]
    return Tagged(names + [name for name in more if name not in names], _seconds(stream, found.path[0]))


def mp4_edits(stream: BinaryIO, genres: tuple[str, ...]) -> list[Edit]:
    """Return the edits that give an MP4 file other genres.

    Free space after the list takes up the difference; where there is none, what follows moves, and the
    offsets in the file that point there move along.

    Parameters
    ----------
    stream : binary file
    genres : tuple of str
        A freeform list is updated where the file has one.

    Raises
    ------
    LayoutError
        The atoms are damaged, or have offsets that cannot be moved.
    """
    found = _find_items(stream)
    new = _atom(_GENRE, b"".join(map(_data, genres))) if genres else b""
    if found.freeform and genres:
        mean, name = _atom(b"mean", bytes(4) + b"com.apple.iTunes"), _atom(b"name", bytes(4) + b"GENRE")
        new += _atom(_FREEFORM, mean + name + b"".join(map(_data, genres)))
    old = sorted([*found.genres, *found.freeform], key=lambda atom: atom.start)
    grown = len(new) - sum(atom.stop - atom.start for atom in old)
    if not old:
        if not genres:
            return []
        last = found.path[-1]
        # Four zero bytes may end user data: what follows them is not found.
        place = last.content if last.name == b"udta" else last.stop
        for name in (b"ilst", b"meta", b"udta")[: 4 - len(found.path)]:
            new = _atom(name, (bytes(4) + _handler() if name == b"meta" else b"") + new)
        grown = len(new)
        edits = [Edit(place, place, new)]
    else:
        place = old[0].start
        edits = [Edit(atom.start, atom.stop, b"") for atom in old]
        edits[0] = edits[0]._replace(data=new)
    return edits + _resized(stream, found.path, grown)


def _find_items(stream: BinaryIO) -> _Items:
    end = file_size(stream)
    moov = next((atom for atom in _atoms(stream, 0, end) if atom.name == b"moov"), None)
    if moov is None:
        raise LayoutError("it has no movie header (moov): it is cut short, or was never finished")
    path = [moov]
    for name in (b"udta", b"meta", b"ilst"):
        inner = _children(stream, path[-1])
        child = next((atom for atom in inner if atom.name == name), None)
        if child is None:
            return _Items(path, [], [])
        path.append(child)
    items = list(_children(stream, path[-1]))
    if items and items[-1].stop != path[-1].stop:
        raise LayoutError("the items of its list of tags do not fill the list")
    genres = [item for item in items if item.name in (_GENRE, _NUMBER)]
    freeform = [item for item in items if item.name == _FREEFORM and _is_genre_list(stream, item)]
    return _Items(path, genres, freeform)


def _children(stream: BinaryIO, parent: _Atom) -> Iterator[_Atom]:
    start = parent.content
    # ISO has version and flags before the children of meta, QuickTime has not.
    if parent.name == b"meta" and read_at(stream, start, min(8, parent.stop - start))[4:] != b"hdlr":
        start += 4
    return _atoms(stream, start, parent.stop)


def _atoms(stream: BinaryIO, start: int, end: int) -> Iterator[_Atom]:
    """Yield the atoms between two offsets; a size of zero ends a user data list, or reaches to the end."""
    while start + 8 <= end:
        head = read_at(stream, start, 8)
        size, name, content = int.from_bytes(head[:4]), head[4:], start + 8
        if size == 1:
            size, content = int.from_bytes(read_at(stream, start + 8, 8)), start + 16
        elif size == 0:
            if end != file_size(stream):
                return
            size = end - start
        if start + size < content or start + size > end:
            raise LayoutError(f"its atom {name.decode('latin-1')!r} has an impossible size")
        yield _Atom(name, start, content, start + size)
        start += size


def _values(stream: BinaryIO, item: _Atom) -> Iterator[str]:
    """Yield the values of a genre item; one that is damaged has none."""
    from mutagen.id3 import TCON

    try:
        parts = list(_atoms(stream, item.content, item.stop))
    except LayoutError:
        return
    for part in parts:
        size = part.stop - part.content - 8
        if part.name != b"data" or not 0 <= size <= _MAX_ITEM_BYTES:
            continue
        content = read_at(stream, part.content, size + 8)
        kind, value = int.from_bytes(content[1:4]), content[8:]
        if item.name == _NUMBER:
            number = int.from_bytes(value) - 1
            if len(value) == 2 and 0 <= number < len(TCON.GENRES):
                yield TCON.GENRES[number]
        else:
            yield value.decode("utf-16-be" if kind == _UTF16 else "utf8", "replace")


def _is_genre_list(stream: BinaryIO, item: _Atom) -> bool:
    head = read_at(stream, item.content, min(item.stop - item.content, 128))
    prefix = _atom(b"mean", bytes(4) + b"com.apple.iTunes") + _atom(b"name", bytes(4) + b"GENRE")
    return head.startswith(prefix)


def _seconds(stream: BinaryIO, moov: _Atom) -> float:
    for atom in _children(stream, moov):
        if atom.name == b"mvhd":
            content = read_at(stream, atom.content, min(32, atom.stop - atom.content))
            wide = content[:1] == b"\1"
            scale = int.from_bytes(content[20:24] if wide else content[12:16])
            return int.from_bytes(content[24:32] if wide else content[16:20]) / scale if scale else 0.0
    return 0.0


def _atom(name: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4) + name + content


def _data(text: str) -> bytes:
    return _atom(b"data", b"\0\0\0\1" + bytes(4) + text.encode())


def _handler() -> bytes:
    return _atom(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))


def _resized(stream: BinaryIO, path: list[_Atom], grown: int) -> list[Edit]:
    """Return the edits that follow from a change of size within the last atom of a path."""
    if not grown:
        return []
    edits: list[Edit] = []
    parents: list[_Atom | None] = [None, *path[:-1]]
    for parent, atom in zip(reversed(parents), reversed(path), strict=True):
        edits += _with_size(stream, atom, grown)
        siblings = _atoms(stream, 0, file_size(stream)) if parent is None else _children(stream, parent)
        following = next((other for other in siblings if other.start == atom.stop), None)
        if following is None or following.name not in (b"free", b"skip"):
            continue
        free = following.stop - following.content - grown
        if following.content == following.start + 8 and free >= 0:
            edits.append(Edit(following.start, following.start + 4, (8 + free).to_bytes(4)))
            stop = following.content + max(grown, 0)
            edits.append(Edit(following.content, stop, bytes(max(-grown, 0))))
            return edits
    return edits + list(_moved_offsets(stream, path[-1].stop, grown))


def _with_size(stream: BinaryIO, atom: _Atom, grown: int) -> list[Edit]:
    size = atom.stop - atom.start + grown
    if atom.content == atom.start + 16:
        return [Edit(atom.start + 8, atom.start + 16, size.to_bytes(8))]
    if read_at(stream, atom.start, 4) == bytes(4):
        return []  # It reaches to the end of the file, whatever its size.
    return [Edit(atom.start, atom.start + 4, size.to_bytes(4))]


def _moved_offsets(stream: BinaryIO, place: int, shift: int) -> Iterator[Edit]:
    """Yield new offset tables for a file that moves by ``shift`` bytes from ``place`` on."""
    for atom in _all_atoms(stream, 0, file_size(stream)):
        if atom.name in (b"stco", b"co64"):
            yield _moved_table(stream, atom, place, shift)
        elif atom.name == b"tfhd":
            head = read_at(stream, atom.content, 16) if atom.stop - atom.content >= 16 else bytes(16)
            offset = int.from_bytes(head[8:])
            if head[3] & 1 and offset >= place:
                yield Edit(atom.content + 8, atom.content + 16, (offset + shift).to_bytes(8))
        elif atom.name == b"tfra":
            yield _moved_random_access(stream, atom, place, shift)
        elif atom.name in (b"saio", b"iloc"):
            raise LayoutError(
                f"the offsets in its atom {atom.name.decode()!r} cannot be moved, and there is no free space",
                "write it anew with free space, for example with a tag editor; it was not changed",
            )


def _all_atoms(stream: BinaryIO, start: int, end: int) -> Iterator[_Atom]:
    for atom in _atoms(stream, start, end):
        yield atom
        if atom.name in _PARENTS:
            yield from _all_atoms(stream, atom.content, atom.stop)


def _moved_table(stream: BinaryIO, atom: _Atom, place: int, shift: int) -> Edit:
    width = 4 if atom.name == b"stco" else 8
    count = int.from_bytes(read_at(stream, atom.content + 4, 4))
    start = atom.content + 8
    if start + count * width > atom.stop:
        raise LayoutError("its table of offsets is longer than its atom")
    offsets = np.frombuffer(read_at(stream, start, count * width), f">u{width}").astype(np.uint64)
    moved = np.where(offsets >= place, offsets + np.uint64(shift % (1 << 64)), offsets)
    if width == 4 and count and moved.max() >= 1 << 32:
        raise LayoutError("its sound would move beyond 4 GB, where its table of offsets does not reach")
    return Edit(start, start + count * width, moved.astype(f">u{width}").tobytes())


def _moved_random_access(stream: BinaryIO, atom: _Atom, place: int, shift: int) -> Edit:
    content = bytearray(read_at(stream, atom.content, atom.stop - atom.content))
    width = 8 if content[0] == 1 else 4
    sizes, count = content[11], int.from_bytes(content[12:16])
    step = 2 * width + 3 + (sizes >> 4 & 3) + (sizes >> 2 & 3) + (sizes & 3)
    for entry in range(16, 16 + count * step, step):
        offset = int.from_bytes(content[entry + width : entry + 2 * width])
        if offset >= place:
            content[entry + width : entry + 2 * width] = (offset + shift).to_bytes(width)
    return Edit(atom.content, atom.stop, bytes(content))
