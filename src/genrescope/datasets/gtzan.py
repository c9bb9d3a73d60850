"""GTZAN: its layouts on disk, and what the literature knows of it (artists, replicas, published splits).

The index is ``datasets/data/gtzan.json``, with its sources; ``scripts/build_gtzan_index.py`` rebuilds it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from genrescope.datasets.annotations import parse_cell
from genrescope.datasets.base import (
    Dataset,
    DatasetIssue,
    build_dataset,
    checked_kind,
    keep_present,
    normalize_label,
    replica_issue,
)
from genrescope.datasets.official import read_split_columns
from genrescope.datasets.tables import read_rows, table_from_rows, table_header
from genrescope.errors import DataError
from genrescope.types import TaskKind, Track, TrackKind
from genrescope.utils import package_data

_TABLE = "features_30_sec.csv"
_COLUMNS: Mapping[TrackKind, str] = {"audio": "audio", "spectrogram": "logmel"}
_SIDES = {"r": "train", "v": "validation", "t": "test"}


@dataclass(frozen=True)
class GtzanIndex:
    """GTZAN's index. Tracks are named as in ``blues.00000``.

    Attributes
    ----------
    groups : mapping of track to group
        All 1000 tracks. One group per artist; where the artist is unknown, the published artist group.
        Byte-identical tracks share a group. Stricter than the published groups, which divide 23 artists.
    fault_filtered : mapping of track to {"train", "validation", "test"}
        The fault-filtered split of Kereliuk, Sturm and Larsen (2015): 443, 197, 290; 70 tracks removed.
    folds : mapping of track to {"1", "2", "3"}
        The artist-filtered folds of Foleiss and Tavares, as published; 52 tracks removed.
    replicas : mapping of track to track
        The byte-identical partner of 28 tracks.
    corrupt : frozenset of tracks
        Damaged in the copies that circulate.
    citations : tuple of str
        The publications that these facts are from.
    """

    groups: Mapping[str, str]
    fault_filtered: Mapping[str, str]
    folds: Mapping[str, str]
    replicas: Mapping[str, str]
    corrupt: frozenset[str]
    citations: tuple[str, ...]

    def canonical_id(self, name: str) -> str | None:
        """Return the track that a name stands for.

        Parameters
        ----------
        name : str
            ``blues.00000``, or a numbered segment of it, such as ``blues.00000.3``.

        Returns
        -------
        str or None
            The name of the track; None for names that are not GTZAN's.
        """
        if name in self.groups:
            return name
        track, _, piece = name.rpartition(".")
        return track if piece.isdecimal() and track in self.groups else None


@cache
def load_index() -> GtzanIndex:
    """Read GTZAN's index, once."""
    text = package_data("datasets", "gtzan.json").read_text(encoding="utf-8")
    content = json.loads(text)
    # Per genre: groups as runs, and one character per track for its fold and for its part of the split.
    genres: dict[str, dict[str, str]] = content["genres"]
    names = [f"{genre}.{number:05d}" for genre in genres for number in range(100)]
    groups = [group for genre in genres.values() for group in _expand(genre["groups"])]
    folds = "".join(genre["folds"] for genre in genres.values())
    sides = "".join(genre["sides"] for genre in genres.values())
    return GtzanIndex(
        groups=dict(zip(names, groups, strict=True)),
        fault_filtered={name: _SIDES[side] for name, side in zip(names, sides, strict=True) if side != "-"},
        folds={name: fold for name, fold in zip(names, folds, strict=True) if fold != "-"},
        replicas=_partners(content["replicas"]),
        corrupt=frozenset(content["corrupt"]),
        citations=tuple(content["about"]["citations"]),
    )


def _expand(runs: str) -> list[str]:
    """Read ``4x3 7x1`` as four names: three of group 4, one of group 7."""
    pairs = (run.split("x") for run in runs.split())
    return [f"gtzan-{int(group):03d}" for group, length in pairs for _ in range(int(length))]


def _partners(pairs: list[list[str]]) -> dict[str, str]:
    """Map each track of a pair to the other."""
    return {track: other for first, second in pairs for track, other in ((first, second), (second, first))}


def load_gtzan(folder: Path, kind: TrackKind = "audio") -> Dataset:
    """Read GTZAN from a folder with ``tracks.csv``, ``audio``, ``logmel`` and ``features_30_sec.csv``.

    ``tracks.csv`` says, in columns ``audio`` and ``logmel``, which files there are; a folder may hold some.

    Parameters
    ----------
    folder : Path
    kind : {"audio", "spectrogram", "table"}
        Which of the three to read.

    Returns
    -------
    Dataset
        With artists as groups, and the published splits.

    Raises
    ------
    DataError
        As `load_dataset`.
    """
    kind = checked_kind(kind) or "audio"
    if kind == "table":
        return load_table(folder / _TABLE)
    column = _COLUMNS[kind]
    rows = [row.values for row in read_rows(folder / "tracks.csv", ("track", "genre", column))]
    tracks = [
        Track(row["track"], folder / row[column], row["genre"], row["track"], kind)
        for row in rows
        if row[column]
    ]
    issues = _not_here([row["track"] for row in rows if not row[column]], len(rows), folder / column)
    return build_gtzan(tracks, issues, folder)


