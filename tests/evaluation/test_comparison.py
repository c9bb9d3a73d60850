"""Paired comparison: hand-computed values, and agreement with scipy."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from genrescope.errors import ConfigError, DataError
from genrescope.evaluation import (
    Comparison,
    Predictions,
    align_rows,
    cautions,
    compare_predictions,
    holm,
    mcnemar_exact,
    pool_predictions,
    track_predictions,
)
from genrescope.evaluation.comparison import bootstrap_p_value

CLASSES = ("jazz", "rock")


def predictions(
    truth: Sequence[int],
    predicted: Sequence[int],
    *,
    groups: Sequence[str] | None = None,
    first: int = 0,
) -> Predictions:
    ids = tuple(f"t{first + place:03}" for place in range(len(truth)))
    return Predictions(
        "track", CLASSES, ids, tuple(groups or ids), np.array(truth), np.eye(2)[list(predicted)]
    )


def flipped(truth: Sequence[int], wrong: Sequence[int]) -> list[int]:
    return [1 - one if place in wrong else one for place, one in enumerate(truth)]


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (0, 5), (3, 11), (20, 20), (7, 90), (150, 90)])
def test_mcnemar_agrees_with_scipy(counts: tuple[int, int]) -> None:
    total = sum(counts)
    expected = stats.binomtest(counts[0], total, 0.5).pvalue if total else 1.0
    assert mcnemar_exact(*counts) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    assert mcnemar_exact(0, 5) == pytest.approx(2 / 32)
    assert mcnemar_exact(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    with pytest.raises(ConfigError):
        mcnemar_exact(-1, 2)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.2: times 4, 3, 2, 1, and never less than the one before.
    assert holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx((0.06, 0.04, 0.2, 0.06))
    assert holm([0.6, 0.7]) == pytest.approx((1.0, 1.0))
    assert holm([]) == ()


def test_the_bootstrap_p_value_counts_draws_beyond_zero() -> None:
    draws = np.r_[np.full(98, 0.1), [-0.1, 0.0]]
    assert bootstrap_p_value(draws) == pytest.approx(2 * 3 / 101)
    assert bootstrap_p_value(np.zeros(10)) == 1.0


def test_differences_are_paired_and_means_are_over_seeds() -> None:
    truth = [0, 0, 0, 1]
    first = [predictions(truth, truth), predictions(truth, flipped(truth, [0]))]
    second = [predictions(truth, flipped(truth, [3])), predictions(truth, flipped(truth, [0, 3]))]
    (a, b), (pair,) = compare_predictions({"a": first, "b": second}, resamples=200)
    assert a.by_seed == pytest.approx((1.0, 0.75))
    assert a.accuracy.value == pytest.approx(0.875)
    assert b.accuracy.value == pytest.approx(0.625)
    # Recall of jazz 1 and 2/3, of rock 0 twice.
    assert b.balanced_accuracy.value == pytest.approx((0.5 + 1 / 3) / 2)
    # F1 of jazz 6/7 and 4/6, of rock 0 twice.
    assert b.macro_f1.value == pytest.approx((6 / 7 + 4 / 6) / 4)
    assert pair.accuracy.value == pytest.approx(0.25)
    assert pair.by_seed == pytest.approx((0.25, 0.25))
    # The track that both seeds test counts once.
    assert (pair.only_first, pair.only_second) == (1, 0)
    assert pair.verdict == "not beyond chance"
    assert a.deviation == pytest.approx(0.25 / np.sqrt(2))


def test_the_interval_of_a_difference_is_that_of_the_paired_tracks() -> None:
    """With a group per track the bootstrap is that of a mean, whose normal interval is known."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 800).tolist()
    one = flipped(truth, set(np.flatnonzero(generator.random(800) < 0.2)))
    # The second errs where the first does, and on 60 more: unpaired, the interval would be far wider.
    wrong = {place for place in range(800) if one[place] != truth[place]}
    more = [place for place in range(800) if place not in wrong][:60]
    other = flipped(truth, wrong | set(more))
    _, (pair,) = compare_predictions({"a": [predictions(truth, one)], "b": [predictions(truth, other)]})
    share = 60 / 800
    error = 1.96 * np.sqrt(share * (1 - share) / 800)
    assert pair.accuracy.value == pytest.approx(share)
    assert pair.accuracy.low == pytest.approx(share - error, abs=0.003)
    assert pair.accuracy.high == pytest.approx(share + error, abs=0.003)
    assert (pair.only_first, pair.only_second) == (60, 0)
    assert pair.verdict == "beyond chance"


