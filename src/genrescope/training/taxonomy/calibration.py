"""Temperature, threshold and conformal level, chosen on scores of collections that were not trained on.

Collections weigh as the square root of their number of clips: new music is of a collection of its own, so
none may decide alone, but one of three clips says little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from genrescope.evaluation import MIN_ANSWERS
from genrescope.types import BoolArray, Float64Array, IntArray

TARGET_ACCURACY = 0.9
CONFORMAL_COVERAGE = 0.9
_TEMPERATURES = np.exp(np.linspace(-0.9, 0.9, 37))
# Scores are compared with a level that is one of them; rounding must not decide.
_SLACK = 1e-9


class SegmentScores(NamedTuple):
    """Logits of the segments of clips.

    Attributes
    ----------
    logits : ndarray, shape (segments, genres)
    clip : ndarray of int, shape (segments,)
        Index of each segment's clip.
    """

    logits: Float64Array
    clip: IntArray

    def by_clip(self, count: int, temperature: float) -> Float64Array:
        """Return the scores of clips: means of their segments' softmax.

        Parameters
        ----------
        count : int
            Number of clips, each with at least one segment.
        temperature : float
            What the logits are divided by.

        Returns
        -------
        ndarray, shape (clips, genres)
        """
        scaled = self.logits / temperature
        exponentials = np.exp(scaled - scaled.max(1, keepdims=True))
        scores = exponentials / exponentials.sum(1, keepdims=True)
        sums = np.zeros((count, scores.shape[1]))
        np.add.at(sums, self.clip, scores)
        means: Float64Array = sums / np.bincount(self.clip, minlength=count)[:, None]
        return means


def collection_weights(collections: Sequence[str], counts: BoolArray) -> Float64Array:
    """Return the weights of clips: one over the square root of the number of their collection's.

    Parameters
    ----------
    collections : sequence of str
        Of each clip.
    counts : ndarray of bool, shape (clips,)
        Whether it counts; the others weigh nothing.
    """
    _, index, sizes = np.unique(np.asarray(collections), return_inverse=True, return_counts=True)
    weights: Float64Array = counts / np.sqrt(sizes[index])
    return weights


def fit_collection_temperature(segments: SegmentScores, genre: IntArray, weight: Float64Array) -> float:
    """Find the temperature for which the scores of clips make their genres most likely.

    Parameters
    ----------
    segments : SegmentScores
    genre : ndarray of int, shape (clips,)
    weight : ndarray, shape (clips,)
    """
    rows = np.arange(len(genre))
    losses = [
        -(weight * np.log(segments.by_clip(len(genre), temperature)[rows, genre] + _SLACK)).sum()
        for temperature in _TEMPERATURES
    ]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def select_weighted_threshold(
    scores: Float64Array, genre: IntArray, weight: Float64Array, accuracy: float = TARGET_ACCURACY
) -> float | None:
    """Find the lowest score such that the answers at or above it reach an accuracy.

    Parameters
    ----------
    scores : ndarray, shape (clips, genres)
    genre : ndarray of int, shape (clips,)
    weight : ndarray, shape (clips,)
        An answer that weighs nothing does not count.
    accuracy : float
        The weighted share of right answers to reach.

    Returns
    -------
    float or None
        None where no threshold reaches it with at least `genrescope.evaluation.MIN_ANSWERS` answers.
    """
    counted = weight > 0
    top, right, weight = scores.max(1)[counted], (scores.argmax(1) == genre)[counted], weight[counted]
    order = np.argsort(-top, kind="stable")
    reached = np.cumsum((weight * right)[order]) / np.cumsum(weight[order])
    # Answers of equal scores are given together.
    last = np.r_[top[order][1:] < top[order][:-1], True]
    allowed = np.flatnonzero((reached >= accuracy) & last & (np.arange(len(order)) >= MIN_ANSWERS - 1))
    return float(top[order][allowed[-1]]) if len(allowed) else None


def conformal_level(
    scores: Float64Array, genre: IntArray, weight: Float64Array, coverage: float = CONFORMAL_COVERAGE
) -> float:
    """Choose the level of split-conformal sets of genres.

    The set of a track is the likeliest genres up to the one whose score makes the sum reach the level
    (adaptive prediction sets without randomization: Romano, Sesia and Candès, "Classification with Valid and
    Adaptive Coverage", NeurIPS 2020).

    Parameters
    ----------
    scores : ndarray, shape (clips, genres)
    genre : ndarray of int, shape (clips,)
    weight : ndarray, shape (clips,)
    coverage : float
        Share of the clips, by weight, whose genre is in their set.

    Returns
    -------
    float
        From 0 to 1.
    """
    before = mass_before(scores, genre)
    order = np.argsort(before)
    reached = np.cumsum(weight[order]) / weight.sum()
    level = before[order][min(int(np.searchsorted(reached, coverage)), len(order) - 1)]
    # Above the sum before the true genre, so that this genre is in the set too.
    return float(min(1.0, level + _SLACK))


def mass_before(scores: Float64Array, genre: IntArray) -> Float64Array:
    """Return the sum of the scores of all genres that are likelier than the true one, shape (clips,).

    Parameters
    ----------
    scores : ndarray, shape (clips, genres)
    genre : ndarray of int, shape (clips,)
    """
    rows, order = np.arange(len(genre)), np.argsort(-scores, axis=1, kind="stable")
    sums = np.take_along_axis(scores, order, 1).cumsum(1)
    rank = (order == genre[:, None]).argmax(1)
    before: Float64Array = np.where(rank > 0, sums[rows, np.maximum(rank - 1, 0)], 0.0)
    return before


def set_sizes(scores: Float64Array, level: Float64Array) -> IntArray:
    """Return the number of genres in the sets of clips, shape (clips,).

    Parameters
    ----------
    scores : ndarray, shape (clips, genres)
    level : ndarray, shape (clips,)
        The level that is applied to each clip.
    """
    sums = np.sort(scores, axis=1)[:, ::-1].cumsum(1)
    sizes: IntArray = np.minimum(1 + (sums < level[:, None]).sum(1), scores.shape[1])
    return sizes
