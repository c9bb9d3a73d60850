"""Splits: disjoint, reproducible, and without shared artists where they promise it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from genrescope import datasets
from genrescope.datasets import gtzan
from genrescope.datasets.splits import PROTOCOLS, Split, get_protocol, split_dataset
from genrescope.errors import ConfigError, DataError
from genrescope.types import Track

PARTS = ("train", "validation", "test")


def track(number: int, label: object, group: object | None = None) -> Track:
    name = f"{label}/{number}"
    return Track(name, Path(name), str(label), name if group is None else str(group))


def many(genres: int = 4, each: int = 50, artists: int = 10) -> list[Track]:
    """Return tracks whose artists have one to many recordings, each in one genre."""
    sizes = np.random.default_rng(0).integers(0, artists, (genres, each))
    return [track(n, g, f"{g}-{sizes[g, n]}") for g in range(genres) for n in range(each)]


def assert_sound(found: Split, units: int) -> None:
    whole = np.concatenate([found.train, found.validation, found.test])
    np.testing.assert_array_equal(np.sort(whole), np.arange(units))
    assert len(found.unit_tracks) == len(found.unit_segments) == units
    assert all(np.all(np.diff(getattr(found, part)) > 0) for part in PARTS)


def same(first: Split, second: Split) -> bool:
    return all(np.array_equal(getattr(first, part), getattr(second, part)) for part in PARTS)


def sides_of_groups(found: Split, tracks: list[Track]) -> dict[str, set[str]]:
    sides: dict[str, set[str]] = {}
    for part in PARTS:
        for unit in getattr(found, part):
            sides.setdefault(tracks[found.unit_tracks[unit]].group, set()).add(part)
    return sides


structures = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 25)), min_size=24, max_size=60)


@settings(max_examples=150, deadline=None)
@given(
    structures, st.integers(2, 4), st.integers(0, 3), st.sampled_from([0.0, 0.1, 0.25]), st.integers(0, 99)
)
def test_no_group_is_divided(
    drawn: list[tuple[str, int]], folds: int, fold: int, validation: float, seed: int
) -> None:
    tracks = [track(n, label, group) for n, (label, group) in enumerate(drawn)]
    options = {"seed": seed, "folds": folds, "fold": fold % folds, "validation_fraction": validation}
    try:
        found = split_dataset(tracks, "artist-grouped", **options)
    except DataError:
        reject()
    assert_sound(found, len(tracks))
    assert all(len(sides) == 1 for sides in sides_of_groups(found, tracks).values())
    assert {tracks[unit].label for unit in found.train} == {label for label, _ in drawn}
    assert same(found, split_dataset(tracks, "artist-grouped", **options))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(4, 60), min_size=2, max_size=4), st.integers(2, 4), st.integers(0, 99))
def test_single_tracks_are_spread_evenly(sizes: list[int], folds: int, seed: int) -> None:
    tracks = [track(n, label) for label, size in enumerate(sizes) for n in range(size)]
    tested: Counter[int] = Counter()
    for fold in range(folds):
        found = split_dataset(
            tracks, "artist-grouped", seed=seed, folds=folds, fold=fold, validation_fraction=0
        )
        tested.update(found.test.tolist())
        counts = Counter(tracks[unit].label for unit in found.test)
        for label, size in enumerate(sizes):
            assert abs(counts[str(label)] - size / folds) < 1
    assert tested == Counter(range(len(tracks)))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=4, max_size=12), min_size=2, max_size=4),
    st.integers(2, 4),
    st.integers(0, 99),
)
def test_genres_are_as_even_as_groups_allow(genres: list[list[int]], folds: int, seed: int) -> None:
    """Groups of one genre each: a fold deviates by less than the largest group, and has every genre."""
    tracks = [
        track(n, label, f"{label}-{group}")
        for label, sizes in enumerate(genres)
        for group, size in enumerate(sizes)
        for n in range(100 * group, 100 * group + size)
    ]
    for fold in range(folds):
        found = split_dataset(tracks, "artist-grouped", seed=seed, folds=folds, fold=fold)
        counts = Counter(tracks[unit].label for unit in found.test)
        for label, sizes in enumerate(genres):
            assert counts[str(label)] >= 1
            assert abs(counts[str(label)] - sum(sizes) / folds) < max(sizes)


@pytest.mark.parametrize("protocol", ["segment-random", "track-random", "artist-grouped"])
def test_a_seed_reproduces_a_split_and_another_differs(protocol: str) -> None:
    tracks = many()
    options = {"segments_per_track": 3}
    first = split_dataset(tracks, protocol, seed=1, **options)
    assert_sound(first, len(tracks) * (3 if protocol == "segment-random" else 1))
    assert same(first, split_dataset(tracks, protocol, seed=1, **options))
    assert not same(first, split_dataset(tracks, protocol, seed=2, **options))
    assert not np.array_equal(first.test, split_dataset(tracks, protocol, seed=2, **options).test)


def test_the_draw_itself_does_not_change_between_versions() -> None:
    """A recorded seed must name the same split in years to come."""
    tracks = [track(n, n % 2) for n in range(10)]
    assert split_dataset(tracks, "track-random", seed=7, test_fraction=0.4).test.tolist() == [0, 1, 3, 4]
    found = split_dataset(tracks, "segment-random", seed=7, segments_per_track=2)
    assert found.test.tolist() == [3, 8, 12, 13]
    found = split_dataset(many(2, 8, 4), "artist-grouped", seed=7, folds=2)
    assert found.test.tolist() == [0, 5, 6, 7, 8, 9, 11, 14]


def test_segments_as_in_the_paper() -> None:
    tracks = [track(n, n // 100) for n in range(1000)]
    found = split_dataset(tracks, "segment-random", seed=0, segments_per_track=6, test_fraction=0.2)
    assert (found.unit, len(found.test), len(found.unit_tracks)) == ("segment", 1200, 6000)
    assert (len(found.train), len(found.validation)) == (4200, 600)
    # Drawn over segments, genres are uneven, and nearly every test segment has its track in training too.
    support = np.bincount(found.unit_tracks[found.test] // 100)
    assert support.min() < 115 < 125 < support.max()
    shared = np.isin(found.unit_tracks[found.test], found.unit_tracks[found.train])
    assert shared.mean() > 0.99


def test_segments_are_numbered_within_their_tracks() -> None:
    tracks = [track(n, n % 2) for n in range(4)]
    found = split_dataset(
        tracks, "segment-random", seed=0, segments_per_track=[2, 0, 1, 3], test_fraction=0.3
    )
    assert_sound(found, 6)
    assert found.unit_tracks.tolist() == [0, 0, 2, 3, 3, 3]
    assert found.unit_segments.tolist() == [0, 1, 0, 0, 1, 2]


def test_tracks_are_drawn_within_genres() -> None:
    tracks = [track(n, n // 100) for n in range(1000)]
    found = split_dataset(tracks, "track-random", seed=0, test_fraction=0.33, validation_fraction=0)
    assert np.bincount(found.test // 100).tolist() == [33] * 10
    assert len(found.validation) == 0
    assert found.unit == "track"


def test_small_genres_are_in_train_and_test() -> None:
    tracks = [track(n, "big") for n in range(30)] + [track(n, "small") for n in range(2)]
    found = split_dataset(tracks, "track-random", seed=3, test_fraction=0.1, validation_fraction=0.3)
    assert all(
        {tracks[unit].label for unit in part} == {"big", "small"} for part in (found.train, found.test)
    )


GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


def gtzan_tracks() -> list[Track]:
    groups = gtzan.load_index().groups
    return [Track(name, Path(name), name.split(".")[0], group) for name, group in groups.items()]


@pytest.mark.parametrize(
    ("protocol", "folds"), [("artist-grouped", 3), ("artist-grouped", 5), ("fault-filtered", 5)]
)
def test_gtzan_artists_and_replicas_stay_together(protocol: str, folds: int) -> None:
    tracks = gtzan_tracks()
    found = split_dataset(tracks, protocol, seed=0, folds=folds)
    assert all(len(sides) == 1 for sides in sides_of_groups(found, tracks).values())
    side = {tracks[unit].id: part for part in PARTS for unit in getattr(found, part)}
    for name, other in gtzan.load_index().replicas.items():
        assert side.get(name, side.get(other)) == side.get(other, side.get(name))


def test_gtzan_folds_are_even_over_genres() -> None:
    """Genres in which no artist fills a fold: 20 tracks each, give or take a few."""
    tracks = gtzan_tracks()
    largest = {genre: max(Counter(t.group for t in tracks if t.label == genre).values()) for genre in GENRES}
    assert largest["reggae"] == 35
    for fold in range(5):
        found = split_dataset(tracks, "artist-grouped", seed=0, fold=fold)
        counts = Counter(tracks[unit].label for unit in found.test)
        assert len(counts) == 10
        assert all(abs(counts[genre] - 20) <= 5 for genre in GENRES if largest[genre] < 20)
        assert all(count >= 5 for count in Counter(tracks[unit].label for unit in found.validation).values())


def test_the_published_split_is_as_published() -> None:
    found = split_dataset(gtzan_tracks(), "fault-filtered", seed=0)
    assert [len(getattr(found, part)) for part in PARTS] == [443, 197, 290]


@pytest.mark.parametrize(("kind", "sizes"), [("spectrogram", [442, 197, 290]), ("audio", [173, 87, 95])])
def test_the_published_split_of_shared_data(gtzan: Path, kind: str, sizes: list[int]) -> None:
    tracks = datasets.load_dataset(gtzan, kind=kind).tracks
    found = split_dataset(tracks, "fault-filtered", seed=0)
    assert [len(getattr(found, part)) for part in PARTS] == sizes


def test_leaky_protocols_are_marked() -> None:
    assert {name: protocol.leaky for name, protocol in PROTOCOLS.items()} == {
        "segment-random": True,
        "track-random": True,
        "artist-grouped": False,
        "fault-filtered": False,
        "given": False,
    }
    assert all(protocol.description.startswith("leaky") == protocol.leaky for protocol in PROTOCOLS.values())
    assert all(get_protocol(name).name == name and get_protocol(name).citation for name in PROTOCOLS)
    assert split_dataset(many(), "track-random", seed=0).leaky


@pytest.mark.parametrize(
    ("tracks", "protocol", "code", "said"),
    [
        ([], "track-random", "dataset_empty", "no tracks"),
        (
            [track(n, "pop") for n in range(9)],
            "artist-grouped",
            "dataset_too_small",
            "all 9 tracks are 'pop'",
        ),
        ([*many(2, 4), track(0, "jazz")], "track-random", "dataset_too_small", "only one track is 'jazz'"),
        (many(2, 20, 3), "artist-grouped", "dataset_too_small", "artists, fewer than 5 folds"),
        (many(2, 20, 1), "artist-grouped", "dataset_too_small", "1 artists"),
        (many(), "fault-filtered", "dataset_too_small", "200 tracks are not in it: '0/0'"),
        (gtzan_tracks()[:110], "fault-filtered", "dataset_too_small", "without 'classical'"),
    ],
)
def test_too_few_tracks_are_refused(tracks: list[Track], protocol: str, code: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        split_dataset(tracks, protocol, seed=0)
    assert caught.value.code == code
    assert said in caught.value.message
    assert caught.value.hint


def test_one_artist_may_leave_too_little_for_validation() -> None:
    tracks = [track(n, "pop", "Anna") for n in range(20)] + [track(n, "rock") for n in range(2)]
    tracks += [track(20, "pop", "Bert"), track(21, "rock", "Anna")]
    options = {"seed": 0, "folds": 2, "validation_fraction": 0.3}
    with pytest.raises(DataError, match="leaves nothing to train on"):
        [split_dataset(tracks, "artist-grouped", fold=fold, **options) for fold in range(2)]


def test_a_genre_without_segments_is_refused() -> None:
    tracks = [track(n, n // 2) for n in range(4)]
    with pytest.raises(DataError, match="nothing of '1' is left to train on"):
        split_dataset(tracks, "segment-random", seed=0, segments_per_track=[9, 9, 0, 0])


@pytest.mark.parametrize(
    "options",
    [
        {"test_fraction": 0.0},
        {"test_fraction": float("nan")},
        {"validation_fraction": -0.1},
        {"validation_fraction": 0.8},
        {"folds": 1},
        {"fold": 5},
        {"seed": -1},
        {"protocol": "segment-random"},
        {"protocol": "segment-random", "segments_per_track": [1, 2]},
    ],
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        split_dataset(many(), **{"protocol": "track-random", "seed": 0, **options})  # type: ignore[arg-type]
    assert caught.value.code == "invalid_argument"


def test_an_unknown_protocol_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        split_dataset(many(), "artist-group", seed=0)
    assert caught.value.code == "invalid_argument"
    assert "'artist-grouped'" in caught.value.hint
