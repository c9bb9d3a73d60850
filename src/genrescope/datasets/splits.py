"""Splits of a data set into train, validation and test, by named protocols.

A split consists of units: tracks, or single segments for ``segment-random``. No audio is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np

from genrescope.datasets import gtzan
from genrescope.datasets.official import given_parts
from genrescope.errors import ConfigError, DataError
from genrescope.types import BoolArray, Float64Array, IntArray, Track
from genrescope.utils import did_you_mean

# Passes of the local search in `_assign`; it ends earlier where nothing moves.
_PASSES = 5

SplitParts = tuple[IntArray, IntArray, IntArray]


class Protocol(NamedTuple):
    """A named way of splitting.

    Attributes
    ----------
    name : str
    leaky : bool
        Whether pieces of one recording, or of one artist, may be in both training and test part, so that a
        model can score well by recognizing these.
    description : str
        In words, what may be on both sides.
    citation : str
        The publication that it follows.
    """

    name: str
    leaky: bool
    description: str
    citation: str


PROTOCOLS: Final[dict[str, Protocol]] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "segment-random",
            True,
            "leaky: segments of one recording are in both train and test part",
            "the paper: 6000 segments of 4.5 s, 1200 for test, at random",
        ),
        Protocol(
            "track-random",
            True,
            "leaky: recordings of one artist may be in both train and test part",
            "usual for GTZAN: tracks at random within each genre",
        ),
        Protocol(
            "artist-grouped",
            False,
            "no artist is in both train and test part, as far as artists are known",
            "A. Flexer, A closer look on artist filters for musical genre classification, ISMIR 2007",
        ),
        Protocol(
            "fault-filtered",
            False,
            "GTZAN's published split: no artist in two parts, replicas and distorted tracks removed",
            "C. Kereliuk, B. L. Sturm, J. Larsen, Deep Learning and Music Adversaries, 2015",
        ),
        Protocol(
            "given",
            False,
            "the data set's own split, by its columns or as published",
            "the publication of the data set, or the author of its manifest",
        ),
    )
}

# Those whose test part is one of several folds, which together hold each track once.
FOLDED_PROTOCOLS: Final = ("artist-grouped",)


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of units, ascending, by part; no unit is in two parts.

    Attributes
    ----------
    protocol : str
    seed : int
    unit : {"track", "segment"}
        What an index counts: tracks in their order, or the segments of the first track, the second, ...
    train, validation, test : ndarray of int64
    unit_tracks : ndarray, shape (units,), int64
        The track that each unit is of.
    unit_segments : ndarray, shape (units,), int64
        Which segment of its track each unit is; zeros where units are tracks.
    divides_groups : bool
        Whether a group is in both train and test part, though the protocol does not say so: splits that come
        with a data set may do this.
    """

    protocol: str
    seed: int
    unit: Literal["track", "segment"]
    train: IntArray
    validation: IntArray
    test: IntArray
    unit_tracks: IntArray
    unit_segments: IntArray
    divides_groups: bool = False

    @property
    def leaky(self) -> bool:
        """Whether one recording, or recordings of one artist, may be in both train and test part."""
        return PROTOCOLS[self.protocol].leaky or self.divides_groups

    @property
    def description(self) -> str:
        """What may be on both sides, in words."""
        if self.divides_groups:
            return "leaky: this split of the data set has artists in both train and test part"
        return PROTOCOLS[self.protocol].description


