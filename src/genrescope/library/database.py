"""The library's database: one SQLite file, one row for each audio file, every change a transaction.

Write-ahead logging lets other programs read during a scan, and a killed scan leaves a consistent file.
Nothing that a file holds is trusted: a damaged row is shown as a failed file, a damaged file is one typed
error. Reading takes no space on the library's disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from genrescope.errors import DataError, GenrescopeError, LibraryError, ModelError, write_failed
from genrescope.library.records import LibraryEntry, check_values
from genrescope.tagging import TagChange

# Names that are not UTF-8 are kept as bytes: SQLite's text could not hold them.
Key = str | bytes

# SQLite's header has a place for both: the id tells a library from any other database, the version says which
# migrations it has been through (https://www.sqlite.org/pragma.html#pragma_application_id).
_APPLICATION_ID = int.from_bytes(b"gnsc", "big")
# Longer than any transaction here takes, so that a second command waits for a scan in place of failing.
_LOCK_TIMEOUT_SECONDS = 30.0
# Text and bytes sort together so.
_PATH_BYTES = "CAST(path AS BLOB)"
# A fingerprint of a file whose content has changed since has another hash than its entry.
_FINGERPRINTED = (
    "files CROSS JOIN fingerprints ON fingerprints.file = files.id AND fingerprints.hash = files.hash"
    " WHERE typeof(peaks) = 'blob'"
)
# Rows of a model that are asked for its genres: damaged ones may be among them.
_LABELED_ROWS = 100
# Rows of one query of `Database.entries`, about 2 MB.
_PAGE_ROWS = 1_000
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
    """
ALTER TABLE files ADD COLUMN music REAL;
ALTER TABLE files ADD COLUMN not_music INTEGER;
ALTER TABLE files ADD COLUMN genre_set TEXT;
ALTER TABLE files ADD COLUMN answer TEXT;
ALTER TABLE files ADD COLUMN album TEXT;
ALTER TABLE files ADD COLUMN album_artist TEXT;
ALTER TABLE files ADD COLUMN artist TEXT
""",
    "ALTER TABLE files ADD COLUMN title TEXT",
    f"""
CREATE INDEX files_by_bytes_of_path ON files ({_PATH_BYTES});
CREATE INDEX files_by_model ON files (model)
""",
    # A table of its own, so that lists of files need not read past them.
    """
CREATE TABLE fingerprints (
  file INTEGER PRIMARY KEY,
  hash TEXT NOT NULL,
  peaks BLOB NOT NULL
);
CREATE TRIGGER forget_fingerprint AFTER DELETE ON files
BEGIN DELETE FROM fingerprints WHERE file = OLD.id; END
""",
)
_VERSION = len(_MIGRATIONS)
# What a disk that is full, read-only or failing makes of reading and writing.
_DISK_ERRORS = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
_JSON = ("scores", "styles", "flags", "timeline", "genre_set")
_IS_READABLE = " AND ".join(
    [
        *(f"({name} IS NULL OR json_valid({name}))" for name in _JSON),
        "(error IS NOT NULL OR genre IS NOT NULL AND score BETWEEN 0 AND 1)",
    ]
)
_STATE_QUERY = (
    "SELECT size, mtime_ns, model, excerpts, missing, album IS NULL OR title IS NULL AS lacks_tags,"
    f" CASE WHEN {_IS_READABLE} THEN error ELSE 'library_corrupt' END AS error FROM files WHERE path = ?"
)


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
    not_music : bool or None
        Files that are not music.
    """

    genres: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    min_score: float | None = None
    max_score: float | None = None
    folder: Path | None = None
    uncertain: bool | None = None
    failed: bool | None = None
    missing: bool | None = False
    not_music: bool | None = None

    def clauses(self) -> Iterator[tuple[str, Sequence[Any]]]:
        """Yield the conditions in SQL, each with its values, but for those on styles and failures."""
        if self.genres:
            # The highest score of a file that is not music names no genre.
            yield f"ifnull(not_music, 0) = 0 AND genre IN ({', '.join('?' * len(self.genres))})", self.genres
        for column, floor, sign in (("score", self.min_score, ">="), ("score", self.max_score, "<=")):
            if floor is not None:
                yield f"{column} {sign} ?", (floor,)
        for column, wanted in (("unsure", self.uncertain), ("missing", self.missing)):
            if wanted is not None:
                yield f"{column} = ?", (int(wanted),)
        if self.not_music is not None:
            # No value: the model, or the version of this package, did not tell.
            yield "ifnull(not_music, 0) = ?", (int(self.not_music),)


