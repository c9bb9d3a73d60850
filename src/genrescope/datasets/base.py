"""Data sets: labeled tracks, what was odd about them, and what all readers do with the tracks they find.

Whatever lies on disk, the result is alike: tracks that exist, in order of their ids, each with a label and a
group, and an issue for everything that was left out or is odd. Nothing is decoded here.
"""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast, get_args

from genrescope.datasets.annotations import ALL_OTHERS, Annotation, label_classes, parse_cell
from genrescope.errors import ConfigError, DataError
from genrescope.labels import label_key
from genrescope.types import TaskKind, Track, TrackKind
from genrescope.utils import did_you_mean, sha256_bytes, sha256_file, sha256_text

LAYOUTS = (
    "give a folder with one sub-folder per genre, a GTZAN, FMA, MTG-Jamendo, ISMIR04 or Ballroom folder, "
    "or a CSV with the columns path and label"
)
# How much of a file is compared before all of it is: most files of one size differ in here.
_HEAD_BYTES = 1 << 16
# More absent files than these are counted, not listed.
_LISTED_ABSENT = 20


@dataclass(frozen=True)
class DatasetIssue:
    """Something odd in a data set.

    Attributes
    ----------
    code : str
        ``file_missing``, ``file_empty``, ``file_unreadable``, ``genre_empty``, ``known_corrupt``,
        ``not_here``, ``replica``, ``label_spelling`` (two labels that are one word, spelled differently),
        ``genres_none`` and ``genres_several`` (tracks without exactly one genre), ``genre_rare`` (a genre
        that the published split cannot train and test), ``not_judged_unknown`` (a genre that no track has),
        ``split_missing`` (tracks in no part), ``split_unused`` or ``artists_anonymous``.
    track : str
        Id of the track; empty where no single track is meant.
    path : str
        The file or folder.
    message : str
        What is odd, and what became of it.
    """

    code: str
    track: str
    path: str
    message: str


@dataclass(frozen=True)
class Dataset:
    """A data set that was read.

    Attributes
    ----------
    name : str
    tracks : tuple of Track
        In order of their ids.
    classes : tuple of str
        The names of the genres, sorted.
    issues : tuple of DatasetIssue
        What was left out, or is odd.
    official_splits : mapping of str to mapping of str to str
        What is published of these tracks, or stands in their manifest, by name and then by track:
        ``split`` (train, validation, test), ``split-0``, ``split-1``, ... where there are several, ``fold``
        (a number); for GTZAN ``fault-filtered`` (train, validation, test) and ``artist-folds`` (1, 2, 3).
    all_labels : mapping of str to tuple of str
        All genres of a track, by id, where the data set has more than the one that is its label.
    task : {"single-label", "multi-label"}
        What the labels were read for.
    annotations : mapping of str to Annotation
        The genres of a track, by id: of a single-label task where they are shares of several, of a
        multi-label task where they are not just its label.
    not_trained : frozenset of str
        Ids of tracks that are left out of the training and the validation part, and stay in the test part.
    """

    name: str
    tracks: tuple[Track, ...]
    classes: tuple[str, ...]
    issues: tuple[DatasetIssue, ...] = ()
    official_splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    all_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    task: TaskKind = "single-label"
    annotations: Mapping[str, Annotation] = field(default_factory=dict)
    not_trained: frozenset[str] = frozenset()

    def without_training_on(self, tracks: Collection[str]) -> Dataset:
        """Return the data set with tracks that are not to be trained on, such as faulty ones.

        The test part stays as it is, so that results with and without them can be compared.

        Parameters
        ----------
        tracks : collection of str
            Their ids; those that the data set does not have are ignored.

        Raises
        ------
        DataError
            ``dataset_too_small``: a genre would be left without a track.
        """
        known = {track.id for track in self.tracks}
        left_out = self.not_trained | (known & set(tracks))
        labels = {track.label for track in self.tracks}
        gone = sorted(labels - {track.label for track in self.tracks if track.id not in left_out})
        if gone:
            raise DataError(
                "dataset_too_small",
                f"no track of {', '.join(gone)} would be left to train on",
                "leave out fewer tracks, such as by a higher score",
            )
        return replace(self, not_trained=left_out)


def checked_task(task: str) -> TaskKind:
    """Return a task as typed by a user.

    Parameters
    ----------
    task : str

    Raises
    ------
    ConfigError
        ``invalid_argument``: no such task.
    """
    tasks = get_args(TaskKind)
    if task not in tasks:
        raise ConfigError("invalid_argument", f"unknown task {task!r}", did_you_mean(task, tasks))
    return cast(TaskKind, task)


