"""The library's memory: one SQLite file, one row for each audio file, every change a transaction of its own.

Write-ahead logging keeps readers and a scan out of each other's way, and a killed scan from harming anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrescope.errors import DataError, write_failed

Row = dict[str, Any]
# Names that are not UTF-8 are kept as bytes: SQLite's text could not hold them.
Key = str | bytes

_VERSION = 1
_MARK = int.from_bytes(b"gnsc", "big")  # SQLite's application_id
_SECONDS_TO_WAIT = 30.0
_SCHEMA = """
CREATE TABLE files (
  id INTEGER PRIMARY KEY,
  path NOT NULL UNIQUE,
  size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  hash TEXT,
  format TEXT, codec TEXT, sample_rate INTEGER, channels INTEGER, seconds REAL,
  model TEXT NOT NULL, model_name TEXT NOT NULL, excerpts INTEGER NOT NULL,
  genre TEXT, score REAL, unsure INTEGER, scores TEXT, styles TEXT, flags TEXT, timeline TEXT,
  error TEXT, message TEXT, hint TEXT,
  scanned REAL NOT NULL,
  gone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE changes (
  id INTEGER PRIMARY KEY,
  path NOT NULL,
  change TEXT NOT NULL,
  undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX changes_by_path ON changes (path);
CREATE INDEX files_by_hash ON files (hash);
CREATE INDEX files_by_size ON files (size);
CREATE INDEX files_by_genre ON files (genre);
"""
_JSON = ("scores", "styles", "flags", "timeline")
_FLAGS = ("excerpts", "unsure", "gone")


@dataclass(frozen=True)
class Filter:
    """Which rows are wanted; what is left out does not matter.

    Attributes
    ----------
    genres, styles : tuple of str
        Any of these genres; any of these styles, likely or more.
    min_score, max_score : float or None
        Bounds of the genre's score.
    under : Path or None
        Only files in this folder.
    unsure, failed : bool or None
        Doubtful answers; files with an error in place of an answer.
    gone : bool or None
        Files that are no longer there; None: with the others.
    """

    genres: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    min_score: float | None = None
    max_score: float | None = None
    folder: Path | None = None
    uncertain: bool | None = None
    failed: bool | None = None
    missing: bool | None = False

    def clauses(self) -> Iterator[tuple[str, Sequence[Any]]]:
        """Yield the conditions in SQL, each with its values; styles are for Python to look at."""
        if self.genres:
            yield f"genre IN ({', '.join('?' * len(self.genres))})", self.genres
        for column, floor, sign in (("score", self.min_score, ">="), ("score", self.max_score, "<=")):
            if floor is not None:
                yield f"{column} {sign} ?", (floor,)
        for column, wanted in (("unsure", self.uncertain), ("gone", self.missing)):
            if wanted is not None:
                yield f"{column} = ?", (int(wanted),)
        if self.failed is not None:
            yield f"error IS {'NOT ' if self.failed else ''}NULL", ()


class Database:
    """An open library file.

    Parameters
    ----------
    path : Path
        Made, with its folder, if it is not there.

    Raises
    ------
    DataError
        ``dataset_invalid``: another kind of file, or of a later version.
    WriteError
        ``write_failed``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # One that may only be read is read as it lies there.
        self._reads_only = path.exists() and not os.access(path, os.W_OK)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            place = f"{path.absolute().as_uri()}{'?mode=ro&immutable=1' if self._reads_only else ''}"
            self._link = sqlite3.connect(place, timeout=_SECONDS_TO_WAIT, isolation_level=None, uri=True)
            self._link.row_factory = sqlite3.Row
            with _told(path):
                self._prepare()
        except OSError as reason:
            raise write_failed(path, reason) from None
        except sqlite3.Error as reason:
            raise write_failed(path, OSError(str(reason))) from None

    def _prepare(self) -> None:
        mark, version, tables = self._identity()
        if tables and (mark, version) != (_MARK, _VERSION):
            raise _foreign(self.path, f"its version is {version}, this genrescope writes {_VERSION}")
        if self._reads_only:
            return
        self._link.execute("PRAGMA journal_mode = WAL")
        # With write-ahead logging this loses, at worst, the last rows at a power cut; it never corrupts.
        self._link.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            if not self._identity()[2]:
                for statement in _SCHEMA.split(";\n"):
                    self._link.execute(statement)
                self._link.execute(f"PRAGMA application_id = {_MARK}")
                self._link.execute(f"PRAGMA user_version = {_VERSION}")

    def _identity(self) -> tuple[int, int, int]:
        """Return whose file it is, which version, and how many tables and indices it has."""
        questions = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        mark, version, tables = (self._link.execute(question).fetchone()[0] for question in questions)
        return mark, version, tables

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing: for ``with``."""
        with _told(self.path):
            self._link.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._link.execute("ROLLBACK")
                raise
            self._link.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._link.close()

    def find(self, path: str) -> Row | None:
        """Return the row of a path."""
        return self._one("SELECT * FROM files WHERE path = ?", (path_key(path),))

    def find_classified(
        self, model: str, *, excerpts: bool, size: int | None = None, content: str | None = None
    ) -> list[Row]:
        """Return the rows with an answer of a model, of a size or a content; the oldest first."""
        column, value = ("size", size) if content is None else ("hash", content)
        return self._all(
            f"SELECT * FROM files WHERE {column} = ? AND model = ? AND excerpts <= ? AND error IS NULL"
            " ORDER BY id",
            (value, model, int(excerpts)),
        )

    def upsert(self, row: Mapping[str, Any]) -> None:
        """Write the row of a file, in place of an older one."""
        values = {name: value for name, value in row.items() if name != "id"}
        values["path"] = path_key(values["path"])
        values |= {name: json.dumps(values[name]) for name in _JSON if values.get(name) is not None}
        # Messages name files, whose names need not be UTF-8.
        values |= {name: _printable(values[name]) for name in ("message", "hint") if values.get(name)}
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "path")
        self._write(
            f"INSERT INTO files ({columns}) VALUES ({marks}) ON CONFLICT (path) DO UPDATE SET {changes}",
            tuple(values.values()),
        )

    def move(self, old: str, new: str, *, size: int, mtime_ns: int) -> None:
        """Give the row of ``old`` to ``new``, which may have one of its own already."""
        with self._transaction():
            if not self._link.execute("SELECT 1 FROM files WHERE path = ?", (path_key(old),)).fetchone():
                return  # another scan was first
            self._link.execute(
                "DELETE FROM files WHERE path = ? AND path != ?", (path_key(new), path_key(old))
            )
            self._link.execute(
                "UPDATE files SET path = ?, size = ?, mtime_ns = ?, gone = 0 WHERE path = ?",
                (path_key(new), size, mtime_ns, path_key(old)),
            )
            self._link.execute("UPDATE changes SET path = ? WHERE path = ?", (path_key(new), path_key(old)))

    def update_hash(self, path: str, old: str, new: str, *, size: int, mtime_ns: int) -> None:
        """Note that tags changed a file's content from one hash to another, and nothing else."""
        self._write(
            "UPDATE files SET hash = ?, size = ?, mtime_ns = ? WHERE path = ? AND hash = ?",
            (new, size, mtime_ns, path_key(path), old),
        )

    def mark_missing(self, paths: Iterable[str], *, gone: bool = True) -> None:
        """Note that files are no longer there, or are there again."""
        with self._transaction():
            for path in paths:
                self._link.execute("UPDATE files SET gone = ? WHERE path = ?", (int(gone), path_key(path)))

    def log_change(self, path: str, change: Row) -> None:
        """Write a change of tags into the journal."""
        self._write("INSERT INTO changes (path, change) VALUES (?, ?)", (path_key(path), json.dumps(change)))

    def changes(self, folder: Path | None = None) -> list[tuple[int, str, Row]]:
        """Return number, present path and content of the changes that are not undone, the latest first."""
        prefix = _prefix(folder)
        found = self._link.execute("SELECT id, path, change FROM changes WHERE NOT undone ORDER BY id DESC")
        return [
            (number, os.fsdecode(path), json.loads(change))
            for number, path, change in found
            if os.fsencode(path).startswith(prefix)
        ]

    def mark_undone(self, number: int) -> None:
        """Note that a change was taken back."""
        self._write("UPDATE changes SET undone = 1 WHERE id = ?", (number,))

    def labels(self) -> list[str]:
        """Return the genres of the models that answered."""
        found = self._link.execute("SELECT DISTINCT name.key FROM files, json_each(files.scores) AS name")
        return sorted(label for (label,) in found)

    def rows(self, wanted: Filter | None = None) -> Iterator[Row]:
        """Yield the rows that pass a filter, by path."""
        wanted = wanted or Filter()
        clauses = list(wanted.clauses())
        where = " AND ".join(clause for clause, _ in clauses) or "1"
        values = [value for _, listed in clauses for value in listed]
        # CAST: text and bytes sort together.
        query = f"SELECT * FROM files WHERE {where} ORDER BY CAST(path AS BLOB)"
        prefix = _prefix(wanted.folder)
        for found in self._link.execute(query, values):
            if not os.fsencode(found["path"]).startswith(prefix):
                continue
            row = _row(found)
            if wanted.styles and not set(wanted.styles) & set(row["styles"] or ()):
                continue
            yield row

    def paths(self, folder: Path) -> list[str]:
        """Return the paths in a folder of files that are, as far as is known, still there."""
        found = self._link.execute("SELECT path FROM files WHERE NOT gone")
        prefix = _prefix(folder)
        return [os.fsdecode(path) for (path,) in found if os.fsencode(path).startswith(prefix)]

    def _one(self, query: str, values: Sequence[Any]) -> Row | None:
        found = self._link.execute(query, values).fetchone()
        return None if found is None else _row(found)

    def _all(self, query: str, values: Sequence[Any]) -> list[Row]:
        return [_row(found) for found in self._link.execute(query, values)]

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        with _told(self.path):
            self._link.execute(statement, values)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.OperationalError as reason:
        raise write_failed(path, OSError(str(reason))) from None
    except sqlite3.DatabaseError as reason:
        raise _foreign(path, str(reason)) from None


def path_key(path: str) -> Key:
    """Return a path as the database keeps it: text, or bytes where it is not UTF-8."""
    try:
        path.encode("utf8")
        return path
    except UnicodeEncodeError:
        return os.fsencode(path)


def _prefix(folder: Path | None) -> bytes:
    """Return how paths in a folder begin; any path, without one."""
    return b"" if folder is None else os.path.join(os.fsencode(os.path.abspath(folder)), b"")  # noqa: PTH100, PTH118


def _printable(text: str) -> str:
    return text.encode("utf8", "backslashreplace").decode("utf8")


def _row(found: sqlite3.Row) -> Row:
    row = dict(found)
    row["path"] = os.fsdecode(row["path"])
    row |= {name: json.loads(row[name]) for name in _JSON if row[name] is not None}
    return row | {name: bool(row[name]) for name in _FLAGS if row[name] is not None}


def _foreign(path: Path, why: str) -> DataError:
    return DataError(
        "dataset_invalid",
        f"{path}: not a library of this version of genrescope: {why}",
        "name another file with --db, or move this one away and scan again",
    )
