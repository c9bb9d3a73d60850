"""Classification in worker processes, so that a hostile file harms only its own job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from genrescope import audio
from genrescope.errors import AudioError, WorkerError
from genrescope.inference import Classifier
from genrescope.workers import WorkerPool, WorkerSpec

# A row of `Prediction.to_dict`, which comes from the worker as JSON and goes to the client as JSON.
JsonRow = dict[str, object]
# Encoders pad what they encode: just above the limit, decoding decides.
_DECLARED_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True)
class ClassifyJob:
    """What a worker is asked to do.

    Attributes
    ----------
    path : str
        File that the worker reads.
    name : str
        Name of the file in the answer.
    model : str
        Name of a served model.
    timeline : bool
        Whether the answer has a timeline.
    strict : bool
        Whether a truncated file is refused.
    threshold : float, optional
        Score below which the answer is uncertain; None: the model's own.
    max_seconds : float
        Longest audio.
    """

    path: str
    name: str
    model: str
    timeline: bool
    strict: bool
    threshold: float | None
    max_seconds: float


def create_handler(models: dict[str, str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Open the served models in a worker.

    Parameters
    ----------
    models : dict
        From name to what `Classifier.from_pretrained` takes.

    Returns
    -------
    callable
        Takes a `ClassifyJob` as a dict, returns the row of the prediction.
    """
    classifiers = {name: Classifier.from_pretrained(model) for name, model in models.items()}
    # Loaded here, before the worker's memory limit is set for its first job, of which they are no part.
    audio.import_decoders()

    def classify(fields: dict[str, Any]) -> dict[str, Any]:
        job = ClassifyJob(**fields)
        _check_declared_length(job)
        prediction = classifiers[job.model].predict(
            job.path, timeline=job.timeline, strict=job.strict, max_seconds=job.max_seconds
        )
        threshold = prediction.threshold if job.threshold is None else job.threshold
        return replace(prediction, path=job.name, threshold=threshold).to_dict()

    return classify


def _check_declared_length(job: ClassifyJob) -> None:
    """Refuse a file whose header alone states more seconds than allowed.

    Decoding counts in any case, whatever the header states; this spares decoding up to the limit first.
    """
    seconds = audio.info(job.path).seconds
    if seconds is not None and seconds > job.max_seconds + _DECLARED_TOLERANCE_SECONDS:
        raise AudioError(
            "audio_too_long",
            f"{job.path}: its header states {seconds:.0f} s; {job.max_seconds:g} s are allowed",
            "send a shorter piece of it; if it is not so long, its header is wrong: convert it"
            " (ffmpeg -i FILE out.flac)",
        )


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
        spec = WorkerSpec(create_handler, {"models": models}, timeout, memory_limit_mb)
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
