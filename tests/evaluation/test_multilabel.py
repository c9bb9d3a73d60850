"""Evaluation of multi-label scores by segment and track, thresholds, temperature."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from genrescope.errors import DataError
from genrescope.evaluation import (
    Evaluation,
    LabelSets,
    Predictions,
    evaluate_label_scores,
    fit_label_temperature,
    pool_predictions,
    select_label_thresholds,
    track_predictions,
)
from genrescope.evaluation.comparison import compare_predictions

CLASSES = ("electronic", "techno", "rock")
GENERATOR = np.random.default_rng(1)
TRACKS = np.repeat(np.arange(40), 3)
TRUTH = (GENERATOR.random((40, 3)) < 0.4)[TRACKS]
SCORES = np.clip(0.35 * TRUTH + 0.65 * GENERATOR.random((120, 3)), 0, 1)
ALL = np.ones_like(TRUTH)
WEIGHTS = GENERATOR.uniform(1, 3, 120)


def evaluate(judged: np.ndarray = ALL, protocol: str = "artist-grouped") -> Evaluation:
    return evaluate_label_scores(
        SCORES,
        TRUTH,
        judged,
        classes=CLASSES,
        tracks=TRACKS,
        groups=TRACKS // 2,
        weights=WEIGHTS,
        thresholds=(0.5, 0.4, 0.6),
        model="m",
        protocol=protocol,
        leaky=False,
        resamples=200,
    )


def test_levels_are_those_of_segments_and_of_weighted_tracks() -> None:
    found = evaluate()
    tracks, segments = found.label_levels
    assert (tracks.n, tracks.groups, segments.n) == (40, 20, 120)
    assert segments.roc_auc is not None
    assert segments.roc_auc.value == pytest.approx(reference.roc_auc_score(TRUTH, SCORES))
    weighted = SCORES * WEIGHTS[:, None]
    means = weighted.reshape(40, 3, 3).sum(axis=1) / WEIGHTS.reshape(40, 3).sum(axis=1)[:, None]
    assert tracks.pr_auc is not None
    assert tracks.pr_auc.value == pytest.approx(reference.average_precision_score(TRUTH[::3], means))
    predicted = np.greater_equal(means, (0.5, 0.4, 0.6))
    assert tracks.micro_f1.value == pytest.approx(reference.f1_score(TRUTH[::3], predicted, average="micro"))
    for interval in tracks.summary.values():
        assert interval.low <= interval.value <= interval.high
    assert tracks.roc_auc is not None
    assert tracks.roc_auc.low < tracks.roc_auc.value < tracks.roc_auc.high
    assert tracks.hierarchical is not None
    assert tracks.hierarchical.f1.value >= tracks.micro_f1.value
    assert tracks.prevalence == pytest.approx(TRUTH[::3].mean())
    assert evaluate(protocol="segment-random").label_tracks is None


def test_an_evaluation_is_read_as_it_was_written() -> None:
    judged = ALL.copy()
    judged[TRACKS < 30, 2] = False
    found = evaluate(judged)
    assert Evaluation.from_json(found.to_json()) == found
    assert found.label_levels[0].per_label[2].judged == 10
    assert "30 of 120 labels" in found.notes[-1]


def test_segments_of_a_track_have_the_same_genres() -> None:
    judged = ALL.copy()
    judged[0, 0] = False
    with pytest.raises(DataError, match="different genres"):
        evaluate(judged)


def test_thresholds_are_those_of_the_best_f1() -> None:
    scores = np.array([[0.9], [0.8], [0.3], [0.2], [0.1], [0.05]])
    truth = np.array([[1], [1], [1], [0], [0], [0]], bool)
    assert select_label_thresholds(scores, truth, ALL[:6, :1], fewest=3) == pytest.approx([0.25])
    assert select_label_thresholds(scores, truth, ALL[:6, :1], fewest=4) == [None]


def test_the_temperature_of_calibrated_logits_is_found() -> None:
    logits = GENERATOR.normal(0, 2, (3000, 4))
    truth = GENERATOR.random((3000, 4)) < 1 / (1 + np.exp(-logits))
    rows, known = np.arange(3000), np.ones((3000, 4), bool)
    found = fit_label_temperature(3 * logits, truth, known, rows, np.ones(3000))
    assert found == pytest.approx(3, rel=0.1)


def predictions(noise: float) -> Predictions:
    scores = np.clip(SCORES + noise * np.random.default_rng(2).normal(size=SCORES.shape), 0, 1)
    return track_predictions(
        scores,
        TRUTH.argmax(axis=1),
        classes=CLASSES,
        tracks=[f"t{track:02}" for track in TRACKS],
        groups=[f"g{track // 2:02}" for track in TRACKS],
        weights=WEIGHTS,
        labels=LabelSets(TRUTH, ALL, scores >= 0.5),
        thresholds=(0.5,) * 3,
    )


def test_predictions_are_kept_pooled_and_compared() -> None:
    clear, noisy = predictions(0.0), predictions(1.0)
    assert clear.labels is not None
    read = Predictions.from_json(clear.to_json())
    assert read.labels is not None
    assert all(np.array_equal(a, b) for a, b in zip(read.labels, clear.labels, strict=True))
    halves = [clear.take(np.arange(20)), clear.take(np.arange(20, 40))]
    assert np.array_equal(pool_predictions(halves).correct, clear.correct)
    assert clear.correct.mean() > noisy.correct.mean()

    models, pairs = compare_predictions({"clear": [clear], "noisy": [noisy]}, resamples=200)
    assert models[0].accuracy.value == pytest.approx(clear.correct.mean())
    expected = reference.label_ranking_average_precision_score(TRUTH[::3], clear.scores)
    assert models[0].balanced_accuracy.value == pytest.approx(expected)
    expected = reference.f1_score(TRUTH[::3], clear.labels.predicted, average="macro")
    assert models[0].macro_f1.value == pytest.approx(expected)
    assert pairs[0].accuracy.value > 0
