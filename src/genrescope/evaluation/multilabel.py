"""Evaluation of multi-label scores at one level: areas, rankings and F1, by class and overall.

Intervals are by bootstrap over groups, as those of `genrescope.evaluation.results`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from genrescope.evaluation import ranking
from genrescope.evaluation.calibration import minimize_loss
from genrescope.evaluation.metrics import (
    Interval,
    bin_indices,
    bootstrap_interval,
    precision_recall,
    weighted_means,
)
from genrescope.labels import taxonomy_nodes
from genrescope.types import BoolArray, Float64Array, IntArray

# Where F1 is given besides at the model's own thresholds.
THRESHOLDS: Final = tuple(place / 10 for place in range(1, 10))
_BINS = 10


@dataclass(frozen=True)
class LabelMetrics:
    """Metrics of one genre.

    Attributes
    ----------
    genre : str
    support, judged : int
        Number of test rows of this genre, and of those of which it is known.
    threshold : float
        From which probability on it is predicted.
    precision, recall, f1 : float
        From 0 to 1, at the threshold.
    roc_auc, pr_auc : float or None
        Area under the ROC curve, and average precision; None where the genre is never or always true.
    """

    genre: str
    support: int
    judged: int
    threshold: float
    precision: float
    recall: float
    f1: float
    roc_auc: float | None
    pr_auc: float | None


@dataclass(frozen=True)
class ThresholdF1:
    """F1 where all genres have one threshold.

    Attributes
    ----------
    threshold, micro_f1, macro_f1 : float
    """

    threshold: float
    micro_f1: float
    macro_f1: float


@dataclass(frozen=True)
class HierarchicalMetrics:
    """Precision, recall and F where each genre counts with those above it (Kiritchenko et al. 2005).

    Attributes
    ----------
    precision, recall, f1 : Interval
    """

    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True)
class LabelLevelResult:
    """All metrics of multi-label scores at one level: segment by segment, or track by track.

    Attributes
    ----------
    unit : {"segment", "track"}
    n, groups : int
        Number of test rows, and of groups (artists or recordings) that they are from.
    roc_auc, pr_auc : Interval or None
        Means over genres (macro); None where no genre is both true and false.
    micro_roc_auc, micro_pr_auc : Interval or None
        Of all decisions together.
    lrap : Interval
        Label ranking average precision, mean over rows.
    micro_f1, macro_f1 : Interval
        At the thresholds of the model.
    hierarchical : HierarchicalMetrics or None
        None where no genre is below another in the taxonomy.
    per_label : tuple of LabelMetrics
        In the order of the classes.
    f1_at : tuple of ThresholdF1
        Where all genres have one threshold, from 0.1 to 0.9.
    prevalence : float
        Share of labels among known decisions, mean over genres that occur: the ``pr_auc`` of chance.
    calibration_error : float
        How far probabilities are from the share of labels, over all decisions, in ten bins.
    """

    unit: Literal["segment", "track"]
    n: int
    groups: int
    roc_auc: Interval | None
    pr_auc: Interval | None
    micro_roc_auc: Interval | None
    micro_pr_auc: Interval | None
    lrap: Interval
    micro_f1: Interval
    macro_f1: Interval
    hierarchical: HierarchicalMetrics | None
    per_label: tuple[LabelMetrics, ...]
    f1_at: tuple[ThresholdF1, ...]
    prevalence: float
    calibration_error: float

    @property
    def summary(self) -> dict[str, Interval]:
        """The metrics that have an interval, by the names that reports give them."""
        hierarchical = self.hierarchical
        every: dict[str, Interval | None] = {
            "ROC-AUC, macro": self.roc_auc,
            "ROC-AUC, micro": self.micro_roc_auc,
            "PR-AUC, macro": self.pr_auc,
            "PR-AUC, micro": self.micro_pr_auc,
            "LRAP": self.lrap,
            "F1, macro": self.macro_f1,
            "F1, micro": self.micro_f1,
        }
        if hierarchical is not None:
            every["hierarchical precision"] = hierarchical.precision
            every["hierarchical recall"] = hierarchical.recall
            every["hierarchical F1"] = hierarchical.f1
        return {name: interval for name, interval in every.items() if interval is not None}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> LabelLevelResult:
        """Read what ``dataclasses.asdict`` gave.

        Parameters
        ----------
        row : dict
            Read from JSON.
        """
        names = ("roc_auc", "pr_auc", "micro_roc_auc", "micro_pr_auc", "lrap", "micro_f1", "macro_f1")
        intervals = {name: None if row[name] is None else Interval(**row[name]) for name in names}
        above = row["hierarchical"]
        return cls(
            **row
            | intervals
            | {
                "hierarchical": above
                and HierarchicalMetrics(**{name: Interval(**value) for name, value in above.items()}),
                "per_label": tuple(LabelMetrics(**one) for one in row["per_label"]),
                "f1_at": tuple(ThresholdF1(**one) for one in row["f1_at"]),
            }
        )


class LabelRows(NamedTuple):
    """What is scored: ``scores``, ``truth`` and ``judged`` of shape (n, classes), and ``groups`` (n,)."""

    scores: Float64Array
    truth: BoolArray
    judged: BoolArray
    groups: IntArray


class LabelSettings(NamedTuple):
    """What does not change from level to level.

    Attributes
    ----------
    classes : tuple of str
        Names of the columns.
    thresholds : ndarray, shape (classes,)
        From which probability on each class is predicted.
    seed, resamples : int
        Of the bootstrap.
    """

    classes: tuple[str, ...]
    thresholds: Float64Array
    seed: int
    resamples: int


def evaluate_level(
    unit: Literal["segment", "track"], rows: LabelRows, settings: LabelSettings
) -> LabelLevelResult:
    """Compute all metrics of rows.

    Parameters
    ----------
    unit : {"segment", "track"}
        What a row is.
    rows : LabelRows
        Groups are all numbers from 0 to the largest.
    settings : LabelSettings
    """
    predicted = rows.scores >= settings.thresholds
    counts = ranking.label_counts(predicted, rows.truth, rows.judged, rows.groups)

    def interval(statistics: Float64Array, measure: Callable[[Any], Float64Array]) -> Interval:
        return bootstrap_interval(statistics, measure, seed=settings.seed, resamples=settings.resamples)

    areas = ranking.label_areas(rows.scores, rows.truth, rows.judged)
    macro_roc, macro_pr, micro_roc, micro_pr = _area_intervals(rows, areas, settings)
    return LabelLevelResult(
        unit=unit,
        n=len(rows.scores),
        groups=len(counts),
        roc_auc=macro_roc,
        pr_auc=macro_pr,
        micro_roc_auc=micro_roc,
        micro_pr_auc=micro_pr,
        lrap=interval(_ranking_sums(rows), _mean_of_sums),
        micro_f1=interval(counts, ranking.micro_f1),
        macro_f1=interval(counts, ranking.macro_f1_of_labels),
        hierarchical=_hierarchical(predicted, rows, settings, interval),
        per_label=_per_label(counts.sum(0), areas, rows, settings),
        f1_at=tuple(_f1_at(rows)),
        prevalence=_prevalence(rows),
        calibration_error=_calibration_error(rows),
    )


def _area_intervals(
    rows: LabelRows, areas: ranking.LabelAreas, settings: LabelSettings
) -> list[Interval | None]:
    """Return macro ROC-AUC and PR-AUC, and micro ROC-AUC and PR-AUC."""
    wanted = ranking.area_resamples(len(rows.scores), len(settings.classes), settings.resamples)
    blocks = [
        _means(ranking.label_areas(rows.scores, rows.truth, rows.judged, weights))
        for weights in ranking.drawn_weights(
            rows.groups, len(settings.classes), resamples=wanted, seed=settings.seed
        )
    ]
    drawn = np.concatenate(blocks)
    values = _means(areas)[0]
    found: list[Interval | None] = []
    for value, column in zip(values, drawn.T, strict=True):
        known = column[~np.isnan(column)]
        if np.isnan(value) or not known.size:
            found.append(None)
        else:
            low, high = np.quantile(known, [0.025, 0.975])
            found.append(Interval(float(value), float(low), float(high)))
    return found


def _means(areas: ranking.LabelAreas) -> Float64Array:
    """Return the four summaries of areas, shape (resamples, 4), NaN where none is defined."""
    macro = [_mean_defined(columns) for columns in (areas.roc_auc, areas.pr_auc)]
    return np.stack([*macro, areas.micro_roc_auc, areas.micro_pr_auc], axis=1)


def _mean_defined(columns: Float64Array) -> Float64Array:
    """Return the mean of each row over the columns that are not NaN; NaN where all are."""
    known = ~np.isnan(columns)
    sums, sizes = np.where(known, columns, 0.0).sum(axis=1), known.sum(axis=1)
    means: Float64Array = np.divide(sums, sizes, out=np.full(len(columns), np.nan), where=sizes > 0)
    return means


def _ranking_sums(rows: LabelRows) -> Float64Array:
    """Return, by group, the sum of the rows' label ranking average precision, and their number."""
    found = ranking.ranking_precision(rows.scores, rows.truth, rows.judged)
    known = ~np.isnan(found)
    pairs = np.stack([np.where(known, found, 0.0), known], axis=1)
    sums = np.zeros((int(rows.groups.max()) + 1, 2))
    np.add.at(sums, rows.groups, pairs)
    return sums


