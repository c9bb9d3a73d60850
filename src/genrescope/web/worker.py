"""Decoding and scoring in worker processes, so that a hostile file harms only its own job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from genrescope import audio
from genrescope.errors import GenrescopeError
from genrescope.inference import Classifier
from genrescope.workers import WorkerPool, WorkerSpec

Row = dict[str, Any]


def prepare(models: dict[str, str]) -> Callable[[Row], Row]:
    """Open the served models in a worker; a job is a file's ``path``, its ``name``, and the options."""
    classifiers = {name: Classifier.load(model) for name, model in models.items()}
    audio.import_decoders()

    def classify(job: Row) -> Row:
        prediction = classifiers[job["model"]].predict(
            job["path"], timeline=job["timeline"], strict=job["strict"], max_seconds=job["max_seconds"]
        )
        floor = prediction.threshold if job["min_score"] is None else job["min_score"]
        return replace(prediction, path=job["name"], threshold=floor).to_dict()

    return classify


class ClassifyWorkers:
    """The crew of a server, and the places at its door.

    A request takes a place before its body is read and keeps it until it has its answer, so that neither
    temporary files nor jobs can pile up.
    """

    def __init__(
        self, models: dict[str, str], *, workers: int, places: int, seconds: float, megabytes: int
    ) -> None:
        self.places = places
        self.inside = 0
        trade = WorkerSpec(prepare, {"models": models}, seconds, megabytes)
        self.crew = WorkerPool(trade, workers, queue_length=places)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take a place, or raise ``overloaded``."""
        if self.inside >= self.places:
            raise GenrescopeError(
                "overloaded", "the server has all the work that it can take", "try again in a moment"
            )
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def submit(self, job: Row) -> Future[Row]:
        """Queue a job; its future can be canceled until a worker begins it."""
        return self.crew.submit(job)

    def close(self) -> None:
        """Kill the workers."""
        self.crew.close()
