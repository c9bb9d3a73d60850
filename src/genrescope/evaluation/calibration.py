"""Calibration of scores: temperature scaling, reliability, and the threshold of uncertain predictions.

Temperature and threshold are fitted on validation data, and evaluated on the test part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from genrescope.errors import ConfigError
from genrescope.evaluation.metrics import (
    Labels,
    bin_indices,
    checked_labels,
    checked_lengths,
    checked_scores,
    checked_weights,
    empty,
    expected_ece,
    top_classes,
)
from genrescope.types import Float64Array, IntArray

# Temperatures beyond these make scores all but certain, or all but equal.
BOUNDS = (0.05, 20.0)
# The standard error of an accuracy of 0.9 over 20 answers is 0.07; over fewer it says too little to choose
# by.
MIN_ANSWERS = 20
# Fewest validation tracks from which temperature and threshold are estimated. Of 300 simulated sets of
# calibrated scores (ten classes, normal logits, 87 % right) the true temperature is 1; 95 % of the estimates
# lie within 0.26 to 1.59 for 21 tracks, 0.50 to 1.46 for 50, 0.69 to 1.25 for 100, 0.75 to 1.25 for 200. From
# 100 on the estimate is thus within a factor of 1.5; below, it may do more harm than no temperature.
MIN_CALIBRATION_TRACKS = 100
# Estimates beyond these are bounded. None of those simulated from 100 tracks is beyond them, so that one is
# a sign of a fault in the data, such as validation tracks that were trained on. What it can do is bounded:
# at 0.25 a score of 0.6 against 0.4 becomes 0.84, at 0.11, which 21 tracks once gave, 0.98.
TEMPERATURE_RANGE = (0.25, 4.0)

# Each temperature of the grid is about a tenth larger than the one before.
_GRID = 61
# What a curve in a report can show; a test part may have thousands of points.
_MAX_CURVE_POINTS = 100


@dataclass(frozen=True)
class CalibrationBin:
    """One bin of a reliability diagram.

    Attributes
    ----------
    low, high : float
        Bounds of the top score.
    n : int
        Number of predictions in the bin.
    confidence : float
        Their mean top score.
    accuracy : float
        The share of them that are right.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Threshold:
    """Coverage and accuracy where only predictions with a score of at least ``score`` count.

    Attributes
    ----------
    score : float
    coverage : float
        Share of the rows whose top score reaches ``score``.
    accuracy : float
        Share of these that are right; 0 where there are none.
    """

    score: float
    coverage: float
    accuracy: float


class CoverageCurve(NamedTuple):
    """Points of a coverage curve.

    Attributes
    ----------
    coverage, accuracy, threshold : ndarray, shape (points,)
        Share of the rows covered, share of these that are right, and the lowest score of them.
    """

    coverage: Float64Array
    accuracy: Float64Array
    threshold: Float64Array


@dataclass(frozen=True)
class CalibrationReport:
    """How well scores are calibrated, and accuracy against coverage.

    Attributes
    ----------
    bins : tuple of CalibrationBin
        See `reliability`.
    curve : tuple of Threshold
        By rising coverage, the last at coverage 1; at most a hundred points of `coverage_curve`.
    expected_ece : float
        See `genrescope.evaluation.metrics.expected_ece`.
    target_accuracy : float
        The accuracy that ``best_threshold`` is to reach.
    best_threshold : Threshold or None
        See `select_threshold`; chosen on the same rows, so it is optimistic.
    model_threshold : Threshold or None
        Coverage and accuracy at the model's own threshold, chosen on validation data; None without one.
    """

    bins: tuple[CalibrationBin, ...]
    curve: tuple[Threshold, ...]
    expected_ece: float
    target_accuracy: float
    best_threshold: Threshold | None
    model_threshold: Threshold | None

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> CalibrationReport:
        """Read what ``dataclasses.asdict`` gave.

        Parameters
        ----------
        row : dict
            Read from JSON.
        """
        return cls(
            bins=tuple(CalibrationBin(**one) for one in row["bins"]),
            curve=tuple(Threshold(**point) for point in row["curve"]),
            expected_ece=row["expected_ece"],
            target_accuracy=row["target_accuracy"],
            best_threshold=None if row["best_threshold"] is None else Threshold(**row["best_threshold"]),
            model_threshold=None if row["model_threshold"] is None else Threshold(**row["model_threshold"]),
        )


