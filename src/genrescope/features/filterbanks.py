"""Matrices that turn spectra into mel bands, pitch classes and cepstra; each is computed once and kept.

Conventions are those of librosa 0.11 (McFee et al., 2015), except `kaldi_mel_bank`, which follows Kaldi.
All are read-only; matrices are float32, bins first, so that ``spectra @ matrix`` applies them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from genrescope.types import Float64Array, FloatArray

MelScale = Literal["slaney", "kaldi"]

PITCH_CLASSES = 12
_BANDS_PER_BLOCK = 16  # the fastest of 8, 16, 32, 64, 128 for 128 bands


class MelBlock(NamedTuple):
    """Neighboring mel bands, with only the bins that they see: a mel bank is nearly all zeros."""

    bins: slice
    bands: slice
    weights: FloatArray


@lru_cache(maxsize=16)
def hann_window(win_length: int, n_fft: int, periodic: bool = True) -> Float64Array:
    """Build a Hann window of ``win_length`` samples, centered in ``n_fft``; shape (n_fft,), float64."""
    turns = np.arange(win_length) / max(win_length - (not periodic), 1)
    window = np.zeros(n_fft, np.float64)
    start = (n_fft - win_length) // 2
    window[start : start + win_length] = 0.5 - 0.5 * np.cos(2 * np.pi * turns)
    window.setflags(write=False)
    return window


def fft_frequencies(sample_rate: int, n_fft: int) -> Float64Array:
    """Return the center of every bin in Hz, shape (1 + n_fft // 2,)."""
    frequencies: Float64Array = np.arange(1 + n_fft // 2, dtype=np.float64) * (sample_rate / n_fft)
    return frequencies


@lru_cache(maxsize=16)
def blocked_mel_bank(
    sample_rate: int,
    n_fft: int,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    scale: MelScale = "slaney",
) -> tuple[MelBlock, ...]:
    """Cut the mel bank into blocks of neighboring bands, about eight times less work than the whole."""
    build = {"slaney": slaney_mel_bank, "kaldi": kaldi_mel_bank}[scale]
    bank = build(sample_rate, n_fft, n_mels, fmin, fmax)
    return tuple(_mel_block(bank, first) for first in range(0, n_mels, _BANDS_PER_BLOCK))


def slaney_mel_bank(
    sample_rate: int, n_fft: int, n_mels: int = 128, fmin: float = 0.0, fmax: float | None = None
) -> FloatArray:
    """Build triangles of equal area, linear in Hz, on Slaney's mel scale (Auditory Toolbox, 1998).

    Returns
    -------
    ndarray, shape (1 + n_fft // 2, n_mels)
    """
    top = sample_rate / 2 if fmax is None else fmax
    edges = _slaney_mel_to_hz(np.linspace(_hz_to_slaney_mel(fmin), _hz_to_slaney_mel(top), n_mels + 2))
    triangles = _triangles(fft_frequencies(sample_rate, n_fft), edges)
    return _readonly(triangles * (2 / (edges[2:] - edges[:-2])))


def kaldi_mel_bank(
    sample_rate: int, n_fft: int, n_mels: int = 128, fmin: float = 0.0, fmax: float | None = None
) -> FloatArray:
    """Build triangles of height one, linear in mel, on the HTK mel scale, as Kaldi's `MelBanks` does.

    Returns
    -------
    ndarray, shape (1 + n_fft // 2, n_mels)
    """
    top = sample_rate / 2 if fmax is None else fmax
    edges = np.linspace(_hz_to_htk_mel(fmin), _hz_to_htk_mel(top), n_mels + 2)
    return _readonly(_triangles(_hz_to_htk_mel(fft_frequencies(sample_rate, n_fft)), edges))


@lru_cache(maxsize=128)
def chroma_bank(sample_rate: int, n_fft: int, tuning: float = 0.0) -> FloatArray:
    """Build Ellis's map from bins to the 12 pitch classes, C first (Chroma feature analysis, 2007).

    Each bin is shared out to the nearest pitch classes by a Gaussian, and weighed by a Gaussian of two
    octaves' half-width around the fifth octave above 27.5 Hz.

    Parameters
    ----------
    tuning : float
        Deviation from A = 440 Hz, in semitones.

    Returns
    -------
    ndarray, shape (1 + n_fft // 2, 12)
    """
    semitones = _semitones_above_a0(sample_rate, n_fft, tuning)
    widths = np.maximum(np.diff(semitones), 1.0)[:, np.newaxis]
    semitones = semitones[:-1]
    distances = semitones[:, np.newaxis] - np.arange(PITCH_CLASSES)
    distances = np.remainder(distances + 6, PITCH_CLASSES) - 6
    weights = np.exp(-0.5 * (2 * distances / widths) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    weights *= np.exp(-0.5 * ((semitones / PITCH_CLASSES - 5) / 2) ** 2)[:, np.newaxis]
    return _readonly(np.roll(weights, -3, axis=1))


@lru_cache(maxsize=16)
def dct_basis(n_inputs: int, n_outputs: int) -> FloatArray:
    """Build the first vectors of the orthonormal cosine transform (type II), shape (n_inputs, n_outputs)."""
    angles = np.pi * np.outer(np.arange(n_inputs) + 0.5, np.arange(n_outputs)) / n_inputs
    basis = np.cos(angles) * np.sqrt(2 / n_inputs)
    basis[:, 0] = np.sqrt(1 / n_inputs)
    return _readonly(basis)


def _mel_block(bank: FloatArray, first: int) -> MelBlock:
    bands = slice(first, min(first + _BANDS_PER_BLOCK, bank.shape[1]))
    seen = np.flatnonzero(bank[:, bands].any(axis=1))
    bins = slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 1)
    return MelBlock(bins, bands, _readonly(bank[bins, bands]))


def _triangles(positions: Float64Array, edges: Float64Array) -> Float64Array:
    """Return triangle b, which rises from edge b to b + 1 and falls to b + 2, at each position."""
    offsets = positions[:, np.newaxis] - edges
    rises = offsets[:, :-2] / np.diff(edges)[:-1]
    falls = -offsets[:, 2:] / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rises, falls))


def _hz_to_slaney_mel(hz: float) -> float:
    """Linear below 1 kHz, 200/3 Hz a mel; above it 27 mel for a factor of 6.4."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000)) / float(np.log(6.4))


def _slaney_mel_to_hz(mel: Float64Array) -> Float64Array:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def _hz_to_htk_mel(hz: Any) -> Any:
    return 1127 * np.log1p(hz / 700)


def _semitones_above_a0(sample_rate: int, n_fft: int, tuning: float) -> Float64Array:
    """Return the pitch of bins 0 to n_fft // 2 + 1, the last one only to end the widths."""
    hz = np.arange(1, 2 + n_fft // 2) * (sample_rate / n_fft)
    semitones = PITCH_CLASSES * np.log2(hz / 27.5) - tuning
    # Bin 0 has no pitch: it is placed half-way round the circle, and wide.
    return np.concatenate(([semitones[0] - 1.5 * PITCH_CLASSES], semitones))


def _readonly(matrix: npt.NDArray[Any]) -> FloatArray:
    """Return a read-only float32 copy: cached matrices are shared."""
    kept = np.array(matrix, dtype=np.float32, order="C")
    kept.setflags(write=False)
    return kept