def get_protocol(protocol: str) -> Protocol:
    """Return the description of a protocol.

    Parameters
    ----------
    protocol : str
        Its name.

    Raises
    ------
    ConfigError
        ``invalid_argument`` for a name that is none.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(
            "invalid_argument", f"no protocol is named {protocol!r}", did_you_mean(protocol, PROTOCOLS)
        )
    return PROTOCOLS[protocol]


def split_dataset(
    tracks: Sequence[Track],
    protocol: str,
    *,
    seed: int,
    segments_per_track: int | Sequence[int] | IntArray | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    folds: int = 5,
    fold: int = 0,
    official_splits: Mapping[str, Mapping[str, str]] | None = None,
    labels: BoolArray | None = None,
    classes: Sequence[str] = (),
) -> Split:
    """Divide tracks, or their segments, into train, validation and test. The same seed, the same split.

    Parameters
    ----------
    tracks : sequence of Track
        In an order that does not change from run to run.
    protocol : str
        ``segment-random``: segments at random, genres uneven. ``track-random``: tracks at random within each
        genre. ``artist-grouped``: fold ``fold`` of ``folds`` is the test part; groups are never divided,
        genres as even as groups allow. ``fault-filtered``: GTZAN's published parts, by track name.
        ``given``: what ``official_splits`` says, see `genrescope.datasets.Dataset`; tracks that it does not
        mention are in no part.
    seed : int
        Of all that is drawn, 0 or more.
    segments_per_track : int, or one int per track
        For ``segment-random`` only.
    test_fraction : float
        Share of all units, for ``segment-random`` and ``track-random``.
    validation_fraction : float
        Share of all units, taken from what the test part leaves; 0 for none. ``fault-filtered`` has its own;
        of ``given`` it is drawn, in whole groups, where the data set names no validation part.
    folds, fold : int
        Number of folds, and which of them, from 0 on, is the test part, for ``artist-grouped``; for ``given``
        ``fold`` is the number that the data set has for the fold, or for one of several splits.
    official_splits : mapping, optional
        ``Dataset.official_splits``, for ``given``.
    labels : ndarray, shape (tracks, classes), bool, optional
        Which genres each track is of, where it has any number of them. Genres are then as even as the tracks
        allow, in ``track-random`` too.
    classes : sequence of str
        The names of the columns of ``labels``.

    Returns
    -------
    Split

    Raises
    ------
    ConfigError
        ``invalid_argument`` for an unknown protocol or an option out of range.
    DataError
        ``dataset_empty``; ``dataset_too_small`` for one genre, fewer than two tracks of a genre, fewer
        groups of a genre than folds, or tracks of which the published split knows too few;
        ``dataset_invalid`` for ``given`` where the data set has no split of its own.
    """
    get_protocol(protocol)
    # The folds of `given` are numbered by the data set.
    checked = (2, 0) if protocol == "given" else (folds, fold)
    _check_options(test_fraction, validation_fraction, *checked, seed)
    names, counts = _genres(tracks) if labels is None else _label_counts(labels, classes)
    generator = np.random.default_rng(seed)
    owners = np.arange(len(tracks), dtype=np.int64)
    segments = np.zeros(len(tracks), dtype=np.int64)
    if protocol == "segment-random":
        owners, segments = _segments(len(tracks), segments_per_track)
        parts = _draw_segments(len(owners), test_fraction, validation_fraction, generator)
    elif protocol == "track-random":
        draw = _draw_tracks if labels is None else _assign_tracks
        parts = draw(counts, test_fraction, validation_fraction, generator)
    elif protocol == "artist-grouped":
        groups = np.unique([track.group for track in tracks], return_inverse=True)[1]
        parts = _draw_groups(counts, names, groups, validation_fraction, folds, fold, generator)
    elif protocol == "given":
        parts = given_parts(tracks, official_splits, fold)
        if not len(parts[1]) and validation_fraction:
            parts = _draw_validation(parts, tracks, counts, validation_fraction, generator)
    else:
        parts = _look_up(tracks)
    _check_parts(parts, counts[owners], names)
    train, validation, test = (np.sort(part).astype(np.int64) for part in parts)
    unit: Literal["track", "segment"] = "segment" if protocol == "segment-random" else "track"
    divided = protocol == "given" and _shares_group(tracks, train, test)
    return Split(protocol, seed, unit, train, validation, test, owners, segments, divided)


# Protocols: each returns train, validation, test


def _segments(tracks: int, per_track: int | Sequence[int] | IntArray | None) -> tuple[IntArray, IntArray]:
    """Return the track of every segment, and which of its track's segments it is."""
    if per_track is None:
        raise _bad_use("segment-random needs segments_per_track", "say how many segments each track has")
    counts = np.asarray(per_track, dtype=np.int64)
    if counts.ndim == 0:
        counts = np.full(tracks, counts)
    if counts.shape != (tracks,) or counts.min() < 0:
        message = f"segments_per_track of shape {counts.shape} for {tracks} tracks"
        raise _bad_use(message, "give one number, or one per track, none below 0")
    segments = [np.arange(count, dtype=np.int64) for count in counts]
    return np.repeat(np.arange(tracks, dtype=np.int64), counts), np.concatenate(segments)


def _draw_segments(units: int, test: float, validation: float, generator: np.random.Generator) -> SplitParts:
    order = generator.permutation(units)
    tested, held = round(test * units), round(validation * units)
    return order[tested + held :], order[tested : tested + held], order[:tested]


def _assign_tracks(
    genres: Float64Array, test: float, validation: float, generator: np.random.Generator
) -> SplitParts:
    """Assign tracks that have any number of genres, so that each genre is as even as possible."""
    shares = np.array([1 - test - validation, validation, test])
    # A part of no tracks is left out, as nothing can be assigned in proportion to 0.
    filled = np.flatnonzero(shares)
    parts = filled[_assign(genres, shares[filled], generator)]
    train, validated, tests = (np.flatnonzero(parts == part) for part in range(3))
    return train, validated, tests


