"""Evaluation results: from scores and truth to metrics with intervals, for segments and for tracks.

The metrics themselves are in `genrescope.evaluation.metrics`. Nothing here needs a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, TypedDict

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
from genrescope.evaluation.multilabel import LabelLevelResult, LabelRows, LabelSettings, evaluate_level
from genrescope.types import LABEL_THRESHOLD, BoolArray, Float64Array, IntArray, TaskKind
from genrescope.utils import check_types

__all__ = [
    "ClassMetrics",
    "Evaluation",
    "Interval",
    "LevelResult",
    "accuracy",
    "bootstrap_interval",
    "calibration_error",
    "confusion_matrix",
    "evaluate_label_scores",
    "evaluate_scores",
    "group_confusions",
    "macro_f1",
    "majority_baseline",
    "mean_std",
    "precision_recall_f1",
]

Unit = Literal["segment", "track"]

LEAKY = "leaky"
# Fields of `Evaluation` that only multi-label tasks have.
_OF_LABELS = ("task", "label_segments", "label_tracks")
# Below it the percentile bootstrap covers clearly less than it claims, as resamples of few groups are alike.
FEW_GROUPS = 10


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one genre.

    Attributes
    ----------
    genre : str
    precision, recall, f1 : float
        From 0 to 1.
    support : int
        Number of test rows of this genre.
    """

    genre: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class LevelResult:
    """All metrics at one level: segment by segment, or track by track.

    Attributes
    ----------
    unit : {"segment", "track"}
    n, groups : int
        Number of test rows, and of groups (artists or recordings) that they are from.
    accuracy, macro_f1 : Interval
        Bounds by bootstrap over groups.
    per_genre : tuple of ClassMetrics
        In the order of the classes.
    confusion : tuple of tuples of int
        Rows are the truth, columns the prediction.
    majority_baseline : float or None
        Accuracy of always naming the most frequent genre of the training part; None where that is unknown.
    calibration_error : float or None
        See `calibration_error`; None where scores are not probabilities that sum to 1.
    calibration : CalibrationReport or None
        Of tracks only; None where there is no ``calibration_error`` either.
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

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> LevelResult:
        """Read what ``dataclasses.asdict`` gave; ``calibration`` may be missing, as in version 0.1.

        Parameters
        ----------
        row : dict
            Read from JSON.
        """
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


class ScoredRows(TypedDict):
    """What `evaluate_scores` and `evaluate_label_scores` are told of the rows and of the result.

    Attributes
    ----------
    classes : sequence of str
        Names of the columns of the scores.
    tracks, groups : sequence of str
        The track and the group (artist) of each row.
    weights : ndarray, shape (rows,), seconds
        Length of each segment.
    model, protocol, data : str
        Names of the model, of the way of splitting, and of the data set.
    leaky : bool
        Whether parts of one recording, or of one artist, are in both training and test part.
    protocol_note : str
        What the protocol means, in words.
    seed : int
        Of the split and of the bootstrap.
    notes : sequence of str
        What a reader should know before quoting a metric.
    """

    classes: Sequence[str]
    tracks: Sequence[str]
    groups: Sequence[str]
    weights: Float64Array
    model: str
    protocol: str
    leaky: bool
    protocol_note: str
    data: str
    seed: int
    notes: Sequence[str]


@dataclass(frozen=True)
class Evaluation:
    """Results of one model on one test part under one protocol.

    Attributes
    ----------
    model, protocol, data : str
    leaky : bool
        Whether parts of one recording, or of one artist, are in both training and test part.
    protocol_note : str
        What the protocol means, in words.
    classes : tuple of str
    segments, tracks : LevelResult or None
        ``segments`` is None where a track is one row; ``tracks`` is None where the split divides tracks.
    seed : int
        Of the split and of the bootstrap.
    notes : tuple of str
        What a reader should know before quoting a metric.
    repeats : tuple of float
        Accuracies of the first of ``levels`` over repeated splits, this one first; empty where there was one.
    task : {"single-label", "multi-label"}
    label_segments, label_tracks : LabelLevelResult or None
        Of a multi-label task, in place of ``segments`` and ``tracks``, which are None.
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
    task: TaskKind = "single-label"
    label_segments: LabelLevelResult | None = None
    label_tracks: LabelLevelResult | None = None

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
        """The levels of a single-label task, the one to quote first."""
        return tuple(level for level in (self.tracks, self.segments) if level is not None)

    @property
    def label_levels(self) -> tuple[LabelLevelResult, ...]:
        """The levels of a multi-label task, the one to quote first."""
        return tuple(level for level in (self.label_tracks, self.label_segments) if level is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as JSON-ready data."""
        values = {"title": self.title} | asdict(self)
        if self.task == "single-label":
            for name in _OF_LABELS:
                del values[name]
        return values

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Evaluation:
        """Read what `to_json` gave.

        Parameters
        ----------
        row : dict
            Read from JSON.

        Raises
        ------
        DataError
            ``dataset_invalid`` where fields are missing or unknown.
        """
        try:
            fields = {name: value for name, value in row.items() if name != "title"}
            for unit in ("segments", "tracks"):
                fields[unit] = None if row[unit] is None else LevelResult.from_json(row[unit])
                labels = row.get(f"label_{unit}")
                fields[f"label_{unit}"] = None if labels is None else LabelLevelResult.from_json(labels)
            result = cls(
                **fields
                | {
                    "classes": tuple(row["classes"]),
                    "notes": tuple(row["notes"]),
                    "repeats": tuple(row.get("repeats", ())),
                }
            )
            check_types(result, cls)
            return result
        except (KeyError, TypeError, ValueError, AttributeError) as reason:
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
    protocol_note: str = "",
    data: str = "",
    seed: int = 0,
    resamples: int = 2000,
    threshold: float | Sequence[float] | None = None,
    notes: Iterable[str] = (),
) -> Evaluation:
    """Evaluate the scores of segments, and of the tracks that they belong to.

    A track's scores are the mean of its segments' scores, weighted by ``weights``. Under
    ``segment-random`` no level of tracks is given, as each track stands partly in training.

    Parameters
    ----------
    scores : array_like, shape (n, classes)
        One row per segment; the class of the highest is the prediction, of equals the first.
    truth : array_like of int, shape (n,)
        Indices into ``classes``.
    classes : sequence of str
        Names of the columns of ``scores``.
    tracks, groups : array_like, shape (n,)
        Ids, text or numbers, of the track and of the group (artist) of each row.
    weights : array_like, shape (n,), optional
        Length of each segment in seconds; None weighs all alike.
    train_truth : array_like of int, optional
        Labels of the training part, for the majority baseline.
    model, protocol, data : str
        Names of the model, of the way of splitting, and of the data set.
    leaky : bool
        Whether parts of one recording, or of one artist, are in both training and test part.
    protocol_note : str
        What the protocol means, in words.
    seed : int
        Of the bootstrap; kept as that of the split.
    resamples : int
        Of the bootstrap.
    threshold : float or sequence of float, optional
        One, or one of each class. Below it a prediction is uncertain, as chosen on validation data by
        `select_threshold`.
    notes : iterable of str
        What a reader should know before quoting a metric.

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
    settings = _Settings(names, baseline, seed, resamples, threshold)
    rows = _Rows(points, true, codes(groups, "groups")[1])
    by_track = _by_track(rows, codes(tracks, "tracks")[1], weights)
    # Where a track's segments are in different parts, a score of the whole track would contain training data.
    tracks_divided = protocol == "segment-random"
    track_level = None if tracks_divided else _level("track", by_track, settings)
    segment_level = (
        _level("segment", rows, settings) if tracks_divided or len(by_track.truth) < len(true) else None
    )
    all_notes = (*notes, *_cautions(track_level or segment_level))
    return Evaluation(
        model, protocol, leaky, protocol_note, data, names, segment_level, track_level, seed, all_notes
    )


def evaluate_label_scores(
    scores: npt.ArrayLike,
    truth: npt.ArrayLike,
    judged: npt.ArrayLike,
    *,
    classes: Sequence[str],
    tracks: npt.ArrayLike,
    groups: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    thresholds: Sequence[float] | None = None,
    model: str,
    protocol: str,
    leaky: bool,
    protocol_note: str = "",
    data: str = "",
    seed: int = 0,
    resamples: int = 2000,
    notes: Iterable[str] = (),
) -> Evaluation:
    """Evaluate multi-label scores of segments, and of the tracks that they belong to.

    Parameters
    ----------
    scores : array_like, shape (n, classes)
        One row per segment, a probability of each class.
    truth, judged : array_like of bool, shape (n, classes)
        Which classes a row is of, and of which that is known.
    classes : sequence of str
        Names of the columns.
    tracks, groups : array_like, shape (n,)
        Ids, text or numbers, of the track and of the group (artist) of each row.
    weights : array_like, shape (n,), optional
        Length of each segment in seconds; None weighs all alike.
    thresholds : sequence of float, optional
        Of each class, from which probability on it is predicted; None: 0.5.
    model, protocol, data : str
        Names of the model, of the way of splitting, and of the data set.
    leaky : bool
        Whether parts of one recording, or of one artist, are in both training and test part.
    protocol_note : str
        What the protocol means, in words.
    seed : int
        Of the bootstrap; kept as that of the split.
    resamples : int
        Of the bootstrap; fewer for areas under curves where rows and classes are very many.
    notes : iterable of str
        What a reader should know before quoting a metric.

    Raises
    ------
    DataError
        ``dataset_empty``; ``dataset_invalid`` where shapes differ, scores are not finite, or a track has
        segments of different genres or groups.
    """
    names = tuple(classes)
    points = checked_scores(scores)
    true, known = np.asarray(truth, np.bool_), np.asarray(judged, np.bool_)
    if not points.shape == true.shape == known.shape or points.shape[1] != len(names):
        raise malformed(f"{points.shape} scores, {true.shape} labels and {known.shape} judgments")
    checked_lengths(scores=points, tracks=np.asarray(tracks), groups=np.asarray(groups))
    given = (LABEL_THRESHOLD,) * len(names) if thresholds is None else thresholds
    settings = LabelSettings(names, np.asarray(given, np.float64), seed, resamples)
    rows = LabelRows(points, true, known, codes(groups, "groups")[1])
    by_track = _labels_by_track(rows, codes(tracks, "tracks")[1], weights)
    divided = protocol == "segment-random"
    track_level = None if divided else evaluate_level("track", by_track, settings)
    segment_level = (
        evaluate_level("segment", rows, settings) if divided or len(by_track.scores) < len(points) else None
    )
    unknown = int((~by_track.judged).sum())
    cautions = list(_cautions(track_level or segment_level))
    if unknown:
        cautions.append(f"{unknown} of {by_track.judged.size} labels of tracks are not known: left out.")
    return Evaluation(
        model,
        protocol,
        leaky,
        protocol_note,
        data,
        names,
        None,
        None,
        seed,
        (*notes, *cautions),
        task="multi-label",
        label_segments=segment_level,
        label_tracks=track_level,
    )


def mean_std(accuracies: Sequence[float]) -> tuple[float, float]:
    """Return mean and sample standard deviation of repeated runs, such as ten seeds of a split.

    Parameters
    ----------
    accuracies : sequence of float
        One per run.

    Raises
    ------
    DataError
        ``dataset_too_small``: fewer than two runs.
    """
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


class _Settings(NamedTuple):
    """What does not change from level to level."""

    classes: tuple[str, ...]
    train_truth: IntArray | None
    seed: int
    resamples: int
    threshold: float | Sequence[float] | None


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


def _labels_by_track(rows: LabelRows, tracks: IntArray, weights: npt.ArrayLike | None) -> LabelRows:
    """Return one row per track, its scores the weighted mean of its segments'."""
    _, firsts = np.unique(tracks, return_index=True)

    def differs(column: BoolArray | IntArray) -> bool:
        return bool((column[firsts][tracks] != column).any())

    if differs(rows.truth) or differs(rows.judged) or differs(rows.groups):
        raise malformed("a track has segments of different genres, or in different groups")
    seconds = checked_weights(weights, len(tracks))
    if not (np.bincount(tracks, weights=seconds) > 0).all():
        raise malformed("weights: all segments of a track weigh nothing")
    means = weighted_means(rows.scores, tracks, seconds)
    return LabelRows(means, rows.truth[firsts], rows.judged[firsts], rows.groups[firsts])


def _level(unit: Unit, rows: _Rows, settings: _Settings) -> LevelResult:
    """Compute the metrics of rows."""
    # Counts per group add up to those of any resample, so the bootstrap never goes back to the rows.
    confusions = group_confusions(rows.truth, rows.scores.argmax(1), settings.classes, rows.groups)
    total = confusions.sum(0)
    train = settings.train_truth
    calibrated = _is_probability(rows.scores)

    def interval(measure: Callable[[Any], Float64Array]) -> Interval:
        return bootstrap_interval(confusions, measure, seed=settings.seed, resamples=settings.resamples)

    return LevelResult(
        unit=unit,
        n=len(rows.truth),
        groups=len(confusions),
        accuracy=interval(accuracy),
        macro_f1=interval(macro_f1),
        per_genre=_per_genre(total, settings.classes),
        confusion=tuple(tuple(line) for line in total.tolist()),
        majority_baseline=None if train is None else majority_baseline(train, rows.truth),
        calibration_error=calibration_error(rows.scores, rows.truth) if calibrated else None,
        calibration=calibration_report(rows.scores, rows.truth, threshold=settings.threshold)
        if calibrated and unit == "track"
        else None,
    )


def _per_genre(matrix: IntArray, classes: tuple[str, ...]) -> tuple[ClassMetrics, ...]:
    """Return the scores of every genre, in the order of ``classes``."""
    columns = zip(classes, *precision_recall_f1(matrix), matrix.sum(1), strict=True)
    return tuple(ClassMetrics(name, float(p), float(r), float(f), int(n)) for name, p, r, f, n in columns)


def _is_probability(scores: Float64Array) -> bool:
    """Tell whether every row is a distribution over the classes."""
    # With a tolerance, because scores come from float32 softmax and are rounded in files.
    return bool((scores >= -1e-6).all() and np.allclose(scores.sum(1), 1, atol=1e-3))


def _cautions(level: LevelResult | LabelLevelResult | None) -> Iterator[str]:
    """Yield what a reader should know about the intervals of a level."""
    if level is not None and level.groups < FEW_GROUPS:
        yield f"Only {level.groups} groups were tested: the intervals are too narrow to be trusted."
