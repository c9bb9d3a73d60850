"""Temperature and threshold of a fitted model, from its validation part where that is large enough."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, softmax

from genrescope import evaluation
from genrescope.evaluation import MIN_ANSWERS, MIN_CALIBRATION_TRACKS, TEMPERATURE_RANGE
from genrescope.training.builders import ModelBuilder
from genrescope.training.task import Task
from genrescope.types import LABEL_THRESHOLD, Float64Array, IntArray

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """How the scores of a model are to be read.

    Attributes
    ----------
    temperature : float
        What the logits are divided by before the softmax.
    threshold : float or None
        The score below which a prediction is uncertain; None where no score reached the target accuracy.
    notes : tuple of str
        What could not be estimated, and what stands in its place.
    genre_thresholds : dict of str to float
        Of a multi-label model, thresholds of single genres, each of the largest F1.
    """

    temperature: float
    threshold: float | None
    notes: tuple[str, ...] = ()
    genre_thresholds: dict[str, float] = field(default_factory=dict)


def calibrate(builder: ModelBuilder, task: Task) -> Calibration:
    """Return temperature and threshold: as configured, or where that is 0, estimated on validation tracks.

    With fewer than `MIN_CALIBRATION_TRACKS` of them neither is estimated: the temperature is 1, and the
    threshold at least the target accuracy. Of a multi-label model the threshold is 0.5, and that of each
    genre with enough tracks the one of the largest F1. What is estimated is that of tracks, as a prediction
    shows it. The notes are logged as warnings too.

    Parameters
    ----------
    builder : ModelBuilder
        Of a fitted model.
    task : Task
        Features, targets, split and settings.
    """
    found = _estimate_labels(builder, task) if task.is_multilabel else _estimate(builder, task)
    for note in found.notes:
        logger.warning("%s", note)
    return found


def _estimate(builder: ModelBuilder, task: Task) -> Calibration:
    settings = task.config.calibration
    # 1 where the family's probabilities are fitted already.
    temperature = settings.temperature if builder.has_temperature else 1.0
    if temperature and settings.threshold:
        return Calibration(temperature, settings.threshold)
    # Never on the test part, whose scores and coverage would then be optimistic; nor on the training part,
    # where a fitted model is nearly always right and certain.
    chosen = task.segments("validation")
    tracks = len(np.unique(task.examples.track[chosen]))
    enough = tracks >= MIN_CALIBRATION_TRACKS
    notes = [] if enough else list(_few_notes(tracks, temperature, task))
    logits = (
        evaluation.map_segments(builder.logits, task.examples, chosen).astype(np.float64) if tracks else None
    )
    if not temperature:
        temperature = 1.0
        if enough and logits is not None:
            temperature, note = _temperature(logits, task, chosen)
            notes += note
    if settings.threshold:
        return Calibration(temperature, settings.threshold, tuple(notes))
    threshold = None if logits is None else _threshold(logits / temperature, task, chosen)
    if not enough:
        threshold = max(threshold or 0.0, settings.target_accuracy)
    return Calibration(temperature, threshold, tuple(notes))


def _estimate_labels(builder: ModelBuilder, task: Task) -> Calibration:
    """Return temperature and thresholds of a multi-label model, estimated as for one label."""
    settings = task.config.calibration
    temperature = settings.temperature if builder.has_temperature else 1.0
    fixed = settings.threshold or LABEL_THRESHOLD
    if temperature and settings.threshold:
        return Calibration(temperature, fixed)
    chosen = task.segments("validation")
    tracks, places = np.unique(task.examples.track[chosen], return_inverse=True)
    if len(tracks) < MIN_CALIBRATION_TRACKS:
        values = [] if temperature else ["the temperature is 1"]
        if not settings.threshold:
            values.append(f"the threshold of all genres is {fixed:g}")
        return Calibration(temperature or 1.0, fixed, (_too_few(len(tracks), values),))
    logits = evaluation.map_segments(builder.logits, task.examples, chosen).astype(np.float64)
    truth, judged = task.labels.positive[tracks], task.labels.judged[tracks]
    if not temperature:
        weights = task.examples.weights[chosen]
        found = evaluation.fit_label_temperature(logits, truth, judged, places, weights)
        temperature = float(np.clip(found, *TEMPERATURE_RANGE))
    if settings.threshold:
        return Calibration(temperature, fixed)
    scores, _ = evaluation.average_by_track(expit(logits / temperature), task.examples, chosen)
    thresholds = evaluation.select_label_thresholds(
        scores.astype(np.float64), truth, judged, fewest=MIN_ANSWERS
    )
    named = {
        name: round(value, 4)
        for name, value in zip(task.classes, thresholds, strict=True)
        if value is not None
    }
    rare = [name for name in task.classes if name not in named]
    notes = [f"the threshold is {fixed:g} for genres with too few validation tracks: {', '.join(rare)}"]
    return Calibration(temperature, fixed, tuple(notes if rare else ()), named)


def _temperature(logits: Float64Array, task: Task, chosen: IntArray) -> tuple[float, list[str]]:
    """Return the temperature of validation segments, and a note where it had to be bounded."""
    tracks, places = np.unique(task.examples.track[chosen], return_inverse=True)
    weights = task.examples.weights[chosen]
    found = evaluation.fit_segment_temperature(logits, task.targets[tracks], places, weights)
    bounded = float(np.clip(found, *TEMPERATURE_RANGE))
    if bounded == found:
        return found, []
    return bounded, [f"the estimated temperature, {found:.3g}, is not plausible: {bounded:g} is used"]


def _threshold(logits: Float64Array, task: Task, chosen: IntArray) -> float | None:
    """Return the threshold above which validation tracks reach the target accuracy."""
    scores, tracks = evaluation.average_by_track(softmax(logits, axis=1), task.examples, chosen)
    target = task.config.calibration.target_accuracy
    found = evaluation.select_threshold(scores, task.targets[tracks], target)
    return None if found is None else round(found.score, 4)


def _few_notes(tracks: int, temperature: float, task: Task) -> Iterator[str]:
    """Yield what is not estimated because there are so few validation tracks."""
    settings = task.config.calibration
    values = []
    if not temperature:
        values.append("the temperature is 1")
    if not settings.threshold:
        values.append(f"the threshold of uncertain answers is at least {settings.target_accuracy:g}")
    if values:
        yield _too_few(tracks, values)


def _too_few(tracks: int, values: Sequence[str]) -> str:
    return (
        f"{tracks} validation tracks are too few to calibrate by ({MIN_CALIBRATION_TRACKS} are needed):"
        f" {' and '.join(values)}, and scores may be too high or too low"
    )
