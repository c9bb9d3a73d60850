"""Heads of the taxonomy: what labels say and do not say, and weights."""

from __future__ import annotations

import numpy as np
import torch

from genrescope.labels import load_taxonomy
from genrescope.models import TeacherOutputs
from genrescope.training.taxonomy.data import average_outputs
from genrescope.training.taxonomy.heads import (
    HeadSettings,
    Targets,
    clip_weights,
    fit_distilled_head,
    fit_music_head,
    fit_offset_regression,
    fit_prior_regression,
)

GENRES = load_taxonomy().scored_genres
NAMES = [genre.name for genre in GENRES]
POP, ELECTRONIC, ROCK = (NAMES.index(name) for name in ("pop", "electronic", "rock"))


def random_outputs(rows: int, seed: int = 0) -> TeacherOutputs:
    generator = torch.Generator().manual_seed(seed)
    return TeacherOutputs(*(torch.randn(rows, size, generator=generator) for size in (384, 527, 200, 50)))


def test_a_label_says_nothing_of_genres_that_its_collection_does_not_distinguish() -> None:
    # One input, 1 for all rows: "pop" of a collection without electronic beside "electronic" of another.
    mask = np.ones((60, 3), bool)
    genre = np.array([0] * 50 + [1] * 5 + [2] * 5)
    settings = HeadSettings(label_smoothing=0.0, strength=100.0, bias_penalty=1.0)

    def electronic_against_pop(mask: np.ndarray) -> float:  # type: ignore[type-arg]
        weights, biases = fit_offset_regression(
            np.ones((60, 1)), np.zeros((60, 3)), Targets(genre, mask, np.ones(60)), settings
        )
        logits = weights[0] + biases
        return float(logits[1] - logits[0])

    open_labels = electronic_against_pop(mask)
    masked = mask.copy()
    masked[:50, 1] = False
    # With the mask, the fifty clips of pop do not count against electronic.
    assert open_labels < -2
    assert electronic_against_pop(masked) > open_labels + 1.5


def test_masked_genres_have_no_gradient() -> None:
    mask = np.ones((4, 3), bool)
    mask[:, 1] = False
    targets = Targets(np.array([0, 2, 0, 2]), mask, np.ones(4))
    inputs = np.array([[1.0], [-1.0], [0.5], [-2.0]])
    weights, biases = fit_offset_regression(inputs, np.zeros((4, 3)), targets, HeadSettings())
    assert weights[0, 1] == biases[1] == 0
    assert weights[0, 0] > 0 > weights[0, 2]


def test_without_weight_the_prior_alone_decides() -> None:
    outputs = random_outputs(30)
    targets = Targets(np.arange(30) % len(GENRES), np.ones((30, len(GENRES)), bool), np.zeros(30))
    head = fit_prior_regression(outputs, targets, GENRES, HeadSettings())
    assert not head.regression.weight.any()
    assert not head.regression.bias.any()
    audioset, tags = head.log_priors(outputs)
    centered = 0.8 * (audioset - 0.3 * audioset.mean(0)) + 0.5 * (tags - 0.3 * tags.mean(0))
    torch.testing.assert_close(head(outputs), centered)


def test_labels_correct_the_prior() -> None:
    outputs = random_outputs(80)
    genre = np.where(outputs.embedding[:, 0].numpy() > 0, ROCK, POP)
    targets = Targets(genre, np.ones((80, len(GENRES)), bool), np.ones(80))
    head = fit_prior_regression(outputs, targets, GENRES, HeadSettings(strength=50.0))
    with torch.inference_mode():
        chosen = head(outputs)[:, [POP, ROCK]].argmax(1).numpy()
    assert ((chosen == 1) == (genre == ROCK)).mean() > 0.95


def test_large_genres_and_collections_weigh_less() -> None:
    genre = np.array([0] * 90 + [1] * 10)
    collections = ["large"] * 80 + ["small"] * 20
    weights = clip_weights(genre, collections, HeadSettings())
    assert np.isclose(weights.sum(), 100)
    assert weights[0] < weights[85] < weights[95]
    np.testing.assert_allclose(weights[85] / weights[0], 2)
    np.testing.assert_allclose(weights[95] / weights[85], 9**0.1)


def test_the_distilled_head_learns_its_targets_and_is_the_same_each_time() -> None:
    outputs = random_outputs(600)
    wanted = torch.full((600, len(GENRES)), 1e-3)
    first = outputs.musicnn[:, 0] > 0
    wanted[first, POP] = 1
    wanted[~first, ELECTRONIC] = 1
    settings = HeadSettings(hidden=8, epochs=30, batch_size=100)
    state = torch.get_rng_state()
    heads = [
        fit_distilled_head(outputs, wanted, GENRES, settings, seed=3, device=torch.device("cpu"))
        for _ in range(2)
    ]
    assert torch.equal(state, torch.get_rng_state())
    with torch.inference_mode():
        one, other = (head(outputs) for head in heads)
    assert torch.equal(one, other)
    assert ((one.argmax(1) == POP) == first).float().mean() > 0.9


def test_the_music_head_separates_what_the_teacher_separates() -> None:
    outputs = random_outputs(200)
    is_music = np.arange(200) % 3 > 0
    outputs.logits[:, 137] = torch.from_numpy(np.where(is_music, 3.0, -3.0))
    head = fit_music_head(outputs, is_music, HeadSettings(music_strength=1.0))
    with torch.inference_mode():
        probability = head(outputs).sigmoid()[:, 0].numpy()
    assert ((probability > 0.5) == is_music).all()


def test_outputs_of_clips_average_probabilities() -> None:
    outputs = random_outputs(5)
    means = average_outputs(outputs, np.array([0, 0, 1, 1, 1]), 2)
    torch.testing.assert_close(means.embedding[0], outputs.embedding[:2].mean(0))
    torch.testing.assert_close(means.logits[1].sigmoid(), outputs.logits[2:].sigmoid().mean(0))
