"""Temperatures and thresholds, tested on scores that are calibrated because labels are drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrescope.errors import ConfigError, DataError
from genrescope.evaluation.calibration import (
    BOUNDS,
    CalibrationBin,
    CalibrationReport,
    Threshold,
    calibration_report,
    coverage_at,
    coverage_curve,
    fit_segment_temperature,
    fit_temperature,
    reliability,
    select_threshold,
)
from genrescope.evaluation.metrics import calibration_error, expected_ece


def softmax(logits: Any, temperature: float = 1.0) -> np.ndarray:
    powers = np.exp((logits - np.max(logits, -1, keepdims=True)) / temperature)
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def drawn(scores: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw a label for each row, each class with its score as probability."""
    dice = np.random.default_rng(seed).random((len(scores), 1))
    return np.asarray((scores.cumsum(1) < dice * scores.sum(1, keepdims=True)).sum(1))


def music(n: int, seed: int = 0, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits over ten classes, and a truth for which they are calibrated."""
    logits = spread * np.random.default_rng(seed).normal(size=(n, 10))
    return logits, drawn(softmax(logits), seed + 1)


LOGITS, TRUTH = music(6000)


def album(tracks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return logits, owners and seconds of segments, and the truth of tracks whose mean is calibrated."""
    generator = np.random.default_rng(seed)
    owners = np.repeat(np.arange(tracks), 5)
    logits = 2 * generator.normal(size=(tracks, 10))[owners] + 1.5 * generator.normal(size=(5 * tracks, 10))
    seconds = generator.uniform(0.5, 3.0, 5 * tracks)
    scores = np.zeros((tracks, 10))
    np.add.at(scores, owners, seconds[:, None] * softmax(logits))
    return logits, owners, seconds, drawn(scores, seed + 1)


# Temperature


def test_calibrated_scores_need_no_temperature() -> None:
    assert fit_temperature(LOGITS, TRUTH) == pytest.approx(1, abs=0.04)
    logits, truth = music(40_000)
    assert calibration_error(softmax(logits), truth) < 0.012


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 8))
def test_logits_times_k_ask_for_k_times_the_temperature(k: float) -> None:
    logits, truth = LOGITS[:500], TRUTH[:500]
    assert fit_temperature(k * logits, truth) == pytest.approx(k * fit_temperature(logits, truth), rel=1e-5)


def test_logarithms_of_scores_do_as_well_as_logits() -> None:
    assert fit_temperature(np.log(softmax(LOGITS)), TRUTH) == pytest.approx(
        fit_temperature(LOGITS, TRUTH), rel=1e-5
    )


@pytest.mark.parametrize("k", [0.4, 2.5])
def test_over_and_underconfident_scores_become_calibrated_on_other_data(k: float) -> None:
    temperature = fit_temperature(k * LOGITS[:2000], TRUTH[:2000])
    assert (temperature > 1) == (k > 1)
    other, truth = k * LOGITS[2000:], TRUTH[2000:]
    before, after = (calibration_error(softmax(other, one), truth) for one in (1.0, temperature))
    assert after < 0.03 < 0.1 < before


def test_no_other_temperature_makes_the_truth_more_likely() -> None:
    logits, truth = music(300, seed=5, spread=4)

    def loss(temperature: float) -> float:
        return float(-np.log(softmax(2 * logits, temperature)[np.arange(300), truth]).mean())

    best = fit_temperature(2 * logits, truth)
    assert all(loss(best) < loss(best * factor) for factor in (0.5, 0.98, 1.02, 2))


def test_weights_count_rows() -> None:
    logits, truth = music(200, seed=2)
    times = np.random.default_rng(3).integers(0, 4, 200)
    repeated = fit_temperature(logits.repeat(times, 0), truth.repeat(times))
    assert fit_temperature(logits, truth, times) == pytest.approx(repeated, rel=1e-5)
    assert fit_temperature(logits, truth) != pytest.approx(repeated, rel=1e-3)


