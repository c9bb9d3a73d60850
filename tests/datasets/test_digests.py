"""Digests of tracks: what makes no difference to them, and what does."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrescope.datasets import artist_digest, artist_digests, content_digests, track_digest
from genrescope.types import Track


def test_a_track_is_known_by_ten_digits_of_its_id() -> None:
    assert track_digest("blues.00000") == track_digest("blues.00000")
    assert track_digest("blues.00000") != track_digest("blues.00001")
    assert len(track_digest("x")) == 10
    assert int(track_digest("x"), 16) >= 0


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("The Beatles", "beatles"),
        ("Beatles, The", "THE_BEATLES"),
        ("Björk", "bjork"),
        ("AC/DC", "AC-DC"),
        ("The The", "the_the"),
        ("Straße", "strasse"),
        ("サザン", "サザン"),
    ],
)
def test_spellings_of_an_artist_are_one(name: str, other: str) -> None:
    assert artist_digest(name) == artist_digest(other) is not None


@pytest.mark.parametrize(
    ("name", "other"), [("Theory", "ory"), ("Them", "m"), ("The", "the a"), ("U2", "U"), ("808", "U2")]
)
def test_other_artists_stay_apart(name: str, other: str) -> None:
    assert artist_digest(name) != artist_digest(other)


@pytest.mark.parametrize(
    "name", ["", "?", "Various Artists", "unknown", "CD 1", "Disc 02", "VA", "no artist"]
)
def test_names_of_no_artist_have_no_digest(name: str) -> None:
    assert artist_digest(name) is None


def test_only_groups_that_are_artists_have_a_digest(tmp_path: Path) -> None:
    def track(name: str, group: str) -> Track:
        return Track(name, tmp_path / name, "rock", group)

    # The second is a copy of the first, whose artist is unknown: their group is the id of the first.
    tracks = [track("rock/a.wav", "rock/a.wav"), track("rock/b.wav", "rock/a.wav"), track("c", "Abba")]
    assert artist_digests(tracks) == {"c": artist_digest("abba")}


def test_content_stays_when_a_file_is_renamed(tmp_path: Path) -> None:
    for name, content in (("a.wav", b"one"), ("b.wav", b"one"), ("c.wav", b"two")):
        (tmp_path / name).write_bytes(content)
    tracks = [Track(name, tmp_path / name, "rock", name) for name in ("a.wav", "b.wav", "c.wav", "gone.wav")]
    digests = content_digests(tracks)
    assert digests["a.wav"] == digests["b.wav"] != digests["c.wav"]
    assert "gone.wav" not in digests


def write_table(path: Path, rows: dict[str, float], *, rounded: bool = False) -> Path:
    means = ["chroma_stft", "spectral_centroid", "spectral_bandwidth", "rolloff", "zero_crossing_rate"]
    columns = [f"{name}_mean" for name in (*means, *(f"mfcc{number}" for number in range(1, 21)))]
    lines = [",".join(["filename", "label", *(reversed(columns) if rounded else columns), "tempo"])]
    for name, value in rows.items():
        values = [value + 1 / (3 + place) for place in range(len(columns))]
        if rounded:
            values = [round(one, 12) for one in reversed(values)]
        lines.append(",".join([name, "rock", *map(repr, values), "120.0"]))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_of_tables_are_known_by_their_values(tmp_path: Path) -> None:
    first = write_table(tmp_path / "first.csv", {"a": 1.0, "b": 2.0})
    second = write_table(tmp_path / "second.csv", {"x": 1.0, "y": 3.0}, rounded=True)
    digests = content_digests(
        [Track(name, first, "rock", name, "table") for name in "ab"]
        + [Track(name, second, "rock", name, "table") for name in "xy"]
    )
    assert digests["a"] == digests["x"]
    assert len({digests[name] for name in "aby"}) == 3


def test_a_table_without_the_columns_of_models_has_no_content(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("filename,label,tempo\na,rock,120\n")
    assert content_digests([Track("a", path, "rock", "a", "table")]) == {}


def test_rows_of_many_other_features_are_known_by_their_values(tmp_path: Path) -> None:
    names = ",".join(f"f{number}" for number in range(8))
    found = []
    for table, track, first in (("one", "a", "0.5"), ("two", "b", "0.50000001"), ("three", "c", "0.6")):
        path = tmp_path / f"{table}.csv"
        path.write_text(f"filename,{names}\n{track},{first},1,2,3,4,5,6,7\n")
        found.append(content_digests([Track(track, path, "rock", track, "table")])[track])
    assert found[0] == found[1] != found[2]