def _mean_of_sums(sums: Float64Array) -> Float64Array:
    total, size = sums[..., 0], sums[..., 1]
    means: Float64Array = np.divide(total, size, out=np.zeros(np.shape(total)), where=size > 0)
    return means


def _hierarchical(
    predicted: BoolArray,
    rows: LabelRows,
    settings: LabelSettings,
    interval: Callable[[Float64Array, Callable[[Any], Float64Array]], Interval],
) -> HierarchicalMetrics | None:
    nodes = taxonomy_nodes(settings.classes)
    if all(len(one) == 1 for one in nodes):
        return None
    counts = ranking.hierarchical_counts(predicted, rows.truth, rows.judged, nodes, rows.groups)
    return HierarchicalMetrics(
        interval(counts, lambda stack: precision_recall(stack)[0][..., 0]),
        interval(counts, lambda stack: precision_recall(stack)[1][..., 0]),
        interval(counts, ranking.micro_f1),
    )


def _per_label(
    counts: Float64Array, areas: ranking.LabelAreas, rows: LabelRows, settings: LabelSettings
) -> tuple[LabelMetrics, ...]:
    precision, recall = precision_recall(counts)
    hits, named, support = counts
    f1 = np.divide(2 * hits, named + support, out=np.zeros(len(hits)), where=named + support > 0)
    known = rows.judged.sum(axis=0)
    return tuple(
        LabelMetrics(
            genre=name,
            support=int(support[place]),
            judged=int(known[place]),
            threshold=float(settings.thresholds[place]),
            precision=float(precision[place]),
            recall=float(recall[place]),
            f1=float(f1[place]),
            roc_auc=_defined(areas.roc_auc[0, place]),
            pr_auc=_defined(areas.pr_auc[0, place]),
        )
        for place, name in enumerate(settings.classes)
    )


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _f1_at(rows: LabelRows) -> Iterator[ThresholdF1]:
    whole = np.zeros(len(rows.scores), np.int64)
    for threshold in THRESHOLDS:
        counts = ranking.label_counts(rows.scores >= threshold, rows.truth, rows.judged, whole)[0]
        micro, macro = ranking.micro_f1(counts), ranking.macro_f1_of_labels(counts)
        yield ThresholdF1(threshold, float(micro), float(macro))