def fit_temperature(log_scores: npt.ArrayLike, truth: Labels, weights: npt.ArrayLike | None = None) -> float:
    """Find the temperature T for which softmax(``log_scores`` / T) makes the truth most likely.

    T > 1 where the scores were overconfident, T < 1 where they were underconfident; the ranking stays
    (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017). Where tracks are means over
    segments, fit by `fit_segment_temperature` instead.

    Parameters
    ----------
    log_scores : array_like, shape (n, classes)
        Logits, or logarithms of probabilities.
    truth : array_like of int, shape (n,)
        Indices of classes.
    weights : array_like, shape (n,), optional
        Of each row; None weighs all alike.

    Returns
    -------
    float
        Within `BOUNDS`; 1 where the likelihood grows without bound as T falls, as when every prediction is
        right: the data do not determine T then.

    Raises
    ------
    DataError
        ``dataset_empty``; ``dataset_invalid`` where lengths differ or scores are not finite.
    """
    points = checked_scores(log_scores)
    true = checked_labels(truth, "truth", points.shape[1])
    checked_lengths(log_scores=points, truth=true)
    shares = checked_weights(weights, len(true))
    if not shares.any():
        raise empty("weights: all are zero")

    def loss(temperature: float) -> float:
        return -float(np.average(_log_likelihood(points / temperature, true), weights=shares))

    return minimize_loss(loss)


def fit_segment_temperature(
    logits: npt.ArrayLike, truth: Labels, tracks: Labels, weights: npt.ArrayLike | None = None
) -> float:
    """Find the temperature of segments for which the scores of their tracks make the truth most likely.

    A track's scores are the mean, weighted by ``weights``, of softmax(``logits`` / T) of its segments. The
    mean of unlike segments is flatter than any of them, so T comes out lower than for segments alone.

    Parameters
    ----------
    logits : array_like, shape (segments, classes)
        Before the softmax.
    truth : array_like of int, shape (tracks,)
        Indices of classes.
    tracks : array_like of int, shape (segments,)
        Index into ``truth`` of each segment. Tracks whose segments all weigh 0 do not count.
    weights : array_like, shape (segments,), optional
        Length of each segment in seconds; None weighs all alike.

    Returns
    -------
    float
        As of `fit_temperature`.

    Raises
    ------
    DataError
        ``dataset_empty``; ``dataset_invalid`` where lengths differ or logits are not finite.
    """
    points = checked_scores(logits)
    true = checked_labels(truth, "truth", points.shape[1])
    owners = checked_labels(tracks, "tracks", len(true))
    checked_lengths(logits=points, tracks=owners)
    seconds = checked_weights(weights, len(owners))
    # Segments of no length are left out: they would be the logarithm of zero below.
    weighted = seconds > 0
    if not weighted.any():
        raise empty("weights: all are zero")
    points, true, seconds = points[weighted], true[owners[weighted]], seconds[weighted]
    places = np.unique(owners[weighted], return_inverse=True)[1]

    def loss(temperature: float) -> float:
        return -float(_log_means(_log_likelihood(points / temperature, true), places, seconds).mean())

    return minimize_loss(loss)


