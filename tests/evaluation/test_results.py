"""Metrics and their intervals: known values, and agreement with scikit-learn."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from genrescope.errors import ConfigError, DataError
from genrescope.evaluation.calibration import Threshold
from genrescope.evaluation.results import (
    Evaluation,
    LevelResult,
    accuracy,
    bootstrap_interval,
    calibration_error,
    confusion_matrix,
    evaluate_scores,
    group_confusions,
    macro_f1,
    majority_baseline,
    mean_std,
    precision_recall_f1,
)

CLASSES = ("blues", "jazz", "rock")


def one_hot(labels: Any, size: int = 3) -> np.ndarray:
    return np.eye(size)[np.asarray(labels)]


def evaluated(scores: Any, truth: Any, **changes: Any) -> Evaluation:
    rows = changes.get("tracks", np.arange(len(truth)))
    given = {
        "classes": CLASSES,
        "tracks": rows,
        "groups": rows,
        "model": "m",
        "protocol": "p",
        "leaky": False,
    }
    return evaluate_scores(scores, truth, **given | changes)


def only(level: LevelResult | None) -> LevelResult:
    assert level is not None
    return level


# Known values


def test_perfect_predictions_score_one_with_no_uncertainty() -> None:
    truth = np.arange(60) % 3
    tracks = only(evaluated(one_hot(truth), truth).tracks)
    for interval in (tracks.accuracy, tracks.macro_f1):
        assert (interval.value, interval.low, interval.high) == (1, 1, 1)
    assert all(row.precision == row.recall == row.f1 == 1 and row.support == 20 for row in tracks.per_genre)
    assert tracks.calibration_error == 0


def test_always_wrong_scores_zero() -> None:
    truth = np.arange(60) % 3
    tracks = only(evaluated(one_hot((truth + 1) % 3), truth).tracks)
    assert (tracks.accuracy.value, tracks.accuracy.high, tracks.macro_f1.value) == (0, 0, 0)
    assert tracks.calibration_error == 1


def test_random_predictions_score_one_in_ten_within_the_interval() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(1000) % 10
    scores = generator.random((1000, 10))
    names = tuple("abcdefghij")
    tracks = only(evaluated(scores, truth, classes=names, train_truth=truth).tracks)
    assert tracks.accuracy.low < 0.1 < tracks.accuracy.high
    assert tracks.majority_baseline == 0.1


def test_the_interval_of_a_binomial_has_its_nominal_coverage() -> None:
    generator = np.random.default_rng(1)
    hits = generator.random((400, 200)) < 0.7
    intervals = [
        bootstrap_interval(row[:, None], lambda sums: sums[:, 0] / 200, resamples=400) for row in hits
    ]
    covered = np.mean([one.low <= 0.7 <= one.high for one in intervals])
    assert 0.90 <= covered <= 0.98


def test_the_interval_has_the_width_of_the_normal_approximation() -> None:
    truth = np.zeros(300, int)
    guess = (np.arange(300) % 4 == 0).astype(int)
    tracks = only(evaluated(one_hot(guess), truth).tracks)
    expected = 2 * 1.96 * np.sqrt(0.75 * 0.25 / 300)
    assert tracks.accuracy.high - tracks.accuracy.low == pytest.approx(expected, rel=0.1)


def test_correlated_groups_widen_the_interval() -> None:
    truth = np.zeros(400, int)
    groups = np.arange(400) // 10
    guess = groups % 2
    alone = only(evaluated(one_hot(guess), truth).tracks).accuracy
    together = only(evaluated(one_hot(guess), truth, groups=groups).tracks).accuracy
    assert together.value == alone.value == 0.5
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_few_groups_give_a_note() -> None:
    truth = np.arange(60) % 3
    few = evaluated(one_hot(truth), truth, groups=np.arange(60) % 5, notes=["mine"])
    assert few.notes[0] == "mine"
    assert "5 groups" in few.notes[1]
    assert evaluated(one_hot(truth), truth).notes == ()


def test_a_track_is_the_mean_of_its_segments_weighted_by_seconds() -> None:
    scores = [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0]]
    together = {"tracks": ["t", "t"], "groups": ["g", "g"]}
    even = evaluated(scores, [1, 1], **together)
    assert only(even.tracks).accuracy.value == 1
    assert only(even.segments).accuracy.value == 0.5
    assert only(evaluated(scores, [1, 1], weights=[9.0, 1.0], **together).tracks).accuracy.value == 0


def test_levels_are_given_only_where_they_differ() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    tracks = truth.copy()
    both = evaluated(one_hot(truth), truth, tracks=tracks)
    assert [level.unit for level in both.levels] == ["track", "segment"]
    assert (only(both.tracks).n, only(both.segments).n) == (3, 6)
    assert evaluated(one_hot(truth), truth).segments is None
    divided = evaluated(one_hot(truth), truth, tracks=tracks, protocol="segment-random", leaky=True)
    assert divided.tracks is None
    assert divided.title == "m, segment-random (leaky)"


def test_absent_genres_do_not_count_in_the_macro_mean() -> None:
    matrix = confusion_matrix([0, 0, 1], [0, 0, 1], CLASSES)
    assert macro_f1(matrix) == 1
    precision, recall, f1 = precision_recall_f1(matrix)
    assert (precision[2], recall[2], f1[2]) == (0, 0, 0)


def test_the_majority_is_taken_from_training_not_from_test() -> None:
    assert majority_baseline(["a", "a", "b"], ["b", "b", "a", "c"]) == 0.25
    assert majority_baseline([1, 0], [0, 0, 1]) == pytest.approx(2 / 3)


def test_calibration_error_is_the_gap_between_score_and_share_of_right_answers() -> None:
    scores = np.tile([0.8, 0.2], (10, 1))
    assert calibration_error(scores, [0] * 8 + [1] * 2) == pytest.approx(0)
    assert calibration_error(scores, [0] * 5 + [1] * 5) == pytest.approx(0.3)
    decision_values = [[3.0, -1.0, 0.0]]
    assert only(evaluated(decision_values, [0]).tracks).calibration_error is None


def test_tracks_with_probabilities_get_a_calibration_report() -> None:
    truth = np.repeat(np.arange(30) % 3, 2)
    scores = np.tile([0.8, 0.1, 0.1], (60, 1))
    halves = {"tracks": np.arange(60) // 2, "groups": np.arange(60) // 2}
    both = evaluated(scores, truth, threshold=0.7, **halves)
    calibration = only(both.tracks).calibration
    assert calibration is not None
    assert calibration.curve == (calibration.curve[-1],)
    assert (calibration.curve[-1].coverage, calibration.curve[-1].accuracy) == (1, pytest.approx(1 / 3))
    assert calibration.model_threshold == Threshold(0.7, 1.0, pytest.approx(1 / 3))
    assert calibration.best_threshold is None
    (bin_,) = calibration.bins
    error = only(both.tracks).calibration_error
    assert (bin_.n, bin_.confidence - bin_.accuracy) == (30, pytest.approx(error))
    assert only(both.segments).calibration is None
    assert only(evaluated(3 * scores, truth, **halves).tracks).calibration is None


def test_seeds_are_summarized_by_mean_and_sample_deviation() -> None:
    assert mean_std([0.5, 0.7]) == pytest.approx((0.6, 0.1 * np.sqrt(2)))
    with pytest.raises(DataError, match="no spread"):
        mean_std([0.5])


def test_resampling_in_blocks_does_not_change_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.random.default_rng(2).integers(0, 4, (20, 3, 3))
    whole = bootstrap_interval(counts, accuracy, resamples=100, seed=5)
    monkeypatch.setattr("genrescope.evaluation.metrics._BLOCK", 7 * 20)
    assert bootstrap_interval(counts, accuracy, resamples=100, seed=5) == whole


# Agreement with scikit-learn

labels = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(labels)
def test_measures_agree_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, guess = np.array(pairs).T
    matrix = confusion_matrix(truth, guess, CLASSES)
    np.testing.assert_array_equal(matrix, reference.confusion_matrix(truth, guess, labels=[0, 1, 2]))
    *expected, support = reference.precision_recall_fscore_support(
        truth, guess, labels=[0, 1, 2], zero_division=0
    )
    np.testing.assert_allclose(precision_recall_f1(matrix), expected)
    np.testing.assert_array_equal(matrix.sum(1), support)
    assert accuracy(matrix) == pytest.approx(reference.accuracy_score(truth, guess))
    present = np.unique(truth)
    theirs = reference.f1_score(truth, guess, labels=present, average="macro", zero_division=0)
    assert macro_f1(matrix) == pytest.approx(theirs)


@settings(max_examples=30, deadline=None)
@given(labels, st.integers(1, 7))
def test_groups_add_up_to_the_whole(pairs: list[tuple[int, int]], groups: int) -> None:
    truth, guess = np.array(pairs).T
    parts = group_confusions(truth, guess, CLASSES, np.arange(len(truth)) % groups)
    np.testing.assert_array_equal(parts.sum(0), confusion_matrix(truth, guess, CLASSES))
    interval = bootstrap_interval(parts, accuracy, resamples=50)
    assert 0 <= interval.low <= interval.high <= 1


# Serialization


def test_an_evaluation_survives_json() -> None:
    truth = np.arange(30) % 3
    given = {"tracks": truth, "train_truth": truth, "notes": ["n"], "protocol_note": "in words"}
    before = evaluated(one_hot(truth), truth, threshold=0.5, **given)
    row = json.loads(json.dumps(before.to_json(), allow_nan=False))
    assert Evaluation.from_json(row) == before
    assert (row["title"], row["leaky"]) == ("m, p", False)
    assert before.tracks is not None
    assert before.tracks.calibration is not None
    del row["tracks"]["calibration"]
    older = Evaluation.from_json(row)
    assert older.tracks == replace(before.tracks, calibration=None)
    del row["tracks"]
    with pytest.raises(DataError, match="not an evaluation"):
        Evaluation.from_json(row)


def test_the_same_seed_gives_the_same_interval() -> None:
    generator = np.random.default_rng(3)
    truth, scores = generator.integers(3, size=50), generator.random((50, 3))
    assert evaluated(scores, truth, seed=1) == evaluated(scores, truth, seed=1)
    assert evaluated(scores, truth, seed=1) != evaluated(scores, truth, seed=2)


# Errors


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("dataset_empty", {"scores": np.zeros((0, 3)), "truth": [], "tracks": [], "groups": []}),
        ("dataset_invalid", {"truth": [0, 1]}),
        ("dataset_invalid", {"truth": [0, 1, 3]}),
        ("dataset_invalid", {"truth": [0, -1, 2]}),
        ("dataset_invalid", {"truth": [0.0, 1.0, 2.0]}),
        ("dataset_invalid", {"scores": [[0.1, np.nan, 0.2]] * 3}),
        ("dataset_invalid", {"scores": [[0.5, 0.5]] * 3, "truth": [0, 1, 1]}),
        ("dataset_invalid", {"scores": [0.1, 0.2, 0.3]}),
        ("dataset_invalid", {"groups": [0, 1]}),
        ("dataset_invalid", {"tracks": [0, 0, 1]}),
        ("dataset_invalid", {"truth": [0, 0, 0], "tracks": [0, 0, 1], "groups": [0, 1, 2]}),
        ("dataset_invalid", {"weights": [1.0, -1.0, 1.0]}),
        ("dataset_invalid", {"weights": [1.0, 0.0, 1.0]}),
        ("dataset_invalid", {"train_truth": [7]}),
    ],
)
def test_invalid_scores_are_refused(code: str, changes: dict[str, Any]) -> None:
    given = {"scores": one_hot([0, 1, 2]), "truth": [0, 1, 2]} | changes
    with pytest.raises(DataError) as failure:
        evaluated(**given)
    assert failure.value.code == code
    assert failure.value.hint


def test_measures_refuse_invalid_confusion_matrices() -> None:
    for matrix in (np.ones(3), np.ones((2, 3)), np.zeros((0, 0)), -np.ones((2, 2))):
        with pytest.raises(DataError, match="confusion matrix"):
            accuracy(matrix)
    with pytest.raises(DataError, match="no groups"):
        bootstrap_interval(np.zeros((0, 2, 2)), accuracy)
    with pytest.raises(DataError, match="no labels"):
        majority_baseline([], [1])
    with pytest.raises(ConfigError, match="0 resamples"):
        bootstrap_interval(np.ones((3, 2, 2)), accuracy, resamples=0)
