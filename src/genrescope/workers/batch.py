"""Many jobs for worker processes, a bounded number of them at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from typing import TypeVar

from genrescope.errors import GenrescopeError
from genrescope.workers.jobs import Job
from genrescope.workers.pool import WorkerPool, WorkerSpec

Key = TypeVar("Key")
# On Windows Ctrl-C does not end a wait of the main thread: it is waited this long at a time.
_MAX_WAIT_SECONDS = 1.0 if os.name == "nt" else None


def run_jobs(
    spec: WorkerSpec, jobs: Iterable[tuple[Key, Job | None]], workers: int
) -> Iterator[tuple[Key, Job | GenrescopeError]]:
    """Yield the key and the answer of each job as it is done; an error in place of the answer.

    Parameters
    ----------
    spec : WorkerSpec
    jobs : iterable of (key, dict or None)
        Read as workers become free. None: there is nothing to do, and the answer is empty. No process is
        started where there is no job.
    workers : int
        Processes.
    """
    pending: dict[Future[Job], Key] = {}
    with ExitStack() as stack:
        pool: WorkerPool | None = None
        for key, job in jobs:
            # What is done is handed over even where no new job comes for a long time.
            yield from _done(pending, 0)
            if job is None:
                yield key, {}
                continue
            if pool is None:
                pool = stack.enter_context(WorkerPool(spec, workers))
            pending[pool.submit(job)] = key
            # A full queue bounds how far the jobs run ahead of the workers.
            while pool.full:
                yield from _done(pending)
        while pending:
            yield from _done(pending)


def _done(
    pending: dict[Future[Job], Key], timeout: float | None = None
) -> Iterator[tuple[Key, Job | GenrescopeError]]:
    """Wait at most ``timeout`` seconds for jobs to be done, and yield those that are."""
    if not pending:
        return
    pause = _MAX_WAIT_SECONDS if timeout is None else timeout
    finished = wait(pending, timeout=pause, return_when=FIRST_COMPLETED).done
    while not finished and timeout is None:
        finished = wait(pending, timeout=pause, return_when=FIRST_COMPLETED).done
    for done in finished:
        key = pending.pop(done)
        try:
            answer: Job | GenrescopeError = done.result()
        except GenrescopeError as failure:
            answer = failure
        yield key, answer
