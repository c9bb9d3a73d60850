"""Predictions and truth in, scores with intervals out. Knows no model.

The measures stand in `genrescope.evaluation.metrics`; here they are put together, for segments and for
tracks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from genrescope.errors import DataError
from genrescope.evaluation.calibration import CalibrationReport, calibration_report
from genrescope.evaluation.metrics import (
    Interval,
    Labels,
    accuracy,
    bootstrap_interval,
    calibration_error,
    checked_labels,
    checked_lengths,
    checked_scores,
    checked_weights,
    codes,
    confusion_matrix,
    group_confusions,
    macro_f1,
    majority_baseline,
    malformed,
    precision_recall_f1,
    weighted_means,
)
from genrescope.types import Float64Array, IntArray

__all__ = [
    "ClassMetrics",
    "Evaluation",
    "Interval",
    "LevelResult",
    "accuracy",
    "bootstrap_interval",
    "calibration_error",
    "confusion_matrix",
    "evaluate_scores",
    "group_confusions",
    "macro_f1",
    "majority_baseline",
    "mean_std",
    "precision_recall_f1",
]

Unit = Literal["segment", "track"]

LEAKY = "leaky"
FEW_GROUPS = 10


@dataclass(frozen=True)
class ClassMetrics:
    """How well one genre is recognized; ``support`` is how many of it were tested."""

    genre: str
    precision: float
    recall: float
    f1: float
    support: int

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True)
class LevelResult:
    """All scores at one level: segment by segment, or track by track.

    Attributes
    ----------
    unit : {"segment", "track"}
    n, groups : int
        How many were tested, from how many groups (artists or recordings).
    accuracy, macro_f1 : Interval
        Bounds by bootstrap over groups.
    per_genre : tuple of GenreScores
    confusion : tuple of tuples of int
        Rows are the truth, columns the prediction.
    majority_baseline : float or None
        Accuracy of always naming the most frequent genre of the training part; None where that is unknown.
    calibration_error : float or None
        See `calibration_error`; None where scores are not probabilities that sum to 1.
    doubt : Doubt or None
        Reliability and coverage, of tracks only; None where there is no ``calibration_error`` either.
    """

    unit: Unit
    n: int
    groups: int
    accuracy: Interval
    macro_f1: Interval
    per_genre: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    majority_baseline: float | None = None
    calibration_error: float | None = None
    calibration: CalibrationReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the level as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> LevelResult:
        """Build the level that `to_json` wrote down; one without ``doubt`` is from before it was kept."""
        calibration = row.get("calibration")
        return cls(
            **row
            | {
                "accuracy": Interval(**row["accuracy"]),
                "macro_f1": Interval(**row["macro_f1"]),
                "per_genre": tuple(ClassMetrics(**genre) for genre in row["per_genre"]),
                "confusion": tuple(tuple(line) for line in row["confusion"]),
                "calibration": None if calibration is None else CalibrationReport.from_json(calibration),
            }
        )


@dataclass(frozen=True)
class Evaluation:
    """What one model scored on one test part under one protocol.

    Attributes
    ----------
    model, protocol, data : str
    leaky : bool
        Whether pieces of one recording, or of one artist, stand on both sides of the split.
    label : str
        The protocol in words.
    classes : tuple of str
    segments, tracks : Level or None
        ``segments`` is None where a track is one row; ``tracks`` is None where the split divides tracks.
    seed : int
        Of the split and of the bootstrap.
    notes : tuple of str
        What a reader must know before quoting a number.
    repeats : tuple of float
        Accuracies of the first of ``levels`` over repeated splits, this one first; empty where there was one.
    """

    model: str
    protocol: str
    leaky: bool
    protocol_note: str
    data: str
    classes: tuple[str, ...]
    segments: LevelResult | None
    tracks: LevelResult | None
    seed: int
    notes: tuple[str, ...] = ()
    repeats: tuple[float, ...] = ()

    @property
    def protocol_title(self) -> str:
        """The protocol's name, marked where it is leaky."""
        return f"{self.protocol} ({LEAKY})" if self.leaky else self.protocol

    @property
    def title(self) -> str:
        """Model and protocol, marked where the protocol is leaky."""
        return f"{self.model}, {self.protocol_title}"

    @property
    def levels(self) -> tuple[LevelResult, ...]:
        """The levels there are, the one to quote first."""
        return tuple(level for level in (self.tracks, self.segments) if level is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as JSON-ready data."""
        return {"title": self.title} | asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Evaluation:
        """Build the evaluation that `to_json` wrote down.

        Raises
        ------
        DataError
            ``dataset_invalid`` where fields are missing or unknown.
        """
        try:
            fields = {name: value for name, value in row.items() if name != "title"}
            for unit in ("segments", "tracks"):
                fields[unit] = None if row[unit] is None else LevelResult.from_json(row[unit])
            return cls(
                **fields
                | {
                    "classes": tuple(row["classes"]),
                    "notes": tuple(row["notes"]),
                    "repeats": tuple(row.get("repeats", ())),
                }
            )
        except (KeyError, TypeError) as reason:
            raise malformed(f"this is not an evaluation: {reason}") from reason


def evaluate_scores(
    scores: npt.ArrayLike,
    truth: Labels,
    *,
    classes: Sequence[str],
    tracks: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    train_truth: Labels | None = None,
    model: str,
    protocol: str,
    leaky: bool,
    label: str = "",
    data: str = "",
    seed: int = 0,
    resamples: int = 2000,
    min_score: float | None = None,
    notes: Iterable[str] = (),
) -> Evaluation:
    """Score the answers for segments, and for the tracks that they belong to.

    A track's scores are the mean of its segments' scores, weighted by ``weights``. Under
    ``segment-random`` no level of tracks is given, as each track stands partly in training.

    Parameters
    ----------
    scores : array_like, shape (n, classes)
        One row per segment; the highest is the answer, of equals the first.
    truth : array_like of int, shape (n,)
    tracks, groups : array_like, shape (n,)
        Ids, text or numbers, of the track and of the group (artist) of each row.
    weights : array_like, shape (n,), seconds, optional
    train_truth : array_like of int, optional
        Labels of the training part, for the majority baseline.
    min_score : float, optional
        Below it the model says that it is unsure, as chosen on validation data by `calibrate.threshold_for`.

    Raises
    ------
    DataError
        ``dataset_empty``; ``dataset_invalid`` where lengths differ, scores are not finite, or a track has two
        genres or groups.
    """
    names = tuple(classes)
    points, true = checked_scores(scores), checked_labels(truth, "truth", len(names))
    checked_lengths(scores=points, truth=true, tracks=np.asarray(tracks), groups=np.asarray(groups))
    if points.shape[1] != len(names):
        raise malformed(f"{points.shape[1]} scores a row, for {len(names)} classes")
    baseline = train_truth if train_truth is None else checked_labels(train_truth, "train_truth", len(names))
    task = _Task(names, baseline, seed, resamples, min_score)
    rows = _Rows(points, true, codes(groups, "groups")[1])
    whole = _by_track(rows, codes(tracks, "tracks")[1], weights)
    divided = protocol == "segment-random"
    track_level = None if divided else _level("track", whole, task)
    segment_level = _level("segment", rows, task) if divided or len(whole.truth) < len(true) else None
    remarks = (*notes, *_cautions(track_level or segment_level))
    return Evaluation(model, protocol, leaky, label, data, names, segment_level, track_level, seed, remarks)


def mean_std(accuracies: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation of repeated runs, such as ten seeds of a split."""
    if len(accuracies) < 2:
        raise DataError(
            "dataset_too_small", "one run has no spread", "repeat the run with at least one other seed"
        )
    return float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))


