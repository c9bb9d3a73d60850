"""Classification in worker processes, so that a hostile file harms only its own job."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict

from genrescope.errors import WorkerError
from genrescope.inference import ClassifyJob, create_classify_handler
from genrescope.workers import WorkerPool, WorkerSpec

# A row of `Prediction.to_dict`, which comes from the worker as JSON and goes to the client as JSON.
JsonRow = dict[str, object]


class ClassifyWorkers:
    """The worker processes of a server, and a bound on the requests in flight.

    A request takes a slot before its body is read and keeps it until it has its answer, so that neither
    temporary files nor jobs can pile up.

    Parameters
    ----------
    models : dict
        From name to what `Classifier.from_pretrained` takes.
    workers : int
        Number of worker processes.
    capacity : int
        Requests in flight: uploading, waiting or being classified.
    timeout : float
        Seconds that a job may take.
    memory_limit_mb : int
        Memory in MiB that a job may use.

    Attributes
    ----------
    pool : WorkerPool
    capacity : int
    in_flight : int
        Slots that are taken.
    """

    def __init__(
        self, models: dict[str, str], *, workers: int, capacity: int, timeout: float, memory_limit_mb: int
    ) -> None:
        self.capacity = capacity
        self.in_flight = 0
        spec = WorkerSpec(create_classify_handler, {"models": models}, timeout, memory_limit_mb)
        # A job is only submitted from within a slot, so a queue of this length is never full.
        self.pool = WorkerPool(spec, workers, queue_length=capacity)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take a slot as long as the block runs.

        Raises
        ------
        WorkerError
            ``overloaded``: all slots are taken.
        """
        if self.in_flight >= self.capacity:
            raise WorkerError(
                "overloaded", "all workers are busy and the queue is full", "try again in a moment"
            )
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def submit(self, job: ClassifyJob) -> Future[JsonRow]:
        """Queue a job.

        Parameters
        ----------
        job : ClassifyJob
            What to do.

        Returns
        -------
        Future
            Of the prediction's row; it can be canceled until a worker begins with the job.
        """
        return self.pool.submit(asdict(job))

    @property
    def is_saturated(self) -> bool:
        """Whether there are more jobs than workers: the last of them has to wait."""
        return self.pool.is_saturated

    def close(self) -> None:
        """Kill the workers."""
        self.pool.close()
