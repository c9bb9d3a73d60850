"""Writing genres into audio files: previewed, written whole or not at all, and undone.

mutagen (the extra ``tags``) knows the formats; a changed copy takes the place of the file only when it is
complete, reads back as asked and is on the disk.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal

from genrescope.errors import AudioError, GenrescopeError, TagError, write_failed
from genrescope.labels import label_key
from genrescope.tagging import delta, formats
from genrescope.tagging.edits import REPAIR
from genrescope.tagging.formats import CHOOSE_OTHERS, TaggedFile
from genrescope.tagging.id3v2 import normalize_name
from genrescope.utils import replacing, sha256_file

UndoStatus = Literal["restored", "reverted", "kept", "unchanged"]
StrPath = str | os.PathLike[str]

# Lengths are estimates in some formats; they must not move when tags do.
_LENGTH_SECONDS = 0.05


@dataclass(frozen=True)
class TagChangePreview:
    """What writing would change in a file.

    Attributes
    ----------
    path : str
    before, after : tuple of str
        Genres.
    links : int
        How many names (hard links) the file has: where there are several, only this one gets the genres.
    """

    path: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    links: int = 1


@dataclass(frozen=True)
class TagChange:
    """What was changed in a file, and the way back.

    Attributes
    ----------
    path : str
        Absolute.
    time : str
        ISO 8601, in UTC.
    before, after : tuple of str
        Genres.
    mtime_before : int
        Nanoseconds.
    patch : Delta
        From the file as it was left to the file as it was found.
    """

    path: str
    time: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    mtime_before: int
    patch: delta.Delta

    def to_dict(self) -> dict[str, Any]:
        """Return the change as a JSON-ready mapping; `from_dict` reads it."""
        row = asdict(self)
        data = self.patch.data
        row |= {"before": list(self.before), "after": list(self.after)}
        row["patch"]["data"] = None if data is None else base64.b64encode(data).decode("ascii")
        return row

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> TagChange:
        """Build a change from the ``row`` that `to_dict` returned, or version 0.1 wrote into a journal."""
        data = row["patch"]["data"]
        back = delta.Delta(**{**row["patch"], "data": None if data is None else base64.b64decode(data)})
        before, after = tuple(row["before"]), tuple(row["after"])
        return cls(**{**row, "before": before, "after": after, "patch": back})


@dataclass(frozen=True)
class UndoResult:
    """What became of an undo.

    Attributes
    ----------
    status : {"restored", "reverted", "kept", "unchanged"}
        ``restored``: the file is again what it was, byte for byte. ``reverted``: it was edited since, or
        differed too much; the old genres stand in it again. ``kept``: someone has chosen other genres since,
        and they stay. ``unchanged``: there was nothing to undo.
    genres : tuple of str
        Of the file now.
    """

    status: UndoStatus
    genres: tuple[str, ...]


def read_genres(path: StrPath) -> tuple[str, ...]:
    """Return the genres in a file's tags, in their order.

    Parameters
    ----------
    path : path
        Of an audio file.

    Raises
    ------
    AudioError
        ``audio_missing``, ``audio_permission_denied``.
    TagError
        ``tags_unsupported``, ``tags_corrupt``.
    GenrescopeError
        ``missing_dependency``.
    """
    return _opened(Path(path)).genres


def preview(
    path: StrPath, genres: Sequence[str], *, overwrite: bool = False, placeholders: Sequence[str] = ()
) -> TagChangePreview | None:
    """Say what `write_genres` would change; None where nothing is to be done.

    Parameters
    ----------
    path : path
        Of an audio file.
    genres : sequence of str
        What is to stand in it; an empty sequence changes nothing.
    overwrite : bool
        Replace genres that the file has already, which otherwise stay.
    placeholders : sequence of str
        Words that are no genres, such as ``Other`` and ``Unknown``: a file that has nothing else counts as
        one without genres. Case, spaces and punctuation do not count.

    Raises
    ------
    AudioError, TagError, GenrescopeError
        As of `read_genres`.
    """
    before, after = read_genres(path), tuple(genres)
    words = {label_key(word) for word in placeholders}
    is_chosen = any(label_key(genre) not in words for genre in before)
    if not after or before == after or (is_chosen and not overwrite):
        return None
    return TagChangePreview(os.fspath(path), before, after, _status(Path(path)).st_nlink)


def write_genres(
    path: StrPath,
    genres: Sequence[str],
    *,
    keep_mtime: bool = False,
    journal: Callable[[TagChange], object] | None = None,
) -> TagChange:
    """Write genres into a file in place of those that it has; an empty sequence takes them out.

    Sound, and all other tags, stay as they are.

    Parameters
    ----------
    path : path
    genres : sequence of str
        In the order in which they are to stand.
    keep_mtime : bool
        Let the file keep its time of modification.
    journal : callable, optional
        Is given the change when it is ready, just before it happens: what it has stored, a kill cannot make
        unknown. Where it raises, nothing happens.

    Raises
    ------
    AudioError, TagError, GenrescopeError
        As of `read_genres`; ``tags_not_representable``: the format cannot hold these genres;
        ``write_failed``, ``file_changed``: see `genrescope.utils.replacing`. The file is left as it was.
    """
    path, after = Path(path), tuple(genres)
    try:
        "".join(after).encode()
    except UnicodeEncodeError:
        raise TagError(
            "tags_not_representable", f"{path}: the genres {short(after)} are not Unicode", CHOOSE_OTHERS
        ) from None
    kind, mtime = _opened(path).kind, _status(path).st_mtime_ns
    with replacing(path, mtime_ns=mtime if keep_mtime else None) as temporary:
        tagged = formats.open_tagged(path, kind=kind)
        tagged.write_copy(after, temporary)
        _check(formats.open_tagged(temporary, kind=kind, name=path), tagged, after, path)
        change = TagChange(
            path=str(path.absolute()),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            before=tagged.genres,
            after=after,
            mtime_before=mtime,
            patch=delta.create_delta(path, temporary),
        )
        if journal is not None:
            journal(change)
    return change


def undo(change: TagChange, *, keep_mtime: bool = False, path: StrPath | None = None) -> UndoResult:
    """Take a change back. Of several changes to a file, begin with the latest.

    Parameters
    ----------
    change : TagChange
    keep_mtime : bool
        Bring the old time of modification back along with the old bytes; where only genres are brought back,
        let the file keep its present one.
    path : path, optional
        Where the file lies by now, if it was moved.

    Raises
    ------
    AudioError, TagError, GenrescopeError
        As of `write_genres`. The file is left as it is.
    """
    path = Path(change.path if path is None else path)
    tagged = _opened(path)
    try:
        digest = sha256_file(path)
    except OSError as reason:
        raise _unreadable(path, reason) from None
    if digest == change.patch.old:
        return UndoResult("unchanged", change.before)
    if digest == change.patch.new and change.patch.data is not None:
        with replacing(path, mtime_ns=change.mtime_before if keep_mtime else None) as temporary:
            delta.apply_delta(change.patch, path, temporary)
        return UndoResult("restored", change.before)
    if tagged.genres == change.before:
        return UndoResult("unchanged", tagged.genres)
    # Programs that save a tag anew may join or divide several genres in their own way.
    if normalize_name("".join(tagged.genres)) != normalize_name("".join(change.after)):
        return UndoResult("kept", tagged.genres)
    write_genres(path, change.before, keep_mtime=keep_mtime)
    return UndoResult("reverted", change.before)


def _opened(path: Path) -> TaggedFile:
    if not path.is_file():
        raise _missing(path)
    if not os.access(path, os.R_OK):
        raise AudioError(
            "audio_permission_denied", f"{path}: may not be read", "ask for the right to read it (chmod u+r)"
        )
    return formats.open_tagged(path)


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as reason:
        raise _unreadable(path, reason) from None


def _unreadable(path: Path, reason: OSError) -> GenrescopeError:
    """Build the error for a file that was there a moment ago."""
    return _missing(path) if isinstance(reason, FileNotFoundError) else write_failed(path, reason)


def _missing(path: Path) -> AudioError:
    return AudioError(
        "audio_missing", f"{path}: no such file", "check the spelling, and that the disk is mounted"
    )


def _check(new: TaggedFile, old: TaggedFile, genres: tuple[str, ...], path: Path) -> None:
    """Refuse a changed copy from which other genres are read, or which is no longer as long."""
    if new.genres != genres:
        raise TagError(
            "tags_corrupt",
            f"{path}: its tags are damaged, or there are several that contradict each other: genres written "
            f"into them would read {short(new.genres)}",
            REPAIR,
        )
    if abs(new.seconds - old.seconds) > _LENGTH_SECONDS:
        raise TagError(
            "tags_corrupt",
            f"{path}: it would be {new.seconds:.2f} s long with other tags, not {old.seconds:.2f} s",
            "its headers contradict each other: convert it or copy it again; it was not changed",
        )
