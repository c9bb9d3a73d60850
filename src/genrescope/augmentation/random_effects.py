"""Random chains of audio effects, drawn from a given generator, so that a seed reproduces them.

In distillation, teacher and student must be given the same augmented samples: what `apply_random_effects`
returns. To mix two recordings, apply it to each, then mix them with `effects.mix`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import numpy as np

from genrescope.augmentation import effects
from genrescope.errors import AudioError, ConfigError
from genrescope.types import FloatArray

MAX_STRENGTH = 3.0

Step = Callable[[FloatArray, int, np.random.Generator, float], FloatArray]

# How often one of speed, tempo and pitch is changed, at strength 1.
_WARP_PROBABILITY = 0.6


def apply_random_effects(
    samples: FloatArray,
    sample_rate: int,
    generator: np.random.Generator,
    *,
    strength: float = 1.0,
    seconds: float | None = None,
) -> FloatArray:
    """Apply random effects: which ones, in which order, and how strong each is.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
        Finite. Left as they are.
    sample_rate : int
        In Hz.
    generator : numpy.random.Generator
        Source of all that is random.
    strength : float
        0 (only cut) to 3; scales both how often something is done and how much.
    seconds : float, optional
        Length of the excerpt to cut, from anywhere; a shorter recording is repeated. None: the whole.

    Returns
    -------
    ndarray, shape (n,) or (round(seconds * sample_rate),), float32
        Finite, peak at most 1; a fresh array.

    Raises
    ------
    AudioError
        ``audio_no_samples`` for an empty recording.
    ConfigError
        ``invalid_argument`` for a strength or length that makes no sense.
    """
    length = len(samples) if seconds is None else _count(seconds, sample_rate)
    if not len(samples):
        raise AudioError("audio_no_samples", "no samples to augment", "give a recording with sound in it")
    if not 0 <= strength <= MAX_STRENGTH:
        raise ConfigError(
            "invalid_argument", f"strength = {strength}", f"give a number from 0 to {MAX_STRENGTH:g}"
        )
    # Speed and tempo first, because they decide how many samples the excerpt needs of the recording.
    samples = _warped_excerpt(samples, sample_rate, generator, strength, length)
    # In any order, because recordings differ in it: noise of a microphone is equalized, that of a tape not.
    for index in generator.permutation(len(_STEPS)):
        probability, step = _STEPS[index]
        if generator.random() < probability * strength:
            samples = step(samples, sample_rate, generator, strength)
    return effects.limit(samples)


def _count(seconds: float, sample_rate: int) -> int:
    if 0 < seconds < math.inf:
        return max(1, round(seconds * sample_rate))
    raise ConfigError("invalid_argument", f"seconds = {seconds}", "give a positive number of seconds")


def _warped_excerpt(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float, length: int
) -> FloatArray:
    """Cut a random excerpt of ``length`` samples, in some cases at another speed, tempo or pitch."""
    is_warped = generator.random() < _WARP_PROBABILITY * strength
    warp = generator.choice(["speed", "tempo", "pitch"]) if is_warped else "none"
    amount = strength * generator.uniform(-1, 1)
    if warp == "speed":
        factor = 2 ** (amount / 6)  # up to two semitones
        excerpt = _excerpt(samples, generator, math.ceil(length * factor))
        return effects.resample_speed(excerpt, factor)[:length]
    if warp == "tempo":
        factor = 2 ** (amount / 4)  # from 0.84 to 1.19
        excerpt = _excerpt(samples, generator, math.ceil(length * factor))
        return effects.change_tempo(excerpt, sample_rate, factor)[:length]
    excerpt = _excerpt(samples, generator, length)
    return effects.shift_pitch(excerpt, sample_rate, 3 * amount) if warp == "pitch" else excerpt


def _excerpt(samples: FloatArray, generator: np.random.Generator, length: int) -> FloatArray:
    """Copy a random excerpt of ``length`` samples; a shorter recording is repeated."""
    if len(samples) >= length:
        first = int(generator.integers(len(samples) - length + 1))
        return samples[first : first + length].copy()
    return np.resize(np.roll(samples, -int(generator.integers(len(samples)))), length)


def _gain(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float
) -> FloatArray:
    return effects.gain(samples, strength * generator.uniform(-12, 6))


def _shift(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float
) -> FloatArray:
    return effects.roll(samples, sample_rate, generator.uniform(0, len(samples) / sample_rate))


def _bands(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float
) -> FloatArray:
    """Apply an equalizer of one to four bands; the logarithm of their frequencies is uniform."""
    bands = [
        effects.EqualizerBand(
            generator.choice(["peak", "peak", "low_shelf", "high_shelf"]),
            hertz=sample_rate * math.exp(generator.uniform(math.log(0.002), math.log(0.45))),
            gain_db=strength * generator.uniform(-10, 10),
            q=generator.uniform(0.4, 1.5),
        )
        for _ in range(generator.integers(1, 5))
    ]
    return effects.equalize(samples, sample_rate, bands)


def _limits(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float
) -> FloatArray:
    """Remove high frequencies, and in half of the cases low ones too, as small loudspeakers do."""
    high = 0.45 * sample_rate * 2 ** (-strength * generator.uniform(0, 2.5))
    low = 0.002 * sample_rate * 2 ** (strength * generator.uniform(0, 2.5))
    low_hertz = low if generator.random() < 0.5 else None
    return effects.band_limit(samples, sample_rate, low_hertz=low_hertz, high_hertz=high)


def _noise(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float
) -> FloatArray:
    snr_db = generator.uniform(10, 40) - 8 * (strength - 1)
    color = generator.choice(get_args(effects.NoiseColor))
    return effects.add_noise(samples, sample_rate, generator, snr_db=snr_db, color=color)


def _clipping(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float
) -> FloatArray:
    return effects.soft_clip(samples, strength * generator.uniform(0, 12))


def _dynamics(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float
) -> FloatArray:
    threshold_db, ratio = generator.uniform(-20, 0), 1 + strength * generator.uniform(0.5, 5)
    return effects.compress(samples, sample_rate, threshold_db=threshold_db, ratio=ratio)


def _reverb(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float
) -> FloatArray:
    decay, wet_db = generator.uniform(0.1, 1.2), generator.uniform(-20, -3) + 5 * (strength - 1)
    return effects.reverb(samples, sample_rate, generator, decay_seconds=decay, wet_db=wet_db)


def _codec(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, strength: float
) -> FloatArray:
    """Encode at 24 to 128 kbit/s; the logarithm of the bit rate is uniform, as its audible effect is."""
    codec = generator.choice(get_args(effects.Codec))
    kbit_per_second = math.exp(generator.uniform(math.log(24), math.log(128)))
    return effects.codec_roundtrip(samples, sample_rate, codec, kbit_per_second)


# The probability of each effect at strength 1.
_STEPS: tuple[tuple[float, Step], ...] = (
    (0.6, _gain),
    (0.1, _shift),
    (0.5, _bands),
    (0.2, _limits),
    (0.3, _noise),
    (0.15, _clipping),
    (0.25, _dynamics),
    (0.25, _reverb),
    (0.3, _codec),
)
