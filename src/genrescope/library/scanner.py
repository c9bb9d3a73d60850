"""One scan of a library: find files, have new ones analyzed by worker processes, write what comes back."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from stat import S_ISDIR
from typing import Literal, NamedTuple

from genrescope import audio, models, tagging
from genrescope.audio import FoundFile
from genrescope.errors import GenrescopeError, ModelError
from genrescope.library import scan_worker
from genrescope.library.database import Database, FileState
from genrescope.library.records import LibraryEntry
from genrescope.tagging import AlbumTags
from genrescope.workers import Job, WorkerSpec, run_jobs

ScanStatus = Literal[
    "classified", "failed", "unchanged", "moved", "copied", "skipped", "unreadable", "missing"
]
# Causes that may pass without the file changing: permissions, disks, short memory, a damaged row.
_TRANSIENT_ERRORS = frozenset(
    {"audio_missing", "audio_permission_denied", "audio_read_failed", "library_corrupt", "worker_failed"}
)
# Far above what music needs, and low enough that one damaged file does not hold up a scan over night.
_TIMEOUT_SECONDS = 1800.0
_MEMORY_LIMIT_MB = 1500


class ScanResult:
    """What became of one thing that a scan met.

    Parameters
    ----------
    path : str
        Of a file, or of a folder that cannot be read.
    status : str
        ``classified``, ``failed``: analyzed now. ``unchanged``, ``moved``, ``copied``: an earlier answer
        holds. ``skipped``: no audio file. ``unreadable``: a folder that may not be read. ``missing``: a file
        that is gone, as a `Watcher` finds it.
    entry : LibraryEntry, optional
        The file's entry, if it has one.
    database : Database, optional
        Where the entry of an unchanged file is read, if it is asked for: a million of them need not be.
    error : str, optional
        Code of the error in place of an answer; None: that of ``entry``.
    """

    __slots__ = ("_database", "_entry", "error", "path", "status")

    def __init__(
        self,
        path: str,
        status: ScanStatus,
        entry: LibraryEntry | None = None,
        *,
        database: Database | None = None,
        error: str | None = None,
    ) -> None:
        self.path, self.status = path, status
        self.error = entry.error if entry is not None else error
        self._entry, self._database = entry, database

    @property
    def entry(self) -> LibraryEntry | None:
        """The file's entry, if it has one; that of an unchanged file, as the library has it by now."""
        if self._entry is None and self._database is not None:
            self._entry, self._database = self._database.find(self.path), None
        return self._entry


@dataclass(frozen=True)
class ScanOptions:
    """How to scan.

    Attributes
    ----------
    model : str
        A shipped name or a ``.onnx`` file.
    excerpts : bool
        Analyze excerpts of long tracks, or all of every track.
    workers : int or None
        Processes; None: one for each core.
    retry_failed : bool
        Try files again that failed before, though they have not changed.
    timeout : float
        Seconds that one file may take.
    memory_limit_mb : int
        Megabytes that one file may take, beyond what a worker takes when idle.
    """

    model: str = models.DEFAULT
    excerpts: bool = True
    workers: int | None = None
    retry_failed: bool = False
    timeout: float = _TIMEOUT_SECONDS
    memory_limit_mb: int = _MEMORY_LIMIT_MB


class _Submitted(NamedTuple):
    """A file that a worker has, and the entries of files of its size that it may be a copy of."""

    found: FoundFile
    duplicates: list[LibraryEntry]