def is_indexed_gtzan(folder: Path) -> bool:
    """Return whether ``folder`` has the layout that `load_gtzan` reads."""
    index = folder / "tracks.csv"
    return index.is_file() and {"track", "genre", "audio", "logmel"} <= set(table_header(index))


def _not_here(absent: list[str], total: int, folder: Path) -> list[DatasetIssue]:
    corrupt = load_index().corrupt
    issues = [corrupt_issue(track, folder) for track in absent if track in corrupt]
    if len(absent) > len(issues):
        message = f"{len(absent)} of {total} tracks have no file here"
        issues.append(DatasetIssue("not_here", "", str(folder), message))
    return issues


def corrupt_issue(track: str, path: Path) -> DatasetIssue:
    """Return the issue for the ``track`` at ``path``, left out because all known copies of it are damaged."""
    return DatasetIssue("known_corrupt", track, str(path), "left out: damaged in the copies that circulate")


def build_gtzan(tracks: Iterable[Track], issues: Iterable[DatasetIssue], source: Path) -> Dataset:
    """Build the data set of tracks with GTZAN's names: with artists as groups, and the published splits.

    Parameters
    ----------
    tracks : iterable of Track
        Their ids are GTZAN's names.
    issues : iterable of DatasetIssue
        What was found odd so far.
    source : Path
        For error messages.
    """
    index = load_index()
    kept, faults = keep_present(tracks)
    grouped = [replace(track, group=_gtzan_group(track)) for track in kept]
    paths = {track.id: str(track.path) for track in grouped}
    replicas = [
        replica_issue(track, paths[track], index.replicas[track])
        for track in sorted(paths)
        if index.replicas.get(track) in paths
    ]
    # By the index and not by comparing files, as `unite_replicas` does: rows of a table have no files of
    # their own, and in lossy or resampled copies of GTZAN replicas need no longer be identical.
    canonical = {track: index.canonical_id(track) for track in paths}
    splits = {
        name: {
            track: part[track_id] for track, track_id in canonical.items() if track_id and track_id in part
        }
        for name, part in (("fault-filtered", index.fault_filtered), ("artist-folds", index.folds))
    }
    return build_dataset("gtzan", grouped, [*issues, *faults, *replicas], source, splits)


def _gtzan_group(track: Track) -> str:
    track_id = load_index().canonical_id(track.id)
    return load_index().groups[track_id] if track_id else track.group


def has_gtzan_names(tracks: Iterable[Track], name: Callable[[Track], str]) -> bool:
    """Return whether all tracks are GTZAN's.

    Parameters
    ----------
    tracks : iterable of Track
    name : callable
        Returns the name of a track, which must be one of GTZAN's and agree with the track's label.
    """
    index = load_index()
    canonical = [(index.canonical_id(name(track)), track.label) for track in tracks]
    return all(track_id is not None and track_id.startswith(f"{label}.") for track_id, label in canonical)


def load_table(path: Path, task: TaskKind = "single-label") -> Dataset:
    """Read a table of features with the columns ``filename`` and ``label``, as GTZAN's is distributed.

    Columns ``group``, ``split`` and ``fold`` are those of a manifest.

    Parameters
    ----------
    path : Path
        A CSV file; tracks with GTZAN's names get its artists as groups.
    task : {"single-label", "multi-label"}
        What the labels are read for.

    Raises
    ------
    DataError
        As `load_dataset`.
    """
    rows = read_rows(path, required=("filename",))
    table = table_from_rows(path, rows)
    if "" in table.labels:
        raise DataError("dataset_invalid", f"{path}: rows without a label", "fill in the column label")
    annotations = {
        name: parse_cell(
            normalize_label(label),
            task,
            f"{path}, line {row.line}",
            normalize_label(row.values.get("not_judged", "")),
        )
        for name, label, row in zip(table.tracks, table.labels, rows, strict=True)
    }
    tracks = [
        Track(name, path, annotations[name].label, row.values.get("group") or name, "table")
        for name, row in zip(table.tracks, rows, strict=True)
    ]
    plain = all(annotation.is_plain for annotation in annotations.values())
    if plain and has_gtzan_names(tracks, lambda track: track.id):
        return build_gtzan(tracks, [], path)
    splits, issues = read_split_columns(path, rows, table.tracks)
    return build_dataset(path.stem, tracks, issues, path, splits, annotations=annotations)