def test_where_nothing_limits_the_temperature_it_stays_sensible() -> None:
    truth = np.arange(50) % 3
    right = np.eye(3)[truth]
    assert fit_temperature(right, truth) == 1
    assert fit_temperature(np.zeros((50, 3)), truth) == 1
    assert fit_temperature(right, (truth + 1) % 3) == BOUNDS[1]
    assert fit_temperature(1e6 * LOGITS, TRUTH) == BOUNDS[1]


# Temperature of segments


def test_segments_of_calibrated_tracks_need_no_temperature() -> None:
    logits, owners, seconds, truth = album(3000)
    assert fit_segment_temperature(logits, truth, owners, seconds) == pytest.approx(1, abs=0.06)
    tripled = fit_segment_temperature(3 * logits, truth, owners, seconds)
    assert tripled == pytest.approx(3 * fit_segment_temperature(logits, truth, owners, seconds), rel=1e-5)


def test_mean_scores_are_less_confident_so_segments_need_a_lower_temperature() -> None:
    logits, owners, _, truth = album(2000)
    alone = fit_temperature(logits, truth[owners])
    assert fit_segment_temperature(logits, truth, owners) < 0.9 * alone


def test_the_temperature_found_is_that_of_the_likeliest_tracks() -> None:
    logits, owners, seconds, truth = album(150, seed=4)

    def loss(temperature: float) -> float:
        scores = softmax(3 * logits, temperature)
        means = [
            np.average(scores[owners == one], axis=0, weights=seconds[owners == one]) for one in range(150)
        ]
        return float(-np.log(np.array(means)[np.arange(150), truth]).mean())

    best = fit_segment_temperature(3 * logits, truth, owners, seconds)
    assert all(loss(best) < loss(best * factor) for factor in (0.5, 0.97, 1.03, 2))


def test_tracks_of_one_segment_are_rows() -> None:
    logits, truth = music(300, seed=6)
    segments = fit_segment_temperature(logits, truth, np.arange(300), np.full(300, 4.5))
    assert segments == pytest.approx(fit_temperature(logits, truth), rel=1e-5)


def test_segments_that_weigh_nothing_and_tracks_without_segments_do_not_count() -> None:
    logits, owners, seconds, truth = album(200)
    weightless = np.where(owners < 20, 0, seconds)
    kept = owners >= 20
    expected = fit_segment_temperature(logits[kept], truth[20:], owners[kept] - 20, seconds[kept])
    assert fit_segment_temperature(logits, truth, owners, weightless) == pytest.approx(expected, rel=1e-6)
    assert fit_segment_temperature(logits[kept], truth, owners[kept], seconds[kept]) == pytest.approx(
        expected, rel=1e-6
    )


def test_far_out_logits_do_not_underflow() -> None:
    logits, owners, seconds, truth = album(100)
    assert fit_segment_temperature(1000 * logits, truth, owners, seconds) == BOUNDS[1]
    assert fit_segment_temperature(logits + 1e5, truth, owners, seconds) == pytest.approx(
        fit_segment_temperature(logits, truth, owners, seconds), rel=1e-3
    )


# Reliability


def test_bins_contain_every_answer_and_add_up_to_the_calibration_error() -> None:
    scores = softmax(2 * LOGITS)
    bins = reliability(scores, TRUTH)
    assert sum(one.n for one in bins) == len(TRUTH)
    assert all(one.low <= one.confidence <= one.high for one in bins)
    assert sum(one.n * one.accuracy for one in bins) == pytest.approx(np.sum(scores.argmax(1) == TRUTH))
    gaps = sum(one.n * abs(one.accuracy - one.confidence) for one in bins) / len(TRUTH)
    assert calibration_error(scores, TRUTH) == pytest.approx(gaps)


