"""Where each format keeps its genres, and how several of them stand there.

mutagen recognizes files and reads their tags. Writing is done by edits of the bytes that hold the genre
(`genrescope.tagging.edits`), because every other byte of the tags is to survive.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from reprlib import repr as short
from typing import Any, BinaryIO, Final

from genrescope.errors import GenrescopeError, TagError, missing_extra, write_failed
from genrescope.tagging import chunks, id3v2, mp4, ogg, vorbis
from genrescope.tagging.edits import REPAIR, Edit, LayoutError, write_edited

SUPPORTED: Final = "mp3, flac, ogg, opus, m4a, mp4, aiff, wav"
CHOOSE_OTHERS: Final = (
    "choose other words: none empty, none twice, no number alone, and in ID3v2.3 no semicolon"
)

# The classes of `mutagen.File`, by their modules.
_KINDS = {
    **{"aac": "AAC", "ac3": "AC3", "aiff": "AIFF", "apev2": "APEv2File", "asf": "ASF", "dsdiff": "DSDIFF"},
    **{"dsf": "DSF", "flac": "FLAC", "id3": "ID3FileType", "monkeysaudio": "MonkeysAudio", "mp3": "MP3"},
    **{"mp4": "MP4", "musepack": "Musepack", "oggflac": "OggFLAC", "oggopus": "OggOpus"},
    **{"oggspeex": "OggSpeex", "oggtheora": "OggTheora", "oggvorbis": "OggVorbis"},
    **{"optimfrog": "OptimFROG", "smf": "SMF", "tak": "TAK", "trueaudio": "TrueAudio", "wave": "WAVE"},
    **{"wavpack": "WavPack"},
}


@dataclass(frozen=True)
class _Content:
    """What is read of a file: genres as they stand there, length, and the version of ID3, 0 without it."""

    genres: list[str]
    seconds: float
    id3_version: int = 0


@dataclass(frozen=True)
class _Container:
    """How a family of formats is read, and which edits change its genres."""

    read: Callable[[type[Any], Path], _Content]
    edits: Callable[[BinaryIO, tuple[str, ...]], list[Edit]]


class TaggedFile:
    """An audio file with its tags.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        mutagen's class for its format.
    name : Path
        How to call the file in messages.

    Attributes
    ----------
    genres : tuple of str
        As they stand in the file, in its order; empty where it has none.
    seconds : float
        Length, as the format's header has it.
    """

    def __init__(self, path: Path, kind: type[Any], name: Path) -> None:
        self._path, self._name, self._container = path, name, _containers()[kind.__name__]
        content = self._container.read(kind, path)
        self.kind = kind
        self.genres = _normalized(content.genres)
        self.seconds = content.seconds
        self._id3_version = content.id3_version

    def write_copy(self, genres: tuple[str, ...], target: Path) -> None:
        """Write a copy of the file with other genres, in which every other byte of the tags is the same.

        Parameters
        ----------
        genres : tuple of str
            Empty: without a genre.
        target : Path
            The copy; an existing file is overwritten.

        Raises
        ------
        TagError
            ``tags_not_representable``: the format would give other genres back. ``tags_corrupt``: the file
            is damaged, or built in a way that does not allow the change.
        GenrescopeError
            ``write_failed``.
        """
        with _translated(self._name):
            found = _readable(genres, self._id3_version)
            if found != genres:
                raise TagError(
                    "tags_not_representable",
                    f"{self._name}: its format cannot hold the genres {short(genres)}: they would read "
                    f"{short(found)}",
                    CHOOSE_OTHERS,
                )
            with self._path.open("rb") as stream:
                write_edited(stream, target, self._container.edits(stream, genres))


def open_tagged(path: Path, *, kind: type[Any] | None = None, name: Path | None = None) -> TaggedFile:
    """Open a file of any supported format.

    Parameters
    ----------
    path : Path
        The file.
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
    """Return mutagen's class for a file, chosen as `mutagen.File` does, but without reading its tags.

    Reading them all fails where one is damaged, even one that is of no concern here.
    """
    with path.open("rb") as stream:
        head = stream.read(128)
        ranked = [(kind.score(str(path), stream, head), kind.__name__, kind) for kind in _known_kinds()]
    score, name, best = max(ranked, key=lambda candidate: candidate[:2])
    known = score > 0 and not head.startswith(b"RF64")
    if not known or name not in _containers():
        raise TagError(
            "tags_unsupported",
            f"{path}: genres are not written into {f'{name} files' if known else 'this kind of file'}",
            f"formats that can have them: {SUPPORTED}",
        )
    return best


