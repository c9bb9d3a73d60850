"""The paper's printed tables agree with each other, except where the notes say."""

from __future__ import annotations

import pytest

from genrescope.experiments import paper
from genrescope.labels import GTZAN_GENRES


def test_the_papers_supports_are_those_of_its_test_sets() -> None:
    assert sum(row.support for row in paper.PAPER_FIGURE_5.values()) == 330
    assert sum(row.support for row in paper.PAPER_FIGURE_10.values()) == 1200
    for table in (paper.PAPER_FIGURE_5, paper.PAPER_FIGURE_10):
        assert tuple(table) == GTZAN_GENRES


def test_the_papers_recalls_give_its_accuracies() -> None:
    for table, stated in ((paper.PAPER_FIGURE_5, 39.0), (paper.PAPER_FIGURE_10, 72.5)):
        rows = table.values()
        share = sum(row.recall * row.support for row in rows) / sum(row.support for row in rows)
        assert 100 * share == pytest.approx(stated, abs=0.6)


def test_the_papers_f1_follows_from_precision_and_recall_but_for_country() -> None:
    rows = [("5", *pair) for pair in paper.PAPER_FIGURE_5.items()]
    rows += [("10", *pair) for pair in paper.PAPER_FIGURE_10.items()]
    wrong = [
        (figure, genre)
        for figure, genre, row in rows
        if abs(2 * row.precision * row.recall / (row.precision + row.recall) - row.f1) > 0.012
    ]
    assert wrong == [("5", "country")]


def test_the_papers_figures_10_and_12_differ_where_the_notes_say() -> None:
    twelve = dict(zip(GTZAN_GENRES, paper.PAPER_FIGURE_12["parallel CNN and RNN"], strict=True))
    differ = {genre for genre, row in paper.PAPER_FIGURE_10.items() if row.f1 != twelve[genre]}
    assert differ == {"metal", "reggae", "rock"}
    assert all(twelve[genre] == paper.PAPER_FIGURE_10[genre].recall for genre in differ)
    assert all(genre in " ".join(paper.NOTES) for genre in differ)
