"""Metrics of multi-label classification, and their bootstrap: pure functions of labels, scores and weights.

Labels are matrices of shape (rows, classes), and so is ``judged``, which says where a label is known; what is
not known counts nowhere. The functions of one score per row take ``weights`` of shape (resamples, rows), how
often each row was drawn: sorted once, all resamples of a bootstrap are running sums of one order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genrescope.errors import ConfigError
from genrescope.evaluation.metrics import checked_scores, empty, malformed
from genrescope.types import BoolArray, Float64Array, IntArray

# Numbers held in memory at a time by the bootstrap: 32 MB.
_BLOCK = 4_000_000
# The bootstrap of rankings draws fewer resamples where rows, classes and resamples multiply to more than this
# (seconds of work), but never fewer than the second.
_LARGEST_WORK, _FEWEST_RESAMPLES = 2_000_000_000, 200


class RankingCurves(NamedTuple):
    """Areas under curves, one of each resample.

    Attributes
    ----------
    roc_auc, pr_auc : ndarray, shape (resamples,), float64
        Area under the receiver operating characteristic, and average precision; NaN where the weights leave
        only positive rows, or none.
    """

    roc_auc: Float64Array
    pr_auc: Float64Array


def ranking_areas(
    scores: npt.ArrayLike, truth: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> RankingCurves:
    """Return the area under the ROC curve, and average precision.

    The area under the ROC curve is the probability that a positive row has a higher score than a negative
    one, ties counted half (Hanley and McNeil, Radiology 1982). Average precision is the area under the
    precision-recall curve by steps, not by lines, which would be optimistic (Davis and Goadrich, "The
    Relationship Between Precision-Recall and ROC Curves", ICML 2006).

    Parameters
    ----------
    scores : array_like, shape (rows,)
    truth : array_like of bool, shape (rows,)
    weights : array_like, shape (resamples, rows), optional
        How much each row counts; None: one resample in which all count the same.

    Returns
    -------
    RankingCurves

    Raises
    ------
    DataError
        ``dataset_invalid`` where shapes differ or scores are not finite; ``dataset_empty``.
    """
    points = checked_scores(np.asarray(scores, np.float64)[:, None])[:, 0]
    true = np.asarray(truth, np.bool_)
    drawn = np.ones((1, len(points))) if weights is None else np.asarray(weights, np.float64)
    if true.shape != points.shape or drawn.shape != (len(drawn), len(points)):
        raise malformed(f"{points.shape} scores, {true.shape} labels and {drawn.shape} weights")
    order = np.argsort(-points, kind="stable")
    # Rows of equal score are ranked together: only the last of each run is a point of the curves.
    ranked = points[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    sorted_weights = drawn[:, order]
    all_sums = np.cumsum(sorted_weights, axis=1)[:, last]
    hits = np.cumsum(sorted_weights * true[order], axis=1)[:, last]
    misses = all_sums - hits
    positive, negative = hits[:, -1], misses[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        new_hits = np.diff(hits, axis=1, prepend=0.0)
        new_misses = np.diff(misses, axis=1, prepend=0.0)
        # Each run of equal scores adds a trapezoid.
        roc = (new_misses * (hits - new_hits / 2)).sum(axis=1) / (positive * negative)
        precision = np.divide(hits, all_sums, out=np.zeros_like(hits), where=all_sums > 0)
        average = (new_hits * precision).sum(axis=1) / positive
    undefined = (positive <= 0) | (negative <= 0)
    return RankingCurves(np.where(undefined, np.nan, roc), np.where(undefined, np.nan, average))


def ranking_precision(scores: npt.ArrayLike, truth: npt.ArrayLike, judged: npt.ArrayLike) -> Float64Array:
    """Return the label ranking average precision of each row.

    The mean, over the labels of a row, of the share of labels among the genres with at least their score
    (Schapire and Singer, "BoosTexter", Machine Learning 2000; G. Tsoumakas et al., "Mining Multi-label Data",
    2010). 1 where all labels are ranked first, and, as in scikit-learn, of a row with no labels or nothing
    but labels.

    Parameters
    ----------
    scores : array_like, shape (rows, classes)
    truth, judged : array_like of bool, shape (rows, classes)

    Returns
    -------
    ndarray, shape (rows,), float64
        NaN of a row of which nothing is known.
    """
    points, true, known = _checked(scores, truth, judged)
    found = np.ones(len(points))
    for row in range(len(points)):
        kept = known[row]
        labels = true[row, kept]
        if not kept.any():
            found[row] = np.nan
        elif 0 < labels.sum() < len(labels):
            values = points[row, kept]
            # Of each label, how many genres, and how many labels, have at least its score.
            above = np.sort(values)
            above_labels = np.sort(values[labels])
            ranks = len(above) - np.searchsorted(above, values[labels], side="left")
            hits = len(above_labels) - np.searchsorted(above_labels, values[labels], side="left")
            found[row] = (hits / ranks).mean()
    return found


def label_counts(
    predicted: npt.ArrayLike, truth: npt.ArrayLike, judged: npt.ArrayLike, groups: IntArray
) -> Float64Array:
    """Count hits, predictions and labels by group and class.

    Parameters
    ----------
    predicted, truth, judged : array_like of bool, shape (rows, classes)
    groups : ndarray of int, shape (rows,)
        All numbers from 0 to the largest.

    Returns
    -------
    ndarray, shape (groups, 3, classes), float64
        How often a genre was predicted and true, predicted, and true.
    """
    guess, true, known = (np.asarray(one, np.bool_) for one in (predicted, truth, judged))
    rows = np.stack([guess & true & known, guess & known, true & known], axis=1)
    sums = np.zeros((int(groups.max(initial=-1)) + 1, *rows.shape[1:]))
    np.add.at(sums, groups, rows)
    return sums


def micro_f1(counts: Float64Array) -> Float64Array:
    """Return the F1 of all decisions together.

    Parameters
    ----------
    counts : ndarray, shape (..., 3, classes)
        As of `label_counts`, or with one column, sizes of sets as of `hierarchical_counts`.

    Returns
    -------
    ndarray, shape (...)
        0 where nothing was predicted and nothing is true.
    """
    hits, named, support = np.moveaxis(counts.sum(axis=-1), -1, 0)
    return _ratio(2 * hits, named + support)


def macro_f1_of_labels(counts: Float64Array) -> Float64Array:
    """Return the mean F1 over the genres that some row is of.

    Parameters
    ----------
    counts : ndarray, shape (..., 3, classes)
        As of `label_counts`.

    Returns
    -------
    ndarray, shape (...)
    """
    hits, named, support = np.moveaxis(counts, -2, 0)
    present = support > 0
    return _ratio((_ratio(2 * hits, named + support) * present).sum(-1), present.sum(-1).astype(np.float64))


def hierarchical_counts(
    predicted: npt.ArrayLike,
    truth: npt.ArrayLike,
    judged: npt.ArrayLike,
    ancestors: Sequence[frozenset[str]],
    groups: IntArray,
) -> Float64Array:
    """Count hits, predictions and labels by group, each genre together with all that is above it.

    A wrong style below the right genre is then half right (S. Kiritchenko, S. Matwin, A. F. Famili,
    "Functional Annotation of Genes Using Hierarchical Text Categorization", BioLINK 2005): hierarchical
    precision is hits / predictions, recall hits / labels, and `micro_f1` gives their F measure.

    Parameters
    ----------
    predicted, truth, judged : array_like of bool, shape (rows, classes)
    ancestors : sequence of frozenset of str, one of each class
        The nodes that a class stands for: itself and all above it but the root, as of
        `genrescope.labels.taxonomy_nodes`.
    groups : ndarray of int, shape (rows,)
        All numbers from 0 to the largest.

    Returns
    -------
    ndarray, shape (groups, 3, 1), float64
    """
    nodes = sorted(frozenset().union(*ancestors))
    above = np.array([[node in nodes_of for node in nodes] for nodes_of in ancestors])
    guess, true, known = (np.asarray(one, np.bool_) for one in (predicted, truth, judged))
    extended_guess, extended_true = (guess & known) @ above, (true & known) @ above
    rows = np.stack(
        [
            (extended_guess & extended_true).sum(axis=1),
            extended_guess.sum(axis=1),
            extended_true.sum(axis=1),
        ],
        axis=1,
    )
    sums = np.zeros((int(groups.max(initial=-1)) + 1, 3, 1))
    np.add.at(sums[:, :, 0], groups, rows)
    return sums


class LabelAreas(NamedTuple):
    """Areas under the curves of all classes, one row of each resample; NaN where they are not defined.

    Attributes
    ----------
    roc_auc, pr_auc : ndarray, shape (resamples, classes), float64
        Of each class by itself.
    micro_roc_auc, micro_pr_auc : ndarray, shape (resamples,), float64
        Of all decisions together.
    """

    roc_auc: Float64Array
    pr_auc: Float64Array
    micro_roc_auc: Float64Array
    micro_pr_auc: Float64Array


def label_areas(
    scores: npt.ArrayLike,
    truth: npt.ArrayLike,
    judged: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> LabelAreas:
    """Return `ranking_areas` of each class, and of all classes together.

    Parameters
    ----------
    scores : array_like, shape (rows, classes)
    truth, judged : array_like of bool, shape (rows, classes)
    weights : array_like, shape (resamples, rows), optional
        How much each row counts.
    """
    points, true, known = _checked(scores, truth, judged)
    drawn = np.ones((1, len(points))) if weights is None else np.asarray(weights, np.float64)
    undefined = np.full(len(drawn), np.nan)
    columns = [
        ranking_areas(points[rows, column], true[rows, column], drawn[:, rows])
        if rows.size
        else RankingCurves(undefined, undefined)
        for column, rows in enumerate(np.flatnonzero(kept) for kept in known.T)
    ]
    rows, _ = np.nonzero(known)
    micro = (
        ranking_areas(points[known], true[known], drawn[:, rows])
        if rows.size
        else RankingCurves(undefined, undefined)
    )
    roc, average = (np.stack([column[place] for column in columns], axis=1) for place in range(2))
    return LabelAreas(roc, average, micro.roc_auc, micro.pr_auc)


def area_resamples(rows: int, classes: int, resamples: int) -> int:
    """Return how many resamples the bootstrap of areas draws: fewer for many rows and classes.

    Parameters
    ----------
    rows, classes, resamples : int
        Size of the scores, and how many resamples are wanted.
    """
    return min(resamples, max(_FEWEST_RESAMPLES, _LARGEST_WORK // max(1, rows * classes)))


def drawn_weights(groups: IntArray, classes: int, *, resamples: int, seed: int) -> Iterator[Float64Array]:
    """Yield how often each row is drawn, for resamples of whole groups with replacement.

    Parameters
    ----------
    groups : ndarray of int, shape (rows,)
        All numbers from 0 to the largest.
    classes : int
        Of the scores, by which the size of a block is bounded.
    resamples : int
        Number of draws, at least 1.
    seed : int
        Of the draws.

    Yields
    ------
    ndarray, shape (n, rows), float64
        ``resamples`` rows in all.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no resamples.
    DataError
        ``dataset_empty``: no groups.
    """
    if resamples < 1:
        raise ConfigError("invalid_argument", f"{resamples} resamples", "ask for at least one")
    if not len(groups):
        raise empty("no groups to resample")
    generator = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    step = max(1, _BLOCK // (len(groups) * max(1, classes)))
    for begin in range(0, resamples, step):
        size = min(step, resamples - begin)
        drawn = generator.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield times[:, groups].astype(np.float64)


def _checked(
    scores: npt.ArrayLike, truth: npt.ArrayLike, judged: npt.ArrayLike
) -> tuple[Float64Array, BoolArray, BoolArray]:
    points = checked_scores(scores)
    true, known = np.asarray(truth, np.bool_), np.asarray(judged, np.bool_)
    if not points.shape == true.shape == known.shape:
        raise malformed(f"{points.shape} scores, {true.shape} labels and {known.shape} judgments")
    return points, true, known


def _ratio(part: Float64Array, whole: Float64Array) -> Float64Array:
    """Divide, giving 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)
