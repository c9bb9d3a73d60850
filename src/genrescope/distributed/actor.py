"""`GenreActor`: a table of paths in, a table of rows out; one model, loaded once, for all of its calls.

It knows nothing of Ray. Any engine that calls an object with batches can use it, see docs/scale.md.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from genrescope import models
from genrescope.distributed import worker
from genrescope.distributed.scoring import ScoringServer
from genrescope.distributed.storage import StorageOptions
from genrescope.errors import FILE_CODES, ConfigError, GenrescopeError, ModelError
from genrescope.inference import BatchedModel
from genrescope.library import LibraryEntry, Traffic, entries_to_table
from genrescope.workers import WorkerPool, WorkerSpec

if TYPE_CHECKING:
    import pyarrow

# A file whose worker process died gets another one, since the cause may have been a neighbor that filled the
# memory; a file that ends two of them is the cause itself, and gets a row with the error.
_TRIES = 2
# Codes of failures that concern one file. ``worker_failed`` is a defect met with this file.
_ROW_CODES = FILE_CODES | {"worker_failed"}


@dataclass(frozen=True)
class ActorOptions:
    """How an actor classifies.

    Attributes
    ----------
    model : str
        A shipped name, or a ``.onnx`` file that is on every machine.
    model_sha256 : str
        Of the model file; other files are refused. Empty: any.
    excerpts, strict : bool
        As of `genrescope.inference.Classifier.predict`.
    threshold : float or None
        As of `genrescope.inference.Classifier`.
    processes : int
        Worker processes of an actor, each with a model of its own; on a GPU, one for all of them.
    timeout : float
        Seconds that one file may take.
    memory_limit_mb : int
        Megabytes that one file may take, beyond what a worker process takes when idle.
    device : {"cpu", "cuda", "auto"}
        What computes the network: with ``cuda``, and ``auto`` where that works, the actor scores on the GPU
        what its worker processes decode.
    storage_options : mapping
        For fsspec's file systems of remote files. Without them, credentials come from the environment.
    target : callable
        As of `genrescope.workers.WorkerSpec`: what worker processes do.
    """

    model: str = models.DEFAULT
    model_sha256: str = ""
    excerpts: bool = False
    strict: bool = False
    threshold: float | None = None
    processes: int = 1
    timeout: float = 1800.0
    memory_limit_mb: int = 1500
    device: str = "cpu"
    storage_options: StorageOptions = field(default_factory=dict)
    target: Callable[..., Callable[[worker.Job], worker.Job]] = worker.create_handler

    def worker_spec(self) -> WorkerSpec:
        """Return what the worker processes of an actor do."""
        names = ("model", "excerpts", "strict", "threshold")
        kwargs: dict[str, Any] = {name: getattr(self, name) for name in names}
        kwargs["storage_options"] = dict(self.storage_options)
        return WorkerSpec(self.target, kwargs, timeout=self.timeout, memory_limit_mb=self.memory_limit_mb)


class GenreActor:
    """A callable that classifies batches of files in worker processes, which a damaged file cannot harm.

    Files are decoded by the actor's own worker process, not by a stage before it, since decoded audio is a
    hundred times as large as the file. A file that crashes its process twice, takes too long or needs too
    much memory becomes a row with the error.

    Parameters
    ----------
    options : ActorOptions, optional
        How to classify.

    Attributes
    ----------
    options : ActorOptions
    closed : bool

    Raises
    ------
    ModelError
        ``model_not_found``, ``model_corrupt``; ``model_incompatible``: another file than was asked for.
    ConfigError, MissingDependencyError
        ``invalid_argument``, ``missing_dependency``: no such device, or none that works here.
    WorkerError
        ``worker_failed``: no worker process can start on this machine.

    Examples
    --------
    >>> import pyarrow
    >>> actor = GenreActor(ActorOptions(excerpts=True))
    >>> rows = actor(pyarrow.table({"path": ["song.mp3", "s3://bucket/song.flac"]}))
    """

    def __init__(self, options: ActorOptions | None = None) -> None:
        self.options = options or ActorOptions()
        self.closed = False
        opened = models.load_model(self.options.model, device=self.options.device)
        self._model, self._model_name = opened.sha256, opened.name
        if self.options.model_sha256 not in ("", opened.sha256):
            raise ModelError(
                "model_incompatible",
                f"{self.options.model}: another file on this machine ({opened.sha256[:12]}) than"
                f" {self.options.model_sha256[:12]}",
                "install the same version, and the same model files, on every machine of the cluster",
            )
        spec = self.options.worker_spec()
        self._server = None if opened.device == "cpu" else ScoringServer(BatchedModel(opened))
        if self._server is not None:
            spec = replace(spec, kwargs=spec.kwargs | {"scoring": self._server.address})
        self._pool = WorkerPool(spec, self.options.processes)
        try:
            self._check_start()
        except GenrescopeError:
            self.close()
            raise

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Classify files.

        Parameters
        ----------
        batch : pyarrow.Table
            Its column ``path`` holds local paths, or addresses that fsspec knows, as text or bytes.

        Returns
        -------
        pyarrow.Table
            One row for each path, in order, with the columns of `genrescope.library.parquet_schema`.

        Raises
        ------
        ConfigError
            ``invalid_argument``: no column ``path``.
        GenrescopeError
            A failure of the machine and not of a file, such as of a model that cannot be loaded.
        """
        if "path" not in batch.column_names:
            raise ConfigError("invalid_argument", "a batch without a column 'path'", "give it this column")
        rows = list(self.classify(worker.path_of(one) for one in batch["path"].to_pylist()))
        return entries_to_table([entry for entry, _ in rows], [traffic for _, traffic in rows])

    def classify(self, paths: Iterable[str]) -> Iterator[tuple[LibraryEntry, Traffic | None]]:
        """Yield the entry of each path, in order, and what was fetched for it.

        Parameters
        ----------
        paths : iterable of str
            Local paths or addresses.
        """
        pending: deque[tuple[str, Future[worker.Job]]] = deque()
        for path in paths:
            # The queue of the pool is bounded; the results are taken in order, so waiting for the first one
            # frees it.
            while self._pool.full:
                yield self._result(*pending.popleft())
            pending.append((path, self._pool.submit({"path": path})))
        while pending:
            yield self._result(*pending.popleft())

    def close(self) -> None:
        """End the worker processes, and then what they are connected to; the actor cannot be called again."""
        self.closed = True
        self._pool.close()
        if self._server is not None:
            self._server.close()

    def _result(self, path: str, done: Future[worker.Job]) -> tuple[LibraryEntry, Traffic | None]:
        for remaining in reversed(range(_TRIES)):
            try:
                answer = done.result()
            except GenrescopeError as failure:
                if failure.code not in _ROW_CODES:
                    raise
                if failure.code == "worker_failed":
                    self._check_start()
                if failure.code != "worker_crashed" or not remaining:
                    return self._failed(path, failure), None
                done = self._submit({"path": path})
                continue
            fetched = answer.get("traffic")
            entry = LibraryEntry.from_columns(answer["entry"])
            return entry, None if fetched is None else Traffic(*fetched)
        raise AssertionError("the last try returns or raises")

    def _check_start(self) -> None:
        """Raise why no worker process can start on this machine; without this, every file would fail."""
        self._submit({}).result()

    def _submit(self, job: worker.Job) -> Future[worker.Job]:
        while self._pool.full:
            # Jobs wait that were submitted before; one of them ends, or fails, in its time.
            time.sleep(0.01)
        return self._pool.submit(job)

    def _failed(self, path: str, failure: GenrescopeError) -> LibraryEntry:
        named = GenrescopeError(failure.code, f"{path}: {failure.message}", failure.hint)
        entry = LibraryEntry.from_error(
            named, path, size=0, mtime_ns=0, hash=None, model=self._model, model_name=self._model_name
        )
        return replace(entry, excerpts=self.options.excerpts)


_SHARED: dict[str, GenreActor] = {}


def shared_actor(options: ActorOptions | None = None) -> GenreActor:
    """Return the actor of this process for some options, created at the first call, and after it was closed.

    For engines that call a function and not an object, such as Spark and Dask.

    Parameters
    ----------
    options : ActorOptions, optional
        As of `GenreActor`.

    Raises
    ------
    ModelError, WorkerError
        As `GenreActor`.
    """
    options = options or ActorOptions()
    # Their text, since options for storage are a mapping, which has no hash.
    if (key := repr(options)) not in _SHARED or _SHARED[key].closed:
        _SHARED[key] = GenreActor(options)
    return _SHARED[key]
