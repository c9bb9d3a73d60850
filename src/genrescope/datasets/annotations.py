"""Genres of tracks that have not exactly one: cells of a manifest, several annotators, matrices of targets.

A cell names genres, separated by semicolons, each perhaps with a share: ``blues;rock``,
``blues:0.6;rock:0.4``. In a single-label task the shares of a track are a distribution and sum to one; in a
multi-label task each is the probability of that genre by itself, 1 where none is given. The column
``not_judged`` lists genres of which nothing is known; ``*`` is every genre that the track is not given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np

from genrescope.errors import DataError
from genrescope.types import BoolArray, FloatArray, TaskKind, Track

SEPARATOR: Final = ";"
ALL_OTHERS: Final = "*"
DECLARE_HINT: Final = (
    "where tracks have several genres, declare it with --set data.task=multi-label, or in Python with "
    'load_dataset(path, task="multi-label"); where annotators disagree on one genre, give shares that sum to '
    "1, such as blues:0.6;rock:0.4"
)
# The shares of a distribution, as people round them, and what their sum may be off by.
_ROUNDING = 0.011
# A number without a point is a share only where it is 0 or 1: ``decade:1990`` is the name of a genre.
_SHARE = re.compile(r"(.*\S)\s*:\s*(\d*\.\d+|[01])")


@dataclass(frozen=True)
class Annotation:
    """The genres of one track.

    Attributes
    ----------
    genres : mapping of str to float
        Share or probability by genre, from 0 to 1, at least one; a genre that is not named has 0.
    not_judged : frozenset of str
        Genres of which nothing is known; ``*``: all that ``genres`` does not name.
    """

    genres: Mapping[str, float]
    not_judged: frozenset[str] = field(default_factory=frozenset)

    @property
    def label(self) -> str:
        """The genre with the largest share, of equals the first that was named."""
        return max(self.genres, key=self.genres.__getitem__)

    @property
    def is_plain(self) -> bool:
        """Whether the track has exactly one genre, and nothing is unknown."""
        return list(self.genres.values()) == [1.0] and not self.not_judged

    def judges(self, genre: str) -> bool:
        """Return whether it is known if the track is of a genre.

        Parameters
        ----------
        genre : str
        """
        if genre in self.genres:
            return True
        return genre not in self.not_judged and ALL_OTHERS not in self.not_judged


@dataclass(frozen=True, eq=False)
class LabelMatrix:
    """The genres of tracks as numbers.

    Attributes
    ----------
    values : ndarray, shape (tracks, classes), float32
        From 0 to 1; of a single-label task, the rows sum to 1.
    judged : ndarray, shape (tracks, classes), bool
        Whether the value is known.
    """

    values: FloatArray
    judged: BoolArray

    @property
    def positive(self) -> BoolArray:
        """Which genres a track is of: those that are known, with a value of at least 0.5."""
        present: BoolArray = self.judged & (self.values >= 0.5)
        return present


def parse_cell(text: str, task: TaskKind, where: str, not_judged: str = "") -> Annotation:
    """Read a cell of genres.

    Parameters
    ----------
    text : str
        Genres, separated by semicolons, each perhaps with a share.
    task : {"single-label", "multi-label"}
        What the cell is read for.
    where : str
        File and line, for messages.
    not_judged : str
        The cell of that column: genres, separated by semicolons, or ``*``.

    Raises
    ------
    DataError
        ``dataset_invalid``: several genres in a single-label task, shares that are none or do not sum to one,
        a genre that is named twice.
    """
    entries = [entry for part in text.split(SEPARATOR) if (entry := part.strip())]
    genres: dict[str, float] = {}
    weighted = 0
    for entry in entries:
        found = _SHARE.fullmatch(entry)
        name, share = (found[1], float(found[2])) if found else (entry, 1.0)
        weighted += found is not None
        if name in genres:
            raise _invalid(where, f"{name!r} is named twice", "name every genre once")
        if share > 1:
            raise _invalid(where, f"the share of {name!r} is {share:g}", "give a number from 0 to 1")
        genres[name] = share
    if not genres:
        raise _invalid(where, f"no genre in {text!r}", "fill it in")
    unknown = frozenset(name for part in not_judged.split(SEPARATOR) if (name := part.strip()))
    if unknown & set(genres):
        both = min(unknown & set(genres))
        raise _invalid(where, f"{both!r} is a label and not judged", "name it in one of the two columns")
    if task == "multi-label":
        return Annotation(genres, unknown)
    if unknown:
        raise _invalid(where, "genres that were not judged, in a single-label task", DECLARE_HINT)
    return Annotation(_distribution(genres, weighted, text, where))


def _distribution(genres: dict[str, float], weighted: int, text: str, where: str) -> dict[str, float]:
    """Return the shares of one track in a single-label task, which sum to exactly one."""
    if not weighted and len(genres) > 1:
        raise _invalid(where, f"several genres, {text!r}, in a single-label task", DECLARE_HINT)
    total = sum(genres.values())
    if weighted and (weighted < len(genres) or abs(total - 1) > _ROUNDING):
        raise _invalid(where, f"the shares in {text!r} do not sum to 1", DECLARE_HINT)
    return {name: share / total for name, share in genres.items() if share}


def merge_annotators(annotations: Sequence[Annotation]) -> Annotation:
    """Return what several annotators say of one track: of each genre, the mean over those who judged it.

    Parameters
    ----------
    annotations : sequence of Annotation
        One of each annotator, at least one.

    Returns
    -------
    Annotation
        A genre is not judged where none of them judged it.
    """
    named = dict.fromkeys(genre for one in annotations for genre in one.genres)
    means = {
        genre: float(np.mean([one.genres.get(genre, 0.0) for one in annotations if one.judges(genre)]))
        for genre in named
    }
    listed = [one.not_judged for one in annotations if ALL_OTHERS not in one.not_judged]
    unknown = frozenset.intersection(*listed) if listed else frozenset({ALL_OTHERS})
    return Annotation(means, unknown - set(named))


def join_annotators(
    rows: Iterable[tuple[Track, Annotation]], path: Path
) -> tuple[list[Track], dict[str, Annotation]]:
    """Join the rows of each track, one of each annotator.

    Parameters
    ----------
    rows : iterable of (Track, Annotation)
        In any order.
    path : Path
        Of the manifest, for messages.

    Returns
    -------
    tracks : list of Track
        Each once, with the label of the joined annotations.
    annotations : dict of str to Annotation
        By track.

    Raises
    ------
    DataError
        ``dataset_invalid``: rows of one track that differ in file or group.
    """
    ordered = sorted(rows, key=lambda row: row[0].id)
    tracks: list[Track] = []
    annotations: dict[str, Annotation] = {}
    for name, group in groupby(ordered, key=lambda row: row[0].id):
        members = list(group)
        if len({(track.path, track.group) for track, _ in members}) > 1:
            message = f"{path}: the rows of {name!r} differ in path or group"
            raise DataError("dataset_invalid", message, "give each track one path and one group")
        annotations[name] = merge_annotators([annotation for _, annotation in members])
        tracks.append(replace(members[0][0], label=annotations[name].label))
    return tracks, annotations


def label_classes(tracks: Iterable[Track], annotations: Mapping[str, Annotation]) -> tuple[str, ...]:
    """Return the genres of tracks, sorted.

    Parameters
    ----------
    tracks : iterable of Track
    annotations : mapping of str to Annotation
        By track; of a track without one, its label is its genre.
    """
    names: set[str] = set()
    for track in tracks:
        found = annotations.get(track.id)
        names |= {track.label} if found is None else set(found.genres)
    return tuple(sorted(names))


def label_matrix(
    tracks: Sequence[Track], annotations: Mapping[str, Annotation], classes: Sequence[str]
) -> LabelMatrix:
    """Return the genres of tracks as numbers.

    Parameters
    ----------
    tracks : sequence of Track
    annotations : mapping of str to Annotation
        By track; of a track without one, its label is its genre, and it is of no other.
    classes : sequence of str
        The columns; genres that are none of them are left out.
    """
    columns = {name: column for column, name in enumerate(classes)}
    values = np.zeros((len(tracks), len(columns)), np.float32)
    judged = np.ones(values.shape, np.bool_)
    for row, track in enumerate(tracks):
        annotation = annotations.get(track.id) or Annotation({track.label: 1.0})
        for name, share in annotation.genres.items():
            if name in columns:
                values[row, columns[name]] = share
        if annotation.not_judged:
            judged[row] = [annotation.judges(name) for name in classes]
    return LabelMatrix(values, judged)


def _invalid(where: str, what: str, hint: str) -> DataError:
    return DataError("dataset_invalid", f"{where}: {what}", hint)
