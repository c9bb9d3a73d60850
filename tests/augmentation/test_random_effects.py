"""Random effects: bounded, of the given length, reproducible, and different for every seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrescope.augmentation import random_effects
from genrescope.errors import AudioError, ConfigError
from genrescope.types import FloatArray

RATE = 16000


def sound(length: int = RATE, seed: int = 0) -> FloatArray:
    """Return a chord in noise, peak 0.9."""
    time = np.arange(length) / RATE
    mixed = np.sin(2 * np.pi * 220 * time) + np.sin(2 * np.pi * 554 * time)
    mixed += 0.3 * np.random.default_rng(seed).standard_normal(length)
    return (0.9 * mixed / np.abs(mixed).max()).astype(np.float32)


def distorted(seed: int, **settings: float) -> FloatArray:
    return random_effects.apply_random_effects(sound(), RATE, np.random.default_rng(seed), **settings)


def test_a_seed_reproduces_the_result_and_another_differs() -> None:
    for seed in range(8):
        np.testing.assert_array_equal(distorted(seed, strength=2), distorted(seed, strength=2))
        assert not np.array_equal(distorted(seed, strength=2), distorted(seed + 1, strength=2))


def test_a_generator_advances() -> None:
    generator = np.random.default_rng(0)
    first, second = (
        random_effects.apply_random_effects(sound(), RATE, generator, strength=2) for _ in range(2)
    )
    assert not np.array_equal(first, second)


def test_no_strength_changes_nothing() -> None:
    np.testing.assert_array_equal(distorted(0, strength=0), sound())


def test_more_strength_changes_more() -> None:
    """Spectra are compared, because a shift in time changes every sample but nothing audible."""
    clean = np.abs(np.fft.rfft(sound()))
    distances = [
        np.mean(
            [np.abs(np.abs(np.fft.rfft(distorted(seed, strength=by))) - clean).mean() for seed in range(24)]
        )
        for by in (0.2, 1.0)
    ]
    assert distances[0] < distances[1]


def test_an_excerpt_is_cut_from_anywhere() -> None:
    ramp = np.linspace(0, 1, RATE, dtype=np.float32)
    generator = np.random.default_rng(0)
    cuts = [
        random_effects.apply_random_effects(ramp, RATE, generator, strength=0, seconds=0.25)
        for _ in range(40)
    ]
    assert {len(cut) for cut in cuts} == {RATE // 4}
    starts = [float(cut[0]) for cut in cuts]
    assert min(starts) < 0.1
    assert 0.65 < max(starts) <= 0.751
    for cut in cuts:
        np.testing.assert_allclose(np.diff(cut), 1 / (RATE - 1), atol=1e-6)


def test_a_short_recording_is_repeated() -> None:
    ramp = np.linspace(0, 1, RATE, dtype=np.float32)
    cut = random_effects.apply_random_effects(ramp, RATE, np.random.default_rng(0), strength=0, seconds=2.5)
    assert len(cut) == 2.5 * RATE
    np.testing.assert_array_equal(cut[:RATE], cut[RATE : 2 * RATE])
    np.testing.assert_array_equal(np.sort(cut[:RATE]), ramp)


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, RATE),
    seconds=st.none() | st.floats(1e-5, 0.7),
    strength=st.floats(0, random_effects.MAX_STRENGTH),
    rate=st.sampled_from([8000, RATE, 22050, 44100]),
    level=st.sampled_from([0.0, 1e-6, 1.0, 50.0]),
    seed=st.integers(0, 2**32),
)
def test_random_effects_return_finite_bounded_samples_of_the_given_length(
    length: int, seconds: float | None, strength: float, rate: int, level: float, seed: int
) -> None:
    given_sound = sound(length) * np.float32(level)
    before = given_sound.copy()
    generator = np.random.default_rng(seed)
    augmented = random_effects.apply_random_effects(
        given_sound, rate, generator, strength=strength, seconds=seconds
    )
    assert len(augmented) == (length if seconds is None else max(1, round(seconds * rate)))
    assert augmented.dtype == np.float32
    assert np.isfinite(augmented).all()
    assert np.abs(augmented).max() <= 1
    assert not np.shares_memory(augmented, given_sound)
    np.testing.assert_array_equal(given_sound, before)


def test_every_step_is_drawn_and_every_step_distorts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one step only, at every strength, the samples change."""
    monkeypatch.setattr(random_effects, "_WARP_PROBABILITY", 0.0)
    for _, step in random_effects._STEPS:
        monkeypatch.setattr(random_effects, "_STEPS", ((1.0, step),))
        for strength in (1.0, random_effects.MAX_STRENGTH):
            assert not np.array_equal(distorted(3, strength=strength), sound()), step.__name__


def test_silence_stays_silent() -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    for seed in range(12):
        augmented = random_effects.apply_random_effects(
            silence, RATE, np.random.default_rng(seed), strength=2
        )
        assert np.abs(augmented).max() < 1e-3


@pytest.mark.parametrize("strength", [-0.1, 3.1, float("nan")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match="strength"):
        distorted(0, strength=strength)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_an_invalid_length_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="seconds"):
        distorted(0, seconds=seconds)


def test_an_empty_recording_is_refused() -> None:
    with pytest.raises(AudioError) as caught:
        random_effects.apply_random_effects(sound()[:0], RATE, np.random.default_rng(0))
    assert caught.value.code == "audio_no_samples"
