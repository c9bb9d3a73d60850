"""How likely each label is wrong.

Tracks are ranked by the margin of their label: its out-of-sample log probability less that of the likeliest
other class. What a margin means is learned from errors that are planted: labels of a known few tracks are
changed, all is scored again, and the margins of these are compared with those of the labels as given.

::

    P(wrong | margin) = noise * P(margin | planted) / P(margin | given)

The share of wrong labels is the largest that the given labels allow: were it higher, more of them would
have margins as low as planted errors have. As in learning from positive and unlabeled examples, hard tracks
with the right label cannot be told from errors if no planted error looks better than they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from genrescope.audit.label_model import OutOfFoldModel
from genrescope.types import BoolArray, Float64Array, IntArray

# Tracks of the same label that a label needs outside of a track's group, for the track to be judged.
_MIN_OTHERS: Final = 5
_MIN_TRACKS: Final = 40
_MIN_GROUPS: Final = 10
_FOLDS: Final = 5
# Larger data sets need fewer repetitions for the same precision, and have less time for them.
_LARGE: Final = 20_000
_PLANTED_SHARE: Final = 0.05
_MAX_MARGIN: Final = 15.0
# Shares of the planted errors, those with the lowest margins first, at which the noise is estimated.
_TAIL: Final = np.arange(0.4, 0.901, 0.05)
_MAX_NOISE: Final = 0.5


class LabelErrors(NamedTuple):
    """How likely labels are wrong.

    Attributes
    ----------
    judged : ndarray of bool, shape (tracks,)
        Whether enough other groups have the track's label to judge it.
    probability : ndarray, shape (tracks,)
        That the label is wrong; 0 where it was not judged.
    suggested : ndarray of int, shape (tracks,)
        The likeliest other class.
    margin : ndarray, shape (tracks,)
        Of the label over the likeliest other class, in log probability.
    log_probabilities : ndarray, shape (tracks, classes)
        Out of sample.
    noise : float
        Estimated share of wrong labels among those that were judged.
    """

    judged: BoolArray
    probability: Float64Array
    suggested: IntArray
    margin: Float64Array
    log_probabilities: Float64Array
    noise: float


def judged_tracks(labels: IntArray, groups: IntArray) -> BoolArray:
    """Return which tracks have a label that enough tracks of other groups have.

    Parameters
    ----------
    labels, groups : ndarray of int, shape (tracks,)
    """
    counts = np.bincount(labels)[labels]
    pairs = labels * (groups.max() + 1) + groups
    inside = np.unique(pairs, return_inverse=True, return_counts=True)
    return counts - inside[2][inside[1]] >= _MIN_OTHERS


def why_not_judged(labels: IntArray, groups: IntArray) -> str:
    """Return why the labels of a data set cannot be judged; empty where they can.

    Parameters
    ----------
    labels, groups : ndarray of int, shape (tracks,)
    """
    if not len(labels):
        return "no track has a label and features"
    judged = judged_tracks(labels, groups)
    classes = len(np.unique(labels[judged]))
    if classes < 2:
        return f"{classes} labels have {_MIN_OTHERS} tracks of other groups for each of theirs; 2 are needed"
    if judged.sum() < _MIN_TRACKS:
        return f"{judged.sum()} tracks can be judged; {_MIN_TRACKS} are needed"
    if len(np.unique(groups)) < _MIN_GROUPS:
        return f"{len(np.unique(groups))} groups; {_MIN_GROUPS} are needed"
    return ""


def label_margins(log_probabilities: Float64Array, labels: IntArray) -> tuple[Float64Array, IntArray]:
    """Return the margin of each label over the likeliest other class, and that class.

    Parameters
    ----------
    log_probabilities : ndarray, shape (tracks, classes)
    labels : ndarray of int, shape (tracks,)

    Returns
    -------
    margins : ndarray, shape (tracks,)
    others : ndarray of int, shape (tracks,)
    """
    rows = np.arange(len(labels))
    others = log_probabilities.copy()
    others[rows, labels] = -np.inf
    best = others.argmax(axis=1)
    margins = log_probabilities[rows, labels] - others[rows, best]
    return np.clip(margins, -_MAX_MARGIN, _MAX_MARGIN), best.astype(np.int64)


def confusion_of(log_probabilities: Float64Array, labels: IntArray) -> Float64Array:
    """Return, for each label, the mean probabilities of the classes over its tracks.

    Parameters
    ----------
    log_probabilities : ndarray, shape (tracks, classes)
    labels : ndarray of int, shape (tracks,)

    Returns
    -------
    ndarray, shape (classes, classes)
        Rows are labels; uniform for a label that no track has.
    """
    classes = log_probabilities.shape[1]
    summed = np.zeros((classes, classes))
    np.add.at(summed, labels, np.exp(log_probabilities))
    counts = np.bincount(labels, minlength=classes)[:, None]
    return np.where(counts > 0, summed / np.maximum(counts, 1), 1.0 / classes)


def plant_errors(
    labels: IntArray,
    confusion: Float64Array,
    share: float,
    generator: np.random.Generator,
    *,
    confusable: float = 0.5,
    allowed: BoolArray | None = None,
) -> tuple[IntArray, BoolArray]:
    """Change the labels of some tracks, drawn at random.

    Parameters
    ----------
    labels : ndarray of int, shape (tracks,)
    confusion : ndarray, shape (classes, classes)
        As of `confusion_of`.
    share : float
        Of the allowed tracks.
    generator : numpy.random.Generator
    confusable : float
        Share of the errors that are drawn in proportion to ``confusion``; the others are drawn evenly.
    allowed : ndarray of bool, shape (tracks,), optional
        The tracks that may be changed, and the labels they may get; all by default.

    Returns
    -------
    changed : ndarray of int, shape (tracks,)
    planted : ndarray of bool, shape (tracks,)
        Which are changed.
    """
    allowed = np.ones(len(labels), dtype=bool) if allowed is None else allowed
    classes = np.unique(labels[allowed])
    count = max(1, round(share * int(allowed.sum())))
    chosen = generator.choice(np.flatnonzero(allowed), count, replace=False)
    changed = labels.copy()
    for track in chosen:
        others = classes[classes != labels[track]]
        weights = np.ones(len(others))
        if generator.random() < confusable:
            weights = confusion[labels[track], others] + 1e-9
        changed[track] = generator.choice(others, p=weights / weights.sum())
    planted = np.zeros(len(labels), dtype=bool)
    planted[chosen] = True
    return changed, planted


def estimate_noise(planted: Float64Array, given: Float64Array) -> float:
    """Return the largest share of wrong labels that the margins of the given labels allow.

    The lowest q of the margins of planted errors reach up to some margin; of the given labels, at least
    the share q * noise lies below it. The smallest bound over several q is returned, at most 0.5 (compare
    C. Scott, A rate of convergence for mixture proportion estimation, AISTATS 2015).

    Parameters
    ----------
    planted, given : ndarray
        Margins.
    """
    limits = np.quantile(planted, _TAIL)
    below = np.searchsorted(np.sort(given), limits, side="right")
    return float(min(_MAX_NOISE, ((below + 1) / len(given) / _TAIL).min()))


def fit_error_curve(planted: Float64Array, given: Float64Array, noise: float) -> tuple[float, float]:
    """Fit log odds of planted errors against right labels, linear in the margin.

    The given labels are a mixture of both, with ``noise`` of the first (K. Jaskie, C. Elkan, A. Spanias, A
    modified logistic regression for positive and unlabeled learning, Asilomar 2019).

    Parameters
    ----------
    planted, given : ndarray
        Margins.
    noise : float

    Returns
    -------
    offset, slope : float
        The probability of an error is ``expit(offset + slope * margin + logit(noise))``; the slope is
        negative.
    """
    share = len(planted) / (len(planted) + len(given))

    def loss(parameters: Float64Array) -> float:
        def mixture(margins: Float64Array) -> tuple[Float64Array, Float64Array]:
            odds = np.exp(np.clip(parameters[0] + parameters[1] * margins, -30, 30))
            first, second = share * odds, (1 - share) * (noise * odds + 1 - noise)
            return first / (first + second), second / (first + second)

        mixed: float = -(np.log(mixture(planted)[0]).sum() + np.log(mixture(given)[1]).sum())
        return mixed / (len(planted) + len(given))

    bounds = [(-20.0, 10.0), (-5.0, -0.02)]
    offset, slope = minimize(loss, [-1.0, -0.5], method="L-BFGS-B", bounds=bounds).x
    return float(offset), float(slope)


def find_label_errors(
    views: Sequence[Float64Array], labels: IntArray, groups: IntArray, *, seed: int = 0
) -> LabelErrors:
    """Estimate for each track how likely its label is wrong.

    Parameters
    ----------
    views : sequence of ndarray, shape (tracks, features)
        Standardized features, such as embeddings; see `genrescope.audit.label_model.OutOfFoldModel`.
    labels, groups : ndarray of int, shape (tracks,)
        Numbers from 0 on; `why_not_judged` is empty for them.
    seed : int
        Of folds and planted errors.

    Returns
    -------
    LabelErrors
    """
    large = len(labels) > _LARGE
    model = OutOfFoldModel(views, labels, groups, folds=_FOLDS, repeats=1 if large else 3, seed=seed)
    judged = judged_tracks(labels, groups)
    scores = model.log_probabilities(labels)
    margins, suggested = label_margins(scores, labels)
    confusion = confusion_of(scores, labels)
    errors: list[Float64Array] = []
    others: list[Float64Array] = []
    for place in range(2 if large else 6):
        generator = np.random.default_rng([seed, 1, place])
        changed, planted = plant_errors(labels, confusion, _PLANTED_SHARE, generator, allowed=judged)
        found = label_margins(model.log_probabilities(changed), changed)[0]
        errors.append(found[planted])
        others.append(found[judged & ~planted])
    low = np.concatenate(errors)
    noise = estimate_noise(low, margins[judged])
    offset, slope = fit_error_curve(low, np.concatenate(others), noise)
    probability = expit(offset + slope * margins + np.log(noise / (1 - noise)))
    return LabelErrors(judged, np.where(judged, probability, 0.0), suggested, margins, scores, noise)
