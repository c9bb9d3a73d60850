"""Confident learning: which labels are likely wrong, and how many, from out-of-sample probabilities.

C. G. Northcutt, L. Jiang, I. L. Chuang, Confident learning: estimating uncertainty in dataset labels, Journal
of Artificial Intelligence Research 70, 2021 (arXiv 1911.00068). The reference implementation is cleanlab.
"""

from __future__ import annotations

import numpy as np

from genrescope.types import BoolArray, Float64Array, IntArray


def class_thresholds(labels: IntArray, probabilities: Float64Array) -> Float64Array:
    """Return, for each class, the mean probability of the class over the tracks that have it as label.

    Parameters
    ----------
    labels : ndarray of int, shape (tracks,)
    probabilities : ndarray, shape (tracks, classes)
        Out of sample.

    Returns
    -------
    ndarray, shape (classes,)
        1 for a class that no track has.
    """
    given = probabilities[np.arange(len(labels)), labels]
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, weights=given, minlength=probabilities.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)


def confident_classes(labels: IntArray, probabilities: Float64Array) -> IntArray:
    """Return the class that each track confidently is of: the likeliest of those that reach their threshold.

    Parameters
    ----------
    labels : ndarray of int, shape (tracks,)
    probabilities : ndarray, shape (tracks, classes)

    Returns
    -------
    ndarray of int, shape (tracks,)
        -1 where no class reaches its threshold.
    """
    # Rounding must not exclude a track whose probabilities are the threshold itself.
    reached = probabilities >= class_thresholds(labels, probabilities) - 1e-6
    likeliest = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), likeliest, -1).astype(np.int64)


def confident_joint(labels: IntArray, probabilities: Float64Array) -> IntArray:
    """Count tracks by given label and by the class that they confidently are of.

    Parameters
    ----------
    labels : ndarray of int, shape (tracks,)
    probabilities : ndarray, shape (tracks, classes)

    Returns
    -------
    ndarray of int, shape (classes, classes)
        Rows are given labels.
    """
    classes = probabilities.shape[1]
    confident = confident_classes(labels, probabilities)
    joint = np.zeros((classes, classes), dtype=np.int64)
    known = confident >= 0
    np.add.at(joint, (labels[known], confident[known]), 1)
    return joint


def confident_errors(labels: IntArray, probabilities: Float64Array) -> BoolArray:
    """Return which tracks are confidently of a class other than their label.

    Parameters
    ----------
    labels : ndarray of int, shape (tracks,)
    probabilities : ndarray, shape (tracks, classes)

    Returns
    -------
    ndarray of bool, shape (tracks,)
    """
    confident = confident_classes(labels, probabilities)
    errors: BoolArray = (confident >= 0) & (confident != labels)
    return errors


def confident_noise(labels: IntArray, probabilities: Float64Array) -> float:
    """Estimate the share of wrong labels: what of the calibrated joint is not on its diagonal.

    Each row of the joint is scaled to the number of tracks with the label.

    Parameters
    ----------
    labels : ndarray of int, shape (tracks,)
    probabilities : ndarray, shape (tracks, classes)
    """
    joint = confident_joint(labels, probabilities).astype(np.float64)
    rows = joint.sum(axis=1)
    counts = np.bincount(labels, minlength=len(joint))
    right = np.where(rows > 0, np.diag(joint) / np.maximum(rows, 1.0), 1.0)
    return float(1.0 - (right * counts).sum() / max(1, len(labels)))
