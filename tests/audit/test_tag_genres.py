"""Words of tags in the taxonomy, and when they disagree with the sound."""

from __future__ import annotations

import pytest

from genrescope.audit import tag_disagreement

SCORES = {"jazz": 0.9, "rock": 0.05, "metal": 0.02, "electronic": 0.15, "classical": 0.01}


@pytest.mark.parametrize(
    ("tags", "genre"),
    [
        (["Alternative Rock"], "rock"),
        (["alternative-rock"], "rock"),
        (["Progressive Death Metal"], "metal"),
        (["Punk"], "rock"),
        (["Hip-Hop/Rap"], "hiphop"),
        (["R&B/Soul"], "rnb_soul"),
        (["Drum & Bass"], "electronic"),
        (["Jazz", "Rock"], "rock"),
        # Neighbors, of which people name one or the other.
        (["Rock"], "metal"),
        (["Pop"], "electronic"),
    ],
)
def test_tags_that_agree(tags: list[str], genre: str) -> None:
    assert tag_disagreement(tags, genre, 0.9, {genre: 0.9}) is None


@pytest.mark.parametrize(
    "tags", [[], ["Klassik"], ["(17)"], [""], ["Soundtrack"], ["World"], ["\0"], ["x" * 100_000]]
)
def test_tags_that_say_nothing_of_the_sound(tags: list[str]) -> None:
    assert tag_disagreement(tags, "metal", 0.9, {"metal": 0.9}) is None


def test_a_tag_that_disagrees() -> None:
    found = tag_disagreement(["Thrash Metal"], "jazz", 0.9, SCORES)
    assert found is not None
    assert (found.kind, found.action, found.score) == ("tag_disagrees", "check", 0.616)
    assert found.evidence == {"tag": "Thrash Metal", "genre": "jazz", "genre_score": 0.9, "tag_score": 0.02}
    assert "the sound is jazz" in found.message


def test_what_the_model_holds_for_possible_is_no_disagreement() -> None:
    assert tag_disagreement(["Classical"], "jazz", 0.9, SCORES) is not None
    assert tag_disagreement(["Classical"], "jazz", 0.9, SCORES, ["classical"]) is None
    assert tag_disagreement(["Opera"], "jazz", 0.9, SCORES, ["orchestral"]) is None
    # A second guess of the model.
    assert tag_disagreement(["Techno"], "jazz", 0.9, SCORES) is None