def checked_kind(kind: str | None) -> TrackKind | None:
    """Return a kind of data as typed by a user.

    Parameters
    ----------
    kind : str or None

    Returns
    -------
    {"audio", "spectrogram", "table"} or None
        None for ``auto``.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no such kind.
    """
    kinds = get_args(TrackKind)
    if kind in (None, "auto"):
        return None
    if kind not in kinds:
        raise ConfigError(
            "invalid_argument", f"unknown kind of data {kind!r}", did_you_mean(str(kind), kinds)
        )
    return cast(TrackKind, kind)


def normalize_label(text: str) -> str:
    """Return the name of a genre in one spelling (Unicode's form NFC).

    Parameters
    ----------
    text : str
        As typed by hand, or as a file system of macOS returns it, with letters and accents apart.
    """
    return unicodedata.normalize("NFC", text)


def keep_present(tracks: Iterable[Track]) -> tuple[list[Track], list[DatasetIssue]]:
    """Keep the tracks whose files are there and hold something.

    Parameters
    ----------
    tracks : iterable of Track

    Returns
    -------
    kept : list of Track
    issues : list of DatasetIssue
        One for each track left out.
    """
    kept, issues = [], []
    for track in tracks:
        fault = _fault(track.path)
        if fault is None:
            kept.append(track)
        else:
            issues.append(DatasetIssue(fault[0], track.id, str(track.path), f"left out: {fault[1]}"))
    return kept, issues


def summarize_missing(issues: list[DatasetIssue], total: int, folder: Path) -> list[DatasetIssue]:
    """Replace many issues about absent files by one: of a large data set often a part is on disk.

    Parameters
    ----------
    issues : list of DatasetIssue
        As `keep_present` gives them.
    total : int
        The number of tracks that were looked for.
    folder : Path
        Where.
    """
    absent = sum(issue.code == "file_missing" for issue in issues)
    if absent <= _LISTED_ABSENT:
        return issues
    message = f"{absent} of {total} tracks have no file here"
    rest = [issue for issue in issues if issue.code != "file_missing"]
    return [*rest, DatasetIssue("not_here", "", str(folder), message)]


def keep_trainable(
    tracks: list[Track], splits: Mapping[str, Mapping[str, str]], source: Path
) -> tuple[list[Track], list[DatasetIssue]]:
    """Leave out genres of which a published split trains or tests no track.

    Parameters
    ----------
    tracks : list of Track
    splits : mapping of str to mapping of str to str
        Parts by split and track.
    source : Path
        For the issues.

    Returns
    -------
    tracks : list of Track
        All of them where fewer than two genres would be left, as where only the test part is on disk.
    issues : list of DatasetIssue
        One, which names the genres, if there are any.
    """
    labels = {track.id: track.label for track in tracks}
    whole = set(labels.values())
    for parts in splits.values():
        for wanted in ("train", "test"):
            whole &= {labels[track] for track, part in parts.items() if part == wanted and track in labels}
    rare = sorted(set(labels.values()) - whole)
    if not rare or len(whole) < 2:
        return tracks, []
    kept = [track for track in tracks if track.label in whole]
    message = (
        f"left out: {len(tracks) - len(kept)} tracks of {', '.join(rare)}, which a part of a split lacks"
    )
    return kept, [DatasetIssue("genre_rare", "", str(source), message)]


def keep_trainable_labels(
    tracks: list[Track],
    annotations: Mapping[str, Annotation],
    splits: Mapping[str, Mapping[str, str]],
    source: Path,
) -> tuple[list[Track], dict[str, Annotation], list[DatasetIssue]]:
    """Leave out genres of tracks with several of which a published split trains or tests no track.

    Parameters
    ----------
    tracks : list of Track
    annotations : mapping of str to Annotation
        Of each track.
    splits : mapping of str to mapping of str to str
        Parts by split and track.
    source : Path
        For the issues.

    Returns
    -------
    tracks : list of Track
        Without those that are of no genre that is kept; all of them where fewer than two genres would be
        left.
    annotations : dict of str to Annotation
        Of these, with the genres that are kept.
    issues : list of DatasetIssue
        One, which names the genres, if there are any.
    """
    given = {track.id: annotations[track.id] for track in tracks}
    named = {track: set(annotation.genres) for track, annotation in given.items()}
    every = set().union(*named.values())
    whole = set(every)
    for parts in splits.values():
        for wanted in ("train", "test"):
            inside = (named[track] for track, part in parts.items() if part == wanted and track in named)
            whole &= set().union(*inside)
    rare = sorted(every - whole)
    if not rare or len(whole) < 2:
        return tracks, given, []
    kept: dict[str, Annotation] = {}
    for track, annotation in given.items():
        genres = {name: share for name, share in annotation.genres.items() if name in whole}
        if genres:
            kept[track] = replace(annotation, genres=genres)
    left = [replace(track, label=kept[track.id].label) for track in tracks if track.id in kept]
    message = (
        f"left out: the genres {', '.join(rare)}, which a part of a split lacks, and"
        f" {len(tracks) - len(left)} tracks that are of no other"
    )
    return left, kept, [DatasetIssue("genre_rare", "", str(source), message)]