def reliability(scores: npt.ArrayLike, truth: Labels, bins: int = 10) -> tuple[CalibrationBin, ...]:
    """Sort predictions by their top score into bins of equal width, and compare score and accuracy of each.

    The data of a reliability diagram (Niculescu-Mizil and Caruana, "Predicting Good Probabilities with
    Supervised Learning", ICML 2005); the mean gap, weighted by ``n``, is `metrics.calibration_error`.

    Parameters
    ----------
    scores : array_like, shape (n, classes)
        Probabilities.
    truth : array_like of int, shape (n,)
        Indices of classes.
    bins : int
        Number of bins between 0 and 1.

    Returns
    -------
    tuple of CalibrationBin
        By rising score, empty ones left out.

    Raises
    ------
    ConfigError
        ``invalid_argument``: fewer than one bin.
    DataError
        ``dataset_empty``; ``dataset_invalid``, also where scores are no probabilities.
    """
    confidence, right = top_classes(scores, truth)
    places = bin_indices(confidence, bins)
    counts = np.bincount(places, minlength=bins)
    sums = (np.bincount(places, weights=column, minlength=bins) for column in (confidence, right))
    columns = zip(counts, *sums, strict=True)
    return tuple(
        CalibrationBin(place / bins, (place + 1) / bins, int(n), float(score / n), float(hits / n))
        for place, (n, score, hits) in enumerate(columns)
        if n
    )


