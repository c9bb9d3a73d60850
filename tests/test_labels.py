"""The taxonomy: its levels, what it is taken from, and that spelling does not change a meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from genrescope import labels
from helpers.weights import audioset_labels

TAXONOMY = labels.load_taxonomy()
SOURCES = [
    source for node in (*TAXONOMY.genres, *TAXONOMY.styles) for source in node.sources
]  # fmt: skip


def test_about_twenty_genres_and_at_least_sixty_styles() -> None:
    assert len(TAXONOMY.genres) == 19
    assert len(TAXONOMY.styles) == len({style.name for style in TAXONOMY.styles}) == 94
    assert all(genre.styles and genre.sources for genre in TAXONOMY.genres)
    assert all(style.sources for style in TAXONOMY.styles)


def test_genres_without_labeled_recordings_are_scored_as_one_that_has_some() -> None:
    scored = [genre.name for genre in TAXONOMY.scored_genres]
    assert len(scored) == 16
    others = {genre.name: genre.scored_as for genre in TAXONOMY.genres if genre.name not in scored}
    assert others == {"new_age": "electronic", "punk": "rock", "soundtrack": "classical"}


def test_sources_are_classes_of_audioset_and_tags_of_musicnn(shared: Path) -> None:
    names = audioset_labels(shared / "weights" / "efficientat" / "audioset_classes.csv")
    readme = (shared / "weights" / "musicnn" / "README.md").read_text(encoding="utf8")
    tags = readme.partition("Tags in order: ")[2].strip().rstrip(".").split(", ")
    assert len(tags) == 50
    for source in SOURCES:
        known = names if source.network == "audioset" else tags
        assert known[source.index] == source.name


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        (("hiphop", "Hip Hop", "hip-hop", "HIP HOP", "Hip_Hop"), {"hiphop", "hip hop"}),
        (("R&B", "rnb", "R & B", "Rhythm & Blues", "rhythm and blues"), {"rnb_soul", "rhythm and blues"}),
        (("disco", "Disco"), {"disco", "disco_funk"}),
        (("disco_funk", "Disco & Funk", "disco and funk"), {"disco_funk"}),
        (("Drum & Bass", "drum 'n' bass", "drum and bass"), {"drum and bass"}),
        (("New Age", "new-age", "new_age"), {"new_age", "new-age"}),
        (("heavy metal",), {"heavy metal"}),
        (("roc", ""), set()),
    ],
)
def test_spelling_does_not_matter(words: tuple[str, ...], meaning: set[str]) -> None:
    for word in words:
        assert labels.matching_labels(word) == meaning, word


def test_labels_of_other_models_are_found_too() -> None:
    assert labels.matching_labels("Free Jazz", ["free-jazz", "jazz"]) == {"free-jazz"}
    assert labels.matching_labels("…", ["…"]) == {"…"}


def test_the_ten_genres_of_gtzan_mean_genres_of_the_taxonomy() -> None:
    genres = {genre.name for genre in TAXONOMY.genres}
    assert all(labels.matching_labels(name) & genres for name in labels.GTZAN_GENRES)


def test_styles_below_a_genre() -> None:
    assert TAXONOMY.is_below("techno", "electronic")
    assert TAXONOMY.is_below("punk rock", "punk")
    assert TAXONOMY.is_below("punk rock", "rock")
    assert not TAXONOMY.is_below("techno", "rock")
    assert not TAXONOMY.is_below("unheard of", "rock")


def test_the_likeliest_style_below_the_genre_is_the_sure_one() -> None:
    styles = {"techno": 0.9, "grunge": 0.6, "hard rock": 0.7, "punk rock": 0.4}
    assert TAXONOMY.sure_style("rock", styles) == "hard rock"
    assert TAXONOMY.sure_style("jazz", styles) is None
    assert TAXONOMY.sure_style("rock", {"hard rock": 0.49}) is None


def test_names_for_lists_and_for_tags() -> None:
    named = {label: (labels.display_name(label), labels.title_case(label)) for label in labels.known_labels()}
    assert named["rnb_soul"] == ("r&b & soul", "R&B & Soul")
    assert named["hiphop"] == ("hip hop", "Hip Hop")
    assert named["drum and bass"] == ("drum and bass", "Drum and Bass")
    assert named["contemporary r&b"] == ("contemporary r&b", "Contemporary R&B")
    assert labels.display_name("my_genre") == "my_genre"
    assert labels.title_case("my_genre of the north") == "My Genre of the North"
    # Players split genres at these.
    assert not any(set(",;/") & set(name) for pair in named.values() for name in pair)


def test_labels_of_data_sets_are_classes_of_the_model() -> None:
    classes = tuple(genre.name for genre in TAXONOMY.scored_genres)
    meant = {
        "disco": "disco_funk",
        "Hip-Hop": "hiphop",
        "punk": "rock",
        "Ambient": "electronic",
        "soul": "rnb_soul",
    }
    assert {label: labels.matching_class(label, classes) for label in meant} == meant
    assert labels.matching_class("polka", classes) is None
    assert labels.matching_class("disco", labels.GTZAN_GENRES) == "disco"
    assert labels.matching_class("electronic", labels.GTZAN_GENRES) is None


@pytest.mark.parametrize(
    ("tag", "meant"),
    [
        ("Rock", ("rock",)),
        ("hip-hop", ("hip hop", "hiphop")),
        ("Hip-Hop/Rap", ("hip hop", "hiphop")),
        ("Progressive Death Metal", ("metal",)),
        ("Drum & Bass", ("drum and bass", "electronic")),
        ("R&B/Soul", ("rnb_soul", "soul")),
        ("Pop / Jazz", ("pop", "jazz")),
        ("Rock; Blues", ("rock", "blues")),
        ("Country Rock", ("country rock", "country", "rock")),
        ("Punk", ("punk", "rock")),
        ("Classic", ("classical",)),
        # An alias within a longer name means nothing of its own.
        ("Classic Rock", ("classic rock", "rock")),
        ("No Such Thing", ()),
        ("", ()),
        ("\0", ()),
    ],
)
def test_words_of_a_tag(tag: str, meant: tuple[str, ...]) -> None:
    assert labels.tag_labels(tag) == meant


def test_words_of_a_tag_that_are_labels_of_ones_own() -> None:
    assert labels.tag_labels("My Genre, Jazz", ("my_genre",)) == ("my_genre", "jazz")
