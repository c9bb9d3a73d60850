"""What a worker does for the library: know a file by its content, or hear it and sum up what it heard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from genrescope import audio, tagging
from genrescope.errors import GenrescopeError
from genrescope.inference import Classifier
from genrescope.types import Prediction, Timeline, label_scores

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
        return tagging.file_digest(path) if path.is_file() else None
    except OSError:
        return None


def _columns(classifier: Classifier, path: str, excerpts: bool) -> Job:
    try:
        info = audio.info(path)
        prediction = classifier.predict(path, timeline=True, excerpts=excerpts)
    except GenrescopeError as failure:
        return {"error": failure.code, "message": failure.message, "hint": failure.hint}
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
    """Return a timeline in few words: which genre leads from when to when, and its mean score there.

    Of more than `MOST_SPANS` spans, the shortest join their neighbors.
    """
    leaders = [int(scores.argmax()) for scores in course.scores]
    spans = [list(group) for _, group in groupby(range(len(leaders)), key=leaders.__getitem__)]
    while len(spans) > MAX_SPANS:
        weakest = min(range(len(spans)), key=lambda place: (len(spans[place]), place))
        beside = weakest - 1 if weakest else 1
        first, second = sorted((weakest, beside))
        spans[first : second + 1] = [spans[first] + spans[second]]
    return [_span(course, span) for span in spans]


def _span(course: Timeline, places: Sequence[int]) -> Job:
    mean = course.scores[places].mean(axis=0)
    leader = int(mean.argmax())
    ((genre, score),) = label_scores(course.classes[leader : leader + 1], mean[leader : leader + 1]).items()
    start, end = float(course.starts[places[0]]), float(course.ends[places[-1]])
    return {"start": round(start, 3), "end": round(end, 3), "genre": genre, "score": score}