def coverage_curve(scores: npt.ArrayLike, truth: Labels) -> CoverageCurve:
    """Return coverage and accuracy at every threshold that the scores distinguish.

    The risk-coverage curve of selective classification (El-Yaniv and Wiener, "On the Foundations of
    Noise-free Selective Classification", JMLR 2010), with accuracy instead of risk. Rows of equal score are
    covered together, so that their order does not matter.

    Parameters
    ----------
    scores : array_like, shape (n, classes)
        Of tracks or segments.
    truth : array_like of int, shape (n,)
        Indices of classes.

    Returns
    -------
    CoverageCurve
        By rising coverage; the last point, at coverage 1, has the plain accuracy.

    Raises
    ------
    DataError
        ``dataset_empty`` or ``dataset_invalid``.
    """
    confidence, right = top_classes(scores, truth)
    # Sorted by falling score, the rows covered at any threshold are the first ones: running sums give every
    # point of the curve. The last row of each run of equal scores is a point; within a run the order is
    # chance.
    order = np.argsort(-confidence)
    ranked = confidence[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    answered = last + 1
    return CoverageCurve(answered / len(ranked), np.cumsum(right[order])[last] / answered, ranked[last])


def select_threshold(
    scores: npt.ArrayLike, truth: Labels, accuracy: float = 0.9, *, min_answers: int = MIN_ANSWERS
) -> Threshold | None:
    """Find the lowest score such that the predictions at or above it reach an accuracy.

    Of all thresholds that reach the accuracy, the one of the largest coverage is taken: accuracy need not
    hold at every higher one, as a single wrong prediction among the highest scores would then decide. For
    the same reason an accuracy counts only over at least ``min_answers`` predictions. As the threshold is
    chosen where the data happen to allow it, new data come out slightly below the accuracy as often as above.

    Parameters
    ----------
    scores : array_like, shape (n, classes)
        Of tracks or segments.
    truth : array_like of int, shape (n,)
        Indices of classes.
    accuracy : float
        To reach; above 0 and at most 1.
    min_answers : int
        Fewest predictions over which an accuracy counts.

    Returns
    -------
    Threshold or None
        None where no threshold reaches the accuracy over ``min_answers`` predictions.

    Raises
    ------
    ConfigError
        ``invalid_argument``: an accuracy that is not above 0 and at most 1.
    DataError
        ``dataset_empty`` or ``dataset_invalid``.
    """
    if not 0 < accuracy <= 1:
        raise ConfigError("invalid_argument", f"no accuracy is {accuracy:g}", "ask for a share such as 0.9")
    curve = coverage_curve(scores, truth)
    # Coverage is a count divided by the number of rows; rounding removes the error of that division.
    enough = np.rint(curve.coverage * len(np.asarray(truth))) >= min_answers
    reached = np.flatnonzero(enough & (curve.accuracy >= accuracy))
    return _point(curve, int(reached[-1])) if reached.size else None


def coverage_at(scores: npt.ArrayLike, truth: Labels, score: float | Sequence[float]) -> Threshold:
    """Return coverage and accuracy at a given threshold, such as one that was chosen on other data.

    Parameters
    ----------
    scores : array_like, shape (n, classes)
        Of tracks or segments.
    truth : array_like of int, shape (n,)
        Indices of classes.
    score : float or sequence of float, shape (classes,)
        The threshold, or that of each class; of these the most frequent one stands in the result.

    Raises
    ------
    DataError
        ``dataset_empty`` or ``dataset_invalid``.
    """
    confidence, right = top_classes(scores, truth)
    by_class = np.broadcast_to(np.asarray(score, dtype=np.float64), np.shape(scores)[1:])
    answered = confidence >= by_class[np.argmax(scores, axis=1)]
    accuracy = float(right[answered].mean()) if answered.any() else 0.0
    values, counts = np.unique(by_class, return_counts=True)
    return Threshold(float(values[counts.argmax()]), float(answered.mean()), accuracy)


def calibration_report(
    scores: npt.ArrayLike,
    truth: Labels,
    *,
    accuracy: float = 0.9,
    threshold: float | Sequence[float] | None = None,
) -> CalibrationReport:
    """Compute reliability, and accuracy against coverage.

    Parameters
    ----------
    scores : array_like, shape (n, classes)
        Probabilities of tracks.
    truth : array_like of int, shape (n,)
        Indices of classes.
    accuracy : float
        That ``best_threshold`` is to reach.
    threshold : float or sequence of float, optional
        The model's own, or that of each class.

    Raises
    ------
    ConfigError
        ``invalid_argument``, see `select_threshold`.
    DataError
        ``dataset_empty`` or ``dataset_invalid``.
    """
    curve = coverage_curve(scores, truth)
    points = len(curve.coverage)
    # Spread evenly over the points, the first and the last among them.
    kept = np.unique(np.linspace(0, points - 1, min(points, _MAX_CURVE_POINTS)).round().astype(int))
    return CalibrationReport(
        bins=reliability(scores, truth),
        curve=tuple(_point(curve, place) for place in kept),
        expected_ece=expected_ece(scores),
        target_accuracy=accuracy,
        best_threshold=select_threshold(scores, truth, accuracy),
        model_threshold=None if threshold is None else coverage_at(scores, truth, threshold),
    )


def _point(curve: CoverageCurve, place: int) -> Threshold:
    """Return one point of a curve."""
    coverage, accuracy, score = (float(column[place]) for column in curve)
    return Threshold(score, coverage, accuracy)


def _log_likelihood(logits: Float64Array, truth: IntArray) -> Float64Array:
    """Return the logarithm of the probability that each row's softmax gives to the truth; shape (n,)."""
    # The log-sum-exp trick: with the largest at 0, no exponential overflows.
    shifted = logits - logits.max(1, keepdims=True)
    logs: Float64Array = shifted[np.arange(len(truth)), truth] - np.log(np.exp(shifted).sum(1))
    return logs


def _log_means(logs: Float64Array, places: IntArray, weights: Float64Array) -> Float64Array:
    """Return the logarithm of the weighted mean of exp(``logs``) at each place, without underflow."""
    tops = np.full(places.max() + 1, -np.inf)
    np.maximum.at(tops, places, logs)
    sums = np.bincount(places, weights=weights * np.exp(logs - tops[places]))
    return tops + np.log(sums / np.bincount(places, weights=weights))


def minimize_loss(loss: Callable[[float], float]) -> float:
    """Return the temperature of least loss: the best of a grid, then refined between its neighbors.

    Parameters
    ----------
    loss : callable
        From a temperature to what is to be small.

    Returns
    -------
    float
        Within `BOUNDS`; 1 where the loss falls without bound as the temperature falls.
    """
    # The loss of rows is convex in 1 / T and has one minimum; that of means over segments may have several,
    # of which a local search would find any. Hence the grid.
    from scipy.optimize import minimize_scalar

    grid = np.log(np.geomspace(*BOUNDS, _GRID))
    best = int(np.argmin([loss(float(np.exp(place))) for place in grid]))
    # At the lower end the loss falls without bound, as where all predictions are right: the data say nothing
    # of the temperature, and the scores are left as they are.
    if best == 0:
        return 1.0
    if best == _GRID - 1:
        return BOUNDS[1]
    found = minimize_scalar(
        lambda place: loss(float(np.exp(place))),
        bounds=(grid[best - 1], grid[best + 1]),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(np.exp(found.x))
