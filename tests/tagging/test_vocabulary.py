"""From predictions to a user's own genre names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrescope.errors import ConfigError
from genrescope.labels import known_labels
from genrescope.library import LibraryEntry
from genrescope.tagging.vocabulary import UncertainPolicy, Vocabulary
from genrescope.types import Prediction

ANSWER = Prediction(
    path="song.mp3",
    scores={"metal": 0.5, "rock": 0.3, "hiphop": 0.2},
    styles={"heavy metal": 0.9, "hip hop": 0.4, "drum and bass": 0.4, "trance": 0.01},
    seconds=1.0,
    model="m",
)


def loaded(folder: Path, text: str, **options: Any) -> Vocabulary:
    file = folder / "words.toml"
    file.write_text(text, encoding="utf8")
    return Vocabulary.load(file, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["Metal"]),
        ({"genre_threshold": 0.3}, ["Metal", "Rock"]),
        ({"genre_threshold": 0.6}, []),
        ({"style_threshold": 0.5}, ["Metal", "Heavy Metal"]),
        (
            {"genre_threshold": 0.2, "style_threshold": 0.4},
            ["Metal", "Rock", "Hip Hop", "Heavy Metal", "Drum and Bass"],
        ),
        ({"genre_threshold": 0.2, "style_threshold": 0.4, "max_genres": 2}, ["Metal", "Rock"]),
        ({"genre_threshold": 0.6, "style_threshold": 0.0}, ["Heavy Metal", "Drum and Bass", "Hip Hop"]),
    ],
)
def test_thresholds_choose_genres_then_styles(options: dict[str, Any], words: list[str]) -> None:
    assert Vocabulary().genres_for(ANSWER, **options) == words


@pytest.mark.parametrize(
    ("unsure", "words"), [("nothing", []), ("styles", ["Heavy Metal"]), ("all", ["Metal", "Heavy Metal"])]
)
def test_uncertain_predictions_give_no_genres_unless_requested(
    unsure: UncertainPolicy, words: list[str]
) -> None:
    answer = replace(ANSWER, threshold=0.9)
    assert Vocabulary().genres_for(answer, style_threshold=0.5, uncertain=unsure) == words


def test_error_rows_give_nothing() -> None:
    entry = LibraryEntry(path="a", size=0, mtime_ns=0, model="m", model_name="m", error="audio_empty")
    assert Vocabulary().genres_for(entry, uncertain="all") == []


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("", ["Heavy", "Rock", "Rap", "Urban"]),
        ('hierarchy = "leaf"', ["Heavy", "Rock", "Rap", "Urban"]),
        ('hierarchy = "path"', ["Metal > Heavy", "Rock", "Rap", "Urban"]),
        ('hierarchy = "path"\nseparator = "/"', ["Metal/Heavy", "Rock", "Rap", "Urban"]),
        ('hierarchy = "levels"', ["Metal", "Heavy", "Rock", "Rap", "Urban"]),
    ],
)
def test_a_file_renames_drops_and_sorts(tmp_path: Path, head: str, words: list[str]) -> None:
    text = '\n[words]\nmetal = "Metal >  Heavy"\n'
    text += 'hiphop = ["Rap", "Urban"]\n"heavy metal" = ""\n"drum and bass" = ""\n"hip hop" = "rap"\n'
    vocabulary = loaded(tmp_path, head + text)
    assert vocabulary.genres_for(ANSWER, genre_threshold=0.2, style_threshold=0.2) == words


def test_genres_that_differ_in_case_only_are_one(tmp_path: Path) -> None:
    vocabulary = loaded(tmp_path, '[words]\nmetal = "Heavy"\n"heavy metal" = "HEAVY"\n')
    assert vocabulary.genres_for(ANSWER, style_threshold=0.5) == ["Heavy"]


def test_labels_are_those_of_the_packaged_models_or_given(tmp_path: Path) -> None:
    assert {"hiphop", "metal", "hip hop", "trance"} < set(known_labels())
    text = '[words]\nschlager = "Schlager & Volksmusik"\n'
    with pytest.raises(ConfigError, match="schlager"):
        loaded(tmp_path, text)
    answer = replace(ANSWER, scores={"schlager": 1.0})
    assert loaded(tmp_path, text, labels=["schlager"]).genres_for(answer) == ["Schlager & Volksmusik"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('[words]\nhipop = "Rap"', "no label is called 'hipop'", "did you mean 'hiphop'?"),
        ('herarchy = "leaf"', "no setting is called 'herarchy'", "did you mean 'hierarchy'?"),
        ('hierarchy = "tree"', "hierarchy cannot be 'tree'", "choose one of: leaf, path, levels"),
        ('separator = ""', "separator cannot be ''", "the default is"),
        ('words = "Rap"', "words is not a table", "[words]"),
        ("[words]\npop = 3", "words.pop cannot be 3", "to drop it"),
        ('[words]\npop = "Pop > "', "words.pop cannot be", "to drop it"),
        ('[words]\npop = ["Pop", ""]', "words.pop cannot be", "to drop it"),
        ("[words", "not a TOML file", "docs/tagging.md"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert message in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Vocabulary.load(tmp_path / "no.toml")


scores = st.dictionaries(st.sampled_from(known_labels()), st.floats(0, 1), min_size=1)


@given(scores, scores, st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))
def test_genres_are_limited_distinct_and_independent_of_row_order(
    genres: dict[str, float], styles: dict[str, float], low: float, style: float, most: int
) -> None:
    best = max(genres, key=lambda name: (genres[name], name))
    entry = LibraryEntry(
        path="a", size=0, mtime_ns=0, model="m", model_name="m",
        genre=best, score=genres[best], scores=genres, styles=styles,
    )  # fmt: skip
    reordered = replace(entry, scores=dict(reversed(genres.items())), styles=dict(reversed(styles.items())))
    words = Vocabulary().genres_for(entry, genre_threshold=low, style_threshold=style, max_genres=most)
    assert words == Vocabulary().genres_for(
        reordered, genre_threshold=low, style_threshold=style, max_genres=most
    )
    assert len({word.casefold() for word in words}) == len(words) <= most
