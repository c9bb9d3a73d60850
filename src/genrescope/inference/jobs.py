"""Classification as the job of a worker process, so that a hostile file harms only its own job."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from genrescope import audio
from genrescope.errors import AudioError
from genrescope.inference.classifier import Classifier

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
    tags : bool
        Whether the answer has title, artist, album and cover of the file's tags.
    """

    path: str
    name: str
    model: str
    timeline: bool
    strict: bool
    threshold: float | None
    max_seconds: float
    tags: bool = False


def create_classify_handler(models: dict[str, str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
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
        row = replace(prediction, path=job.name, threshold=threshold).to_dict()
        return row | {"tags": _tags(job.path)} if job.tags else row

    return classify


def _tags(path: str) -> dict[str, Any]:
    """Return a file's tags as JSON has them: the bytes of the cover as base64."""
    tags = audio.read_track_tags(path)
    cover = None
    if tags.cover is not None:
        data = base64.b64encode(tags.cover.content).decode("ascii")
        cover = {"media_type": tags.cover.media_type, "data": data}
    return tags._asdict() | {"cover": cover}


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