def test_accuracy_equals_confidence_in_calibrated_bins() -> None:
    for one in reliability(softmax(LOGITS), TRUTH):
        # Five standard errors, so that chance does not fail the test.
        assert one.accuracy == pytest.approx(one.confidence, abs=5 * 0.5 / np.sqrt(one.n))


def test_empty_bins_are_left_out_and_edges_belong_to_the_upper_bin() -> None:
    scores = [[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]]
    assert reliability(scores, [1, 0, 1], bins=4) == (
        CalibrationBin(0.5, 0.75, 1, 0.5, 0.0),
        CalibrationBin(0.75, 1.0, 2, 0.875, 1.0),
    )


@pytest.mark.parametrize("n", [100, 290, 1000])
def test_calibrated_scores_have_the_expected_calibration_error(n: int) -> None:
    errors, expected = [], []
    for seed in range(60):
        logits, truth = music(n, seed=100 + seed, spread=3)
        errors.append(calibration_error(softmax(logits), truth))
        expected.append(expected_ece(softmax(logits)))
    assert np.mean(errors) == pytest.approx(np.mean(expected), rel=0.12)


# Coverage


def test_answering_everything_gives_the_plain_accuracy() -> None:
    scores = softmax(LOGITS)
    curve = coverage_curve(scores, TRUTH)
    assert curve.coverage[-1] == 1
    assert curve.accuracy[-1] == np.mean(scores.argmax(1) == TRUTH)
    assert curve.threshold[-1] == scores.max(1).min()


