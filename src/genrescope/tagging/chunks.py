"""The ID3 chunk of WAV and AIFF files, which are lists of chunks: RIFF and IFF."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

from genrescope.tagging import id3v2
from genrescope.tagging.edits import Edit, LayoutError, file_size, read_at

_MAX_INFO_BYTES = 1 << 16
_REWRITE = "write it anew, for example: ffmpeg -i OLD{0} -c copy NEW{0}; it was not changed"


class _Dialect(NamedTuple):
    """What RIFF and IFF do differently; the first of ``names`` is the one that is written."""

    order: Literal["little", "big"]
    names: tuple[bytes, ...]
    outer: str
    suffix: str


WAVE = _Dialect("little", (b"id3 ", b"ID3 "), "RIFF", ".wav")
AIFF = _Dialect("big", (b"ID3 ",), "FORM", ".aiff")


class _Chunk(NamedTuple):
    name: bytes
    start: int  # of its content
    size: int

    @property
    def stop(self) -> int:
        return self.start + self.size


def chunk_edits(stream: BinaryIO, genres: tuple[str, ...], dialect: _Dialect) -> list[Edit]:
    """Return the edits that give a WAV or AIFF file other genres, in its ID3 chunk.

    Parameters
    ----------
    stream : binary file
    genres : tuple of str
    dialect : WAVE or AIFF

    Raises
    ------
    LayoutError
        The file is cut short, or its header states a wrong size; or as of `id3v2.with_genres`.
    """
    end = _checked_end(stream, dialect)
    chunks = list(_chunks(stream, 12, end, dialect.order))
    found = next((chunk for chunk in chunks if chunk.name in dialect.names), None)
    # The zero byte after a chunk of odd size may be missing at the end of the file.
    missing = max((chunk.stop + chunk.size % 2 for chunk in chunks), default=12) - end
    if found is None:
        if not genres:
            return []
        new = id3v2.with_genres(id3v2.empty_tag(), genres)
        start = stop = end
        content = bytes(missing) + dialect.names[0] + len(new).to_bytes(4, dialect.order)
        changed = missing + 8 + len(new) + len(new) % 2
    else:
        old = id3v2.read_tag(stream, found.start) if found.size else id3v2.empty_tag()
        if old is None or (found.size and len(old) > found.size):
            raise LayoutError("its ID3 chunk does not hold a whole ID3v2 tag")
        new = id3v2.with_genres(old, genres)
        new += read_at(stream, found.start + len(old), found.size - len(old)) if found.size else b""
        start, stop = found.start - 4, min(found.stop + found.size % 2, end)
        content = len(new).to_bytes(4, dialect.order)
        changed = 4 + len(new) + len(new) % 2 - (stop - start)
    edits = [Edit(start, stop, content + new + bytes(len(new) % 2))]
    if changed:
        total = end + changed - 8
        if total >= 1 << 32:
            raise LayoutError(f"with other tags it would be larger than a {dialect.outer} file may be (4 GB)")
        edits.append(Edit(4, 8, total.to_bytes(4, dialect.order)))
    return edits


def info_genre(stream: BinaryIO) -> list[str]:
    """Return the genre of the INFO list of a WAV file, if it has one.

    Parameters
    ----------
    stream : binary file
    """
    for chunk in _chunks(stream, 12, file_size(stream), "little"):
        if chunk.name == b"LIST" and chunk.size >= 4 and read_at(stream, chunk.start, 4) == b"INFO":
            for entry in _chunks(stream, chunk.start + 4, chunk.stop, "little"):
                if entry.name == b"IGNR":
                    stream.seek(entry.start)
                    value = stream.read(min(entry.size, _MAX_INFO_BYTES))
                    return [value.split(b"\0")[0].decode("utf8", "replace")]
    return []


def _chunks(stream: BinaryIO, start: int, end: int, order: Literal["little", "big"]) -> Iterator[_Chunk]:
    """Yield the chunks between two offsets; one that does not fit is the last."""
    end = min(end, file_size(stream))
    while start + 8 <= end:
        head = read_at(stream, start, 8)
        chunk = _Chunk(head[:4], start + 8, int.from_bytes(head[4:], order))
        yield chunk
        start = chunk.stop + chunk.size % 2


def _checked_end(stream: BinaryIO, dialect: _Dialect) -> int:
    """Return where the chunks of a file end; refuse a file whose sizes do not agree with each other."""
    size = file_size(stream)
    stated = 8 + int.from_bytes(read_at(stream, 4, 4), dialect.order)
    end, hint = min(stated, size), _REWRITE.format(dialect.suffix)
    place = 12
    for chunk in _chunks(stream, 12, end, dialect.order):
        name = chunk.name.decode("latin-1").strip()
        if chunk.stop > size:
            raise LayoutError(
                f"it is cut short, or was never finished: its {name!r} chunk states {chunk.size:,} bytes, of "
                f"which {size - chunk.start:,} are there",
                "copy it again from where it came; or, if this is all there is, " + hint,
            )
        if chunk.stop > end:
            raise LayoutError(
                f"the size in its {dialect.outer} header is wrong: {stated:,} bytes, but its {name!r} chunk "
                f"reaches to byte {chunk.stop:,}",
                hint,
            )
        place = chunk.stop + chunk.size % 2
    if place < end:
        raise LayoutError(f"{end - place} bytes after its last chunk are no chunk", hint)
    return end
