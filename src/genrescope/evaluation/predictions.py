"""Predictions row by row, as a training run keeps them: what paired comparisons and pooled folds need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from genrescope.evaluation.metrics import checked_labels, checked_scores, malformed, weighted_means
from genrescope.evaluation.results import Unit
from genrescope.types import BoolArray, Float64Array, IntArray

# Where the JSON of a row has the columns of `LabelSets`.
_SETS: Final = ("labels", "judged", "predicted_labels")


class LabelSets(NamedTuple):
    """The genres of rows of a multi-label task.

    Attributes
    ----------
    true, judged, predicted : ndarray of bool, shape (rows, classes)
        Which genres a row is of, of which that is known, and which the model predicts.
    """

    true: BoolArray
    judged: BoolArray
    predicted: BoolArray


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
    labels : LabelSets or None
        Of a multi-label task, all genres of each row.
    """

    unit: Unit
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    truth: IntArray
    scores: Float64Array
    labels: LabelSets | None = None

    @property
    def predicted(self) -> IntArray:
        """The class with the highest score of each row, of equals the first: shape (rows,).

        Of a multi-label task, among the classes of which it is known whether the row is of them.
        """
        scores = self.scores if self.labels is None else np.where(self.labels.judged, self.scores, -np.inf)
        guesses: IntArray = scores.argmax(1)
        return guesses

    @property
    def correct(self) -> BoolArray:
        """Which rows are predicted correctly: shape (rows,).

        Of a multi-label task, those whose highest score is of one of their genres: what is not correct is the
        one-error (Schapire and Singer, "BoosTexter", Machine Learning 2000).
        """
        if self.labels is not None:
            found: BoolArray = self.labels.true[np.arange(len(self.scores)), self.predicted]
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
            None if self.labels is None else LabelSets(*(column[rows] for column in self.labels)),
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
        if self.labels is not None:
            for row, *sets in zip(rows, *self.labels, strict=True):
                for key, members in zip(_SETS, sets, strict=True):
                    row[key] = [self.classes[place] for place in np.flatnonzero(members)]
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
                LabelSets(*(_membership(rows, key, classes) for key in _SETS))
                if rows and _SETS[0] in rows[0]
                else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as reason:
            raise malformed(f"these are not predictions: {reason}") from reason


def _membership(rows: Sequence[dict[str, Any]], key: str, classes: Sequence[str]) -> BoolArray:
    """Return which classes each row lists under a key."""
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
    labels: LabelSets | None = None,
    thresholds: Sequence[float] = (),
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
    labels : LabelSets, optional
        Of a multi-label task, of segments; what is predicted of a track is given by ``thresholds``.
    thresholds : sequence of float, optional
        Of each class, from which score on it is predicted.

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
        None
        if labels is None
        else LabelSets(labels.true[firsts], labels.judged[firsts], means >= np.asarray(thresholds)),
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
        _pooled([part.labels for part in parts if part.labels is not None]),
    )


def _pooled(parts: Sequence[LabelSets]) -> LabelSets | None:
    return LabelSets(*(np.concatenate(columns) for columns in zip(*parts, strict=True))) if parts else None