def _draw_tracks(
    genres: Float64Array, test: float, validation: float, generator: np.random.Generator
) -> SplitParts:
    """Draw within each genre: at least one track for test, at least one for training."""
    drawn: list[SplitParts] = []
    labels = genres.argmax(axis=1)
    for label in np.unique(labels):
        # At least one track of each genre stays for training, however large the fractions.
        members = generator.permutation(np.flatnonzero(labels == label))
        tested = min(max(1, round(test * len(members))), len(members) - 1)
        held = min(round(validation * len(members)), len(members) - 1 - tested)
        drawn.append((members[tested + held :], members[tested : tested + held], members[:tested]))
    train, validated, tests = (np.concatenate(part) for part in zip(*drawn, strict=True))
    return train, validated, tests


def _draw_groups(
    genres: Float64Array,
    names: list[str],
    groups: IntArray,
    validation: float,
    folds: int,
    fold: int,
    generator: np.random.Generator,
) -> SplitParts:
    counts = np.zeros((groups.max() + 1, genres.shape[1]))
    np.add.at(counts, groups, genres)
    _check_groups(counts, folds, names)
    # Folds are alike but for the order in which they were filled, so they are numbered at random.
    folds_of = generator.permutation(folds)[_assign(counts, np.full(folds, 1 / folds), generator)]
    share = validation * counts.sum() / counts[folds_of != fold].sum()
    # 0: train, 1: validation, 2: test. Validation is drawn from the groups that the test fold leaves.
    parts = np.full(len(counts), 2)
    if share >= 1:
        message = f"a validation_fraction of {validation} leaves nothing to train on"
        raise _too_few(message, "make it smaller, or use more folds")
    shares = np.array([1 - share, share]) if share else np.ones(1)
    parts[folds_of != fold] = _assign(counts[folds_of != fold], shares, generator)
    train, validated, test = (np.flatnonzero(parts[groups] == part) for part in range(3))
    return train, validated, test


def _draw_validation(
    parts: SplitParts,
    tracks: Sequence[Track],
    genres: Float64Array,
    validation: float,
    generator: np.random.Generator,
) -> SplitParts:
    """Draw whole groups of the training part for validation."""
    train, _, test = parts
    groups = np.unique([tracks[unit].group for unit in train.tolist()], return_inverse=True)[1]
    share = validation * (len(train) + len(test)) / max(1, len(train))
    if share >= 1:
        message = f"a validation_fraction of {validation} leaves nothing to train on"
        raise _too_few(message, "make it smaller")
    counts = np.zeros((groups.max(initial=0) + 1, genres.shape[1]))
    np.add.at(counts, groups, genres[train])
    held = _assign(counts, np.array([1 - share, share]), generator)[groups] == 1
    return train[~held], train[held], test


def _shares_group(tracks: Sequence[Track], first: IntArray, second: IntArray) -> bool:
    groups = [{tracks[unit].group for unit in part.tolist()} for part in (first, second)]
    return bool(groups[0] & groups[1])


def _look_up(tracks: Sequence[Track]) -> SplitParts:
    index = gtzan.load_index()
    canonical = [index.canonical_id(track.id) for track in tracks]
    unknown = [track.id for track, name in zip(tracks, canonical, strict=True) if name is None]
    if unknown:
        message = f"fault-filtered is a split of GTZAN; {len(unknown)} tracks are not in it: {unknown[0]!r}"
        raise _too_few(message, "use artist-grouped")
    published = np.array([index.fault_filtered.get(name, "") for name in canonical if name])
    train, validation, test = (np.flatnonzero(published == part) for part in ("train", "validation", "test"))
    genres = {track.label for track in tracks}
    for part in (train, validation, test):
        missing = genres - {tracks[unit].label for unit in part.tolist()}
        if missing:
            message = (
                f"of {len(tracks)} tracks of GTZAN the published split leaves a part without {min(missing)!r}"
            )
            raise _too_few(message, "use artist-grouped, or more of GTZAN")
    return train, validation, test


