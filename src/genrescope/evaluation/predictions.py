"""Predictions row by row, as a training run keeps them: what paired comparisons and pooled folds need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genrescope.evaluation.metrics import checked_labels, checked_scores, malformed, weighted_means
from genrescope.evaluation.results import Unit
from genrescope.types import BoolArray, Float64Array, IntArray


@dataclass(frozen=True, eq=False)
class Predictions:
    """The scores that one model gave to the rows of one test part.

    Attributes
    ----------
    unit : {"segment", "track"}
        What a row is.
    classes : tuple of str
        Names of the columns of ``scores``.
    ids : tuple of str
        Of each row, no two the same: the track, or ``track#start`` of a segment.
    groups : tuple of str
        The group (artist) of each row.
    truth : ndarray of int, shape (rows,)
        Indices into ``classes``; of a multi-label task, of one of the genres of each row.
    scores : ndarray, shape (rows, classes), float64
    labels, judged : ndarray of bool, shape (rows, classes), or None
        Of a multi-label task, all genres of each row, and of which that is known.
    """

    unit: Unit
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    truth: IntArray
    scores: Float64Array
    labels: BoolArray | None = None
    judged: BoolArray | None = None

    @property
    def predicted(self) -> IntArray:
        """The class with the highest score of each row, of equals the first: shape (rows,).

        Of a multi-label task, among the classes of which it is known whether the row is of them.
        """
        scores = self.scores if self.judged is None else np.where(self.judged, self.scores, -np.inf)
        guesses: IntArray = scores.argmax(1)
        return guesses

    @property
    def correct(self) -> BoolArray:
        """Which rows are predicted correctly: shape (rows,).

        Of a multi-label task, those whose highest score is of one of their genres: what is not correct is the
        one-error (Schapire and Singer, "BoosTexter", Machine Learning 2000).
        """
        if self.labels is not None:
            found: BoolArray = self.labels[np.arange(len(self.scores)), self.predicted]
            return found
        right: BoolArray = self.predicted == self.truth
        return right

    def take(self, rows: IntArray) -> Predictions:
        """Return some of the rows.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            Indices of rows.
        """
        return Predictions(
            self.unit,
            self.classes,
            tuple(self.ids[row] for row in rows),
            tuple(self.groups[row] for row in rows),
            self.truth[rows],
            self.scores[rows],
            None if self.labels is None else self.labels[rows],
            None if self.judged is None else self.judged[rows],
        )

    def to_json(self) -> dict[str, Any]:
        """Return the predictions as JSON-ready data: names of classes, then one row per track or segment."""
        columns = zip(self.ids, self.groups, self.truth, self.predicted, self.scores.tolist(), strict=True)
        rows = [
            {
                "id": name,
                "group": group,
                "genre": self.classes[true],
                "predicted": self.classes[guess],
                "scores": scores,
            }
            for name, group, true, guess, scores in columns
        ]
        if self.labels is not None and self.judged is not None:
            for row, labels, judged in zip(rows, self.labels, self.judged, strict=True):
                row["labels"] = [self.classes[place] for place in np.flatnonzero(labels)]
                row["not_judged"] = [self.classes[place] for place in np.flatnonzero(~judged)]
        return {"unit": self.unit, "classes": list(self.classes), "rows": rows}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Predictions:
        """Read what `to_json` gave.

        Parameters
        ----------
        saved : dict
            Read from JSON.

        Raises
        ------
        DataError
            ``dataset_invalid``, ``dataset_empty``: something else.
        """
        try:
            classes, rows = tuple(map(str, saved["classes"])), saved["rows"]
            if saved["unit"] not in ("segment", "track"):
                raise ValueError(f"no unit is named {saved['unit']!r}")
            return cls(
                saved["unit"],
                classes,
                tuple(str(row["id"]) for row in rows),
                tuple(str(row["group"]) for row in rows),
                checked_labels([classes.index(row["genre"]) for row in rows], "genre", len(classes)),
                checked_scores([row["scores"] for row in rows]),
                _membership(rows, "labels", classes),
                None if (unknown := _membership(rows, "not_judged", classes)) is None else ~unknown,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as reason:
            raise malformed(f"these are not predictions: {reason}") from reason


def _membership(rows: Sequence[dict[str, Any]], key: str, classes: Sequence[str]) -> BoolArray | None:
    """Return which classes each row lists under a key; None where the first has no such list."""
    if not rows or key not in rows[0]:
        return None
    found = np.zeros((len(rows), len(classes)), np.bool_)
    for place, row in enumerate(rows):
        for name in row[key]:
            found[place, classes.index(name)] = True
    return found


def track_predictions(
    scores: Float64Array,
    truth: IntArray,
    *,
    classes: Sequence[str],
    tracks: Sequence[str],
    groups: Sequence[str],
    weights: Float64Array,
    labels: BoolArray | None = None,
    judged: BoolArray | None = None,
) -> Predictions:
    """Return one row per track: its scores are the weighted mean of its segments'.

    Parameters
    ----------
    scores : ndarray, shape (segments, classes)
        Of segments.
    truth : ndarray of int, shape (segments,)
        Indices into ``classes``.
    classes : sequence of str
        Names of the columns of ``scores``.
    tracks, groups : sequence of str, one per segment
        The track and the group that each segment is of.
    weights : ndarray, shape (segments,), seconds
        Length of each segment.
    labels, judged : ndarray of bool, shape (segments, classes), optional
        Of a multi-label task.

    Returns
    -------
    Predictions
        In the order of the tracks' ids.
    """
    names, firsts, places = np.unique(np.asarray(tracks), return_index=True, return_inverse=True)
    means = weighted_means(scores.astype(np.float64), places, weights)
    group = tuple(groups[first] for first in firsts)
    return Predictions(
        "track",
        tuple(classes),
        tuple(map(str, names)),
        group,
        truth[firsts],
        means,
        None if labels is None else labels[firsts],
        None if judged is None else judged[firsts],
    )


def pool_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Join the predictions of several test parts, such as the folds of a cross-validation.

    Parameters
    ----------
    parts : sequence of Predictions
        At least one; of the same classes, and with no row in two of them.

    Returns
    -------
    Predictions

    Raises
    ------
    DataError
        ``dataset_invalid``: a row is in two parts, or classes or units differ.
    """
    first = parts[0]
    if any((part.unit, part.classes) != (first.unit, first.classes) for part in parts):
        raise malformed("predictions of different classes or units cannot be pooled")
    ids = tuple(name for part in parts for name in part.ids)
    if len(set(ids)) < len(ids):
        raise malformed("predictions to be pooled share rows: a test track would count twice")
    return Predictions(
        first.unit,
        first.classes,
        ids,
        tuple(name for part in parts for name in part.groups),
        np.concatenate([part.truth for part in parts]),
        np.concatenate([part.scores for part in parts]),
        _pooled([part.labels for part in parts]),
        _pooled([part.judged for part in parts]),
    )


def _pooled(columns: Sequence[BoolArray | None]) -> BoolArray | None:
    known = [column for column in columns if column is not None]
    return np.concatenate(known) if known else None