class FileState(NamedTuple):
    """What a scan must know of a file's entry to leave it as it is.

    Attributes
    ----------
    size, mtime_ns, model, excerpts, error, missing
        As of `LibraryEntry`; ``library_corrupt`` is the error of a row without a score, or whose JSON cannot
        be read.
    lacks_tags : bool
        Whether its tags were not read, or not all of them.
    """

    size: int
    mtime_ns: int
    model: str
    excerpts: bool
    error: str | None
    missing: bool
    lacks_tags: bool


class JournalEntry(NamedTuple):
    """A change of tags that was written and not undone.

    Attributes
    ----------
    number : int
        Its number in the journal; later changes have higher ones.
    path : str
        Where the file lies by now.
    change : TagChange or None
        What was changed; None where the row of the journal is damaged.
    """

    number: int
    path: str
    change: TagChange | None


class Database:
    """An open library file.

    Parameters
    ----------
    path : Path
        Created for its owner alone (mode 0600), with its folder (0700), if it is not there. A file of an
        older version is migrated, unless it is only read: then it is copied into memory and migrated there.
    read_only : bool
        Open it for reading alone, which takes no space on its disk. A file that may not be written is opened
        so in any case.

    Raises
    ------
    DataError
        ``dataset_invalid``: another kind of file, or of a later version.
    LibraryError
        ``library_locked``: another program kept it locked; ``library_corrupt``: the file is damaged.
    WriteError
        ``write_failed``.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._read_only = path.exists() and (read_only or not os.access(path, os.W_OK))
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._connection = self._open_for_reading() if self._read_only else self._open_for_writing()
            with _translated_errors(path):
                self._prepare()
        except OSError as reason:
            raise write_failed(path, reason) from None
        except GenrescopeError:
            self.close()
            raise

    def _connect(self, address: str) -> sqlite3.Connection:
        with _translated_errors(self.path):
            # Fingerprints are read by the threads that search them, one at a time.
            connection = sqlite3.connect(
                address,
                timeout=_LOCK_TIMEOUT_SECONDS,
                isolation_level=None,
                uri=True,
                check_same_thread=False,
            )
        # Text that is not UTF-8 is no error of a whole query, but of the row that holds it.
        connection.text_factory = lambda text: text.decode("utf8", "surrogateescape")
        return connection

    def _open_for_writing(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Names of files and what someone listens to are private. SQLite gives its log the same mode.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return self._connect(sqlite_uri(self.path.absolute()))

    def _open_for_reading(self) -> sqlite3.Connection:
        """Open the file, and the log that a killed program may have left beside it, without writing there.

        SQLite needs a small file of shared memory beside a file with a log. Where that cannot be made (the
        folder is read-only, or the disk full), a file without a log is opened as "immutable", and one with a
        log, without which rows would be missing, is copied into the folder for temporary files.
        """
        address = sqlite_uri(self.path.absolute())
        try:
            connection = self._connect(f"{address}?mode=ro")
            with _translated_errors(self.path):
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return connection
        except GenrescopeError as failure:
            if failure.code != "write_failed":
                raise
        log = self.path.with_name(f"{self.path.name}-wal")
        if not log.exists() or not log.stat().st_size:
            return self._connect(f"{address}?mode=ro&immutable=1")
        self._copy = tempfile.TemporaryDirectory(prefix="genrescope-")
        copy = Path(self._copy.name) / "library.db"
        shutil.copyfile(self.path, copy)
        shutil.copyfile(log, copy.with_name("library.db-wal"))
        return self._connect(sqlite_uri(copy))

    def _prepare(self) -> None:
        application, version, tables = self._identity()
        # An empty file is a new library; a file with tables must be one of this program, and not of a later
        # one.
        if tables and (application != _APPLICATION_ID or not 1 <= version <= _VERSION):
            raise _foreign(self.path, f"its version is {version}, this genrescope writes {_VERSION}")
        if self._read_only:
            if version < _VERSION:
                self._copy_to_memory()
                self._migrate()
            return
        self._connection.execute("PRAGMA journal_mode = WAL")
        # With write-ahead logging this loses, at worst, the last rows at a power cut; it never corrupts.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if version < _VERSION or not tables:
            if tables and os.name != "nt":
                self.path.chmod(0o600)  # 0.1 left its files readable by everyone
            self._migrate()

    def _copy_to_memory(self) -> None:
        copy = self._connect(":memory:")
        self._connection.backup(copy)
        self._connection.close()
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
        (application,), (version,), (tables,) = (
            self._connection.execute(query).fetchone() for query in queries
        )
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
        if hasattr(self, "_connection"):
            self._connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def find(self, path: str) -> LibraryEntry | None:
        """Return the entry of a path, or None.

        Parameters
        ----------
        path : str
            Of the file.
        """
        return next(map(_entry, self._rows("SELECT * FROM files WHERE path = ?", (path_key(path),))), None)

    def state(self, path: str) -> FileState | None:
        """Return what a scan must know of the entry of a path, or None; a third of the work of `find`.

        Parameters
        ----------
        path : str
            Of the file.
        """
        rows = self._rows(_STATE_QUERY, (path_key(path),))
        return next((FileState(**row) for row in rows), None)

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
        found = self._rows(
            f"SELECT * FROM files WHERE {column} = ? AND model = ? AND excerpts <= ? AND error IS NULL"
            " ORDER BY id",
            (value, model, int(excerpts)),
        )
        return [entry for entry in map(_entry, found) if entry.error is None]

    def upsert(self, entry: LibraryEntry) -> None:
        """Write the entry of a file, in place of an older one of the same path.

        Parameters
        ----------
        entry : LibraryEntry
            What is written.

        Raises
        ------
        ModelError
            ``model_output_invalid``: a score that is not finite, or another value that no reader could use.
        """
        values = _values(entry)
        # An update in place keeps the row's id, which gives the order in which files were first analyzed.
        self._write(_upsert(values), tuple(values.values()))

    def upsert_newer(self, entries: Sequence[LibraryEntry]) -> int:
        """Write entries, all or none, but for those whose path has a row that was analyzed as late or later.

        Parameters
        ----------
        entries : sequence of LibraryEntry
            What is written, in one transaction.

        Returns
        -------
        int
            How many were written.

        Raises
        ------
        ModelError
            As `upsert`.
        """
        rows = [_values(entry) for entry in entries]
        if not rows:
            return 0
        before = self._connection.total_changes
        with self._transaction():
            self._connection.executemany(
                f"{_upsert(rows[0])} WHERE excluded.scanned > files.scanned",
                [tuple(values.values()) for values in rows],
            )
        return self._connection.total_changes - before

    def set_fingerprint(self, path: str, peaks: bytes) -> None:
        """Keep the fingerprint of a file's sound, in place of an older one.

        Parameters
        ----------
        path : str
            Of a file whose entry has a hash; of others nothing is kept.
        peaks : bytes
            Packed, as `genrescope.types.Prediction` has it.
        """
        self._write(
            "INSERT OR REPLACE INTO fingerprints (file, hash, peaks)"
            " SELECT id, hash, ? FROM files WHERE path = ? AND hash IS NOT NULL",
            (peaks, path_key(path)),
        )

    def fingerprint(self, content: str) -> bytes | None:
        """Return the fingerprint that a scan has kept of a file's sound.

        Parameters
        ----------
        content : str
            SHA-256 of the file's content.
        """
        query = f"SELECT peaks FROM {_FINGERPRINTED} AND files.hash = ? LIMIT 1"
        return next((row["peaks"] for row in self._rows(query, (content,))), None)

    def fingerprinted(self) -> set[str]:
        """Return the SHA-256 of the files' content of which there are fingerprints."""
        return {str(row["hash"]) for row in self._rows(f"SELECT files.hash FROM {_FINGERPRINTED}")}

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
        with self._transaction():
            self._connection.execute(
                "UPDATE fingerprints SET hash = ?"
                " WHERE hash = ? AND file = (SELECT id FROM files WHERE path = ? AND hash = ?)",
                (new, old, path_key(path), old),
            )
            self._connection.execute(
                "UPDATE files SET hash = ?, size = ?, mtime_ns = ? WHERE path = ? AND hash = ?",
                (new, size, mtime_ns, path_key(path), old),
            )

    def mark_missing(self, paths: Iterable[str], *, missing: bool = True) -> None:
        """Record that files are no longer there, or are there again.

        Parameters
        ----------
        paths : iterable of str
            Of the files.
        missing : bool
            False: they are there again.
        """
        # One transaction for all: one for each would bring the log to the disk thousands of times.
        with self._transaction():
            for path in paths:
                self._connection.execute(
                    "UPDATE files SET missing = ? WHERE path = ?", (int(missing), path_key(path))
                )

    def relocate(self, paths: Mapping[str, str]) -> None:
        """Give the rows of files, and their journals, other paths, all or none.

        Where the new path has a row already, that row stays: it is of the file that is there.

        Parameters
        ----------
        paths : mapping of str to str
            Old path -> new path.
        """
        with self._transaction():
            # By way of names that no file has, because a new path may be the old path of another file.
            steps = [(path_key(old), b"\0" + os.fsencode(new), path_key(new)) for old, new in paths.items()]
            for old, between, _ in steps:
                self._connection.execute("UPDATE files SET path = ? WHERE path = ?", (between, old))
                self._connection.execute("UPDATE changes SET path = ? WHERE path = ?", (between, old))
            for _, between, new in steps:
                self._connection.execute("UPDATE OR IGNORE files SET path = ? WHERE path = ?", (new, between))
                self._connection.execute("DELETE FROM files WHERE path = ?", (between,))
                self._connection.execute("UPDATE changes SET path = ? WHERE path = ?", (new, between))

    def remove(self, paths: Iterable[str]) -> None:
        """Remove the rows of files, and their journals, all or none.

        Parameters
        ----------
        paths : iterable of str
            Of the files.
        """
        with self._transaction():
            for path in paths:
                self._connection.execute("DELETE FROM files WHERE path = ?", (path_key(path),))
                self._connection.execute("DELETE FROM changes WHERE path = ?", (path_key(path),))

    def log_change(self, path: str, change: TagChange) -> None:
        """Write a change of tags into the journal.

        Parameters
        ----------
        path : str
            Of the file.
        change : TagChange
            What is about to be written into it.
        """
        self._write(
            "INSERT INTO changes (path, change) VALUES (?, ?)", (path_key(path), json.dumps(change.to_dict()))
        )

    def changes(self, folder: Path | None = None) -> list[JournalEntry]:
        """Return the changes that are not undone, the latest first.

        Parameters
        ----------
        folder : Path, optional
            Only of files in this folder.

        Returns
        -------
        list of (int, str, TagChange)
        """
        where, values = _joined([("NOT undone", ()), *_in_folder(folder)])
        query = f"SELECT id, path, change FROM changes WHERE {where} ORDER BY id DESC"
        return [
            JournalEntry(row["id"], _path(row["path"]), _change(row["change"]))
            for row in self._rows(query, values)
        ]

    def mark_undone(self, number: int) -> None:
        """Record that a change was undone.

        Parameters
        ----------
        number : int
            Of the change in the journal.
        """
        self._write("UPDATE changes SET undone = 1 WHERE id = ?", (number,))

    def labels(self) -> list[str]:
        """Return the genres that the models of this library distinguish, sorted."""
        # Of each model some rows, which have all of its genres: with the index of models that is a few steps,
        # however many rows there are.
        found = self._rows(
            "WITH RECURSIVE models (model) AS (SELECT min(model) FROM files UNION"
            " SELECT (SELECT min(model) FROM files WHERE model > models.model) FROM models"
            " WHERE models.model IS NOT NULL)"
            " SELECT DISTINCT name.key AS label FROM models, files,"
            " json_each(CASE WHEN json_valid(files.scores) THEN files.scores END) AS name WHERE files.id IN"
            " (SELECT id FROM files AS some WHERE some.model = models.model AND some.error IS NULL LIMIT ?)",
            (_LABELED_ROWS,),
        )
        return sorted(str(row["label"]) for row in found)

    def entries(self, wanted: Filter | None = None) -> Iterator[LibraryEntry]:
        """Yield entries, sorted by path.

        Entries may be changed meanwhile, as long as their paths stay: no query is open between two of them.

        Parameters
        ----------
        wanted : Filter, optional
            Which; None: those of all files that are still there.
        """
        wanted = wanted or Filter()
        # Beside the condition that pages go on by, SQLite would search by no other least path.
        last, end = (b"", None) if wanted.folder is None else _bounds(wanted.folder)
        inside = [] if end is None else [(f"{_PATH_BYTES} < ?", (end,))]
        where, values = _joined([*wanted.clauses(), *inside])
        # Without the name of the index SQLite may take that of genres, and sort all rows for every page.
        query = (
            f"SELECT *, {_PATH_BYTES} AS path_bytes FROM files INDEXED BY files_by_bytes_of_path"
            f" WHERE {_PATH_BYTES} > ? AND {where}"
            f" ORDER BY {_PATH_BYTES} LIMIT {_PAGE_ROWS}"
        )
        while True:
            page = list(self._rows(query, [last, *values]))
            for found in page:
                entry = _entry(found)
                # A damaged row counts as failed, whatever its columns say.
                if wanted.failed is not None and wanted.failed != (entry.error is not None):
                    continue
                if wanted.styles and not set(wanted.styles) & set(entry.styles):
                    continue
                yield entry
            if len(page) < _PAGE_ROWS:
                return
            last = page[-1]["path_bytes"]

    def folders(self, folder: Path | None = None) -> dict[str, array[int]]:
        """Return the ids of the rows by folder, of files that are, as far as is known, still there.

        Parameters
        ----------
        folder : Path, optional
            Only of files in this folder.
        """
        where, values = _joined([("missing = ?", (0,)), *_in_folder(folder)])
        found: dict[str, array[int]] = {}
        for row in self._rows(f"SELECT id, path FROM files WHERE {where}", values):
            place = os.path.dirname(_path(row["path"]))  # noqa: PTH120
            # Eight bytes for each file: a library may have millions.
            found.setdefault(place, array("q")).append(row["id"])
        return found

    def entries_of(self, ids: Sequence[int]) -> Iterator[LibraryEntry]:
        """Yield the entries of rows, in no order; those that have been removed meanwhile are left out.

        Parameters
        ----------
        ids : sequence of int
            As of `folders`.
        """
        query = "SELECT * FROM files WHERE id IN (SELECT value FROM json_each(?))"
        for start in range(0, len(ids), _PAGE_ROWS):
            page = list(self._rows(query, (json.dumps(list(ids[start : start + _PAGE_ROWS])),)))
            yield from map(_entry, page)

    def paths(self, folder: Path | None = None, *, missing: bool | None = False) -> list[str]:
        """Return the paths of files.

        Parameters
        ----------
        folder : Path, optional
            Only in this folder.
        missing : bool or None
            False: of files that are, as far as is known, still there; True: of the others; None: of all.
        """
        clauses = list(_in_folder(folder))
        if missing is not None:
            clauses.append(("missing = ?", (int(missing),)))
        where, values = _joined(clauses)
        return [_path(row["path"]) for row in self._rows(f"SELECT path FROM files WHERE {where}", values)]

    def _rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
        with _translated_errors(self.path):
            cursor = self._connection.execute(query, values)
            names = [name for name, *_ in cursor.description]
            # Not "yield from", which would close the cursor of a closed library when a reader stops early.
            for row in cursor:
                # Of `sqlite3.Row`, a dict would take three times as long.
                yield dict(zip(names, row, strict=True))

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
    # Python fails to decode SQLite's message where that quotes a damaged schema.
    except (sqlite3.Error, UnicodeDecodeError) as reason:
        raise _translated(path, reason) from None


