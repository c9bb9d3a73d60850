"""Findings about a split: artists, albums and recordings on both sides, and too few groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from genrescope.audit.findings import Finding, finding_of
from genrescope.audit.groups import artist_name, normalized
from genrescope.audit.records import AuditTrack, TrackPair
from genrescope.datasets import PROTOCOLS, Dataset, Split, split_dataset
from genrescope.errors import DataError

# Members beyond these are not listed in a finding.
_LISTED = 200


@dataclass(frozen=True)
class ProtocolOptions:
    """The split that is examined.

    Attributes
    ----------
    protocol : str
        Its name; empty: ``given`` where the data set comes with a split, else ``artist-grouped``.
    seed, folds, fold : int
        As of `genrescope.datasets.split_dataset`.
    """

    protocol: str = ""
    seed: int = 0
    folds: int = 5
    fold: int = 0

    def name(self, dataset: Dataset) -> str:
        """Return the protocol for a data set.

        Parameters
        ----------
        dataset : Dataset
        """
        given = any(name.startswith(("split", "fold")) for name in dataset.official_splits)
        return self.protocol or ("given" if given else "artist-grouped")


def split_findings(
    dataset: Dataset,
    tracks: Sequence[AuditTrack],
    pairs: Iterable[TrackPair],
    options: ProtocolOptions,
) -> Iterator[Finding]:
    """Yield what makes the results of a protocol look better than they are, or prevents it.

    Parameters
    ----------
    dataset : Dataset
    tracks : sequence of AuditTrack
        Those of the data set, with what workers found out; others are left out.
    pairs : iterable of TrackPair
        Copies that were found.
    options : ProtocolOptions

    Raises
    ------
    ConfigError
        ``invalid_argument``: no such protocol, or a fold that does not exist.
    """
    protocol = options.name(dataset)
    if protocol == "artist-grouped":
        yield from _unknown_groups(dataset)
    if protocol == "segment-random":
        yield finding_of("recording_leak", 0.9, "segment-random: " + PROTOCOLS[protocol].description)
        return
    try:
        split = split_dataset(
            dataset.tracks,
            protocol,
            seed=options.seed,
            folds=options.folds,
            fold=options.fold,
            official_splits=dataset.official_splits,
        )
    except DataError as failure:
        message = f"{protocol}: {failure.message}; {failure.hint}"
        yield finding_of("too_few_groups", 0.8, message, protocol=protocol, code=failure.code)
        return
    sides = _sides(dataset, split)
    known = [track for track in tracks if track.id in sides]
    yield from _pair_leaks(known, pairs, sides, protocol)
    yield from _artist_leaks(known, sides, protocol)
    yield from _album_leaks(known, sides, protocol)


def _sides(dataset: Dataset, split: Split) -> dict[str, str]:
    """Return the part of each track: validation counts as training, since models are chosen by it."""
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return {
        dataset.tracks[place].id: "test" if name == "test" else "train"
        for name, places in parts.items()
        for place in places.tolist()
    }


def _unknown_groups(dataset: Dataset) -> Iterator[Finding]:
    alone = Counter(track.group for track in dataset.tracks)
    share = sum(alone[track.group] == 1 for track in dataset.tracks) / len(dataset.tracks)
    if share < 0.9:
        return
    yield finding_of(
        "groups_unknown",
        0.6,
        f"{share:.0%} of the tracks are a group of their own: artist-grouped is then the same as"
        " track-random; 'audit --groups' proposes groups",
        alone_share=share,
        groups=len(alone),
    )


def _artist_leaks(tracks: Sequence[AuditTrack], sides: Mapping[str, str], protocol: str) -> Iterator[Finding]:
    shared: defaultdict[str, list[AuditTrack]] = defaultdict(list)
    names: dict[str, str] = {}
    for track in tracks:
        key, name = (
            (f"tag {artist_name(track.facts)}", f"artist {track.facts.artist!r}")
            if artist_name(track.facts)
            else (f"group {track.group}", f"group {track.group!r}")
        )
        names.setdefault(key, name)
        shared[key].append(track)
    yield from _on_both_sides("artist_leak", shared, names, sides, protocol, 0.7)


def _album_leaks(tracks: Sequence[AuditTrack], sides: Mapping[str, str], protocol: str) -> Iterator[Finding]:
    shared: defaultdict[str, list[AuditTrack]] = defaultdict(list)
    names: dict[str, str] = {}
    for track in tracks:
        facts = track.facts
        if facts.album:
            # Albums of many artists are called alike, such as "Greatest Hits".
            key = f"{normalized(facts.album_artist or facts.artist)} {normalized(facts.album)}"
            names.setdefault(key, f"album {facts.album!r}")
            shared[key].append(track)
    yield from _on_both_sides("album_leak", shared, names, sides, protocol, 0.8)


def _on_both_sides(
    kind: str,
    shared: Mapping[str, list[AuditTrack]],
    names: Mapping[str, str],
    sides: Mapping[str, str],
    protocol: str,
    score: float,
) -> Iterator[Finding]:
    for key, members in shared.items():
        count = Counter(sides[member.id] for member in members)
        if len(count) < 2:
            continue
        found = finding_of(
            kind,
            score,
            f"{protocol}: {names[key]} has {count['train']} tracks in the training and {count['test']} in the"
            " test part",
            protocol=protocol,
            train_tracks=count["train"],
            test_tracks=count["test"],
        )
        yield _concerning(found, members)


def _pair_leaks(
    tracks: Sequence[AuditTrack], pairs: Iterable[TrackPair], sides: Mapping[str, str], protocol: str
) -> Iterator[Finding]:
    by_id = {track.id: track for track in tracks}
    for pair in pairs:
        if pair.first not in by_id or pair.second not in by_id or sides[pair.first] == sides[pair.second]:
            continue
        if pair.kind == "other_version":
            continue
        trained, tested = sorted((pair.first, pair.second), key=lambda track: sides[track] == "test")
        found = finding_of(
            "recording_leak",
            0.9 * pair.score,
            f"{protocol}: {trained} (training part) is a copy of {tested} (test part): {pair.kind}",
            protocol=protocol,
            copy_kind=pair.kind,
        )
        yield _concerning(found, [by_id[trained], by_id[tested]])


def _concerning(finding: Finding, members: Sequence[AuditTrack]) -> Finding:
    listed = members[:_LISTED]
    return replace(
        finding,
        tracks=tuple(member.id for member in listed),
        paths=tuple(str(member.path) for member in listed),
    )
