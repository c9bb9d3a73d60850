"""A data set that every model learns: chords and noise, with settings that train in seconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RATE = 22050
GENRES = ("drone", "hiss")


def drone(seconds: float, seed: int) -> npt.NDArray[np.float32]:
    """Return a low chord, in tune with nothing."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tones = [np.sin(2 * np.pi * frequency * time) for frequency in generator.uniform(80, 400, 3)]
    return (0.2 * np.sum(tones, axis=0)).astype(np.float32)


def hiss(seconds: float, seed: int) -> npt.NDArray[np.float32]:
    """Return noise."""
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


LITTLE = (
    "data.segment_seconds=1.0",
    "data.hop_seconds=0",
    "data.hop_length=914",
    "data.segments_per_track=0",
    "split.folds=4",
    "split.validation_fraction=0.2",
    "train.epochs=2",
    "train.batch_size=8",
    "train.precision=float32",
    "augment.crops_per_track=0",
)


def piece(seed: int, seconds: float = 30.0) -> npt.NDArray[np.float32]:
    """Return plucked notes of random pitch, length and place, with some overtones, and a little noise."""
    generator = np.random.default_rng(seed)
    samples = 0.002 * generator.standard_normal(round(seconds * RATE))
    for start in np.sort(generator.uniform(0, seconds - 0.3, round(6 * seconds))):
        pitch = 110 * 2 ** (generator.integers(0, 48) / 12)
        length = generator.uniform(0.15, 0.3)
        time = np.arange(round(length * RATE)) / RATE
        tones = sum(np.sin(2 * np.pi * pitch * part * time) / part for part in (1, 2, 3))
        first = round(start * RATE)
        samples[first : first + len(time)] += 0.1 * np.exp(-6 * time / length) * tones
    return samples.astype(np.float32)