def _translated(path: Path, reason: Exception) -> GenrescopeError:
    # The low byte is the kind of error, the others say more about where it arose.
    kind = getattr(reason, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LibraryError(
            "library_locked",
            f"{path}: another program has kept it locked for {_LOCK_TIMEOUT_SECONDS:.0f} s",
            "let the other program finish, then repeat the command",
        )
    if kind == sqlite3.SQLITE_NOTADB:
        return _foreign(path, str(reason))
    if kind in _DISK_ERRORS:
        return write_failed(path, OSError(str(reason)))
    return LibraryError(
        "library_corrupt",
        f"{path}: the library is damaged: {reason}",
        "put a copy of it from a backup in its place; or move it away and scan again",
    )


def _values(entry: LibraryEntry) -> dict[str, Any]:
    """Return the values of a row by column, in an order that is that of every entry."""
    try:
        check_values(entry)
    except (TypeError, ValueError) as reason:
        raise ModelError(
            "model_output_invalid",
            f"{entry.path}: its answer cannot be kept: {reason}",
            "this is a fault of the model: use another with --model, and report it",
        ) from None
    values = entry.to_columns()
    values["path"] = path_key(entry.path)
    values |= {name: json.dumps(values[name]) for name in _JSON if values[name] is not None}
    # Messages contain names of files, which need not be UTF-8.
    values |= {name: _printable(values[name]) for name in ("message", "hint") if values[name]}
    return values


def _upsert(values: Mapping[str, Any]) -> str:
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "path")
    return f"INSERT INTO files ({columns}) VALUES ({marks}) ON CONFLICT (path) DO UPDATE SET {changes}"


