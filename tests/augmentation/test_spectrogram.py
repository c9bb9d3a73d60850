"""Augmentation of spectrograms: reproducible, bounded, with matching targets."""

from __future__ import annotations

import numpy as np
import pytest

from genrescope.augmentation import spectrogram as augment
from genrescope.types import FloatArray


def batch(items: int = 6, mels: int = 32, frames: int = 40) -> FloatArray:
    return np.random.default_rng(0).normal(size=(items, mels, frames)).astype(np.float32)


def test_masks_are_at_most_as_wide_as_given() -> None:
    before = batch()
    after = augment.spec_augment(before, np.random.default_rng(1), masks=1, bands=4, frames=5)
    changed = before != after
    assert changed.sum() > 0
    for item in changed:
        assert item.all(axis=1).sum() <= 4
        assert item.all(axis=0).sum() <= 5
    np.testing.assert_array_equal(before, batch())  # what was given is left alone


def test_masks_carry_the_items_mean() -> None:
    before = batch(1)
    after = augment.spec_augment(before, np.random.default_rng(3), masks=2, bands=8, frames=8)
    np.testing.assert_allclose(after[before != after], before.mean(), atol=1e-5)


def test_masks_wider_than_the_spectrogram_are_not_an_error() -> None:
    assert np.isfinite(
        augment.spec_augment(batch(2, 4, 4), np.random.default_rng(0), masks=3, bands=9, frames=9)
    ).all()


def test_random_lowpass_removes_the_highest_bands_of_some_items() -> None:
    before = batch(200)
    after = augment.random_lowpass(before, np.random.default_rng(1), share=0.3)
    limited = (after != before).any(axis=(1, 2))
    assert 0.15 < limited.mean() < 0.45
    for item, whole in zip(after[limited], before[limited], strict=True):
        gone = np.isclose(item[:, 0], whole.max() - 100)
        assert gone[-1]
        assert not gone[: 2 * len(gone) // 3].any()
        np.testing.assert_array_equal(item[~gone], whole[~gone])
    np.testing.assert_array_equal(before, batch(200))


def test_mixup_blends_inputs_and_targets_by_the_same_shares() -> None:
    inputs = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    mixed, targets = augment.mixup(inputs, inputs, np.random.default_rng(0), strength=0.4)
    np.testing.assert_allclose(mixed, targets)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    assert mixed.dtype == targets.dtype == np.float32


@pytest.mark.parametrize("seed", [0, 7])
def test_a_generator_reproduces_the_result(seed: int) -> None:
    def once() -> FloatArray:
        generator = np.random.default_rng(seed)
        masked = augment.spec_augment(batch(), generator, masks=1, bands=4, frames=4)
        return augment.mixup(masked, np.eye(6, dtype=np.float32), generator, strength=0.3)[0]

    np.testing.assert_array_equal(once(), once())


def test_random_eq_is_smooth_over_bands_and_constant_in_time() -> None:
    before = np.full((4, 64, 10), -20, np.float32)
    after = augment.random_eq(before, np.random.default_rng(0), decibels=3.0)
    change = after - before
    np.testing.assert_allclose(change, change[:, :, :1].repeat(10, axis=2), atol=1e-4)
    assert 0.5 < change[:, :, 0].std() < 8
    assert np.abs(np.diff(change[:, :, 0], axis=1)).max() < 3


def test_random_eq_fills_silence_with_a_noise_floor() -> None:
    before = np.full((8, 64, 10), -100, np.float32)
    before[:, 10] = 0
    after = augment.random_eq(before, np.random.default_rng(0), decibels=0.0)
    floors = after[:, 40]
    assert floors.min() >= -90.1
    assert floors.max() <= -45 + 3.1
    np.testing.assert_allclose(after[:, 10], before[:, 10], atol=1e-2)
