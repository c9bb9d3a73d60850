"""Writing the genres of a library into its files, and undoing that, with a journal in the database."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from genrescope import tagging, utils
from genrescope.errors import AudioError, GenrescopeError, LibraryError, TagError, write_failed
from genrescope.library.database import Database, JournalEntry
from genrescope.library.records import LibraryEntry
from genrescope.tagging import TagChange, TagChangePreview, UndoResult

TagStatus = Literal[
    "changed", "kept", "same", "unsure", "not music", "no genre", "no album", "not classified", "failed"
]


class TagResult(NamedTuple):
    """What becomes of the genres in a file.

    Attributes
    ----------
    path : str
        Of the file.
    plan : TagChangePreview or None
        The genres before and after.
    change : TagChange or None
        What was written, once it was.
    error : GenrescopeError or None
        Why the file cannot be changed.
    status : str
        ``changed``: written, or to be written. Left as they are: ``kept``, files with another genre already;
        ``same``, files with just these genres; ``unsure``; ``not music``; ``no genre``, because no score
        reaches the threshold or the vocabulary has no word; ``no album``, of no album with a genre, where
        albums decide; ``not classified``, because the scan failed. ``failed``: see ``error``.
    """

    path: str
    plan: TagChangePreview | None = None
    change: TagChange | None = None
    error: GenrescopeError | None = None
    status: TagStatus = "changed"


class UntagResult(NamedTuple):
    """What became of undoing a change to the file at ``path``: what was ``done``, or the ``error``."""

    path: str
    done: UndoResult | None = None
    error: GenrescopeError | None = None


def write_tags(
    database: Database,
    wanted: Iterable[tuple[LibraryEntry, list[str] | TagStatus]],
    *,
    write: bool,
    overwrite: bool,
    keep_mtime: bool,
    placeholders: Sequence[str] = (),
    every: bool = False,
    folder: Path | None = None,
) -> Iterator[TagResult]:
    """Yield what changes in the files that are to have genres, and on request what does not.

    Before files are written, copies that a killed run left beside files of the library are removed.

    Parameters
    ----------
    database : Database
        Its journal gets each change before the file is changed.
    wanted : iterable of (LibraryEntry, list of str or str)
        Files, and the genres that they are to have, or why they are to have none.
    write : bool
        Change the files, in place of saying only what would change.
    overwrite : bool
        Replace genres that files have already.
    keep_mtime : bool
        Let files keep their time of modification.
    placeholders : sequence of str
        As of `genrescope.tagging.preview`.
    every : bool
        Also yield what becomes of files that stay as they are.
    folder : Path, optional
        Remove copies beside files in this folder only.
    """
    if write:
        _remove_stale_copies(database, folder)
    for entry, genres in wanted:
        if isinstance(genres, str):
            if every:
                yield TagResult(entry.path, status=genres)
            continue
        try:
            plan = tagging.preview(entry.path, genres, overwrite=overwrite, placeholders=placeholders)
            if plan is None:
                if every:
                    same = tagging.read_genres(entry.path) == tuple(genres)
                    yield TagResult(entry.path, status="same" if same else "kept")
                continue
            _check_unchanged(entry)
            change = _write(database, plan, keep_mtime) if write else None
        except LibraryError:  # Without a journal no further file may be written.
            raise
        except GenrescopeError as failure:
            yield TagResult(entry.path, error=failure, status="failed")
        else:
            yield TagResult(entry.path, plan, change)


def _check_unchanged(entry: LibraryEntry) -> None:
    """Refuse a file that is no longer the one that was analyzed."""
    status = _status(entry.path)
    if (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime_ns):
        raise TagError(
            "file_changed", f"{entry.path}: it has changed since it was scanned", "scan it again, then tag"
        )


def _write(database: Database, plan: TagChangePreview, keep_mtime: bool) -> TagChange:
    path = plan.path

    # Called before the file is replaced: a program that is killed in between leaves a journal with a change
    # that did not happen, which undoing recognizes, and never a change without a journal.
    def journal(change: TagChange) -> None:
        database.log_change(path, change)

    change = tagging.write_genres(path, plan.after, keep_mtime=keep_mtime, journal=journal)
    _update_hash(database, path, change.patch.old, change.patch.new)
    return change


def undo_tags(
    database: Database, changes: Iterable[JournalEntry], *, keep_mtime: bool, folder: Path | None = None
) -> Iterator[UntagResult]:
    """Undo changes of the journal; yield what became of each.

    Copies that a killed run left beside files of the library are removed first.

    Parameters
    ----------
    database : Database
        Records what was undone.
    changes : iterable of JournalEntry
        The latest change of a file first.
    keep_mtime : bool
        Bring the old time of modification back too.
    folder : Path, optional
        Remove copies beside files in this folder only.
    """
    _remove_stale_copies(database, folder)
    failed: set[str] = set()
    for number, path, change in changes:
        if path in failed:
            continue  # An older change of a file can be undone only after the later ones.
        if change is None:
            failed.add(path)
            yield UntagResult(path, error=_journal_damaged(path))
            continue
        try:
            done = tagging.undo(change, keep_mtime=keep_mtime, path=path)
        except GenrescopeError as failure:
            failed.add(path)
            yield UntagResult(path, error=failure)
            continue
        # After the file, not before: a program that is killed in between undoes once more, which changes
        # nothing.
        database.mark_undone(number)
        if done.status == "restored":
            _update_hash(database, path, change.patch.new, change.patch.old)
        yield UntagResult(path, done)


def _journal_damaged(path: str) -> LibraryError:
    return LibraryError(
        "library_corrupt",
        f"{path}: what was changed in it cannot be read: its row in the journal is damaged",
        "its genres stay as they are; restore the file from a backup if you want the old ones",
    )


def _update_hash(database: Database, path: str, old: str, new: str) -> None:
    """Record the new content of a file: its sound is the same, so the answer holds and no scan repeats it."""
    try:
        status = _status(path)
    except GenrescopeError:
        return  # It was changed as asked, and has been moved or removed since; the next scan finds out.
    database.update_hash(path, old, new, size=status.st_size, mtime_ns=status.st_mtime_ns)


def _status(path: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        raise AudioError(
            "audio_missing", f"{path}: no such file", "check that the disk is mounted, or scan again"
        ) from None
    except OSError as reason:
        raise write_failed(Path(path), reason) from None


def _remove_stale_copies(database: Database, folder: Path | None) -> None:
    # A copy lies beside the file itself, not beside a link to it.
    paths = database.paths(folder)
    targets = (os.path.realpath(path) if os.path.islink(path) else path for path in paths)  # noqa: PTH114
    utils.remove_stale_copies({Path(path).parent for path in targets})
