"""The library's database: one SQLite file, one row for each audio file, every change a transaction.

Write-ahead logging lets other programs read during a scan, and a killed scan leaves a consistent file.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrescope.errors import DataError, write_failed
from genrescope.library.records import LibraryEntry
from genrescope.tagging import TagChange

# Names that are not UTF-8 are kept as bytes: SQLite's text could not hold them.
Key = str | bytes

# SQLite's header has a place for both: the id tells a library from any other database, the version says which
# migrations it has been through (https://www.sqlite.org/pragma.html#pragma_application_id).
_APPLICATION_ID = int.from_bytes(b"gnsc", "big")
# Longer than any transaction here takes, so that a second command waits for a scan in place of failing.
_LOCK_TIMEOUT_SECONDS = 30.0
# Entry n brings a file from version n to n + 1; a new file runs all of them. They are never edited once they
# are released: PRAGMA user_version says which of them a file has been through. 0.1 wrote version 1.
_MIGRATIONS = (
    """
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
CREATE INDEX files_by_genre ON files (genre)
""",
    "ALTER TABLE files RENAME COLUMN gone TO missing",
)
_VERSION = len(_MIGRATIONS)
_JSON = ("scores", "styles", "flags", "timeline")


@dataclass(frozen=True)
class Filter:
    """Which entries are wanted; a default does not restrict them.

    Attributes
    ----------
    genres, styles : tuple of str
        Any of these genres; any of these styles.
    min_score, max_score : float or None
        Bounds of the genre's score, 0 to 1.
    folder : Path or None
        Only files in this folder.
    uncertain, failed : bool or None
        Uncertain answers; files with an error in place of an answer.
    missing : bool or None
        Files that are no longer there; None: these and the others.
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
        """Yield the conditions in SQL, each with its values; styles are compared in Python."""
        if self.genres:
            yield f"genre IN ({', '.join('?' * len(self.genres))})", self.genres
        for column, floor, sign in (("score", self.min_score, ">="), ("score", self.max_score, "<=")):
            if floor is not None:
                yield f"{column} {sign} ?", (floor,)
        for column, wanted in (("unsure", self.uncertain), ("missing", self.missing)):
            if wanted is not None:
                yield f"{column} = ?", (int(wanted),)
        if self.failed is not None:
            yield f"error IS {'NOT ' if self.failed else ''}NULL", ()


