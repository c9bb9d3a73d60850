"""Metrics of a classifier, and their intervals: pure functions of labels, scores and counts.

Every function validates what it is given, then computes. Labels are indexes into ``classes``. The
functions of a confusion matrix also take a stack of them, shape (..., classes, classes), which is what
makes the bootstrap quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from genrescope.errors import ConfigError, DataError
from genrescope.types import BoolArray, Float64Array, IntArray

Labels = npt.ArrayLike

# Draws held in memory at a time.
_BLOCK = 2_000_000
# Tolerance of probabilities above 1, for rounding.
_SLACK = 1e-3


@dataclass(frozen=True)
class Interval:
    """A value and the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float


def confusion_matrix(truth: Labels, predicted: Labels, classes: Sequence[str]) -> IntArray:
    """Count how often each genre was predicted for each.

    Parameters
    ----------
    truth, predicted : array_like of int, shape (n,)
        Indexes into ``classes``.

    Returns
    -------
    ndarray of int, shape (classes, classes)
        Rows are the truth, columns the prediction.

    Raises
    ------
    DataError
        ``dataset_empty`` or ``dataset_invalid``.
    """
    whole: IntArray = group_confusions(truth, predicted, classes, np.zeros(np.shape(truth), int))[0]
    return whole


def group_confusions(
    truth: Labels, predicted: Labels, classes: Sequence[str], groups: npt.ArrayLike
) -> IntArray:
    """Count one confusion matrix per group; shape (groups, classes, classes)."""
    size = len(classes)
    true, guess = checked_labels(truth, "truth", size), checked_labels(predicted, "predicted", size)
    names, group = codes(groups, "groups")
    checked_lengths(truth=true, predicted=guess, groups=group)
    cells = (group * size + true) * size + guess
    return np.bincount(cells, minlength=len(names) * size * size).reshape(len(names), size, size)


