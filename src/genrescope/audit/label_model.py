"""Out-of-sample class probabilities of every track, from linear discriminants over folds of whole groups.

A discriminant has closed-form solutions, and what is costly about it, the products of features, does not
depend on the labels. So the same tracks can be scored under many labelings, such as with planted errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import log_softmax

from genrescope.types import Float64Array, IntArray

# Share of the identity in the covariance.
_SHRINKAGES: Final = (0.1, 0.3, 0.5, 0.8, 0.95)
_TEMPERATURES: Final = np.geomspace(0.05, 20.0, 41)
# Values farther from the mean, in standard deviations, are cut: one track must not turn the covariance.
_MAX_DEVIATION = 5.0
# The log probability of what a model holds for impossible, or was not trained on.
_LOG_FLOOR = -30.0


def standardized(values: Float64Array) -> Float64Array:
    """Bring features to a mean of 0 and a standard deviation of 1, and cut what is farther than five.

    Parameters
    ----------
    values : ndarray, shape (tracks, features)

    Returns
    -------
    ndarray, shape (tracks, features)
        A constant feature is 0.
    """
    centered = values - values.mean(axis=0)
    deviations = centered.std(axis=0)
    scaled = centered / np.where(deviations > 0, deviations, 1.0)
    limited: Float64Array = np.clip(scaled, -_MAX_DEVIATION, _MAX_DEVIATION)
    return limited


def group_folds(labels: IntArray, groups: IntArray, folds: int, generator: np.random.Generator) -> IntArray:
    """Assign whole groups to folds, the largest first, so that each class is as even as groups allow.

    Parameters
    ----------
    labels, groups : ndarray of int, shape (tracks,)
        Numbers from 0 on.
    folds : int
    generator : numpy.random.Generator
        Decides among groups of one size, and folds that are equally good.

    Returns
    -------
    ndarray of int, shape (tracks,)
        The fold of each track.
    """
    counts = np.zeros((groups.max() + 1, labels.max() + 1))
    np.add.at(counts, (groups, labels), 1)
    totals = np.maximum(counts.sum(axis=0), 1)
    filled = np.zeros((folds, counts.shape[1]))
    assigned = np.zeros(len(counts), dtype=np.int64)
    for group in np.lexsort((generator.random(len(counts)), -counts.sum(axis=1))):
        # By how much the sum of squared shares grows; and, of equal folds, a random one.
        growth = ((2 * filled + counts[group]) * counts[group] / totals).sum(axis=1)
        best = int(np.lexsort((generator.random(folds), growth))[0])
        assigned[group] = best
        filled[best] += counts[group]
    return assigned[groups]


def tempered(log_scores: Float64Array, labels: IntArray) -> Float64Array:
    """Divide logits by the temperature with the least loss, each class weighing the same.

    Parameters
    ----------
    log_scores : ndarray, shape (tracks, classes)
    labels : ndarray of int, shape (tracks,)

    Returns
    -------
    ndarray, shape (tracks, classes)
        Log probabilities.
    """
    losses = [balanced_loss(log_softmax(log_scores / one, axis=1), labels) for one in _TEMPERATURES]
    fitted = log_softmax(log_scores / _TEMPERATURES[int(np.argmin(losses))], axis=1)
    limited: Float64Array = np.maximum(fitted, _LOG_FLOOR)
    return limited


def balanced_loss(log_probabilities: Float64Array, labels: IntArray) -> float:
    """Return the negative log likelihood of labels, the mean over classes of the mean over tracks.

    Parameters
    ----------
    log_probabilities : ndarray, shape (tracks, classes)
    labels : ndarray of int, shape (tracks,)
    """
    losses = -log_probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels)
    sums = np.bincount(labels, weights=losses)
    return float((sums[counts > 0] / counts[counts > 0]).mean())


@dataclass(frozen=True)
class _Gram:
    """Products of features, for each fold of one repeat: those of its own tracks."""

    folds: IntArray
    products: Float64Array


class OutOfFoldModel:
    """Scores tracks under any labeling, each by models of the folds that its group is not in.

    Linear discriminant analysis with equal priors, which balances classes; with the covariance shrunk to a
    multiple of the identity (J. H. Friedman, Regularized discriminant analysis, JASA 84, 1989). Several
    views, such as embedding and styles, have a model each, and are joined by the mean of their log
    probabilities.

    Parameters
    ----------
    views : sequence of ndarray, shape (tracks, features)
        Standardized features.
    labels, groups : ndarray of int, shape (tracks,)
        The given labels, by which folds are balanced and shrinkages chosen; a group is never divided.
    folds : int
    repeats : int
        How often folds are drawn; log probabilities are means over these.
    seed : int
    """

    def __init__(
        self,
        views: Sequence[Float64Array],
        labels: IntArray,
        groups: IntArray,
        *,
        folds: int = 5,
        repeats: int = 3,
        seed: int = 0,
    ) -> None:
        self._views = views
        self._classes = int(labels.max()) + 1
        self._folds = folds
        drawn = [
            group_folds(labels, groups, folds, np.random.default_rng([seed, repeat]))
            for repeat in range(repeats)
        ]
        self._grams = [[_gram(view, assigned, folds) for assigned in drawn] for view in views]
        self._shrinkages = [self._choose_shrinkage(view, labels) for view in range(len(views))]

    def log_probabilities(self, labels: IntArray) -> Float64Array:
        """Return out-of-sample log probabilities, with temperatures fitted by view and for all of them.

        Parameters
        ----------
        labels : ndarray of int, shape (tracks,)
            What is learned.

        Returns
        -------
        ndarray, shape (tracks, classes)
        """
        by_view = [
            tempered(self._scores(view, labels, shrinkage), labels)
            for view, shrinkage in enumerate(self._shrinkages)
        ]
        return tempered(np.mean(by_view, axis=0), labels)

    def _choose_shrinkage(self, view: int, labels: IntArray) -> float:
        def loss(shrinkage: float) -> float:
            return balanced_loss(tempered(self._scores(view, labels, shrinkage), labels), labels)

        return min(_SHRINKAGES, key=loss)

    def _scores(self, view: int, labels: IntArray, shrinkage: float) -> Float64Array:
        """Return the mean over repeats of log posteriors."""
        values = self._views[view]
        summed = np.zeros((len(labels), self._classes))
        for gram in self._grams[view]:
            whole = gram.products.sum(axis=0)
            for fold in range(self._folds):
                tested = gram.folds == fold
                if tested.any():
                    summed[tested] += _discriminant(
                        values[~tested],
                        labels[~tested],
                        self._classes,
                        whole - gram.products[fold],
                        shrinkage,
                        values[tested],
                    )
        return summed / len(self._grams[view])


def _gram(values: Float64Array, folds: IntArray, count: int) -> _Gram:
    parts = [values[folds == fold] for fold in range(count)]
    return _Gram(folds, np.stack([part.T @ part for part in parts]))


def _discriminant(
    values: Float64Array,
    labels: IntArray,
    classes: int,
    products: Float64Array,
    shrinkage: float,
    tested: Float64Array,
) -> Float64Array:
    """Return the log posteriors of ``tested`` by a discriminant of ``values``, given their products."""
    counts = np.bincount(labels, minlength=classes)
    sums = np.zeros((classes, values.shape[1]))
    np.add.at(sums, labels, values)
    present = counts > 0
    means = sums[present] / counts[present, None]
    covariance = (products - (means.T * counts[present]) @ means) / max(1, len(values))
    size = len(covariance)
    shrunk = (1 - shrinkage) * covariance
    shrunk[np.diag_indices(size)] += shrinkage * np.trace(covariance) / size + 1e-9
    inverse = np.linalg.inv(shrunk)
    weights = inverse @ means.T
    # The squared length of a mean is too large by the noise of the mean, which is that of few tracks.
    noise = np.einsum("ij,ji->", inverse, covariance) / counts[present]
    logits = np.full((len(tested), classes), _LOG_FLOOR)
    lengths = (means * weights.T).sum(axis=1) - noise
    posterior = log_softmax(tested @ weights - 0.5 * lengths, axis=1)
    logits[:, present] = np.maximum(posterior, _LOG_FLOOR)
    return logits
