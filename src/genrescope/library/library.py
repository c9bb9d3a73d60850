"""A collection of music and what was heard of it: scan, stop, go on, ask.

Each file is one row of a database, written the moment its answer is there; a scan that was killed loses the
files it had in hand and nothing else.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from types import TracebackType
from typing import Any, Literal, NamedTuple

from genrescope import audio, models, utils
from genrescope.audio import FoundFile
from genrescope.errors import ConfigError, DataError, GenrescopeError
from genrescope.library import tagging
from genrescope.library.database import Database, Filter, Row
from genrescope.library.tagging import TagResult, UntagResult
from genrescope.tagging import LABELS, UncertainPolicy, Vocabulary
from genrescope.workers import WorkerPool, WorkerSpec

ScanStatus = Literal["classified", "failed", "unchanged", "moved", "copied", "other", "unreadable"]
# What may pass without the file changing: rights, disks.
_TRANSIENT_ERRORS = frozenset({"audio_missing", "audio_permission_denied", "worker_failed"})
_SECONDS_A_FILE = 1800.0
_MEGABYTES_A_FILE = 1500


class ScanResult(NamedTuple):
    """What became of one thing that a scan met; ``row`` is the file's row, if it has one."""

    path: str
    status: ScanStatus
    row: Row | None = None


@dataclass(frozen=True)
class ScanOptions:
    """How to scan.

    Attributes
    ----------
    model : str
        A shipped name or a ``.onnx`` file.
    excerpts : bool
        Hear some places of long tracks (see `sampling`), or all of every track.
    workers : int or None
        Processes; None: one for each core.
    retry : bool
        Try files again that failed before, though they have not changed.
    seconds, megabytes : float, int
        What one file may take, beyond what a worker takes when idle.
    """

    model: str = models.DEFAULT
    excerpts: bool = True
    workers: int | None = None
    retry_failed: bool = False
    timeout: float = _SECONDS_A_FILE
    memory_limit_mb: int = _MEGABYTES_A_FILE


@dataclass(frozen=True)
class TagOptions:
    """Which genres are written for an answer, in which words: see `vocabulary.Vocabulary.words`."""

    vocabulary: Path | None = None
    genre_threshold: float | None = None
    style_threshold: float | None = None
    max_genres: int | None = None
    uncertain: UncertainPolicy = "nothing"

    def reader(self, labels: Iterable[str]) -> Callable[[Row], list[str]]:
        """Return what gives the words for an answer."""
        known = Vocabulary() if self.vocabulary is None else Vocabulary.load(self.vocabulary, labels=labels)
        return partial(
            known.genres_for,
            genre_threshold=self.genre_threshold,
            style_threshold=self.style_threshold,
            max_genres=self.max_genres,
            uncertain=self.uncertain,
        )


def default_path() -> Path:
    """Return where the library lies unless told otherwise."""
    return utils.data_folder() / "library.db"


