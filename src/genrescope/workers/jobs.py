"""A bounded queue of jobs, from which a job that its caller cancels is taken out at once."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from threading import Condition
from typing import Any

# A job and its answer are JSON objects: their keys are a matter between the caller and its handler.
Job = dict[str, Any]
QueuedJob = tuple[Job, "Future[Job]"]


class JobQueue:
    """Jobs that wait for a worker, first in, first out; and the number of those that have one.

    Unlike `queue.Queue`, it gives the place of a canceled job free before a worker comes to it.

    Parameters
    ----------
    length : int
        How many jobs may wait.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._waiting: deque[QueuedJob] = deque()
        self._running = 0
        self._changed = Condition()

    def __len__(self) -> int:
        """Return how many jobs wait."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether `put` would refuse."""
        return len(self._waiting) >= self._length

    @property
    def unfinished(self) -> int:
        """How many jobs wait or have a worker."""
        with self._changed:
            return len(self._waiting) + self._running

    def put(self, job: Job) -> Future[Job] | None:
        """Let a job wait for a worker; return the future of its answer, None where the queue is full.

        Parameters
        ----------
        job : dict
            JSON-ready.
        """
        done: Future[Job] = Future()
        with self._changed:
            if self.is_full:
                return None
            self._waiting.append((job, done))
            self._changed.notify()
        done.add_done_callback(self._remove_canceled)
        return done

    def take(self, timeout: float) -> QueuedJob | None:
        """Return the next job, which can no longer be canceled; None where none comes in time.

        Parameters
        ----------
        timeout : float
            Seconds to wait for one.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout):
                return None
            queued = self._waiting.popleft()
            if not queued[1].set_running_or_notify_cancel():
                return None  # Canceled a moment ago.
            self._running += 1
            return queued

    def count_finished(self) -> None:
        """Note that a job that was taken has its answer."""
        with self._changed:
            self._running -= 1

    def cancel_all(self) -> None:
        """Cancel all jobs that wait."""
        for _, done in list(self._waiting):
            done.cancel()

    def _remove_canceled(self, done: Future[Job]) -> None:
        if done.cancelled():
            with self._changed:
                self._waiting = deque(queued for queued in self._waiting if queued[1] is not done)
