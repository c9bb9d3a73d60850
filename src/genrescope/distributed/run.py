"""One run on a cluster: check everything, connect, classify what is in no part yet, write parts."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from genrescope import models
from genrescope.distributed.actor import ActorOptions
from genrescope.distributed.dataset import BATCH_ROWS, classify_dataset, configure_data
from genrescope.distributed.results import Digests, ResultStore, digests, is_in
from genrescope.distributed.source import Manifest, open_source, read_paths
from genrescope.errors import ClusterError, ConfigError, GenrescopeError, missing_extra

if TYPE_CHECKING:
    import pyarrow

_CONNECT_SECONDS = 5.0
_CLIENT_PORT = 10001
_MANY_PARTS = 20_000
_FEW_BLOCKS = 2_000


@dataclass(frozen=True)
class ClusterOptions:
    """How a run uses its cluster.

    Attributes
    ----------
    actor : ActorOptions
        How to classify.
    column : str or None
        Of a manifest; None: one that is known, or the only one.
    address : str or None
        ``local``: a cluster on this machine for this run; ``auto``: the one that this machine belongs to;
        ``host:port`` or ``ray://host:port``. None: that of RAY_ADDRESS, else ``local``.
    concurrency : int or None
        The most actors; None: one for each core of the cluster.
    workers_per_core : int
        Worker processes for each core. More than one keep it busy while the others wait for an object store.
    num_gpus : float
        Share of a GPU that Ray reserves for each actor; `ActorOptions.device` says whether it is used.
    batch_rows : int
        Files of a call of an actor.
    rows_per_file : int
        Rows of a part. A kill loses the rows that are in no part yet.
    """

    actor: ActorOptions = field(default_factory=ActorOptions)
    column: str | None = None
    address: str | None = None
    concurrency: int | None = None
    workers_per_core: int = 1
    num_gpus: float = 0.0
    batch_rows: int = BATCH_ROWS
    rows_per_file: int = 1_000


@dataclass(frozen=True)
class ClusterResult:
    """What a run did.

    Attributes
    ----------
    rows : int
        Files that were classified, errors included.
    failed : int
        Those with an error.
    known : int
        Rows that were there before.
    bytes_read, requests : int
        What was fetched of remote files.
    bytes_total : int
        The size of these files.
    """

    rows: int
    failed: int
    known: int
    bytes_read: int
    requests: int
    bytes_total: int


def classify_source(source: str, destination: str, options: ClusterOptions | None = None) -> ClusterResult:
    """Classify files on a cluster, and write Parquet. After a kill the same call goes on with what is left.

    Parameters
    ----------
    source : str
        A folder, a glob, a file, or a manifest (CSV, Parquet, JSON lines): a local path or an address.
    destination : str
        The folder of the parts: a local path or an address.
    options : ClusterOptions, optional
        How to classify, and where.

    Returns
    -------
    ClusterResult

    Raises
    ------
    ClusterError
        ``cluster_unreachable``; ``cluster_failed``: it ended the work, or a later run took over.
    ConfigError, DataError, ModelError, StorageError, WriteError, MissingDependencyError
        What was asked for cannot be done; raised before any work.
    """
    options = options or ClusterOptions()
    try:
        import ray
    except ImportError:
        raise missing_extra("ray", "ray[data]") from None
    actor = options.actor
    model = models.load_model(actor.model)
    storage = dict(actor.storage_options)
    found = open_source(source, options.column, storage)
    check_address(options.address)
    store = ResultStore(destination, storage)
    store.begin(
        {
            "model": model.sha256,
            "excerpts": actor.excerpts,
            "strict": actor.strict,
            "threshold": actor.threshold,
        }
    )
    store.remove_doubled()
    known = store.written()
    with connected(options.address):
        cores = int(ray.cluster_resources().get("CPU", 1))
        most = options.concurrency or max(1, cores // actor.processes)
        most = min(most, max(1, cores // actor.processes))
        if options.num_gpus:
            gpus = ray.cluster_resources().get("GPU", 0.0)
            _check_gpus(options.num_gpus, gpus)
            most = min(most, int(gpus / options.num_gpus))
        counts = _run(found, store, known, options, most)
    removed = store.remove_doubled()
    rows, failed, bytes_read, requests, bytes_total = counts
    return ClusterResult(rows - removed, failed, len(known), bytes_read, requests, bytes_total)


def _check_gpus(share: float, gpus: float) -> None:
    """Refuse to reserve GPUs that are not there: Ray would wait for them without end."""
    if share > gpus:
        raise ConfigError(
            "invalid_argument",
            f"{share:g} GPUs for each actor, and the cluster has {gpus:g}",
            "leave --num-gpus out, or add a machine with a GPU (ray start --num-gpus=1)",
        )


def _run(
    found: Manifest | list[str], store: ResultStore, known: Digests, options: ClusterOptions, actors: int
) -> tuple[int, int, int, int, int]:
    """Run the dataset, and return the counts of its sink."""
    import ray.data

    from genrescope.distributed.sink import PartSink

    configure_data()
    ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    sink = PartSink(store, options.rows_per_file)
    # Blocks lie in Ray's object store, which moves them to its disk when it is full.
    blocks = [ray.put(paths_table(paths)) for paths in remaining_paths(found, known, options.batch_rows)]
    if not blocks:
        return sink.counts
    # Ray describes blocks by tasks, whose processes take seconds to start; of few, the driver does it.
    is_small = len(blocks) <= _FEW_BLOCKS
    paths = ray.data.from_blocks(ray.get(blocks)) if is_small else ray.data.from_arrow_refs(blocks)
    cores = options.actor.processes
    rows = classify_dataset(
        paths,
        replace(options.actor, processes=cores * options.workers_per_core),
        concurrency=(1, min(actors, len(blocks))),
        num_cpus=cores,
        num_gpus=options.num_gpus,
        batch_rows=options.batch_rows,
    )
    # Writing holds no core: the actors may have all of them.
    rows.write_datasink(sink, ray_remote_args={"num_cpus": 0})
    return sink.counts


def remaining_paths(
    found: Manifest | Sequence[str], known: Digests, batch_rows: int
) -> Iterator[list[bytes]]:
    """Yield the paths that are not known, in parts of ``batch_rows``.

    Of very many paths, the later parts are larger, so that there are some hundred thousand of them at most:
    Ray keeps a kilobyte for each.

    Parameters
    ----------
    found : Manifest or sequence of str
        As of `genrescope.distributed.source.open_source`.
    known : ndarray of digests
        Sorted.
    batch_rows : int
        Of the first parts.
    """
    pending: list[bytes] = []
    count = 0
    for paths in read_paths(found):
        encoded = [os.fsencode(path) for path in paths]
        are_known = is_in(digests(encoded), known).tolist()
        pending += [path for path, is_known in zip(encoded, are_known, strict=True) if not is_known]
        while len(pending) >= (size := max(batch_rows, count // _MANY_PARTS)):
            yield pending[:size]
            pending, count = pending[size:], count + size
    if pending:
        yield pending


def paths_table(paths: Sequence[bytes]) -> pyarrow.Table:
    """Return a table with the column ``path``, bytes, since a path need not be UTF-8.

    Parameters
    ----------
    paths : sequence of bytes
        As `os.fsencode` gives them.
    """
    import pyarrow

    return pyarrow.table({"path": pyarrow.array(paths, pyarrow.binary())})


def check_address(address: str | None) -> None:
    """Check that something listens at the address of a cluster; Ray itself would try for minutes.

    Parameters
    ----------
    address : str or None
        As of `ClusterOptions`.

    Raises
    ------
    ClusterError
        ``cluster_unreachable``.
    ConfigError
        ``invalid_argument``: no address.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address in ("local", "auto"):
        return
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("", "ray") or not (port or parts.scheme):
        raise ConfigError(
            "invalid_argument",
            f"{address}: no address of a cluster",
            "give local, auto, host:6379 or ray://host:10001",
        )
    try:
        socket.create_connection((host, port or _CLIENT_PORT), _CONNECT_SECONDS).close()
    except OSError as reason:
        raise _unreachable(address, reason.strerror or str(reason)) from None


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or to the one that this process has joined; raise Ray's errors as this package's.

    Parameters
    ----------
    address : str or None
        As of `ClusterOptions`.

    Raises
    ------
    ClusterError
        ``cluster_unreachable``, ``cluster_failed``.
    """
    import ray

    joined = ray.is_initialized()
    if not joined:
        _connect(address or os.environ.get("RAY_ADDRESS") or "local")
    try:
        yield
    except ray.exceptions.RayError as failure:
        raise _typed(failure) from None
    finally:
        if not joined:
            ray.shutdown()


def _connect(address: str) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as reason:
        raise _unreachable(address, str(reason).splitlines()[0]) from None


def _unreachable(address: str, why: str) -> ClusterError:
    return ClusterError(
        "cluster_unreachable",
        f"{address}: no cluster can be reached: {why}",
        "start one (ray start --head), check its address, or leave --address out to use this machine alone",
    )


def _typed(failure: Exception) -> GenrescopeError:
    """Return the error of this package that a task or actor raised, or one that names Ray's."""
    # Ray raises an object that is an instance of the task's error too, and keeps that error as its cause.
    cause: Any = failure
    while cause is not None:
        if isinstance(cause, GenrescopeError):
            return GenrescopeError(cause.code, cause.message, cause.hint)
        cause = getattr(cause, "cause", None) or cause.__cause__
    said = next((line for line in reversed(str(failure).splitlines()) if line.strip()), "")
    return ClusterError(
        "cluster_failed",
        f"the cluster ended the work: {said.strip()}",
        "look at Ray's logs; the same command goes on from here",
    )