def test_whole_groups_are_drawn() -> None:
    """One artist makes the whole difference: McNemar sees 40 tracks, the bootstrap one group of ten."""
    truth = [0, 1] * 200
    groups = [f"artist {place // 40}" for place in range(400)]
    worse = predictions(truth, flipped(truth, range(40)), groups=groups)
    _, (pair,) = compare_predictions({"a": [predictions(truth, truth, groups=groups)], "b": [worse]})
    assert pair.adjusted_mcnemar < 1e-9
    assert pair.p_bootstrap > 0.3
    assert pair.verdict == "unclear"


def test_equal_models_do_not_differ() -> None:
    same = [predictions([0, 1, 0, 1], [0, 1, 1, 1])]
    _, (pair,) = compare_predictions({"a": same, "b": same}, resamples=100)
    assert (pair.accuracy.low, pair.accuracy.high) == (0, 0)
    assert (pair.p_bootstrap, pair.p_mcnemar) == (1, 1)
    assert pair.is_consistent


def test_pairs_are_corrected_together() -> None:
    truth = [0, 1] * 10
    models = {
        name: [predictions(truth, flipped(truth, range(wrong)))]
        for name, wrong in {"a": 0, "b": 6, "c": 7}.items()
    }
    _, pairs = compare_predictions(models, resamples=500)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert tuple(pair.adjusted_mcnemar for pair in pairs) == holm([pair.p_mcnemar for pair in pairs])


def test_other_rows_are_refused_and_common_ones_found() -> None:
    one, other = predictions([0, 1, 0], [0, 1, 0]), predictions([1, 0, 1], [1, 1, 1], first=1)
    with pytest.raises(DataError):
        compare_predictions({"a": [one], "b": [other]})
    aligned, left_out = align_rows({"a": one, "b": other})
    assert aligned["a"].ids == aligned["b"].ids == ("t001", "t002")
    assert left_out == 2
    assert aligned["a"].truth.tolist() == aligned["b"].truth.tolist() == [1, 0]
    with pytest.raises(DataError):
        align_rows({"a": one, "b": predictions([0, 1], [0, 1], first=10)})


def test_pooled_folds_hold_each_track_once() -> None:
    parts = [predictions([0, 1], [0, 1]), predictions([1, 1], [0, 1], first=2)]
    pooled = pool_predictions(parts)
    assert pooled.ids == ("t000", "t001", "t002", "t003")
    assert pooled.correct.tolist() == [True, True, False, True]
    with pytest.raises(DataError):
        pool_predictions([parts[0], parts[0]])


def test_predictions_survive_a_file() -> None:
    scores = np.array([[0.1, 0.9], [0.5, 0.5], [0.2, 0.8]])
    made = track_predictions(
        scores,
        np.array([1, 0, 1]),
        classes=CLASSES,
        tracks=["b", "a", "b"],
        groups=["x", "y", "x"],
        weights=np.array([1.0, 1.0, 3.0]),
    )
    assert made.ids == ("a", "b")
    assert made.groups == ("y", "x")
    assert made.scores[1] == pytest.approx([0.175, 0.825])
    read = Predictions.from_json(json.loads(json.dumps(made.to_json())))
    assert (read.unit, read.classes, read.ids, read.groups) == ("track", CLASSES, made.ids, made.groups)
    assert np.array_equal(read.truth, made.truth)
    assert np.array_equal(read.scores, made.scores)
    for broken in ({}, {"unit": "track", "classes": ["a"], "rows": [1]}, {**made.to_json(), "unit": "bar"}):
        with pytest.raises(DataError):
            Predictions.from_json(broken)


def test_cautions_name_what_limits_a_comparison() -> None:
    truth = [0, 1, 0, 1]
    models, pairs = compare_predictions({"a": [predictions(truth, truth)]}, resamples=10)
    one = Comparison(
        "track-random", True, "leaky: x", "test", "track", (0,), 1, (4,), 4, 4, 0.5, models, pairs
    )
    text = " ".join(cautions(one))
    assert "track-random (leaky)" in text
    assert "Only 4 groups" in text
    assert "One seed" in text
    assert "evaluate_on=validation" in text
