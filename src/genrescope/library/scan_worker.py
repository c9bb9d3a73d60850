"""What a worker does for the library: know a file by its content, or hear it and sum up what it heard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from genrescope import audio
from genrescope.errors import GenrescopeError
from genrescope.inference import Classifier
from genrescope.types import Prediction, Timeline
from genrescope.utils import sha256_file

Job = dict[str, Any]
MAX_SPANS = 50


def create_handler(model: str, *, excerpts: bool) -> Callable[[Job], Job]:
    """Open a model in a worker of a crew.

    A job is ``{"path", "known"}``. The answer holds the ``hash`` of the content and, unless that is among the
    ``known`` ones, the ``columns`` of the library that the content decides: what was heard, or the error.
    """
    classifier = Classifier.load(model)
    audio.import_decoders()

    def hear(job: Job) -> Job:
        digest = content_hash(Path(job["path"]))
        if digest is not None and digest in job["known"]:
            return {"hash": digest}
        return {"hash": digest, "columns": _columns(classifier, job["path"], excerpts)}

    return hear


def content_hash(path: Path) -> str | None:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits; None for what cannot be read.

    The audio room says why. A pipe or a device is not even opened: that could wait for ever.
    """
    try:
        return sha256_file(path) if path.is_file() else None
    except OSError:
        return None


def _columns(classifier: Classifier, path: str, excerpts: bool) -> Job:
    try:
        prediction = classifier.predict(path, timeline=True, excerpts=excerpts)
    except GenrescopeError as failure:
        return {"error": failure.code, "message": failure.message, "hint": failure.hint}
    info = prediction.audio
    assert info is not None  # every prediction of a file has it
    return {
        "format": info.format,
        "codec": info.codec,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        **answer_columns(prediction),
    }


def answer_columns(prediction: Prediction) -> Job:
    """Return an answer as columns of the library."""
    assert prediction.timeline is not None
    row = prediction.to_dict()
    kept = ("seconds", "genre", "score", "unsure", "scores", "styles", "flags")
    return {name: row[name] for name in kept} | {
        "excerpts": "excerpts" in prediction.flags,
        "timeline": summarize_timeline(prediction.timeline),
    }


def summarize_timeline(course: Timeline) -> list[Job]:
    """Return which genre leads from when to when, and its mean score there, in at most `MAX_SPANS` spans."""
    return [
        {
            "start": round(span.start, 3),
            "end": round(span.end, 3),
            "genre": span.genre,
            "score": round(span.score, 6),
        }
        for span in course.leading_spans(MAX_SPANS)
    ]
