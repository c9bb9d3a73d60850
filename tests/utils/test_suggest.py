"""Hints name the most similar name, or the known ones."""

from __future__ import annotations

from genrescope.utils import did_you_mean


def test_a_similar_name_is_suggested() -> None:
    assert did_you_mean("hipop", ("hiphop", "pop", "rock")) == "did you mean 'hiphop'?"


def test_without_a_similar_name_the_known_ones_are_listed() -> None:
    assert did_you_mean("zzz", ("hiphop", "pop")) == "choose one of: hiphop, pop"
    assert did_you_mean("zzz", ("hiphop", "pop"), otherwise="see the list") == "see the list"


def test_an_empty_list_of_names_has_no_suggestion() -> None:
    assert did_you_mean("zzz", (), otherwise="nothing is known yet") == "nothing is known yet"
