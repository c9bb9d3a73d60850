"""Augmentation of spectrograms, drawn from a given generator, so that a seed reproduces a run."""

from __future__ import annotations

import numpy as np

from genrescope.types import FloatArray


def spec_augment(
    batch: FloatArray, generator: np.random.Generator, *, masks: int, bands: int, frames: int
) -> FloatArray:
    """Mask random bands and intervals of time (SpecAugment: Park et al., Interspeech 2019).

    Parameters
    ----------
    batch : ndarray, shape (items, mels, frames)
        Log-mel spectrograms; changed copies are returned.
    generator : numpy.random.Generator
        Source of all that is random.
    masks : int
        How many of each sort an item gets.
    bands, frames : int
        The widest mask along either axis; widths are uniform from zero. Masks carry the item's mean.
    """
    masked = batch.copy()
    _, mels, length = batch.shape
    for item in masked:
        # The mean and not zero, which would be the loudest value of a spectrogram in dB.
        level = item.mean()
        for _ in range(masks):
            width = int(generator.integers(0, min(bands, mels) + 1))
            first = int(generator.integers(0, mels - width + 1))
            item[first : first + width] = level
            width = int(generator.integers(0, min(frames, length) + 1))
            first = int(generator.integers(0, length - width + 1))
            item[:, first : first + width] = level
    return masked


def random_eq(batch: FloatArray, generator: np.random.Generator, *, decibels: float) -> FloatArray:
    """Change the balance of the bands and the noise floor, as microphones, mastering and codecs do.

    Each item gets a smooth random equalizer, and noise at a level between 90 and 45 dB below its maximum,
    with a balance of its own.

    Parameters
    ----------
    batch : ndarray, shape (items, mels, frames), dB
    generator : numpy.random.Generator
        Source of all that is random.
    decibels : float
        Standard deviation of the equalizer over bands and items, in dB.

    Returns
    -------
    ndarray, shape (items, mels, frames), dB
    """
    items, mels, _ = batch.shape
    phase = np.linspace(0, np.pi, mels)
    curves = np.cos(np.arange(1, 6)[:, None] * phase)  # cosines with few periods over the bands
    # Five cosines of variance 1/2 each: the root brings the sum back to the deviation asked for.
    equalizers, slopes = decibels * generator.normal(size=(2, items, 5)) @ curves / np.sqrt(2.5)
    loudest = batch.max(axis=(1, 2))
    floor = (loudest - generator.uniform(45, 90, items))[:, None] + slopes
    louder = batch + equalizers[:, :, None].astype(np.float32)
    # Powers add: 10 log10(10^(a/10) + 10^(b/10)), without leaving the logarithm's range.
    scale = np.float32(np.log(10) / 10)
    mixed: FloatArray = np.logaddexp(scale * louder, scale * floor[:, :, None].astype(np.float32)) / scale
    return mixed


def random_lowpass(batch: FloatArray, generator: np.random.Generator, *, share: float) -> FloatArray:
    """Remove the highest bands of some items, as low sample rates and bit rates do.

    Parameters
    ----------
    batch : ndarray, shape (items, mels, frames), dB
        Changed copies are returned.
    generator : numpy.random.Generator
        Source of all that is random.
    share : float
        How many of the items lose bands, up to a third of them; what is gone is 100 dB below the maximum.
    """
    limited = batch.copy()
    mels = batch.shape[1]
    for index in np.flatnonzero(generator.random(len(batch)) < share):
        kept = int(generator.integers(2 * mels // 3, mels))
        limited[index, kept:] = batch[index].max() - 100
    return limited


def mixup(
    batch: FloatArray, targets: FloatArray, generator: np.random.Generator, *, strength: float
) -> tuple[FloatArray, FloatArray]:
    """Blend each item and its target with another of the batch (mixup: Zhang et al., ICLR 2018).

    Parameters
    ----------
    batch : ndarray, shape (items, ...)
    targets : ndarray, shape (items, classes)
        Probabilities of the classes.
    generator : numpy.random.Generator
        Source of all that is random.
    strength : float
        The share of the first item is drawn from Beta(strength, strength): near 0 items are hardly mixed.

    Returns
    -------
    mixed, blended : ndarray
        Of the shapes of ``batch`` and ``targets``.
    """
    # Partners are a permutation of the batch: every item occurs as often as before.
    share = generator.beta(strength, strength, len(batch)).astype(np.float32)
    partner = generator.permutation(len(batch))
    wide = share.reshape(-1, *[1] * (batch.ndim - 1))
    mixed = wide * batch + (1 - wide) * batch[partner]
    blended = share[:, None] * targets + (1 - share[:, None]) * targets[partner]
    return mixed, blended
