"""Metrics of multi-label classification, against scikit-learn and against definitions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from genrescope.errors import ConfigError, DataError
from genrescope.evaluation import ranking
from genrescope.labels import taxonomy_nodes

GENERATOR = np.random.default_rng(0)
TRUTH = GENERATOR.random((60, 5)) < 0.3
SCORES = np.round(np.clip(TRUTH * 0.3 + GENERATOR.random((60, 5)) * 0.7, 0, 1), 1)  # rounded: with ties
ALL = np.ones_like(TRUTH)
GROUPS = np.arange(60) // 3


def test_areas_are_those_of_scikit_learn() -> None:
    found = ranking.label_areas(SCORES, TRUTH, ALL)
    for average, roc, pr in (
        ("macro", found.roc_auc.mean(), found.pr_auc.mean()),
        ("micro", found.micro_roc_auc[0], found.micro_pr_auc[0]),
    ):
        assert roc == pytest.approx(reference.roc_auc_score(TRUTH, SCORES, average=average), abs=1e-12)
        assert pr == pytest.approx(reference.average_precision_score(TRUTH, SCORES, average=average))


def test_weights_count_rows_as_often_as_they_were_drawn() -> None:
    weights = GENERATOR.integers(0, 4, (3, 60))
    found = ranking.ranking_areas(SCORES[:, 0], TRUTH[:, 0], weights)
    for place, times in enumerate(weights):
        rows = np.repeat(np.arange(60), times)
        assert found.roc_auc[place] == pytest.approx(reference.roc_auc_score(TRUTH[rows, 0], SCORES[rows, 0]))
        expected = reference.average_precision_score(TRUTH[rows, 0], SCORES[rows, 0])
        assert found.pr_auc[place] == pytest.approx(expected)


def test_areas_without_positive_or_negative_rows_are_not_defined() -> None:
    assert np.isnan(ranking.ranking_areas([0.1, 0.2], [False, False]).roc_auc).all()
    assert np.isnan(ranking.ranking_areas([0.1, 0.2], [True, True]).pr_auc).all()
    judged = ALL.copy()
    judged[:, 1] = False
    found = ranking.label_areas(SCORES, TRUTH, judged)
    assert np.isnan(found.roc_auc[0]).tolist() == [False, True, False, False, False]


def test_what_was_not_judged_counts_nowhere() -> None:
    judged = GENERATOR.random(TRUTH.shape) < 0.7
    found = ranking.label_areas(SCORES, TRUTH, judged)
    rows = judged[:, 2]
    assert found.roc_auc[0, 2] == pytest.approx(reference.roc_auc_score(TRUTH[rows, 2], SCORES[rows, 2]))
    changed = np.where(judged, TRUTH, ~TRUTH)
    for first, second in zip(found, ranking.label_areas(SCORES, changed, judged), strict=True):
        assert first.tolist() == second.tolist()
    counts = ranking.label_counts(SCORES >= 0.5, TRUTH, judged, GROUPS)
    assert counts.tolist() == ranking.label_counts(SCORES >= 0.5, changed, judged, GROUPS).tolist()
    precision = ranking.ranking_precision(SCORES, TRUTH, judged)
    assert precision.tolist() == ranking.ranking_precision(SCORES, changed, judged).tolist()
    row = int(np.argmax(judged.sum(axis=1) < 5))
    kept = judged[row]
    expected = reference.label_ranking_average_precision_score(
        TRUTH[row : row + 1, kept], SCORES[row : row + 1, kept]
    )
    assert precision[row] == pytest.approx(expected)
    assert np.isnan(ranking.ranking_precision(SCORES[:1], TRUTH[:1], ~ALL[:1])[0])


def test_label_ranking_average_precision_is_that_of_scikit_learn() -> None:
    truth = TRUTH.copy()
    truth[0], truth[1] = False, True
    found = ranking.ranking_precision(SCORES, truth, ALL)
    assert found.mean() == pytest.approx(reference.label_ranking_average_precision_score(truth, SCORES))
    assert found[:2].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
def test_f1_is_that_of_scikit_learn(threshold: float) -> None:
    predicted = np.greater_equal(SCORES, threshold)
    counts = ranking.label_counts(predicted, TRUTH, ALL, GROUPS).sum(axis=0)
    for average, found in (
        ("micro", ranking.micro_f1(counts)),
        ("macro", ranking.macro_f1_of_labels(counts)),
    ):
        expected = reference.f1_score(TRUTH, predicted, average=average, zero_division=0)
        assert found == pytest.approx(expected)


def test_genres_without_rows_are_no_part_of_the_macro_mean() -> None:
    counts = np.array([[2.0, 0.0], [2.0, 1.0], [2.0, 0.0]])
    assert ranking.macro_f1_of_labels(counts) == 1.0
    assert ranking.micro_f1(counts) == pytest.approx(0.8)


def test_hierarchical_measures_of_an_example() -> None:
    nodes = taxonomy_nodes(("techno", "House", "electronic", "rock", "my own"))
    assert nodes[0] == {"techno", "electronic"}
    assert nodes[1] == {"house", "electronic"}
    assert nodes[2] == {"electronic"}
    assert nodes[3] == {"rock"}
    assert len(nodes[4]) == 1
    # House for techno: of two nodes predicted and two true, one agrees.
    predicted = np.array([[0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], bool)
    truth = np.array([[1, 0, 0, 0, 0], [1, 0, 0, 1, 0]], bool)
    counts = ranking.hierarchical_counts(predicted, truth, np.ones((2, 5)), nodes, np.array([0, 1]))
    # The second row: electronic is predicted; true are techno, electronic and rock.
    assert counts[:, :, 0].tolist() == [[1, 2, 2], [1, 1, 3]]
    assert ranking.micro_f1(counts.sum(axis=0)) == pytest.approx(2 * 2 / (3 + 5))


def test_resamples_draw_whole_groups() -> None:
    blocks = list(ranking.drawn_weights(GROUPS, 5, resamples=50, seed=3))
    drawn = np.concatenate(blocks)
    assert drawn.shape == (50, 60)
    assert (drawn[:, 0::3] == drawn[:, 1::3]).all()
    assert (drawn.sum(axis=1) == 60).all()
    assert (drawn == np.concatenate(list(ranking.drawn_weights(GROUPS, 5, resamples=50, seed=3)))).all()
    assert ranking.area_resamples(100, 10, 2000) == 2000
    assert ranking.area_resamples(1_000_000, 100, 2000) == 200


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(DataError):
        ranking.ranking_areas([0.1, np.nan], [True, False])
    with pytest.raises(DataError):
        ranking.ranking_areas([0.1, 0.2], [True])
    with pytest.raises(DataError):
        ranking.ranking_precision(SCORES, TRUTH[:, :2], ALL)
    with pytest.raises(ConfigError):
        list(ranking.drawn_weights(GROUPS, 5, resamples=0, seed=0))
    with pytest.raises(DataError):
        list(ranking.drawn_weights(GROUPS[:0], 5, resamples=2, seed=0))
