"""Genres from a library into its files, and out again: what would change, what did, what failed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from genrescope import tagging
from genrescope.errors import GenrescopeError, TagError
from genrescope.library.database import Database, Row
from genrescope.tagging import TagChange, TagChangePreview, UndoResult


class TagResult(NamedTuple):
    """What is to be changed in a file; ``change`` once it was, ``error`` where it could not be."""

    path: str
    plan: TagChangePreview | None = None
    change: TagChange | None = None
    error: GenrescopeError | None = None


class UntagResult(NamedTuple):
    """What became of taking a change back."""

    path: str
    done: UndoResult | None = None
    error: GenrescopeError | None = None


def tag(
    database: Database,
    wanted: Iterable[tuple[Row, Sequence[str]]],
    *,
    write: bool,
    overwrite: bool,
    keep_mtime: bool,
) -> Iterator[TagResult]:
    """Yield what changes in the files of rows that are to have genres; with ``write``, change it.

    Files where nothing changes are passed over. Each change stands in the journal before it happens.
    """
    for row, genres in wanted:
        path = row["path"]
        try:
            plan = tagging.preview(path, genres, overwrite=overwrite)
            if plan is None:
                continue
            _check_heard(row)
            change = _write(database, plan, keep_mtime) if write else None
            yield TagResult(path, plan, change)
        except GenrescopeError as failure:
            yield TagResult(path, error=failure)


def _check_heard(row: Row) -> None:
    """Refuse a file that is no longer the one that was heard."""
    status = os.stat(row["path"])  # noqa: PTH116
    if (status.st_size, status.st_mtime_ns) != (row["size"], row["mtime_ns"]):
        raise TagError(
            "file_changed", f"{row['path']}: it has changed since it was heard", "scan it again, then tag"
        )


def _write(database: Database, plan: TagChangePreview, keep_mtime: bool) -> TagChange:
    path = plan.path

    def journal(change: TagChange) -> None:
        database.log_change(path, change.row())

    change = tagging.write_genres(path, plan.after, keep_mtime=keep_mtime, journal=journal)
    _settle(database, path, change.patch.old, change.patch.new)
    return change


def untag(
    database: Database, changes: Iterable[tuple[int, str, dict[str, Any]]], *, keep_mtime: bool
) -> Iterator[UntagResult]:
    """Take changes of the journal back, the latest of a file first; yield what became of each."""
    failed: set[str] = set()
    for number, path, written in changes:
        if path in failed:
            continue  # what was changed before can come back only behind it
        change = TagChange.from_row(written)
        try:
            done = tagging.undo(change, keep_mtime=keep_mtime, path=path)
        except GenrescopeError as failure:
            failed.add(path)
            yield UntagResult(path, error=failure)
            continue
        database.mark_undone(number)
        if done.how == "bytes":
            _settle(database, path, change.patch.new, change.patch.old)
        yield UntagResult(path, done)


def _settle(database: Database, path: str, old: str, new: str) -> None:
    """Keep a file's row in step with it: the sound is what it was, and need not be heard again."""
    status = os.stat(path)  # noqa: PTH116
    database.update_hash(path, old, new, size=status.st_size, mtime_ns=status.st_mtime_ns)
