"""Every kind of finding comes with advice, for people who train and for owners."""

from __future__ import annotations

from dataclasses import replace

import pytest

from genrescope.audit import KINDS, Finding, advice


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_advice(kind: str) -> None:
    finding = Finding(kind, 0.5, "", tracks=("a",), action=KINDS[kind].action)
    for owner in (False, True):
        assert advice(finding, owner=owner).endswith(".")
    assert "train" not in advice(finding, owner=True)


def test_advice_on_copies_names_the_one_to_keep() -> None:
    finding = Finding("same_samples", 0.9, "", ("a", "b"), evidence={"keep": "b"}, action="drop", drop=("a",))
    assert advice(finding).startswith("Keep b and leave the other one out")
    assert advice(replace(finding, drop=("a", "c")), owner=True).startswith("Keep b; the other 2 may go")


def test_advice_on_a_label_names_the_suggested_one() -> None:
    finding = Finding("label_suspect", 0.6, "", tracks=("a",), action="relabel", label="jazz")
    assert "'jazz'" in advice(finding)