class Database:
    """An open library file.

    Parameters
    ----------
    path : Path
        Created, with its folder, if it is not there. A file of an older version is migrated, unless it may
        only be read: then it is copied into memory and migrated there.

    Raises
    ------
    DataError
        ``dataset_invalid``: another kind of file, or of a later version.
    GenrescopeError
        ``write_failed``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # A file on a read-only disk can have no write-ahead log beside it: "immutable" opens it without one.
        self._read_only = path.exists() and not os.access(path, os.W_OK)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            address = f"{path.absolute().as_uri()}{'?mode=ro&immutable=1' if self._read_only else ''}"
            # isolation_level None: transactions begin where this code says, not where the module infers them.
            self._connection = sqlite3.connect(
                address, timeout=_LOCK_TIMEOUT_SECONDS, isolation_level=None, uri=True
            )
            self._connection.row_factory = sqlite3.Row
            with _translated_errors(path):
                self._prepare()
        except OSError as reason:
            raise write_failed(path, reason) from None
        except sqlite3.Error as reason:
            raise write_failed(path, OSError(str(reason))) from None

    def _prepare(self) -> None:
        application, version, tables = self._identity()
        # An empty file is a new library; a file with tables must be one of this program, and not of a later
        # one.
        if tables and (application != _APPLICATION_ID or not 1 <= version <= _VERSION):
            raise _foreign(self.path, f"its version is {version}, this genrescope writes {_VERSION}")
        if self._read_only:
            if tables and version < _VERSION:
                self._copy_to_memory()
                self._migrate()
            return
        self._connection.execute("PRAGMA journal_mode = WAL")
        # With write-ahead logging this loses, at worst, the last rows at a power cut; it never corrupts.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if version < _VERSION or not tables:
            self._migrate()

    def _copy_to_memory(self) -> None:
        copy = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.backup(copy)
        self._connection.close()
        copy.row_factory = sqlite3.Row
        self._connection = copy

    def _migrate(self) -> None:
        """Run the migrations that the file has not been through, all or none."""
        with self._transaction():
            # Another process may have migrated the file since its version was read outside the transaction.
            _, version, tables = self._identity()
            for migration in _MIGRATIONS[version if tables else 0 :]:
                for statement in migration.split(";\n"):
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _identity(self) -> tuple[int, int, int]:
        """Return application id, version, and the number of tables and indices."""
        queries = ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        application, version, tables = (self._connection.execute(query).fetchone()[0] for query in queries)
        return application, version, tables

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit what the ``with`` block writes, or roll all of it back."""
        with _translated_errors(self.path):
            # IMMEDIATE takes the write lock at once. A transaction that reads first and writes later could
            # find the lock taken in between, which SQLite cannot resolve by waiting.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def find(self, path: str) -> LibraryEntry | None:
        """Return the entry of the file at ``path``, or None."""
        found = self._connection.execute("SELECT * FROM files WHERE path = ?", (path_key(path),)).fetchone()
        return None if found is None else _entry(found)

    def find_classified(
        self, model: str, *, excerpts: bool, size: int | None = None, content: str | None = None
    ) -> list[LibraryEntry]:
        """Return the entries with an answer of a model, the oldest first.

        Parameters
        ----------
        model : str
            SHA-256 of the model file.
        excerpts : bool
            Whether an answer made from excerpts will do.
        size : int, optional
            Of the file in bytes; used where ``content`` is None.
        content : str, optional
            SHA-256 of the file's content.

        Returns
        -------
        list of LibraryEntry
            Missing files too: their answers hold for a file that was moved.
        """
        column, value = ("size", size) if content is None else ("hash", content)
        found = self._connection.execute(
            f"SELECT * FROM files WHERE {column} = ? AND model = ? AND excerpts <= ? AND error IS NULL"
            " ORDER BY id",
            (value, model, int(excerpts)),
        )
        return [_entry(row) for row in found]

    def upsert(self, entry: LibraryEntry) -> None:
        """Write ``entry`` in place of an older one of the same path.

        Parameters
        ----------
        entry : LibraryEntry

        Raises
        ------
        WriteError
            ``write_failed``: the disk is full, or another program holds the lock.
        """
        values = entry.to_columns()
        values["path"] = path_key(entry.path)
        values |= {name: json.dumps(values[name]) for name in _JSON if values[name] is not None}
        # Messages contain names of files, which need not be UTF-8.
        values |= {name: _printable(values[name]) for name in ("message", "hint") if values[name]}
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "path")
        # An update in place keeps the row's id, which gives the order in which files were first analyzed.
        self._write(
            f"INSERT INTO files ({columns}) VALUES ({marks}) ON CONFLICT (path) DO UPDATE SET {changes}",
            tuple(values.values()),
        )

    def move(self, old: str, new: str, *, size: int, mtime_ns: int) -> None:
        """Give the row of ``old``, and its journal, to ``new``, in place of a row that ``new`` may have.

        Parameters
        ----------
        old, new : str
            Paths.
        size, mtime_ns : int
            Of the file at ``new``, in bytes and nanoseconds.
        """
        with self._transaction():
            if not self._connection.execute(
                "SELECT 1 FROM files WHERE path = ?", (path_key(old),)
            ).fetchone():
                return  # another scan was first
            self._connection.execute(
                "DELETE FROM files WHERE path = ? AND path != ?", (path_key(new), path_key(old))
            )
            self._connection.execute(
                "UPDATE files SET path = ?, size = ?, mtime_ns = ?, missing = 0 WHERE path = ?",
                (path_key(new), size, mtime_ns, path_key(old)),
            )
            self._connection.execute(
                "UPDATE changes SET path = ? WHERE path = ?", (path_key(new), path_key(old))
            )

    def update_hash(self, path: str, old: str, new: str, *, size: int, mtime_ns: int) -> None:
        """Record that a change of tags, which leaves the sound as it is, changed the content of a file.

        Parameters
        ----------
        path : str
            Of the file.
        old, new : str
            SHA-256 of its content before and after.
        size, mtime_ns : int
            Of the file now, in bytes and nanoseconds.
        """
        self._write(
            "UPDATE files SET hash = ?, size = ?, mtime_ns = ? WHERE path = ? AND hash = ?",
            (new, size, mtime_ns, path_key(path), old),
        )

    def mark_missing(self, paths: Iterable[str], *, missing: bool = True) -> None:
        """Record that the files at ``paths`` are no longer there; with ``missing`` false: are there again."""
        # One transaction for all: one for each would bring the log to the disk thousands of times.
        with self._transaction():
            for path in paths:
                self._connection.execute(
                    "UPDATE files SET missing = ? WHERE path = ?", (int(missing), path_key(path))
                )

    def log_change(self, path: str, change: TagChange) -> None:
        """Write a ``change`` of the tags of the file at ``path`` into the journal."""
        self._write(
            "INSERT INTO changes (path, change) VALUES (?, ?)", (path_key(path), json.dumps(change.to_dict()))
        )

    def changes(self, folder: Path | None = None) -> list[tuple[int, str, TagChange]]:
        """Return number, present path and content of the changes that are not undone, the latest first.

        Parameters
        ----------
        folder : Path, optional
            Only of files in this folder.

        Returns
        -------
        list of (int, str, TagChange)
        """
        # Compared in Python: LIKE ignores case and knows no bytes, and a folder may hold its wildcards.
        prefix = _prefix(folder)
        found = self._connection.execute(
            "SELECT id, path, change FROM changes WHERE NOT undone ORDER BY id DESC"
        )
        return [
            (number, os.fsdecode(path), TagChange.from_dict(json.loads(change)))
            for number, path, change in found
            if os.fsencode(path).startswith(prefix)
        ]

    def mark_undone(self, number: int) -> None:
        """Record that the change with this ``number`` was undone."""
        self._write("UPDATE changes SET undone = 1 WHERE id = ?", (number,))

    def labels(self) -> list[str]:
        """Return the genres that the models of this library distinguish, sorted."""
        found = self._connection.execute(
            "SELECT DISTINCT name.key FROM files, json_each(files.scores) AS name"
        )
        return sorted(label for (label,) in found)

    def entries(self, wanted: Filter | None = None) -> Iterator[LibraryEntry]:
        """Yield entries, sorted by path.

        Parameters
        ----------
        wanted : Filter, optional
            Which; None: those of all files that are still there.
        """
        wanted = wanted or Filter()
        clauses = list(wanted.clauses())
        where = " AND ".join(clause for clause, _ in clauses) or "1"
        values = [value for _, listed in clauses for value in listed]
        # CAST: text and bytes sort together.
        query = f"SELECT * FROM files WHERE {where} ORDER BY CAST(path AS BLOB)"
        prefix = _prefix(wanted.folder)
        for found in self._connection.execute(query, values):
            if not os.fsencode(found["path"]).startswith(prefix):
                continue
            entry = _entry(found)
            if wanted.styles and not set(wanted.styles) & set(entry.styles):
                continue
            yield entry

    def paths(self, folder: Path | None = None) -> list[str]:
        """Return the paths, in ``folder`` or all, of files that are, as far as is known, still there."""
        found = self._connection.execute("SELECT path FROM files WHERE NOT missing")
        prefix = _prefix(folder)
        return [os.fsdecode(path) for (path,) in found if os.fsencode(path).startswith(prefix)]

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        with _translated_errors(self.path):
            self._connection.execute(statement, values)


@contextlib.contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite as errors of this package."""
    # An operational error is one of the surroundings (disk, lock, permission); the class above it is raised
    # for a file that is no database, or a damaged one. The order of the clauses therefore matters.
    try:
        yield
    except sqlite3.OperationalError as reason:
        raise write_failed(path, OSError(str(reason))) from None
    except sqlite3.DatabaseError as reason:
        raise _foreign(path, str(reason)) from None


def path_key(path: str) -> Key:
    """Return ``path`` as the database keeps it: text, or bytes where it is not UTF-8."""
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


def _entry(found: sqlite3.Row) -> LibraryEntry:
    columns = dict(found)
    columns["path"] = os.fsdecode(columns["path"])
    columns |= {name: json.loads(columns[name]) for name in _JSON if columns[name] is not None}
    return LibraryEntry.from_columns(columns)


def _foreign(path: Path, why: str) -> DataError:
    return DataError(
        "dataset_invalid",
        f"{path}: not a library of this version of genrescope: {why}",
        "name another file with --db, or move this one away and scan again",
    )