def _assign(counts: Float64Array, shares: Float64Array, generator: np.random.Generator) -> IntArray:
    """Assign groups to parts of the given shares, as evenly over genres as groups allow.

    Parameters
    ----------
    counts : ndarray, shape (groups, genres)
    shares : ndarray, shape (parts,), sums to 1

    Returns
    -------
    ndarray, shape (groups,), the part of each group
    """
    # The cost is the chi-square distance between the tracks per part and genre and those wanted. Finding the
    # least is a variant of bin packing and NP-hard. Greedy assignment, the largest groups first because late
    # ones must fill what is left (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969), comes near it;
    # then each group moves to where it costs least until none does (local search). The order is random, so
    # that seeds give different splits. Similar to scikit-learn's StratifiedGroupKFold, which has no shares.
    counts = counts[:, counts.any(axis=0)]
    wanted = np.outer(shares, counts.sum(axis=0))
    filled = np.zeros_like(wanted)
    part = np.full(len(counts), -1, dtype=np.int64)
    order = np.argsort(-counts.sum(axis=1) * generator.uniform(0.5, 1, len(counts)), kind="stable")
    for _ in range(_PASSES):
        before = part.copy()
        for group in order:
            if part[group] >= 0:
                filled[part[group]] -= counts[group]
            # (f + c - w)^2 / w - (f - w)^2 / w: what the group would add to the distance in each part.
            costs = ((2 * (filled - wanted) + counts[group]) * counts[group] / wanted).sum(axis=1)
            # Rounded, so that a tie is a tie on every processor.
            part[group] = np.round(costs, 9).argmin()
            filled[part[group]] += counts[group]
        if np.array_equal(part, before):
            break
    return part


# Checks


def _label_counts(labels: BoolArray, classes: Sequence[str]) -> tuple[list[str], Float64Array]:
    """Return the genres, and which of them each track has; refuse what no protocol can split."""
    counts = np.asarray(labels, np.float64)
    if counts.ndim != 2 or counts.shape[1] != len(classes):
        raise _bad_use(f"labels of shape {counts.shape} for {len(classes)} classes", "give a column for each")
    totals = counts.sum(axis=0)
    if len(counts) and totals.min(initial=2) < 2:
        message = f"only {totals.min():.0f} tracks are {classes[int(totals.argmin())]!r}"
        raise _too_few(message, "give every genre at least two tracks, or leave it out")
    return list(classes), counts


def _genres(tracks: Sequence[Track]) -> tuple[list[str], Float64Array]:
    """Return the genres, and 1 for that of each track; refuse what no protocol can split."""
    if not tracks:
        raise DataError("dataset_empty", "there are no tracks to split", "check the contents of the data set")
    named = [track.label for track in tracks]
    found, labels, counts = np.unique(named, return_inverse=True, return_counts=True)
    names: list[str] = found.tolist()
    if len(names) < 2:
        raise _too_few(f"all {len(tracks)} tracks are {names[0]!r}", "give tracks of at least two genres")
    if counts.min() < 2:
        message = f"only one track is {names[counts.argmin()]!r}"
        raise _too_few(message, "give every genre at least two tracks, or leave it out")
    return names, np.eye(len(names))[labels]


def _check_options(test: float, validation: float, folds: int, fold: int, seed: int) -> None:
    if not 0 < test < 1:
        raise _bad_use(f"test_fraction is {test}", "give a number between 0 and 1")
    if not 0 <= validation < 1 - test:
        hint = "give 0 for none, and less than what the test part leaves"
        raise _bad_use(f"validation_fraction is {validation}", hint)
    if folds < 2:
        raise _bad_use(f"folds is {folds}", "give at least 2")
    if not 0 <= fold < folds:
        raise _bad_use(f"fold is {fold}, of {folds}", f"give 0 to {folds - 1}")
    if seed < 0:
        raise _bad_use(f"seed is {seed}", "give 0 or more")


def _check_groups(counts: Float64Array, folds: int, names: list[str]) -> None:
    artists = np.count_nonzero(counts, axis=0)
    fewest = int(artists.min())
    if fewest < folds:
        message = f"{names[artists.argmin()]!r} has tracks of {fewest} artists, fewer than {folds} folds"
        hint = f"use at most {fewest} folds" if fewest > 1 else "add artists, or use track-random"
        raise _too_few(message, hint)


def _check_parts(parts: SplitParts, unit_genres: Float64Array, names: list[str]) -> None:
    """Refuse a training part without some genre, and an empty test part."""
    train, _, test = parts
    missing = [repr(names[label]) for label in np.flatnonzero(~unit_genres[train].any(axis=0))]
    if missing:
        message = f"nothing of {', '.join(missing)} is left to train on"
        raise _too_few(message, "give more tracks, or make the other parts smaller")
    if not len(test):
        raise _too_few("nothing is left for the test part", "give more tracks, or a larger test_fraction")


def _too_few(message: str, hint: str) -> DataError:
    return DataError("dataset_too_small", message, hint)


def _bad_use(message: str, hint: str) -> ConfigError:
    return ConfigError("invalid_argument", message, hint)