class Library:
    """A library file, open: for ``with``, or close it.

    Examples
    --------
    >>> with Library() as library:
    ...     for scanned in library.scan(["~/Music"]):
    ...         print(scanned.status, scanned.path)
    ...     jazz = list(library.rows(Filter(genres=("jazz",))))
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """Open a library, or begin one.

        Parameters
        ----------
        path : path, optional
            None: `default_path`.

        Raises
        ------
        DataError, WriteError
            As `database.Database`.
        """
        self.database = Database(default_path() if path is None else Path(path).expanduser())

    def scan(
        self, paths: Iterable[str | os.PathLike[str]], plan: ScanOptions | None = None
    ) -> Iterator[ScanResult]:
        """Hear the files at ``paths`` that are new or changed, or were heard by another model.

        Yields one `Scanned` for every file met, as it is done with; giving up the iteration stops the work.

        Raises
        ------
        DataError
            ``dataset_not_found``: nothing is at one of the paths.
        ModelError
            The model cannot be opened.
        """
        roots = [os.path.abspath(os.path.expanduser(path)) for path in paths]  # noqa: PTH100, PTH111
        for root in roots:
            if not os.path.lexists(root):
                raise DataError(
                    "dataset_not_found", f"{root}: nothing is there", "check the path, or mount the disk"
                )
        roots = [root for root in roots if not any(Path(other) in Path(root).parents for other in roots)]
        plan = plan or ScanOptions()
        return _Scan(self.database, plan).run(roots)

    def rows(self, wanted: Filter | None = None) -> Iterator[Row]:
        """Yield the rows that pass a filter, by path; without one all files that are still there.

        Raises
        ------
        ConfigError
            ``invalid_argument``: no model of this library names such a genre, or such a style.
        """
        wanted = wanted or Filter()
        named = (*wanted.genres, *wanted.styles)
        # Which labels there are takes a look at every row: only where one is asked for.
        known = {*LABELS, *self.database.labels()} if named else set()
        for name in named:
            if name not in known:
                hint = utils.did_you_mean(name.casefold(), known, otherwise="see: genrescope library stats")
                raise ConfigError("invalid_argument", f"no genre or style is named {name!r}", hint)
        return self.database.rows(wanted)

    def tag(
        self,
        wanted: Filter | None = None,
        wording: TagOptions | None = None,
        *,
        write: bool = False,
        overwrite: bool = False,
        keep_mtime: bool = False,
    ) -> Iterator[TagResult]:
        """Say what writing genres into files would change; with ``write``, do it.

        Parameters
        ----------
        wanted : Filter, optional
            Which files.
        wording : Wording, optional
            Which genres, in which words.
        write : bool
            Change the files; every change stands in the journal first, for `untag`.
        overwrite : bool
            Replace genres that files have already.
        keep_mtime : bool
            Let files keep their time of modification.

        Raises
        ------
        ConfigError
            The vocabulary; failures of single files are yielded.
        MissingDependencyError
            ``missing_dependency`` without mutagen.
        """
        words = (wording or TagOptions()).reader({*LABELS, *self.database.labels()})
        rows = [row for row in self.rows(wanted) if row["error"] is None]
        return tagging.tag(
            self.database,
            ((row, words(as_answer(row))) for row in rows),
            write=write,
            overwrite=overwrite,
            keep_mtime=keep_mtime,
        )

    def untag(self, folder: Path | None = None, *, keep_mtime: bool = False) -> Iterator[UntagResult]:
        """Take back what `tag` wrote, everywhere or in a folder; see ``tags.undo`` for how."""
        return tagging.untag(self.database, self.database.changes(folder), keep_mtime=keep_mtime)

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class _Scan:
    """One scan on its way: what is in hand, and how answers become rows."""

    database: Database
    options: ScanOptions
    pending: dict[Future[Row], tuple[FoundFile, list[Row]]] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        opened = models.load_model(self.options.model)
        self.model, self.model_name = opened.sha256, opened.name

    def run(self, roots: list[str]) -> Iterator[ScanResult]:
        plan, self.roots = self.options, roots
        settings = {"model": plan.model, "excerpts": plan.excerpts}
        trade = WorkerSpec(
            "genrescope.library.scan_worker:create_handler",
            settings,
            timeout=plan.timeout,
            memory_limit_mb=plan.memory_limit_mb,
        )
        with WorkerPool(trade, plan.workers or os.cpu_count() or 1) as crew:
            for entry in audio.discover(roots):
                yield from self._collect(0)
                if entry.kind != "audio":
                    yield ScanResult(entry.path, entry.kind)
                    continue
                row = self.database.find(entry.path)
                if row is not None and self._is_done(row, entry):
                    yield ScanResult(entry.path, "unchanged", self._mark_present(row))
                    continue
                twins = self._find_classified(size=entry.size)
                known = [twin["hash"] for twin in twins]
                self.pending[crew.submit({"path": entry.path, "known": known})] = entry, twins
                while crew.full:
                    yield from self._collect()
            while self.pending:
                yield from self._collect()
        self._mark_missing(roots)

    def _is_done(self, row: Row, entry: FoundFile) -> bool:
        same_file = (row["size"], row["mtime_ns"]) == (entry.size, entry.mtime_ns)
        same_question = row["model"] == self.model and row["excerpts"] <= self.options.excerpts
        settled = row["error"] is None or (
            row["error"] not in _TRANSIENT_ERRORS and not self.options.retry_failed
        )
        return same_file and same_question and settled

    def _mark_present(self, row: Row) -> Row:
        if row["gone"]:
            self.database.mark_missing([row["path"]], gone=False)
        return row | {"gone": False}

    def _find_classified(self, *, size: int | None = None, content: str | None = None) -> list[Row]:
        return self.database.find_classified(
            self.model, excerpts=self.options.excerpts, size=size, content=content
        )

    def _collect(self, seconds: float | None = None) -> Iterator[ScanResult]:
        """Wait for something to be done, so long at most; write it down and pass it on."""
        if not self.pending:
            return
        for done in wait(self.pending, timeout=seconds, return_when=FIRST_COMPLETED).done:
            entry, twins = self.pending.pop(done)
            try:
                answer = done.result()
            except GenrescopeError as failure:
                message = f"{entry.path}: {failure.message}"
                error = {"error": failure.code, "message": message, "hint": failure.hint}
                answer = {"hash": None, "columns": error}
            if "columns" in answer:
                yield self._store(entry, answer)
            else:
                # Files that changed places may have taken each other's rows meanwhile.
                former = next(twin for twin in twins if twin["hash"] == answer["hash"])
                yield self._reuse_result(entry, answer["hash"], former)

    def _store(self, entry: FoundFile, answer: Row) -> ScanResult:
        blank = dict.fromkeys(_ANSWER)
        row = {
            "path": entry.path,
            "size": entry.size,
            "mtime_ns": entry.mtime_ns,
            "hash": answer["hash"],
            "model": self.model,
            "model_name": self.model_name,
            "excerpts": False,
            "scanned": time.time(),
            "gone": False,
            **blank,
            **answer["columns"],
        }
        self.database.upsert(row)
        return ScanResult(entry.path, "classified" if row["error"] is None else "failed", row)

    def _reuse_result(self, entry: FoundFile, content: str, former: Row) -> ScanResult:
        """Give a file the answer that its content has already: it was touched, moved, or copied."""
        twins = self._find_classified(content=content)
        own = next((twin for twin in twins if twin["path"] == entry.path), None)
        lost = next((twin for twin in twins if self._has_moved(twin["path"])), None)
        if own is None and lost is not None:
            self.database.move(lost["path"], entry.path, size=entry.size, mtime_ns=entry.mtime_ns)
            outcome: ScanStatus = "moved"
        else:
            now = {"path": entry.path, "size": entry.size, "mtime_ns": entry.mtime_ns, "gone": False}
            self.database.upsert((own or former) | now)
            outcome = "copied" if own is None else "unchanged"
        return ScanResult(entry.path, outcome, self.database.find(entry.path))

    def _has_moved(self, path: str) -> bool:
        """Whether a file is gone from where it was: not if its disk may only be unplugged."""
        near = any(Path(root) in Path(path).parents for root in self.roots) or Path(path).parent.is_dir()
        return near and _is_missing(path)

    def _mark_missing(self, roots: list[str]) -> None:
        """Note which files that were there once are there no longer."""
        for root in roots:
            there = self.database.paths(Path(root))
            self.database.mark_missing([path for path in there if _is_missing(path)])


_ANSWER = (
    "format", "codec", "sample_rate", "channels", "seconds", "genre", "score", "unsure", "scores", "styles",
    "flags", "timeline", "error", "message", "hint",
)  # fmt: skip


def _is_missing(path: str) -> bool:
    """Whether no file is at a path; one that may only not be reached is not gone."""
    try:
        return S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False


def count_by(rows: Iterable[Row]) -> dict[str, Counter[str]]:
    """Count rows by ``genre``, ``style``, ``error`` and ``format``."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("genre", "style", "error", "format")}
    for row in rows:
        if row["error"] is not None:
            counts["error"][row["error"]] += 1
            continue
        counts["genre"][row["genre"]] += 1
        counts["format"][row["format"]] += 1
        counts["style"].update(list(row["styles"]))
    return counts


def as_answer(row: Row) -> dict[str, Any]:
    """Return a row in the form of ``classify --format jsonl``."""
    if row["error"] is not None:
        return {"path": row["path"], "error": {name: row[key] for name, key in _ERROR.items()}}
    names = ("path", "genre", "score", "unsure", "scores", "styles", "seconds", "flags")
    return {name: row[name] for name in names} | {"model": row["model_name"]}


_ERROR = {"code": "error", "message": "message", "hint": "hint"}
