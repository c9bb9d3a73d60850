"""Jobs for worker processes, a bounded number of them at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from genrescope.errors import GenrescopeError
from genrescope.workers import WorkerPool, WorkerSpec

Job = dict[str, Any]
Key = TypeVar("Key")


def run_jobs(
    spec: WorkerSpec, jobs: Iterable[tuple[Key, Job]], workers: int
) -> Iterator[tuple[Key, Job | GenrescopeError]]:
    """Yield the key and the answer of each job as it is done; an error in place of the answer.

    Parameters
    ----------
    spec : WorkerSpec
    jobs : iterable of (key, dict)
        Read as workers become free. No process is started where there are none.
    workers : int
        Processes.
    """
    rest = iter(jobs)
    first = next(rest, None)
    if first is None:
        return
    pending: dict[Future[Job], Key] = {}
    with WorkerPool(spec, workers) as pool:
        waiting: tuple[Key, Job] | None = first
        while waiting is not None or pending:
            while waiting is not None and not pool.full:
                pending[pool.submit(waiting[1])] = waiting[0]
                waiting = next(rest, None)
            for done in wait(pending, return_when=FIRST_COMPLETED).done:
                key = pending.pop(done)
                try:
                    answer: Job | GenrescopeError = done.result()
                except GenrescopeError as failure:
                    answer = failure
                yield key, answer