class Scanner:
    """One scan on its way.

    Its state is what stands in the database, which every finished file reaches at once, and the files that
    workers have. A scan that is killed loses these only; the next scan finds them without an entry.

    A file whose size and time are those of its entry is not opened. Any other goes to a worker, which reads
    it once for its hash, and decodes it only if no file of its size has that hash. Only the scanner's process
    writes to the database, so workers need no lock.

    Parameters
    ----------
    database : Database
        Where answers are kept.
    options : ScanOptions
        How to scan.
    """

    def __init__(self, database: Database, options: ScanOptions) -> None:
        self._database = database
        self._options = options
        self._roots: list[str] = []
        # Opened here too, although only the workers classify: the hash says which answers are of this model,
        # and a model that cannot be opened fails before the folders are walked.
        opened = models.load_model(options.model)
        self._model, self._model_name = opened.sha256, opened.name
        self._reads_tags = tagging.import_readers()

    def run(self, roots: list[str]) -> Iterator[ScanResult]:
        """Scan folders and files, and yield what became of everything found, as it becomes known.

        Parameters
        ----------
        roots : list of str
            Absolute paths, none within another.
        """
        options, self._roots = self._options, roots
        spec = WorkerSpec(
            scan_worker.create_handler,
            {"model": options.model, "excerpts": options.excerpts},
            timeout=options.timeout,
            memory_limit_mb=options.memory_limit_mb,
        )
        for key, answer in run_jobs(spec, self._jobs(), options.workers or os.cpu_count() or 1):
            yield key if isinstance(key, ScanResult) else self._finish(*key, answer)
        self._mark_missing(roots)

    def _jobs(self) -> Iterator[tuple[ScanResult | _Submitted, Job | None]]:
        """Yield everything found: with a job, or with what became of it."""
        for found in audio.discover(self._roots):
            if found.kind != "audio":
                status: ScanStatus = "unreadable" if found.kind == "unreadable" else "skipped"
                yield ScanResult(found.path, status), None
                continue
            state = self._database.state(found.path)
            if state is not None and self._is_done(state, found):
                # Written only where it changes something: a second scan of an unchanged library writes
                # nothing.
                if state.missing:
                    self._database.mark_missing([found.path], missing=False)
                unchanged = ScanResult(found.path, "unchanged", database=self._database, error=state.error)
                yield unchanged, None
            else:
                yield self._job(found)

    def _job(self, found: FoundFile) -> tuple[_Submitted, Job]:
        # Only files of the same size can have the same content; the worker is given their hashes, and decodes
        # only what none of them matches.
        duplicates = self._find_classified(size=found.size)
        job = {
            "path": found.path,
            "size": found.size,
            "mtime_ns": found.mtime_ns,
            "known": [duplicate.hash for duplicate in duplicates],
        }
        return _Submitted(found, duplicates), job

    def _is_done(self, state: FileState, found: FoundFile) -> bool:
        """Whether an entry answers what this scan asks about a file."""
        same_file = (state.size, state.mtime_ns) == (found.size, found.mtime_ns)
        # An answer from the whole track serves a scan in excerpts too, not the other way round.
        same_question = state.model == self._model and state.excerpts <= self._options.excerpts
        settled = state.error is None or (
            state.error not in _TRANSIENT_ERRORS and not self._options.retry_failed
        )
        # Without mutagen, and by version 0.1, tags of albums were not read: the file is read again for its
        # tags and its hash, and not decoded. The title came last.
        complete = state.error is not None or not self._reads_tags or not state.lacks_tags
        return same_file and same_question and settled and complete and not self._is_damaged(state, found)

    def _is_damaged(self, state: FileState, found: FoundFile) -> bool:
        """Whether the row of a file has values that no answer has."""
        if state.error is not None or not self._options.retry_failed:
            return False
        # Nothing but reading all of it tells; the row counts as failed where entries are listed.
        entry = self._database.find(found.path)
        return entry is not None and entry.error is not None

    def _find_classified(self, *, size: int | None = None, content: str | None = None) -> list[LibraryEntry]:
        return self._database.find_classified(
            self._model, excerpts=self._options.excerpts, size=size, content=content
        )

    def _finish(
        self, found: FoundFile, duplicates: list[LibraryEntry], answer: Job | GenrescopeError
    ) -> ScanResult:
        """Write down what a worker answered about a file."""
        if isinstance(answer, GenrescopeError):  # of the worker, which does not know the path by then
            return self._store(self._failed_entry(found, answer), found)
        if "entry" in answer:
            fingerprint = answer.get("fingerprint")
            result = self._store(LibraryEntry.from_columns(answer["entry"]), found)
            if fingerprint is not None:
                self._database.set_fingerprint(result.path, base64.b64decode(fingerprint))
            return result
        # The worker compared with the entries of that moment. They are kept with the pending file because
        # files that swapped places may have taken each other's entries since.
        former = next(duplicate for duplicate in duplicates if duplicate.hash == answer["hash"])
        return self._reuse_result(found, answer, former)

    def _failed_entry(self, found: FoundFile, failure: GenrescopeError) -> LibraryEntry:
        named = GenrescopeError(failure.code, f"{found.path}: {failure.message}", failure.hint)
        return LibraryEntry.from_error(
            named,
            found.path,
            size=found.size,
            mtime_ns=found.mtime_ns,
            hash=None,
            model=self._model,
            model_name=self._model_name,
        )

    def _store(self, entry: LibraryEntry, found: FoundFile) -> ScanResult:
        try:
            self._database.upsert(entry)
        except ModelError as failure:
            entry = self._failed_entry(found, failure)
            self._database.upsert(entry)
        return ScanResult(entry.path, "classified" if entry.error is None else "failed", entry)

    def _reuse_result(self, found: FoundFile, answer: Job, former: LibraryEntry) -> ScanResult:
        """Give a file the answer that its content has already: it was touched, moved, or copied."""
        # Asked again, because entries have been written and moved since the job was submitted.
        duplicates = self._find_classified(content=answer["hash"])
        own = next((entry for entry in duplicates if entry.path == found.path), None)
        former_path = self._former_path(found, duplicates) if own is None else None
        # The row of a moved file is renamed, not copied, and with it its journal: its tags can still be
        # undone.
        if former_path is not None:
            self._database.move(former_path, found.path, size=found.size, mtime_ns=found.mtime_ns)
            status: ScanStatus = "moved"
        else:
            self._database.upsert(
                replace(
                    own or former, path=found.path, size=found.size, mtime_ns=found.mtime_ns, missing=False
                )
            )
            status = "copied" if own is None else "unchanged"
        entry = self._database.find(found.path)
        if entry is not None and _lacks_tags(entry) and answer["album_tags"] is not None:
            entry = entry.with_album_tags(AlbumTags(*answer["album_tags"]))
            self._database.upsert(entry)
        return ScanResult(found.path, status, entry)

    def _former_path(self, found: FoundFile, duplicates: list[LibraryEntry]) -> str | None:
        """Return the path at which a file was before, or None where it is new or a copy."""
        candidates = [entry for entry in duplicates if self._has_moved(entry, found)]
        # Where several files had this content, the one whose path is most like the new one moved here.
        best = max(candidates, key=lambda entry: len(_shared_suffix(entry.path, found.path)), default=None)
        return None if best is None else best.path

    def _has_moved(self, entry: LibraryEntry, found: FoundFile) -> bool:
        """Whether a file is no longer where it was; not so where its disk may only be unplugged."""
        if not is_missing(entry.path):
            return False
        # An unplugged disk takes the folders with it; where the folder is still there, the file alone is
        # gone.
        path = Path(entry.path)
        near = any(Path(root) in path.parents for root in self._roots) or path.parent.is_dir()
        return near or _is_in_renamed_folder(entry, found)

    def _mark_missing(self, roots: list[str]) -> None:
        """Record which files of the scanned folders are no longer there."""
        for root in roots:
            known = self._database.paths(Path(root))
            self._database.mark_missing([path for path in known if is_missing(path)])


