"""Wrong labels among made-up features: found, ranked, and stated with the probability that they are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from genrescope.audit import (
    OutOfFoldModel,
    confident_errors,
    confident_joint,
    confident_noise,
    confusion_of,
    find_label_errors,
    group_folds,
    label_margins,
    plant_errors,
    standardized,
)
from genrescope.audit.label_errors import estimate_noise, fit_error_curve, judged_tracks, why_not_judged
from genrescope.types import Float64Array, IntArray


def clusters(
    tracks: int, classes: int, distance: float, seed: int = 0
) -> tuple[Float64Array, IntArray, IntArray]:
    """Return features, labels and groups of three tracks each; the larger the distance, the easier."""
    generator = np.random.default_rng(seed)
    labels = np.arange(tracks) % classes
    centers = distance * generator.standard_normal((classes, 12))
    values = centers[labels] + generator.standard_normal((tracks, 12))
    return (
        standardized(values),
        labels.astype(np.int64),
        (np.arange(tracks) // (3 * classes)) * classes + labels,
    )


def planted(labels: IntArray, share: float, seed: int = 1) -> tuple[IntArray, np.ndarray]:
    classes = int(labels.max()) + 1
    uniform = np.full((classes, classes), 1 / classes)
    return plant_errors(labels, uniform, share, np.random.default_rng(seed))


def test_folds_keep_groups_together_and_classes_even() -> None:
    _, labels, groups = clusters(300, 4, 1.0)
    folds = group_folds(labels, groups, 5, np.random.default_rng(0))
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1
    counts = np.array([np.bincount(labels[folds == fold], minlength=4) for fold in range(5)])
    assert counts.min() >= 12
    assert counts.max() <= 18


def test_no_track_is_scored_by_a_model_that_was_given_its_group() -> None:
    # Each group has a place of its own, and a label at random: nothing can be learned about other groups.
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    labels = generator.integers(0, 2, 60)[groups]
    values = standardized(generator.standard_normal((60, 30))[groups])
    scores = OutOfFoldModel([values], labels, groups).log_probabilities(labels)
    assert np.mean(scores.argmax(axis=1) == labels) < 0.7


def test_probabilities_of_easy_classes_are_right_and_sum_to_one() -> None:
    values, labels, groups = clusters(200, 4, 2.0)
    scores = OutOfFoldModel([values, values[:, :6]], labels, groups).log_probabilities(labels)
    assert np.mean(scores.argmax(axis=1) == labels) > 0.97
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, atol=1e-6)


def test_small_classes_are_not_held_for_less_likely() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), [150, 150, 14, 14])
    centers = 0.35 * generator.standard_normal((4, 120))
    values = standardized(centers[labels] + generator.standard_normal((len(labels), 120)))
    scores = OutOfFoldModel([values], labels, np.arange(len(labels))).log_probabilities(labels)
    right = scores.argmax(axis=1) == labels
    assert right[labels >= 2].mean() > 0.88
    assert right[labels < 2].mean() > 0.93


def test_a_class_that_a_fold_does_not_train_on_is_held_for_impossible() -> None:
    values, labels, groups = clusters(120, 3, 1.0)
    labels = np.where(groups == groups[0], 3, labels)
    scores = OutOfFoldModel([values], labels, groups).log_probabilities(labels)
    assert (scores[groups == groups[0]].argmin(axis=1) == 3).all()


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_planted_errors_are_first_and_get_high_probabilities(share: float) -> None:
    values, labels, groups = clusters(600, 4, 1.5)
    changed, wrong = planted(labels, share)
    found = find_label_errors([values], changed, groups)
    first = np.argsort(found.margin)[: wrong.sum()]
    assert wrong[first].mean() > 0.95
    assert found.probability[wrong].mean() > 0.85
    assert found.probability[~wrong].mean() < 0.02
    assert found.noise == pytest.approx(share, abs=0.03)
    assert np.mean(found.suggested[wrong] == labels[wrong]) > 0.95


def test_probabilities_are_calibrated_where_classes_overlap() -> None:
    values, labels, groups = clusters(1200, 4, 0.8)
    changed, wrong = planted(labels, 0.1)
    probability = find_label_errors([values], changed, groups).probability
    assert probability.mean() == pytest.approx(0.1, abs=0.04)
    for low, high in ((0.0, 0.2), (0.2, 0.6), (0.6, 1.0)):
        inside = (probability >= low) & (probability <= high)
        assert probability[inside].mean() == pytest.approx(wrong[inside].mean(), abs=0.15)


def test_right_labels_of_hard_classes_are_not_called_wrong() -> None:
    values, labels, groups = clusters(600, 4, 0.8)
    found = find_label_errors([values], labels, groups)
    assert np.mean(np.exp(found.log_probabilities).argmax(axis=1) != labels) > 0.05
    assert np.mean(found.probability >= 0.5) < 0.05
    # Confident learning takes hard tracks for errors.
    assert confident_noise(labels, np.exp(found.log_probabilities)) > found.noise


def test_the_same_labels_give_the_same_result() -> None:
    values, labels, groups = clusters(200, 4, 1.0)
    first, second = (find_label_errors([values], labels, groups, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.probability, second.probability)


def test_tracks_of_a_label_that_one_group_has_are_not_judged() -> None:
    values, labels, groups = clusters(240, 4, 1.0)
    labels = np.where(groups == groups[0], 4, labels)
    found = find_label_errors([values], labels, groups)
    assert not found.judged[labels == 4].any()
    assert (found.probability[labels == 4] == 0).all()
    assert found.judged[labels != 4].all()


def test_what_is_too_small_is_said_so() -> None:
    _, labels, groups = clusters(240, 4, 1.0)
    assert why_not_judged(labels, groups) == ""
    assert "no track" in why_not_judged(labels[:0], groups[:0])
    assert "2 are needed" in why_not_judged(np.zeros(60, np.int64), np.arange(60))
    assert "tracks can be judged" in why_not_judged(labels[:30], np.arange(30))
    assert "groups" in why_not_judged(labels, np.arange(240) % 6)
    assert not judged_tracks(labels, labels).any()


def test_planting_changes_as_many_labels_as_asked_for() -> None:
    labels = np.arange(200) % 4
    confusion = np.array([[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]])
    changed, wrong = plant_errors(labels, confusion, 0.1, np.random.default_rng(0), confusable=1.0)
    assert wrong.sum() == 20
    assert ((changed != labels) == wrong).all()
    # Confusable classes: 0 and 1, 2 and 3.
    assert (changed[wrong] // 2 == labels[wrong] // 2).all()
    allowed = labels < 3
    changed, wrong = plant_errors(labels, confusion, 0.2, np.random.default_rng(0), allowed=allowed)
    assert wrong.sum() == 30
    assert allowed[wrong].all()
    assert changed[wrong].max() < 3


def test_confusion_and_margins_of_known_probabilities() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.4, 0.1]])
    labels = np.array([0, 1, 1])
    confusion = confusion_of(np.log(probabilities), labels)
    np.testing.assert_allclose(confusion[0], probabilities[0])
    np.testing.assert_allclose(confusion[1], probabilities[1:].mean(axis=0))
    np.testing.assert_allclose(confusion[2], 1 / 3)
    margins, others = label_margins(np.log(probabilities), labels)
    np.testing.assert_allclose(margins, np.log([0.7 / 0.2, 0.6 / 0.3, 0.4 / 0.5]))
    assert others.tolist() == [1, 2, 0]


def test_noise_and_curve_of_known_mixtures() -> None:
    generator = np.random.default_rng(0)
    wrong = generator.normal(-4, 1.5, 2000)
    given = np.concatenate([generator.normal(-4, 1.5, 600), generator.normal(4, 1.5, 5400)])
    noise = estimate_noise(wrong, given)
    assert noise == pytest.approx(0.1, abs=0.01)
    # Two normal distributions of one width: log odds are linear, -2 * 4 / 1.5^2 a unit of margin.
    offset, slope = fit_error_curve(wrong, given, noise)
    assert slope == pytest.approx(-2 * 4 / 1.5**2, rel=0.25)
    assert offset == pytest.approx(0, abs=0.6)
    assert estimate_noise(wrong, generator.normal(4, 1, 5000)) < 0.001


def confident_example() -> tuple[IntArray, Float64Array]:
    values, labels, groups = clusters(400, 4, 0.8)
    changed, _ = planted(labels, 0.1)
    return changed, np.exp(OutOfFoldModel([values], changed, groups).log_probabilities(changed))


def test_confident_joint_of_a_worked_example() -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.75, 0.25], [0.45, 0.55]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    # Thresholds: 0.6 and 0.5667. The last track reaches neither.
    assert confident_joint(labels, probabilities).tolist() == [[2, 1], [1, 1]]
    assert confident_errors(labels, probabilities).tolist() == [False, False, True, False, True, False]
    assert confident_noise(labels, probabilities) == pytest.approx((3 * 1 / 3 + 3 / 2) / 6)


def test_confident_learning_is_that_of_cleanlab() -> None:
    count = pytest.importorskip("cleanlab.count")
    issues = pytest.importorskip("cleanlab.filter")
    labels, probabilities = confident_example()
    joint = count.compute_confident_joint(labels, probabilities, calibrate=False)
    np.testing.assert_array_equal(confident_joint(labels, probabilities), joint)
    found = issues.find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    ours = confident_errors(labels, probabilities)
    # cleanlab keeps a label that is the likeliest class, though below another one's threshold.
    np.testing.assert_array_equal(ours & (probabilities.argmax(axis=1) != labels), found)
    estimated = count.estimate_joint(labels, probabilities, confident_joint=joint)
    assert confident_noise(labels, probabilities) == pytest.approx(1 - np.trace(estimated), abs=0.01)
