"""Leave one collection out, and what is chosen on the collections that are left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genrescope.evaluation import MIN_ANSWERS
from genrescope.models import TeacherOutputs
from genrescope.training.taxonomy import calibration
from genrescope.training.taxonomy.calibration import SegmentScores
from genrescope.training.taxonomy.cross_validation import (
    calibrate_held_out,
    leave_one_collection_out,
    summarize,
    tabulate,
)
from genrescope.training.taxonomy.data import LabeledClips
from genrescope.types import Float64Array, IntArray


def draw_scores(rows: int, seed: int, classes: int = 5) -> tuple[Float64Array, IntArray]:
    """Return scores that are calibrated: the genre is drawn from them."""
    generator = np.random.default_rng(seed)
    scores = generator.dirichlet(np.full(classes, 0.4), rows)
    return scores, np.array([generator.choice(classes, p=row) for row in scores])


def labeled_clips(genre: IntArray, collection: list[str], genres: int = 5) -> LabeledClips:
    count = len(genre)
    names = np.array([f"track {number}" for number in range(count)])
    return LabeledClips(
        genres=tuple(f"genre {number}" for number in range(genres)),
        track=names,
        source=np.array(["a"] * count),
        collection=np.array(collection),
        artist=np.array([""] * count),
        genre=genre,
        mask=np.ones((count, genres), bool),
        is_trusted=np.ones(count, bool),
        outputs=TeacherOutputs(*(torch.zeros(count, 1) for _ in range(4))),
        clip=np.arange(count),
        is_scored=np.ones(count, bool),
    )


def test_folds_share_neither_collection_nor_artist() -> None:
    generator = np.random.default_rng(0)
    collections = [f"c{number}" for number in generator.integers(0, 5, 200)]
    artists = ["" if number < 10 else f"artist {number}" for number in generator.integers(0, 60, 200)]
    folds = leave_one_collection_out(collections, artists)
    assert [fold.collection for fold in folds] == sorted(set(collections))
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(200))
    for fold in folds:
        sides = [fold.train, fold.test]
        first, second = ({collections[row] for row in side} for side in sides)
        assert not first & second
        first, second = ({artists[row] for row in side} - {""} for side in sides)
        assert not first & second
        # Clips without a known artist stay.
        assert {row for row in range(200) if not artists[row]} <= {*fold.train, *fold.test}


def test_conformal_sets_cover_exchangeable_collections() -> None:
    scores, genre = draw_scores(4000, 1)
    weight = calibration.collection_weights(["a"] * 1000 + ["b"] * 3000, np.ones(4000, bool))
    level = calibration.conformal_level(scores, genre, weight)
    others, truth = draw_scores(4000, 2)
    covered = calibration.mass_before(others, truth) < level
    assert 0.88 < covered.mean() < 0.92
    assert (calibration.set_sizes(others, np.full(4000, level)) >= 1).all()


def test_sets_hold_the_likeliest_genres_up_to_the_level() -> None:
    scores = np.array([[0.5, 0.3, 0.2], [0.05, 0.9, 0.05]])
    np.testing.assert_array_equal(calibration.set_sizes(scores, np.array([0.75, 0.75])), [2, 1])
    np.testing.assert_allclose(calibration.mass_before(scores, np.array([2, 1])), [0.8, 0])


def test_the_threshold_is_the_lowest_at_which_nine_of_ten_are_right() -> None:
    # The surest fifty are right; after that, one of two.
    top = np.linspace(0.9, 0.4, 100)
    scores = np.stack([top, 1 - top], 1)
    scores[top < 0.5] = scores[top < 0.5][:, ::-1]
    answer = scores.argmax(1)
    wrong = (np.arange(100) >= 50) & (np.arange(100) % 2 == 0)
    genre = np.where(wrong, 1 - answer, answer)
    found = calibration.select_weighted_threshold(scores, genre, np.ones(100))
    assert found is not None
    given = scores.max(1) >= found
    assert (answer == genre)[given].mean() >= 0.9
    lower = scores.max(1) >= np.sort(scores.max(1))[::-1][given.sum()]
    assert (answer == genre)[lower].mean() < 0.9


def test_no_threshold_without_enough_right_answers() -> None:
    scores = np.tile([0.7, 0.3], (200, 1))
    genre = np.arange(200) % 2
    assert calibration.select_weighted_threshold(scores, genre, np.ones(200)) is None
    few = MIN_ANSWERS - 1
    assert calibration.select_weighted_threshold(scores[:few], np.zeros(few, int), np.ones(few)) is None


def test_small_collections_count_more_per_clip() -> None:
    weight = calibration.collection_weights(["a"] * 16 + ["b"] * 4, np.arange(20) != 0)
    assert weight[0] == 0
    assert weight[1] == pytest.approx(1 / 4)
    assert weight[16] == pytest.approx(1 / 2)


def test_the_temperature_makes_overconfident_scores_calibrated() -> None:
    scores, genre = draw_scores(3000, 4)
    segments = SegmentScores(2 * np.log(scores + 1e-12), np.arange(3000))
    assert calibration.fit_collection_temperature(segments, genre, np.ones(3000)) == pytest.approx(2, rel=0.1)


def test_scores_of_clips_are_means_over_segments() -> None:
    segments = SegmentScores(np.log([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5]]), np.array([0, 0, 1]))
    np.testing.assert_allclose(segments.by_clip(2, 1.0), [[0.6, 0.4], [0.5, 0.5]])


def test_figures_and_tables_of_known_scores() -> None:
    scores, genre = draw_scores(900, 5)
    collection = [f"c{number % 6}" for number in range(900)]
    clips = labeled_clips(genre, collection)
    held_out = calibrate_held_out(SegmentScores(np.log(scores + 1e-12), np.arange(900)), clips)
    figures = summarize(held_out, clips)
    right = held_out.scores.argmax(1) == genre
    assert (figures.clips, figures.collections) == (900, 6)
    assert figures.top_1.value == pytest.approx(right.mean())
    assert figures.top_1.low < figures.top_1.value < figures.top_1.high
    assert figures.top_1.value < figures.surest.value
    assert 0.86 < figures.right.value < 0.94
    assert 0.87 < figures.covered.value < 0.93
    assert figures.calibration_error < 0.06
    rows = tabulate(held_out, clips, collection)
    assert sum(row.clips for row in rows) == 900
    assert np.average([row.top_1 for row in rows], weights=[row.clips for row in rows]) == pytest.approx(
        right.mean()
    )


def test_clips_of_low_trust_are_in_no_figure_and_no_choice() -> None:
    scores, genre = draw_scores(300, 6)
    collection = [f"c{number % 3}" for number in range(300)]
    clips = labeled_clips(genre, collection)
    clips.is_trusted[:100] = False
    segments = SegmentScores(np.log(scores + 1e-12), np.arange(300))
    before = calibrate_held_out(segments, clips)
    segments.logits[:100] = np.random.default_rng(0).normal(size=(100, 5))
    after = calibrate_held_out(segments, clips)
    np.testing.assert_array_equal(before.threshold, after.threshold)
    np.testing.assert_array_equal(before.level, after.level)
    assert summarize(after, clips).clips == 200