rows = st.lists(
    st.tuples(st.sampled_from([0.5, 0.6, 0.75, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_curves_are_monotone_and_independent_of_order(drawn: list[tuple[float, bool]], dice: Any) -> None:
    order = list(range(len(drawn)))
    dice.shuffle(order)
    scores = np.array([(score, 1 - score) for score, _ in drawn])
    truth = np.array([0 if right else 1 for _, right in drawn])
    curve, again = coverage_curve(scores, truth), coverage_curve(scores[order], truth[order])
    for column, same in zip(curve, again, strict=True):
        np.testing.assert_array_equal(column, same)
    assert (np.diff(curve.coverage) > 0).all()
    assert (np.diff(curve.threshold) < 0).all()
    for point in zip(*curve, strict=True):
        coverage, accuracy, threshold = map(float, point)
        assert coverage_at(scores, truth, threshold) == Threshold(
            threshold, coverage, pytest.approx(accuracy)
        )


def test_order_does_not_matter_to_temperature_and_threshold() -> None:
    order = np.random.default_rng(9).permutation(500)
    logits, truth = LOGITS[:500], TRUTH[:500]
    assert fit_temperature(logits[order], truth[order]) == pytest.approx(fit_temperature(logits, truth))
    tracks = np.arange(500) // 5
    whole = fit_segment_temperature(logits, truth[:100], tracks)
    assert fit_segment_temperature(logits[order], truth[:100], tracks[order]) == pytest.approx(whole)
    scores = softmax(logits)
    assert select_threshold(scores[order], truth[order]) == select_threshold(scores, truth)


def test_lower_coverage_gives_higher_accuracy_for_calibrated_scores() -> None:
    curve = coverage_curve(softmax(LOGITS), TRUTH)
    places = [int(share * len(curve.coverage)) - 1 for share in (0.1, 0.3, 0.6, 1)]
    assert (np.diff(curve.accuracy[places]) < -0.05).all()


# Threshold


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.5, 0.99))
def test_the_threshold_is_the_lowest_that_reaches_the_target_accuracy(seed: int, asked: float) -> None:
    logits, truth = music(200, seed=seed, spread=3)
    scores = softmax(logits)
    found = select_threshold(scores, truth, asked)
    curve = coverage_curve(scores, truth)
    if found is None:
        assert (curve.accuracy[19:] < asked).all()
        return
    assert found.accuracy >= asked
    assert found.coverage >= 20 / 200
    assert found == coverage_at(scores, truth, found.score)
    assert (curve.accuracy[curve.threshold < found.score] < asked).all()


def test_a_threshold_chosen_on_validation_data_holds_on_test_data() -> None:
    scores = softmax(LOGITS)
    found = select_threshold(scores[:3000], TRUTH[:3000])
    assert found is not None
    held = coverage_at(scores[3000:], TRUTH[3000:], found.score)
    assert held.accuracy == pytest.approx(0.9, abs=0.03)
    assert held.coverage == pytest.approx(found.coverage, abs=0.03)


def test_one_wrong_answer_of_high_confidence_does_not_decide() -> None:
    confidence = np.linspace(0.99, 0.6, 40)
    scores = np.stack([confidence, 1 - confidence], 1)
    truth = np.zeros(40, int)
    truth[0] = 1
    assert select_threshold(scores, truth) == Threshold(pytest.approx(0.6), 1.0, 39 / 40)


def test_too_few_correct_answers_do_not_give_a_threshold() -> None:
    confidence = np.linspace(0.99, 0.6, 40)
    scores = np.stack([confidence, 1 - confidence], 1)
    truth = (np.arange(40) >= 10).astype(int)
    assert select_threshold(scores, truth) is None
    assert select_threshold(scores, truth, min_answers=5) == Threshold(pytest.approx(0.89), 11 / 40, 10 / 11)
    assert select_threshold(scores[:10], truth[:10]) is None


def test_above_all_scores_nothing_is_answered() -> None:
    assert coverage_at([[0.5, 0.5]], [0], 0.9) == Threshold(0.9, 0.0, 0.0)


# Together


def test_a_calibration_report_has_a_hundred_points_and_both_thresholds() -> None:
    scores = softmax(LOGITS)
    report = calibration_report(scores, TRUTH, threshold=0.5)
    assert len(report.curve) == 100
    assert report.curve[-1] == coverage_at(scores, TRUTH, scores.max(1).min())
    assert report.best_threshold == select_threshold(scores, TRUTH, 0.9)
    assert report.model_threshold == coverage_at(scores, TRUTH, 0.5)
    assert report.expected_ece == expected_ece(scores)
    assert CalibrationReport.from_json(asdict(report)) == report
    bare = calibration_report(scores[:5], TRUTH[:5])
    assert (bare.best_threshold, bare.model_threshold) == (None, None)
    assert CalibrationReport.from_json(asdict(bare)) == bare


# Errors


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("dataset_empty", lambda: fit_temperature(np.zeros((0, 3)), [])),
        ("dataset_empty", lambda: fit_temperature(np.eye(3), [0, 1, 2], [0, 0, 0])),
        ("dataset_invalid", lambda: fit_temperature(np.eye(3), [0, 1])),
        ("dataset_invalid", lambda: fit_temperature([[0.0, -np.inf]], [0])),
        ("dataset_invalid", lambda: fit_temperature(np.eye(3), [0, 1, 2], [1, 1])),
        ("dataset_invalid", lambda: fit_segment_temperature(np.eye(3), [0, 1], [0, 1, 2])),
        ("dataset_invalid", lambda: fit_segment_temperature(np.eye(3), [0, 1], [0, 1])),
        ("dataset_empty", lambda: fit_segment_temperature(np.eye(3), [0, 1], [0, 1, 1], [0, 0, 0])),
        ("dataset_invalid", lambda: reliability([[3.0, -1.0]], [0])),
        ("dataset_invalid", lambda: coverage_curve([[0.5, np.nan]], [0])),
        ("invalid_argument", lambda: reliability([[0.6, 0.4]], [0], bins=0)),
        ("invalid_argument", lambda: select_threshold([[0.6, 0.4]], [0], 90)),
    ],
)
def test_invalid_calibration_data_are_refused(code: str, call: Callable[[], object]) -> None:
    with pytest.raises((DataError, ConfigError)) as failure:
        call()
    assert failure.value.code == code
    assert failure.value.hint