def _prevalence(rows: LabelRows) -> float:
    support, known = (rows.truth & rows.judged).sum(axis=0), rows.judged.sum(axis=0)
    there = support > 0
    return float((support[there] / known[there]).mean()) if there.any() else 0.0


def _calibration_error(rows: LabelRows) -> float:
    """Return the expected calibration error of all known decisions, each a probability of being true."""
    probability = np.clip(rows.scores[rows.judged], 0, 1)
    if not probability.size:
        return 0.0
    gaps = np.bincount(
        bin_indices(probability, _BINS), weights=rows.truth[rows.judged] - probability, minlength=_BINS
    )
    return float(np.abs(gaps).sum() / len(probability))


def select_label_thresholds(
    scores: Float64Array, truth: BoolArray, judged: BoolArray, *, fewest: int
) -> list[float | None]:
    """Choose the threshold of each class at which its F1 is largest.

    With rare classes it is well below 0.5 (Lipton et al., "Thresholding Classifiers to Maximize F1 Score",
    2014). Of equal ones the highest is taken, midway to the next score below.

    Parameters
    ----------
    scores : ndarray, shape (rows, classes)
        Probabilities.
    truth, judged : ndarray of bool, shape (rows, classes)
    fewest : int
        Rows that must be of a class, and that must not be of it.

    Returns
    -------
    list of float or None
        None where a class has too few rows.
    """
    found: list[float | None] = []
    for values, true, known in zip(scores.T, truth.T, judged.T, strict=True):
        points, right = values[known], true[known]
        positive = int(right.sum())
        if min(positive, len(right) - positive) < fewest:
            found.append(None)
            continue
        order = np.argsort(-points, kind="stable")
        ranked, hits = points[order], np.cumsum(right[order])
        f1 = 2 * hits / (np.arange(1, len(hits) + 1) + positive)
        last = np.append(ranked[1:] != ranked[:-1], True)
        best = int(np.argmax(np.where(last, f1, -1.0)))
        below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
        found.append(float((ranked[best] + below) / 2))
    return found


def fit_label_temperature(
    logits: Float64Array, truth: BoolArray, judged: BoolArray, places: IntArray, weights: Float64Array
) -> float:
    """Find the temperature T of segments for which sigmoid(logits / T), averaged by track, fits best.

    Parameters
    ----------
    logits : ndarray, shape (segments, classes)
    truth, judged : ndarray of bool, shape (tracks, classes)
    places : ndarray of int, shape (segments,)
        Index of the track of each segment; all numbers from 0 to the largest.
    weights : ndarray, shape (segments,), seconds
        Length of each segment; above 0 in sum for each track.

    Returns
    -------
    float
        Of least binary cross-entropy; 1 where the data do not determine it, as of
        `genrescope.evaluation.calibration.fit_temperature`.
    """
    from scipy.special import expit

    def loss(temperature: float) -> float:
        means = weighted_means(expit(logits / temperature), places, weights)
        means = np.clip(means, 1e-12, 1 - 1e-12)
        losses = -np.where(truth, np.log(means), np.log1p(-means))
        return float(losses[judged].mean())

    return minimize_loss(loss) if judged.any() else 1.0