def _lacks_tags(entry: LibraryEntry) -> bool:
    """Whether the tags of a file were not read when it was analyzed, or not all of them."""
    return entry.album is None or entry.title is None


def _is_in_renamed_folder(entry: LibraryEntry, found: FoundFile) -> bool:
    """Whether a file that is no longer there and a new one of its content differ by a renamed folder alone.

    A rename keeps the file's time, and leaves the folder in which the renamed one was, on the same file
    system. Of a disk that is unplugged, at least one of these is, as a rule, not true; where nothing tells,
    ``library relocate`` does.
    """
    shared = _shared_suffix(entry.path, found.path)
    if not shared or entry.mtime_ns != found.mtime_ns:
        return False
    renamed = Path(*Path(entry.path).parts[: -len(shared)])
    try:
        return not renamed.exists() and renamed.parent.stat().st_dev == Path(found.path).stat().st_dev
    except OSError:
        return False


def _shared_suffix(first: str, second: str) -> tuple[str, ...]:
    """Return the last parts of two paths that are the same, the file's name last."""
    parts = zip(reversed(Path(first).parts), reversed(Path(second).parts), strict=False)
    shared = [one for one, _ in takewhile(lambda pair: pair[0] == pair[1], parts)]
    return tuple(reversed(shared))


def is_missing(path: str) -> bool:
    """Return whether no file is at a path; one that only cannot be reached is not missing.

    Parameters
    ----------
    path : str
        Of a file.
    """
    # lstat, so that a broken link, whose target may be on an unplugged disk, does not count as missing.
    try:
        return S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