def sqlite_uri(path: PurePath) -> str:
    """Return the address of a file as SQLite reads it.

    Parameters
    ----------
    path : PurePath
        Absolute. In the address of a share of Windows, SQLite wants the server to be part of the path.
    """
    uri = path.as_uri()
    return uri if uri.startswith("file:///") else uri.replace("file://", "file:////", 1)


def path_key(path: str) -> Key:
    """Return a path as the database keeps it: text, or bytes where it is not UTF-8.

    The same in every locale: in one that is not UTF-8, Python has other text for the same name.

    Parameters
    ----------
    path : str
        As Python has it.
    """
    name = os.fsencode(path)
    try:
        return name.decode("utf8")
    except UnicodeDecodeError:
        return name


def _printable(text: str) -> str:
    return text.encode("utf8", "backslashreplace").decode("utf8")


def _joined(clauses: Sequence[tuple[str, Sequence[Any]]]) -> tuple[str, list[Any]]:
    """Return conditions in SQL as one, and their values."""
    values = [value for _, listed in clauses for value in listed]
    return " AND ".join(clause for clause, _ in clauses) or "1", values


def _in_folder(folder: Path | None) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the condition in SQL that a file lies in a folder, and its values; none for every folder."""
    if folder is not None:
        yield f"{_PATH_BYTES} >= ? AND {_PATH_BYTES} < ?", _bounds(folder)


def _bounds(folder: Path) -> tuple[bytes, bytes]:
    """Return the path that all paths in a folder are above, and the least that is not in it.

    LIKE would not do: it ignores case, and knows no bytes.
    """
    prefix = os.path.join(os.fsencode(os.path.abspath(folder)), b"")  # noqa: PTH100, PTH118
    # A prefix ends with a separator, which is below 255.
    return prefix, prefix[:-1] + bytes([prefix[-1] + 1])


def _path(column: object) -> str:
    """Return a path as Python has it from its column, in which a damaged file may hold anything."""
    if isinstance(column, str):
        column = column.encode("utf8", "surrogateescape")
    return os.fsdecode(column) if isinstance(column, bytes) else repr(column)


def _entry(columns: dict[str, Any]) -> LibraryEntry:
    path = columns["path"] = _path(columns["path"])
    try:
        columns |= _parsed({name: columns[name] for name in _JSON if columns[name] is not None})
        entry = LibraryEntry.from_columns(columns)
        check_values(entry)
        return entry
    # What a damaged or hostile row can raise on its way through JSON and the constructor.
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as reason:
        damage = LibraryError(
            "library_corrupt", f"{path}: its row is damaged: {reason}", "scan it again with --retry-failed"
        )
        entry = LibraryEntry.from_error(
            damage, path, size=-1, mtime_ns=-1, hash=None, model="", model_name=""
        )
        return replace(entry, missing=columns["missing"] == 1)


def _parsed(texts: Mapping[str, str]) -> dict[str, object]:
    """Return the values of columns of JSON; at once, which takes two thirds of the time."""
    values = dict(zip(texts, json.loads(f"[{','.join(texts.values())}]"), strict=True))
    for name, value in values.items():
        if not isinstance(value, dict if name in ("scores", "styles") else list):
            raise TypeError(f"{name} is {value!r}")
    return values


def _change(text: object) -> TagChange | None:
    try:
        return TagChange.from_dict(json.loads(text))  # type: ignore[arg-type]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return None


def _foreign(path: Path, why: str) -> DataError:
    return DataError(
        "dataset_invalid",
        f"{path}: not a library of this version of genrescope: {why}",
        "name another file with --db, or move this one away and scan again",
    )