def precision_recall_f1(matrix: npt.ArrayLike) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return precision, recall and F1 per genre, each of shape (..., classes).

    Precision is 0 for a genre never predicted, recall 0 for one that does not occur, F1 0 where both hold.
    """
    counts = _matrix(matrix)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    support, named = counts.sum(-1), counts.sum(-2)
    return _ratio(hits, named), _ratio(hits, support), _ratio(2 * hits, support + named)


def accuracy(matrix: npt.ArrayLike) -> Float64Array:
    """Return the share of right answers, shape (...)."""
    counts = _matrix(matrix)
    return _ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1)))


def macro_f1(matrix: npt.ArrayLike) -> Float64Array:
    """Return the mean F1, shape (...), over the genres that occur in the truth; absent ones do not count."""
    counts = _matrix(matrix)
    present = counts.sum(-1) > 0
    return _ratio((precision_recall_f1(counts)[2] * present).sum(-1), present.sum(-1))


def majority_baseline(train_labels: Labels, test_labels: Labels) -> float:
    """Return the accuracy on the test labels of always naming the most frequent training label.

    Of equally frequent ones the first in order is named.
    """
    train, test = np.asarray(train_labels), np.asarray(test_labels)
    if not train.size or not test.size:
        raise empty("no labels to take a majority of")
    names, counts = np.unique(train, return_counts=True)
    return float(np.mean(test == names[np.argmax(counts)]))


def top_classes(scores: npt.ArrayLike, truth: Labels) -> tuple[Float64Array, BoolArray]:
    """Return the highest score of each row, and whether it stands for the right genre; both of shape (n,).

    Of equally high ones the first in order is the answer.
    """
    points = checked_scores(scores)
    true = checked_labels(truth, "truth", points.shape[1])
    checked_lengths(scores=points, truth=true)
    return points.max(1), points.argmax(1) == true


def bin_indices(confidence: Float64Array, bins: int) -> IntArray:
    """Return which of ``bins`` bins of equal width between 0 and 1 each value falls into; shape (n,).

    A value on an edge belongs to the upper bin, 1 to the last.
    """
    if bins < 1:
        raise ConfigError("invalid_argument", f"{bins} bins hold nothing", "ask for at least one bin")
    if confidence.min() < 0 or confidence.max() > 1 + _SLACK:
        raise malformed(f"scores from {confidence.min():.3g} to {confidence.max():.3g} are not probabilities")
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def calibration_error(scores: npt.ArrayLike, truth: Labels, *, bins: int = 10) -> float:
    """Return the expected calibration error: how far the top score is from the share of right answers.

    Mean over ``bins`` bins of equal width, weighted by how many fall into each (Guo et al., "On
    Calibration of Modern Neural Networks", ICML 2017). 0 where a score of 0.8 is right 80 % of the time,
    but for what chance adds, see `expected_ece`.

    Raises
    ------
    ConfigError
        ``invalid_argument``: fewer than one bin.
    DataError
        ``dataset_empty``; ``dataset_invalid``, also where scores are not probabilities.
    """
    confidence, right = top_classes(scores, truth)
    gaps = np.bincount(bin_indices(confidence, bins), weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))


def expected_ece(scores: npt.ArrayLike, *, bins: int = 10) -> float:
    """Return the calibration error to expect of perfectly calibrated scores such as these, by chance alone.

    Were each top score the probability of being right, the gap summed over a bin would be nearly normal with
    the variance of its Bernoulli trials; the mean size of that is added up (the idea of Bröcker and Smith,
    "Increasing the Reliability of Reliability Diagrams", Weather and Forecasting 2007). It falls with the
    root of the number of rows; an error below it is no better than one at it.
    """
    confidence = checked_scores(scores).max(1)
    places = bin_indices(confidence, bins)
    variances = np.bincount(places, weights=np.clip(confidence * (1 - confidence), 0, None), minlength=bins)
    return float(np.sqrt(2 / np.pi * variances).sum() / len(confidence))


def bootstrap_interval(
    statistics: npt.ArrayLike,
    measure: Callable[[Any], Float64Array],
    *,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Return ``measure`` of all groups together, with the percentile bootstrap interval over groups.

    Whole groups are drawn with replacement, so that an artist's tracks, which stand and fall together,
    do not feign certainty (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).

    Parameters
    ----------
    statistics : array_like, shape (groups, ...)
        What adds up over groups and suffices for the measure, such as `group_confusions`.
    measure : callable
        From statistics of shape (resamples, ...) to values of shape (resamples,); such as `accuracy`.
    """
    sums = np.asarray(statistics, dtype=np.float64)
    if not len(sums):
        raise empty("no groups to resample")
    if resamples < 1 or not 0 < confidence < 1:
        raise ConfigError(
            "invalid_argument",
            f"{resamples} resamples at confidence {confidence} make no interval",
            "ask for at least one resample, and a confidence between 0 and 1",
        )
    drawn = np.concatenate([measure(stack) for stack in _resample(sums, resamples, seed)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(measure(sums.sum(0)[None])[0]), float(low), float(high))


def checked_labels(labels: Labels, name: str, size: int) -> IntArray:
    """Return labels as integers, shape (n,), each below ``size``; refuse anything else."""
    values = np.asarray(labels)
    if not values.size:
        raise empty(f"{name}: no rows")
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise malformed(f"{name}: expected one whole number a row, got {values.dtype}, shape {values.shape}")
    if values.min() < 0 or values.max() >= size:
        raise malformed(f"{name}: labels from {values.min()} to {values.max()}, for {size} classes")
    return values.astype(np.int64)


def checked_scores(scores: npt.ArrayLike) -> Float64Array:
    """Return scores as finite float64, shape (n, classes); refuse anything else."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2:
        raise malformed(f"scores: expected shape (rows, classes), got {values.shape}")
    if not values.size:
        raise empty("scores: no rows")
    if not np.isfinite(values).all():
        raise malformed(f"scores: {np.sum(~np.isfinite(values))} values are not finite")
    return values


def checked_lengths(**columns: npt.NDArray[Any]) -> None:
    """Refuse columns that do not hold the same number of rows."""
    if len({np.shape(column)[:1] for column in columns.values()}) > 1:
        sizes = ", ".join(f"{name} {len(np.atleast_1d(column))}" for name, column in columns.items())
        raise malformed(f"columns of different length: {sizes}")


def checked_weights(weights: npt.ArrayLike | None, rows: int) -> Float64Array:
    """Return one weight a row, 1 where none are given; refuse negative and non-finite ones."""
    seconds = np.ones(rows) if weights is None else np.asarray(weights, dtype=np.float64)
    if seconds.shape != (rows,) or not (np.isfinite(seconds) & (seconds >= 0)).all():
        raise malformed(f"weights: expected {rows} weights, one a row and none below zero")
    return seconds


def weighted_means(scores: Float64Array, places: IntArray, weights: Float64Array) -> Float64Array:
    """Return the weighted mean of the rows at each place, (places, classes); every place needs a weight."""
    sums = np.zeros((places.max() + 1, scores.shape[1]))
    np.add.at(sums, places, scores * weights[:, None])
    means: Float64Array = sums / np.bincount(places, weights=weights)[:, None]
    return means


def codes(ids: npt.ArrayLike, name: str) -> tuple[npt.NDArray[Any], IntArray]:
    """Return the distinct ids in order, and for each row the place of its own among them."""
    values = np.asarray(ids)
    if values.ndim != 1:
        raise malformed(f"{name}: expected one id a row, got shape {values.shape}")
    distinct, places = np.unique(values, return_inverse=True)
    return distinct, places.astype(np.int64)


def malformed(message: str) -> DataError:
    """Build the error for values that cannot be scored."""
    return DataError(
        "dataset_invalid", message, "score the rows of one prediction run against the truth of the same rows"
    )


def empty(message: str) -> DataError:
    """Build the error for nothing to score."""
    return DataError("dataset_empty", message, "choose a test part that holds at least one track")


def _matrix(matrix: npt.ArrayLike) -> Float64Array:
    """Return a confusion matrix, or a stack of them, as float64; refuse anything else."""
    counts = np.asarray(matrix, dtype=np.float64)
    if counts.ndim < 2 or counts.shape[-1] != counts.shape[-2] or not counts.size:
        raise malformed(f"a confusion matrix is square, not of shape {counts.shape}")
    if not (counts >= 0).all():
        raise malformed("a confusion matrix contains counts, none below zero")
    return counts


def _ratio(part: Float64Array, whole: Float64Array) -> Float64Array:
    """Divide, giving 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


def _resample(sums: Float64Array, resamples: int, seed: int) -> Iterator[Float64Array]:
    """Yield the summed statistics of resampled groups, stacked, a bounded number at a time."""
    generator = np.random.default_rng(seed)
    groups = len(sums)
    flat = sums.reshape(groups, -1)
    step = max(1, _BLOCK // groups)
    for begin in range(0, resamples, step):
        rows = min(step, resamples - begin)
        drawn = generator.integers(groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups)
        yield (times @ flat).reshape(rows, *sums.shape[1:])
