"""Splits that come with a data set: in columns of a manifest, or published with the tracks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genrescope.datasets.base import DatasetIssue
from genrescope.datasets.tables import Row
from genrescope.errors import ConfigError, DataError
from genrescope.types import IntArray, Track
from genrescope.utils import did_you_mean

_SPELLINGS = {
    "train": ("train", "training", "trn", "tr"),
    "validation": ("validation", "valid", "validate", "val", "vali", "dev", "development"),
    "test": ("test", "testing", "tst", "te", "eval", "evaluation", "holdout"),
}
_PARTS = {spelling: part for part, spellings in _SPELLINGS.items() for spelling in spellings}
_FOLD = re.compile(r"(?:fold)?[\s_-]*(\d{1,9})(?:\.0+)?", re.IGNORECASE)
_NUMBERED_SPLIT = re.compile(r"split-(\d+)")
_HINT = "a manifest needs a column split (train, validation, test) or fold (numbers)"


class GivenParts(NamedTuple):
    """Places of tracks in the parts of a data set's own split.

    Attributes
    ----------
    train, validation, test : ndarray of int64
        Ascending; ``validation`` is empty where the split has no such part.
    """

    train: IntArray
    validation: IntArray
    test: IntArray


def part_of_split(text: str) -> str | None:
    """Return the part of a split that a word means.

    Parameters
    ----------
    text : str
        ``train``, ``Training``, ``val``, ``dev``, ``test``, ``evaluation``, ...

    Returns
    -------
    {"train", "validation", "test"} or None
    """
    return _PARTS.get(text.strip().casefold())


def read_split_columns(
    path: Path, rows: Sequence[Row], names: Sequence[str]
) -> tuple[dict[str, dict[str, str]], list[DatasetIssue]]:
    """Read the columns ``split`` and ``fold`` of a manifest or of a table of features.

    Parameters
    ----------
    path : Path
        The file, for messages.
    rows : sequence of Row
        Its rows, which have the columns or not.
    names : sequence of str
        The id of the track of each row.

    Returns
    -------
    splits : dict
        As ``Dataset.official_splits``: ``split`` and ``fold`` where there are such columns.
    issues : list of DatasetIssue
        Tracks whose cell is empty, which are in no part.

    Raises
    ------
    DataError
        ``dataset_invalid``, with the line, for a word that is no part of a split, and for a fold that is no
        number.
    """
    splits: dict[str, dict[str, str]] = {}
    issues: list[DatasetIssue] = []
    for column in ("split", "fold"):
        if not rows or column not in rows[0].values:
            continue
        cells = [(row, name, row.values[column]) for row, name in zip(rows, names, strict=True)]
        splits[column] = {name: _cell(path, row, column, text) for row, name, text in cells if text}
        absent = len(cells) - len(splits[column])
        if absent:
            message = f"{absent} of {len(cells)} tracks have no {column}: they are in no part of it"
            issues.append(DatasetIssue("split_missing", "", str(path), message))
    if len(splits) == 2:
        message = "the column split decides; the column fold is not used"
        issues.append(DatasetIssue("split_unused", "", str(path), message))
    return splits, issues


def _cell(path: Path, row: Row, column: str, text: str) -> str:
    if column == "split":
        part = part_of_split(text)
        hint = did_you_mean(text, _SPELLINGS, otherwise="write train, validation or test")
    else:
        found = _FOLD.fullmatch(text)
        part = str(int(found[1])) if found else None
        hint = "write the number of the fold, such as 0"
    if part is None:
        raise DataError("dataset_invalid", f"{path}, line {row.line}: {column} is {text!r}", hint)
    return part


def given_parts(
    tracks: Sequence[Track], splits: Mapping[str, Mapping[str, str]] | None, fold: int
) -> GivenParts:
    """Return the tracks of each part of the data set's own split.

    Parameters
    ----------
    tracks : sequence of Track
    splits : mapping, optional
        As ``Dataset.official_splits``.
    fold : int
        The fold that is the test part, by its number in the data set; where there are several splits, the
        number of the split.

    Raises
    ------
    DataError
        ``dataset_invalid`` where the data set has no split of its own.
    ConfigError
        ``invalid_argument`` where it has no such fold or split.
    """
    parts = _parts_by_track(splits or {}, fold)
    sides = np.array([parts.get(track.id, "") for track in tracks])
    return GivenParts(*(np.flatnonzero(sides == part) for part in _SPELLINGS))


def _parts_by_track(splits: Mapping[str, Mapping[str, str]], fold: int) -> Mapping[str, str]:
    if "split" in splits:
        if fold:
            raise _no_fold(fold, "the data set has one split, without folds", "leave out split.fold")
        return splits["split"]
    numbered = {int(found[1]): name for name in splits if (found := _NUMBERED_SPLIT.fullmatch(name))}
    folds = {int(number) for number in splits.get("fold", {}).values()}
    if not numbered and not folds:
        raise DataError("dataset_invalid", "the data set has no split of its own", _HINT)
    there = sorted(numbered or folds)
    if fold not in there:
        listed = ", ".join(map(str, there))
        word = "splits" if numbered else "folds"
        raise _no_fold(fold, f"the data set has the {word} {listed}", f"set split.fold={there[0]}")
    if numbered:
        return splits[numbered[fold]]
    return {track: "test" if int(held) == fold else "train" for track, held in splits["fold"].items()}


def _no_fold(fold: int, why: str, hint: str) -> ConfigError:
    return ConfigError("invalid_argument", f"fold is {fold}; {why}", hint)
