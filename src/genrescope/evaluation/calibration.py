"""Scores that can be taken at their word: a temperature for them, and when to give no answer.

Temperature and threshold are settings: they are fitted on validation data, and judged on the test part.
"""

from __future__ import annotations

from collections.abc import Callable
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

BOUNDS = (0.05, 20.0)
MIN_ANSWERS = 20

_GRID = 61
_MOST_POINTS = 100


@dataclass(frozen=True)
class CalibrationBin:
    """The ``n`` answers whose score lies from ``low`` to ``high``: their mean score, and the share right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Threshold:
    """What comes of answering only at a score of ``score`` or more.

    ``coverage`` is the share of rows that are answered, ``accuracy`` the share of these that are right, 0
    where none is answered.
    """

    score: float
    coverage: float
    accuracy: float


class CoverageCurve(NamedTuple):
    """Share answered, share of these right, lowest score answered; each of shape (points,)."""

    coverage: Float64Array
    accuracy: Float64Array
    threshold: Float64Array


@dataclass(frozen=True)
class CalibrationReport:
    """How far scores can be trusted, and what silence at low ones would buy.

    Attributes
    ----------
    bins : tuple of Bin
        See `reliability`.
    curve : tuple of Threshold
        By rising coverage, the last at coverage 1; at most a hundred points of `coverage_curve`.
    chance_error : float
        See `metrics.chance_error`.
    asked : float
        The accuracy that ``reached`` was asked for.
    reached : Threshold or None
        See `threshold_for`; chosen on the same rows, so it flatters.
    chosen : Threshold or None
        What the model's own threshold, chosen elsewhere, comes to; None where it has none.
    """

    bins: tuple[CalibrationBin, ...]
    curve: tuple[Threshold, ...]
    expected_ece: float
    target_accuracy: float
    best_threshold: Threshold | None
    model_threshold: Threshold | None

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> CalibrationReport:
        """Build the doubt that ``dataclasses.asdict`` wrote down."""
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

    T > 1 where the scores were too sure, T < 1 where they were too modest; the ranking stays (Guo et al.,
    "On Calibration of Modern Neural Networks", ICML 2017). Where tracks are means over segments, fit by
    `fit_segment_temperature` instead.

    Parameters
    ----------
    log_scores : array_like, shape (n, classes)
        Logits, or logarithms of probabilities.
    truth : array_like of int, shape (n,)
    weights : array_like, shape (n,), optional
        How much each row counts.

    Returns
    -------
    float
        Within `BOUNDS`; 1 where the data would have the scores sharpened for ever, as when every answer is
        right: then nothing says how sure is too sure.

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
        raise empty("weights: all rows weigh nothing")

    def loss(temperature: float) -> float:
        return -float(np.average(_log_likelihood(points / temperature, true), weights=shares))

    return _lowest(loss)


def fit_segment_temperature(
    logits: npt.ArrayLike, truth: Labels, tracks: Labels, weights: npt.ArrayLike | None = None
) -> float:
    """Find the temperature of segments for which the scores of their tracks make the truth most likely.

    A track's scores are the mean, weighted by ``weights``, of softmax(``logits`` / T) of its segments. The
    mean of unlike segments is flatter than any of them, so T comes out lower than for segments alone.

    Parameters
    ----------
    logits : array_like, shape (segments, classes)
    truth : array_like of int, shape (tracks,)
    tracks : array_like of int, shape (segments,)
        Places in ``truth``. Tracks without a segment that weighs something do not count.
    weights : array_like, shape (segments,), seconds, optional

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
    heard = seconds > 0
    if not heard.any():
        raise empty("weights: all segments weigh nothing")
    points, true, seconds = points[heard], true[owners[heard]], seconds[heard]
    places = np.unique(owners[heard], return_inverse=True)[1]

    def loss(temperature: float) -> float:
        return -float(_log_means(_log_likelihood(points / temperature, true), places, seconds).mean())

    return _lowest(loss)