def _fault(path: Path) -> tuple[str, str] | None:
    if not path.is_file():
        return "file_missing", "no such file"
    if not path.stat().st_size:
        return "file_empty", "the file is empty"
    return None if os.access(path, os.R_OK) else ("file_unreadable", "no permission to read it")


def unite_replicas(tracks: list[Track]) -> tuple[list[Track], list[DatasetIssue]]:
    """Give byte-identical files, and all that share a group with them, one group.

    Parameters
    ----------
    tracks : list of Track
        Their files are read.

    Returns
    -------
    tracks : list of Track
        In the same order, perhaps with other groups.
    issues : list of DatasetIssue
        One for each copy; nothing is left out.

    Raises
    ------
    OSError
        A file that cannot be read.
    """
    sets = find_duplicates([track.path for track in tracks])
    issues = [
        replica_issue(tracks[member].id, str(tracks[member].path), tracks[members[0]].id)
        for members in sets
        for member in members[1:]
    ]
    return unite_groups(tracks, sets), issues


def unite_groups(tracks: list[Track], sets: Iterable[Sequence[int]]) -> list[Track]:
    """Give tracks that belong together, and all that share a group with them, one group.

    Parameters
    ----------
    tracks : list of Track
    sets : iterable of sequence of int
        Places in ``tracks`` of tracks that must not be separated.

    Returns
    -------
    list of Track
        In the same order, perhaps with other groups.
    """
    # Two copies in different groups could be drawn into training and test part. The groups are therefore
    # united whole (a union-find structure without ranks: there are few copies).
    joined: dict[str, str] = {}

    def group(track: Track) -> str:
        name = track.group
        while name in joined:
            name = joined[name]
        return name

    for members in sets:
        first, *others = sorted({group(tracks[member]) for member in members})
        joined.update(dict.fromkeys(others, first))
    return [replace(track, group=group(track)) for track in tracks]


def replica_issue(track: str, path: str, other: str) -> DatasetIssue:
    """Return the issue for the ``track`` at ``path``, whose file is byte-identical to that of ``other``."""
    return DatasetIssue("replica", track, path, f"byte-identical to {other}; kept in its group")


def build_dataset(
    name: str,
    tracks: list[Track],
    issues: list[DatasetIssue],
    source: Path,
    official_splits: Mapping[str, Mapping[str, str]] | None = None,
    all_labels: Mapping[str, tuple[str, ...]] | None = None,
    annotations: Mapping[str, Annotation] | None = None,
) -> Dataset:
    """Put a data set together.

    Parameters
    ----------
    name : str
    tracks : list of Track
        In any order.
    issues : list of DatasetIssue
    source : Path
        For error messages.
    official_splits, all_labels, annotations : mapping, optional
        As of `Dataset`; entries of other tracks are left out, and annotations of exactly one genre.

    Raises
    ------
    DataError
        ``dataset_empty``; ``dataset_too_small`` for a single genre; ``dataset_invalid`` for two tracks of one
        id.
    """
    known = {track.id: (annotations or {}).get(track.id) for track in tracks}
    several = {track: one for track, one in known.items() if one is not None and not one.is_plain}
    classes = label_classes(tracks, several)
    if not tracks:
        reason = f"; first of {len(issues)} issues: {issues[0].message}" if issues else ""
        raise DataError("dataset_empty", f"{source}: no tracks there{reason}", LAYOUTS)
    if len(classes) < 2:
        message = f"{source}: all {len(tracks)} tracks are {classes[0]!r}; a classifier needs two genres"
        raise DataError("dataset_too_small", message, LAYOUTS)
    ids = {track.id for track in tracks}
    splits = {
        split: {track: part for track, part in parts.items() if track in ids}
        for split, parts in (official_splits or {}).items()
    }
    found = (*issues, *_spelling_issues(classes, source), *_unknown_issues(several, classes, source))
    labels = {track: genres for track, genres in (all_labels or {}).items() if track in ids}
    ordered = _in_order(tracks, source)
    return Dataset(name, ordered, classes, found, splits, labels, annotations=several)


def _unknown_issues(
    annotations: Mapping[str, Annotation], classes: Sequence[str], source: Path
) -> Iterator[DatasetIssue]:
    """Yield an issue for genres that were not judged, and that no track has: perhaps a misspelled name."""
    listed = {name for annotation in annotations.values() for name in annotation.not_judged}
    unknown = sorted(listed - set(classes) - {ALL_OTHERS})
    if unknown:
        message = f"no track is of {', '.join(unknown)}, which the column not_judged lists"
        yield DatasetIssue("not_judged_unknown", "", str(source), message)


