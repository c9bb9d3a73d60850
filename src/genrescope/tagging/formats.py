"""Where each format keeps its genres, and how several of them stand there.

Everything else in a file's tags is left as it is. Reading and writing is mutagen's.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from genrescope.errors import GenrescopeError, TagError, missing_extra, write_failed

SUPPORTED: Final = "mp3, flac, ogg, opus, m4a, mp4, aiff, wav"

# ID3v2.3 has no several values: one text, and the separator that Picard's guide recommends.
ID3V23_SEPARATOR: Final = "; "

# Mp3tag and foobar2000 keep several genres of an MP4 file here (mutagen issue 551).
_MP4_FREEFORM = "----:com.apple.iTunes:GENRE"
_MP4_GENRE = "\xa9gen"
_ID3V1_BYTES = 128


@dataclass(frozen=True)
class _Container:
    """How a family of formats is opened, read, changed and saved."""

    load: Callable[[type[Any], Path], Any]
    get: Callable[[Any], list[str]]
    put: Callable[[Any, tuple[str, ...]], None]
    save: Callable[[Any, Path], None]


class TaggedFile:
    """An audio file with its tags, opened with mutagen.

    Attributes
    ----------
    genres : tuple of str
        As they stand in the file, in its order; empty where it has none.
    seconds : float
        Length, as the format's header has it.
    """

    def __init__(self, path: Path, kind: type[Any], name: Path) -> None:
        self._path, self._name, self._container = path, name, _containers()[kind.__name__]
        self._file = self._container.load(kind, path)
        found = self._container.get(self._file)
        self.kind = kind
        self.genres = tuple(dict.fromkeys(word for name in found if (word := name.strip(" \0"))))
        self.seconds = float(self._file.info.length)

    def save(self, genres: tuple[str, ...]) -> None:
        """Write other genres into the file, in place.

        Raises
        ------
        TagError
            ``tags_corrupt``.
        GenrescopeError
            ``write_failed``.
        """
        with _translated(self._name):
            if self._file.tags is None:
                if not genres:
                    return
                self._file.add_tags()
            self._container.put(self._file, genres)
            self._container.save(self._file, self._path)


def open_tagged(path: Path, *, kind: type[Any] | None = None, name: Path | None = None) -> TaggedFile:
    """Open a file of any supported format.

    Parameters
    ----------
    path : Path
    kind : type, optional
        Of a file opened before, for a copy of it under another name.
    name : Path, optional
        How to call the file in messages.

    Raises
    ------
    TagError
        ``tags_unsupported``, ``tags_corrupt``.
    GenrescopeError
        ``missing_dependency``: mutagen is not installed; ``write_failed``: the file cannot be opened.
    """
    name = name or path
    with _translated(name):
        return TaggedFile(path, kind or _kind(path), name)


def _kind(path: Path) -> type[Any]:
    import mutagen

    with path.open("rb") as stream:
        large_wave = stream.read(4) == b"RF64"
    file = None if large_wave else mutagen.File(path)
    if type(file).__name__ not in _containers():
        what = "this kind of file" if file is None else f"{type(file).__name__} files"
        raise TagError(
            "tags_unsupported",
            f"{path}: genres are not written into {what}",
            f"formats that can have them: {SUPPORTED}",
        )
    return type(file)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise mutagen's errors, and those of the disk below them, as errors of this package."""
    try:
        import mutagen
    except ModuleNotFoundError:
        raise missing_extra("tags", "mutagen") from None
    try:
        yield
    except GenrescopeError:
        raise
    except OSError as reason:
        raise write_failed(path, reason) from None
    # Damaged files make mutagen raise undocumented errors: struct.error, AssertionError, MemoryError.
    except Exception as failure:
        below = next(iter(failure.args), None) if isinstance(failure, mutagen.MutagenError) else None
        # EINVAL is a seek to where a damaged file has no bytes.
        if isinstance(below, OSError) and below.errno not in (None, errno.EINVAL):
            raise write_failed(path, below) from None
        raise TagError(
            "tags_corrupt",
            f"{path}: its tags cannot be read or written: {failure or type(failure).__name__}",
            "repair the file with a tag editor, or copy it again; it was not changed",
        ) from None


def _containers() -> dict[str, _Container]:
    plain = _Container(lambda kind, path: kind(path), _comments, _put_comments, lambda file, _: file.save())
    id3 = _Container(_load_id3, _id3_genres, _put_id3, _save_id3)
    mp3 = _Container(_load_id3, _id3_genres, _put_id3, _save_mp3)
    wave = _Container(_load_id3, _wave_genres, _put_id3, _save_id3)
    mp4 = _Container(plain.load, _mp4_genres, _put_mp4, plain.save)
    vorbis = dict.fromkeys(("FLAC", "OggVorbis", "OggOpus", "OggFLAC"), plain)
    return {**vorbis, "MP3": mp3, "AIFF": id3, "WAVE": wave, "MP4": mp4}