class _Rows(NamedTuple):
    """What is scored: ``scores`` (n, classes), ``truth`` (n,), ``groups`` (n,)."""

    scores: Float64Array
    truth: IntArray
    groups: IntArray


class _Task(NamedTuple):
    """What does not change from level to level."""

    classes: tuple[str, ...]
    train_truth: IntArray | None
    seed: int
    resamples: int
    min_score: float | None


def _by_track(rows: _Rows, tracks: IntArray, weights: npt.ArrayLike | None) -> _Rows:
    """Return one row per track, its scores the weighted mean of its segments'."""
    _, firsts = np.unique(tracks, return_index=True)
    whole = _Rows(rows.scores[firsts], rows.truth[firsts], rows.groups[firsts])
    if (whole.truth[tracks] != rows.truth).any():
        raise malformed("a track has segments of different genres")
    if (whole.groups[tracks] != rows.groups).any():
        raise malformed("a track has segments in different groups")
    seconds = checked_weights(weights, len(tracks))
    if not (np.bincount(tracks, weights=seconds) > 0).all():
        raise malformed("weights: all segments of a track weigh nothing")
    return whole._replace(scores=weighted_means(rows.scores, tracks, seconds))


def _level(unit: Unit, rows: _Rows, task: _Task) -> LevelResult:
    """Score rows against their truth."""
    confusions = group_confusions(rows.truth, rows.scores.argmax(1), task.classes, rows.groups)
    total = confusions.sum(0)
    train = task.train_truth
    known = _is_probability(rows.scores)
    judged = known and unit == "track"

    def interval(measure: Callable[[Any], Float64Array]) -> Interval:
        return bootstrap_interval(confusions, measure, seed=task.seed, resamples=task.resamples)

    return LevelResult(
        unit=unit,
        n=len(rows.truth),
        groups=len(confusions),
        accuracy=interval(accuracy),
        macro_f1=interval(macro_f1),
        per_genre=_per_genre(total, task.classes),
        confusion=tuple(tuple(line) for line in total.tolist()),
        majority_baseline=None if train is None else majority_baseline(train, rows.truth),
        calibration_error=calibration_error(rows.scores, rows.truth) if known else None,
        calibration=calibration_report(rows.scores, rows.truth, min_score=task.min_score) if judged else None,
    )


def _per_genre(matrix: IntArray, classes: tuple[str, ...]) -> tuple[ClassMetrics, ...]:
    """Return the scores of every genre, in the order of ``classes``."""
    columns = zip(classes, *precision_recall_f1(matrix), matrix.sum(1), strict=True)
    return tuple(ClassMetrics(name, float(p), float(r), float(f), int(n)) for name, p, r, f, n in columns)


def _is_probability(scores: Float64Array) -> bool:
    """Tell whether every row is a distribution over the classes."""
    return bool((scores >= -1e-6).all() and np.allclose(scores.sum(1), 1, atol=1e-3))


def _cautions(level: LevelResult | None) -> Iterator[str]:
    """Yield what a reader must be told about a level."""
    if level is not None and level.groups < FEW_GROUPS:
        yield f"Only {level.groups} groups were tested: the intervals are too narrow to be trusted."