def dataset_from_tracks(tracks: Iterable[Track], source: Path, task: TaskKind = "single-label") -> Dataset:
    """Make a data set of tracks that were found by other means than the readers of this package.

    Parameters
    ----------
    tracks : iterable of Track
        In any order; those whose files are absent are left out, byte-identical ones share a group. A label
        is read as a cell of the column ``label`` of a CSV, see `genrescope.datasets.annotations`.
    source : Path
        Folder or file that they come from: its name is that of the data set.
    task : {"single-label", "multi-label"}
        Whether a track has exactly one genre, or any number of them.

    Raises
    ------
    DataError
        As of `build_dataset`; ``dataset_invalid`` also for what is no `Track`.
    """
    listed = list(tracks)
    for place, track in enumerate(listed):
        valid = (
            isinstance(track, Track) and isinstance(track.path, Path) and track.kind in get_args(TrackKind)
        )
        if not valid or not all(isinstance(one, str) and one for one in (track.id, track.label, track.group)):
            message = f"{source}: item {place} is no Track with id, path, label and group: {track!r}"
            raise DataError("dataset_invalid", message, "return genrescope.types.Track objects")
    genres = {
        one.id: parse_cell(normalize_label(one.label), task, f"{source}: track {one.id!r}") for one in listed
    }
    kept, faults = keep_present([replace(one, label=genres[one.id].label) for one in listed])
    united, replicas = unite_replicas(kept)
    found = build_dataset(source.resolve().stem, united, [*faults, *replicas], source, annotations=genres)
    return replace(found, task=task)


def _spelling_issues(classes: Sequence[str], source: Path) -> Iterator[DatasetIssue]:
    """Yield an issue for every two or more labels that differ in case, spaces and punctuation only."""
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for name in classes:
        spellings[label_key(name)].append(name)
    for names in spellings.values():
        if len(names) > 1:
            message = f"{' and '.join(map(repr, names))} are kept as {len(names)} genres; is it one?"
            yield DatasetIssue("label_spelling", "", str(source), message)


def _in_order(tracks: list[Track], source: Path) -> tuple[Track, ...]:
    ordered = tuple(sorted(tracks, key=lambda track: track.id))
    for first, second in itertools.pairwise(ordered):
        if first.id == second.id:
            message = f"{source}: two tracks are named {first.id!r}: {first.path} and {second.path}"
            raise DataError("dataset_invalid", message, "keep one of them, or name them in a CSV with ids")
    return ordered


def find_duplicates(paths: Sequence[Path]) -> list[list[int]]:
    """Return sets of indices of byte-identical files; a file unlike all others is in none.

    Only files of one size are opened, and only those with the same first 64 KiB are read whole.

    Parameters
    ----------
    paths : sequence of Path

    Returns
    -------
    list of list of int
        Places in ``paths``.

    Raises
    ------
    OSError
        A file that cannot be read.
    """
    # From the cheapest test to the dearest, each within what the one before could not tell apart.
    sets = [list(range(len(paths)))]
    for key in (_size, _head_digest, sha256_file):
        sets = [alike for members in sets for alike in _alike(members, paths, key)]
    return sets


def _alike(members: Iterable[int], paths: Sequence[Path], key: Callable[[Path], Hashable]) -> list[list[int]]:
    sets: defaultdict[Hashable, list[int]] = defaultdict(list)
    for member in members:
        sets[key(paths[member])].append(member)
    return [alike for alike in sets.values() if len(alike) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _head_digest(path: Path) -> str:
    with path.open("rb") as file:
        return sha256_bytes(file.read(_HEAD_BYTES))


def dataset_fingerprint(dataset: Dataset) -> str:
    """Return a SHA-256 of the tracks of a data set, with their labels and groups.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    # Not the paths, nor the content of the files: a data set that was moved or copied is the same one.
    lines = sorted(f"{track.id}\t{track.label}\t{track.group}" for track in dataset.tracks)
    # The split of a manifest is part of the data, as it can be edited; published ones go with the name.
    lines += [
        f"{name}\t{track}\t{part}"
        for name in ("split", "fold")
        for track, part in sorted(dataset.official_splits.get(name, {}).items())
    ]
    if dataset.task != "single-label":
        lines.append(dataset.task)
    lines += [f"{track}\tnot trained" for track in sorted(dataset.not_trained)]
    lines += [
        f"{track}\t{sorted(one.genres.items())}\t{sorted(one.not_judged)}"
        for track, one in sorted(dataset.annotations.items())
    ]
    return sha256_text("\n".join(lines))