def reliability(scores: npt.ArrayLike, truth: Labels, bins: int = 10) -> tuple[CalibrationBin, ...]:
    """Sort answers by their score into bins of equal width, and compare score and share right in each.

    The data of a reliability diagram (Niculescu-Mizil and Caruana, "Predicting Good Probabilities with
    Supervised Learning", ICML 2005); the mean gap, weighted by ``n``, is `metrics.calibration_error`.

    Parameters
    ----------
    scores : array_like, shape (n, classes)
        Probabilities.
    truth : array_like of int, shape (n,)

    Returns
    -------
    tuple of Bin
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
    """Return how many are answered, and how many of these rightly, at every threshold there is.

    The risk-coverage curve of selective classification (El-Yaniv and Wiener, "On the Foundations of
    Noise-free Selective Classification", JMLR 2010), told by accuracy. Rows of equal score are answered
    together, so that their order does not matter.

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
    order = np.argsort(-confidence)
    ranked = confidence[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    answered = last + 1
    return CoverageCurve(answered / len(ranked), np.cumsum(right[order])[last] / answered, ranked[last])


def select_threshold(
    scores: npt.ArrayLike, truth: Labels, accuracy: float = 0.9, *, fewest: int = MIN_ANSWERS
) -> Threshold | None:
    """Find the lowest score at which the answers from there upwards are as accurate as asked.

    Of all thresholds that reach the accuracy the one that answers most is taken: accuracy need not hold at
    every higher one, as a single wrong answer among the surest few would then decide. For the same reason
    an accuracy counts only over at least ``fewest`` answers. As the threshold is chosen where the data
    happen to allow it, new data come out slightly below the accuracy asked for as often as above.

    Returns
    -------
    Threshold or None
        None where no threshold reaches the accuracy over ``fewest`` answers.

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
    enough = np.rint(curve.coverage * len(np.asarray(truth))) >= fewest
    reached = np.flatnonzero(enough & (curve.accuracy >= accuracy))
    return _point(curve, int(reached[-1])) if reached.size else None


def coverage_at(scores: npt.ArrayLike, truth: Labels, score: float) -> Threshold:
    """Return what comes of a given threshold, such as one that was chosen on other data.

    Raises
    ------
    DataError
        ``dataset_empty`` or ``dataset_invalid``.
    """
    confidence, right = top_classes(scores, truth)
    answered = confidence >= score
    accuracy = float(right[answered].mean()) if answered.any() else 0.0
    return Threshold(float(score), float(answered.mean()), accuracy)


def calibration_report(
    scores: npt.ArrayLike, truth: Labels, *, accuracy: float = 0.9, min_score: float | None = None
) -> CalibrationReport:
    """Put together what a report says of trust and doubt; ``min_score`` is the model's own threshold.

    Raises
    ------
    ConfigError
        ``invalid_argument``, see `threshold_for`.
    DataError
        ``dataset_empty`` or ``dataset_invalid``.
    """
    curve = coverage_curve(scores, truth)
    points = len(curve.coverage)
    kept = np.unique(np.linspace(0, points - 1, min(points, _MOST_POINTS)).round().astype(int))
    return CalibrationReport(
        bins=reliability(scores, truth),
        curve=tuple(_point(curve, place) for place in kept),
        expected_ece=expected_ece(scores),
        target_accuracy=accuracy,
        best_threshold=select_threshold(scores, truth, accuracy),
        model_threshold=None if min_score is None else coverage_at(scores, truth, min_score),
    )


def _point(curve: CoverageCurve, place: int) -> Threshold:
    """Return one point of a curve."""
    coverage, accuracy, score = (float(column[place]) for column in curve)
    return Threshold(score, coverage, accuracy)


def _log_likelihood(logits: Float64Array, truth: IntArray) -> Float64Array:
    """Return the logarithm of the probability that each row's softmax gives to the truth; shape (n,)."""
    shifted = logits - logits.max(1, keepdims=True)
    logs: Float64Array = shifted[np.arange(len(truth)), truth] - np.log(np.exp(shifted).sum(1))
    return logs


def _log_means(logs: Float64Array, places: IntArray, weights: Float64Array) -> Float64Array:
    """Return the logarithm of the weighted mean of exp(``logs``) at each place, without underflow."""
    tops = np.full(places.max() + 1, -np.inf)
    np.maximum.at(tops, places, logs)
    sums = np.bincount(places, weights=weights * np.exp(logs - tops[places]))
    return tops + np.log(sums / np.bincount(places, weights=weights))


def _lowest(loss: Callable[[float], float]) -> float:
    """Return the temperature of least loss: the best of a grid, then refined between its neighbors.

    Of rows alone the loss has one valley, but not always so of means; hence the grid.
    """
    from scipy.optimize import minimize_scalar

    grid = np.log(np.geomspace(*BOUNDS, _GRID))
    best = int(np.argmin([loss(float(np.exp(place))) for place in grid]))
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