def _comments(file: Any) -> list[str]:
    return list((file.tags or {}).get("genre", []))


def _put_comments(file: Any, genres: tuple[str, ...]) -> None:
    if "genre" in file.tags:
        del file.tags["genre"]
    if genres:
        file.tags["GENRE"] = list(genres)


def _load_id3(kind: type[Any], path: Path) -> Any:
    """Open a file with ID3 tags so that saving keeps their version and all frames that are not ours."""
    file = kind(path, translate=False, load_v1=False)
    if file.tags is None:
        # An ID3v1 tag alone: a 2.4 tag joins it, with all that it says.
        file = kind(path)
    elif file.tags.version < (2, 3, 0):
        # Nothing writes 2.2 any more; 2.3 is the nearest.
        file = kind(path, v2_version=3, load_v1=False)
    return file


def _id3_version(file: Any) -> int:
    version: tuple[int, ...] = file.tags.version
    return 3 if (2, 0, 0) <= version < (2, 4, 0) else 4


def _id3_genres(file: Any) -> list[str]:
    if file.tags is None:
        return []
    names = [name for frame in file.tags.getall("TCON") for name in frame.genres]
    if _id3_version(file) == 3:
        return [word for name in names for word in name.split(ID3V23_SEPARATOR.strip())]
    return names


def _wave_genres(file: Any) -> list[str]:
    """Return the genres of the ID3 chunk, or else the one of the INFO list, which is read but not written."""
    return _id3_genres(file) or _info_genre(Path(file.filename))


def _info_genre(path: Path) -> list[str]:
    with path.open("rb") as stream:
        for name, size in _riff_chunks(stream, 12, path.stat().st_size):
            start = stream.tell()
            if name == b"LIST" and stream.read(4) == b"INFO":
                for entry, length in _riff_chunks(stream, start + 4, start + size):
                    if entry == b"IGNR":
                        return [stream.read(length).split(b"\0")[0].decode("utf8", "replace")]
    return []


def _riff_chunks(stream: BufferedReader, start: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Yield name and size of the chunks between two places, with the stream at the content of each."""
    while start + 8 <= end:
        stream.seek(start)
        head = stream.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], "little")
        yield head[:4], size
        start += 8 + size + size % 2


def _put_id3(file: Any, genres: tuple[str, ...]) -> None:
    from mutagen import id3

    file.tags.delall("TCON")
    if not genres:
        return
    # An opening parenthesis starts a reference by number; doubled, it is itself.
    texts = [f"({name}" if name.startswith("(") else name for name in genres]
    encoding = id3.Encoding.UTF8
    if _id3_version(file) == 3:
        texts = [ID3V23_SEPARATOR.join(texts)]
        encoding = id3.Encoding.LATIN1 if texts[0].isascii() else id3.Encoding.UTF16
    frame: Callable[..., Any] = id3.TCON
    file.tags.add(frame(encoding=encoding, text=texts))


def _save_id3(file: Any, path: Path) -> None:
    # None: other texts of several values keep them, where mutagen would join them with "/".
    file.save(path, v2_version=_id3_version(file), v23_sep=None)


def _save_mp3(file: Any, path: Path) -> None:
    """Save ID3v2; of an ID3v1 tag change the genre only, where mutagen would write it anew."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _ID3V1_BYTES))
        tail = stream.read(_ID3V1_BYTES)
    _save_id3(file, path)
    if tail.startswith(b"TAG"):
        with path.open("r+b") as stream:
            stream.seek(-_ID3V1_BYTES, 2)
            stream.write(tail[:-1] + bytes([_id3v1_number(_id3_genres(file))]))


def _id3v1_number(genres: list[str]) -> int:
    """Return the first genre's place in the list of ID3v1; 255, none, where it has no such genre."""
    from mutagen.id3 import TCON

    places = {normalize_name(name): place for place, name in reversed(list(enumerate(TCON.GENRES)))}
    return places.get(normalize_name(genres[0]), 255) if genres else 255


def normalize_name(name: str) -> str:
    """Return what of a name counts when two are compared: "Hip-Hop" is "hip hop"."""
    return "".join(filter(str.isalnum, name.casefold()))


def _mp4_genres(file: Any) -> list[str]:
    tags = file.tags or {}
    names = list(tags.get(_MP4_GENRE, []))
    # A freeform list beside it says what the one standard genre of other programs has no room for.
    more = [bytes(value).decode("utf8", "replace") for value in tags.get(_MP4_FREEFORM, [])]
    return names + [name for name in more if name not in names]


def _put_mp4(file: Any, genres: tuple[str, ...]) -> None:
    from mutagen import mp4

    value: Callable[..., Any] = mp4.MP4FreeForm
    freeform = _MP4_FREEFORM in file.tags
    for key in (_MP4_GENRE, _MP4_FREEFORM):
        file.tags.pop(key, None)
    if genres:
        file.tags[_MP4_GENRE] = list(genres)
        if freeform:
            file.tags[_MP4_FREEFORM] = [value(name.encode()) for name in genres]
