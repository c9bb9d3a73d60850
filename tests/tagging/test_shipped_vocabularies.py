"""The vocabularies that come with the package: a word for every label, and only words that exist there."""

from __future__ import annotations

import importlib.util
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from genrescope.labels import known_labels
from genrescope.tagging import SHIPPED, Vocabulary
from genrescope.tagging.vocabulary import STEP
from genrescope.types import Prediction
from genrescope.utils import parse_toml

DATA = resources.files("genrescope.tagging") / "data"


def words(name: str) -> set[str]:
    """Return every word that a vocabulary can write."""
    found = (
        word
        for texts in Vocabulary.load(name).words_for.values()
        for text in texts
        for word in text.split(STEP)
    )
    return set(found)


def written(name: str, genre: str, **styles: float) -> list[str]:
    answer = Prediction(
        "a.mp3",
        {genre: 1.0},
        1.0,
        "m",
        styles={key.replace("_", " "): chance for key, chance in styles.items()},
    )
    return Vocabulary.load(name).genres_for(answer, style_threshold=0.5)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_label_has_a_line_of_its_own(name: str) -> None:
    lines = parse_toml((DATA / f"{name}.toml").read_text(encoding="utf8"))["words"]
    assert set(lines) == set(known_labels())
    assert all(Vocabulary.load(name).words_for[label] for label in lines)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_word_is_divided_by_players(name: str) -> None:
    assert not any(set(",;/\0") & set(word) for word in words(name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("discogs", ["Rock", "Punk"]),
        ("musicbrainz", ["rock", "punk", "punk rock"]),
        ("id3v1", ["Rock", "Punk Rock"]),
        ("beets", ["rock", "punk rock"]),
    ],
)
def test_parent_and_child_are_values_of_their_own(name: str, expected: list[str]) -> None:
    assert written(name, "rock", punk_rock=0.9) == expected


@pytest.mark.parametrize(
    ("name", "genre", "expected"),
    [
        ("discogs", "hiphop", ["Hip Hop"]),
        ("discogs", "rnb_soul", ["Rhythm & Blues", "Soul"]),
        ("discogs", "country", ["Country"]),
        ("discogs", "soundtrack", ["Stage & Screen", "Soundtrack"]),
        ("musicbrainz", "rnb_soul", ["r&b", "soul"]),
        ("musicbrainz", "new_age", ["new age"]),
        ("id3v1", "hiphop", ["Hip-Hop"]),
        ("id3v1", "disco_funk", ["Disco", "Funk"]),
        ("beets", "metal", ["rock", "heavy metal"]),
        ("beets", "disco_funk", ["electronic", "disco", "r&b", "funk"]),
    ],
)
def test_words_for_genres(name: str, genre: str, expected: list[str]) -> None:
    assert written(name, genre) == expected


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("discogs", "house", ("Electronic > House",)),
        ("discogs", "ambient", ("Electronic > Ambient",)),
        ("discogs", "easy listening", ("Jazz > Easy Listening",)),
        ("discogs", "indie pop", ("Pop > Indie Pop",)),
        ("discogs", "carnatic", ("Carnatic",)),
        ("musicbrainz", "house", ("electronic > house",)),
        ("musicbrainz", "ambient", ("electronic > ambient",)),
        ("musicbrainz", "hip hop soul", ("hip hop > hip hop soul",)),
        ("musicbrainz", "soundtrack", ("soundtrack",)),
        ("id3v1", "house", ("House",)),
        ("id3v1", "ambient", ("Ambient",)),
        ("id3v1", "jazz-funk", ("Jazz+Funk",)),
        ("id3v1", "rhythm and blues", ("R&B",)),
        ("id3v1", "soundtrack", ("Soundtrack",)),
        ("beets", "house", ("electronic > house",)),
        ("beets", "ambient", ("electronic > ambient",)),
        ("beets", "pop rap", ("pop > pop rap",)),
        ("beets", "soundtrack", ("soundtrack",)),
    ],
)
def test_lines_of_labels(name: str, label: str, expected: tuple[str, ...]) -> None:
    assert Vocabulary.load(name).words_for[label] == expected


def test_id3v1_has_the_words_of_its_list() -> None:
    constants: Any = pytest.importorskip("mutagen._constants")
    assert words("id3v1") <= set(constants.GENRES)


def test_beets_has_the_words_of_its_tree() -> None:
    found = importlib.util.find_spec("beetsplug.lastgenre") if importlib.util.find_spec("beets") else None
    if found is None or found.origin is None:
        pytest.skip("beets is not installed")
    yaml: Any = pytest.importorskip("yaml")
    folder = Path(found.origin).parent
    chains: set[tuple[str, ...]] = set()

    def walk(node: Any, above: tuple[str, ...] = ()) -> None:
        for one in node if isinstance(node, list) else [node]:
            if isinstance(one, dict):
                for name, below in one.items():
                    chains.add((*above, name))
                    walk(below, (*above, name))
            else:
                chains.add((*above, str(one)))

    walk(yaml.safe_load((folder / "genres-tree.yaml").read_text(encoding="utf8")))
    listed = set((folder / "genres.txt").read_text(encoding="utf8").splitlines())
    assert words("beets") <= {name for chain in chains for name in chain} | listed
    for texts in Vocabulary.load("beets").words_for.values():
        for text in texts:
            *parents, child = text.split(STEP)
            assert not parents or any(chain[0] == parents[0] and chain[-1] == child for chain in chains), text