def _known_kinds() -> Iterator[type[Any]]:
    """Yield the formats that mutagen tells apart, those included that are not supported here."""
    for module, name in _KINDS.items():
        yield getattr(import_module(f"mutagen.{module}"), name)


def require_mutagen() -> None:
    """Check that tags can be read, before the first of many files.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: mutagen is not installed.
    """
    try:
        import mutagen  # noqa: F401
    except ModuleNotFoundError:
        raise missing_extra("tags", "mutagen") from None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise errors of parsers, of mutagen and of the disk below them as errors of this package."""
    require_mutagen()
    import mutagen

    try:
        yield
    except GenrescopeError:
        raise
    except OSError as reason:
        raise write_failed(path, reason) from None
    except LayoutError as damage:
        raise TagError("tags_corrupt", f"{path}: {damage.reason}", damage.hint) from None
    # Damaged files make mutagen raise undocumented errors: struct.error, AssertionError, MemoryError.
    except Exception as failure:
        below = next(iter(failure.args), None) if isinstance(failure, mutagen.MutagenError) else None
        # EINVAL is a seek to where a damaged file has no bytes.
        if isinstance(below, OSError) and below.errno not in (None, errno.EINVAL):
            raise write_failed(path, below) from None
        what = f"its tags cannot be read or written: {failure or type(failure).__name__}"
        raise TagError("tags_corrupt", f"{path}: {what}", REPAIR) from None


def _containers() -> dict[str, _Container]:
    return {
        "MP3": _Container(_read_id3, id3v2.mp3_edits),
        "WAVE": _Container(_read_wave, partial(chunks.chunk_edits, dialect=chunks.WAVE)),
        "AIFF": _Container(_read_id3, partial(chunks.chunk_edits, dialect=chunks.AIFF)),
        "FLAC": _Container(_read_flac, vorbis.flac_edits),
        **{kind: _Container(_read_comments, partial(ogg.ogg_edits, kind=kind)) for kind in ogg.MARKS},
        "MP4": _Container(_read_mp4, mp4.mp4_edits),
    }


def _read_comments(kind: type[Any], path: Path) -> _Content:
    file = kind(path)
    return _Content((file.tags or {}).get("genre", []), float(file.info.length))


def _read_id3(kind: type[Any], path: Path) -> _Content:
    file = kind(path, translate=False, load_v1=False)
    if file.tags is None:
        file = kind(path)  # an ID3v1 tag alone
    version = 4 if file.tags is None or file.tags.version < (2,) else file.tags.version[1]
    return _Content(_id3_genres(file.tags, version), float(file.info.length), version)


def _read_wave(kind: type[Any], path: Path) -> _Content:
    """Read the genres of the ID3 chunk, or else the one of the INFO list, which is read but not written."""
    content = _read_id3(kind, path)
    if not content.genres:
        with path.open("rb") as stream:
            content.genres.extend(chunks.info_genre(stream))
    return content


def _read_flac(_: type[Any], path: Path) -> _Content:
    with path.open("rb") as stream:
        return _Content(*vorbis.read_flac(stream))


def _read_mp4(_: type[Any], path: Path) -> _Content:
    with path.open("rb") as stream:
        return _Content(*mp4.read(stream))


def _id3_genres(tags: Any, version: int) -> list[str]:
    names = [] if tags is None else [name for frame in tags.getall("TCON") for name in frame.genres]
    if version < 4:
        return [word for name in names for word in name.split(id3v2.SEPARATOR.strip())]
    return names


def _readable(genres: tuple[str, ...], id3_version: int) -> tuple[str, ...]:
    """Return what would be read of genres in a file of this kind: in ID3, "17" means Rock."""
    names = list(genres)
    if id3_version:
        from mutagen import id3

        load: Callable[..., Any] = id3.ID3
        tag = id3v2.with_genres(id3v2.empty_tag(id3_version), genres)
        names = _id3_genres(load(BytesIO(tag), translate=False, load_v1=False), id3_version)
    return _normalized(names)


def _normalized(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for name in names if (word := name.strip(" \0"))))
