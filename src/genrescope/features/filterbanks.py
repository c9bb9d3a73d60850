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
    """Neighboring mel bands, and the frequency bins that they cover.

    Attributes
    ----------
    bins, bands : slice
        Rows and columns of the whole bank.
    weights : ndarray, shape (bins, bands)
        The bank there; everything else in these columns is zero.
    """

    bins: slice
    bands: slice
    weights: FloatArray


@lru_cache(maxsize=16)
def hann_window(win_length: int, n_fft: int, periodic: bool = True) -> Float64Array:
    """Build a Hann window, with zeros on both sides where it is shorter than the frame.

    Parameters
    ----------
    win_length, n_fft : int
        Length of the window, and of the frame in whose center it lies, in samples.
    periodic : bool
        Whether the window continues without a seam when repeated, as spectral analysis needs it; otherwise
        it is symmetric, as ``torch.hann_window(periodic=False)``.

    Returns
    -------
    ndarray, shape (n_fft,), float64
    """
    # Periodic: the zero that would end the window is the first sample of the next one, and left out.
    turns = np.arange(win_length) / max(win_length - (not periodic), 1)
    window = np.zeros(n_fft, np.float64)
    start = (n_fft - win_length) // 2
    window[start : start + win_length] = 0.5 - 0.5 * np.cos(2 * np.pi * turns)
    window.setflags(write=False)
    return window


def fft_frequencies(sample_rate: int, n_fft: int) -> Float64Array:
    """Return the center frequencies of the bins of a transform of ``n_fft`` samples at ``sample_rate`` Hz.

    Returns
    -------
    ndarray, shape (1 + n_fft // 2,), Hz
    """
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
    """Build a mel bank in blocks of neighboring bands.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_fft : int
        Length of a frame in samples.
    n_mels : int
        Number of bands.
    fmin, fmax : float
        Lower edge of the lowest band and upper edge of the highest in Hz; None: half the sample rate.
    scale : {"slaney", "kaldi"}
        `slaney_mel_bank` or `kaldi_mel_bank`.

    Returns
    -------
    tuple of MelBlock
        From the lowest bands to the highest; together they are the bank.
    """
    # A bin lies in two triangles at most, so a bank of 128 bands is nearly all zeros. Multiplying block by
    # block takes about an eighth of the work of the dense product, and needs no sparse matrices.
    bank = mel_bank(sample_rate, n_fft, n_mels, fmin, fmax, scale)
    return tuple(_mel_block(bank, first) for first in range(0, n_mels, _BANDS_PER_BLOCK))


def mel_bank(
    sample_rate: int,
    n_fft: int,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    scale: MelScale = "slaney",
) -> FloatArray:
    """Build a mel bank as one matrix.

    Parameters
    ----------
    sample_rate, n_fft, n_mels, fmin, fmax, scale
        As of `blocked_mel_bank`.

    Returns
    -------
    ndarray, shape (1 + n_fft // 2, n_mels)
    """
    build = {"slaney": slaney_mel_bank, "kaldi": kaldi_mel_bank}[scale]
    return build(sample_rate, n_fft, n_mels, fmin, fmax)


def slaney_mel_bank(
    sample_rate: int, n_fft: int, n_mels: int = 128, fmin: float = 0.0, fmax: float | None = None
) -> FloatArray:
    """Build triangles of equal area, linear in Hz, on Slaney's mel scale (Auditory Toolbox, 1998).

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_fft : int
        Length of a frame in samples.
    n_mels : int
        Number of bands.
    fmin, fmax : float
        Lower edge of the lowest band and upper edge of the highest in Hz; None: half the sample rate.

    Returns
    -------
    ndarray, shape (1 + n_fft // 2, n_mels)
    """
    edges = slaney_mel_edges(n_mels, fmin, sample_rate / 2 if fmax is None else fmax)
    triangles = _triangles(fft_frequencies(sample_rate, n_fft), edges)
    # Of equal area: wide bands at the top would otherwise collect more of a noise than narrow ones below.
    return _readonly(triangles * (2 / (edges[2:] - edges[:-2])))


def slaney_mel_edges(n_mels: int, fmin: float, fmax: float) -> Float64Array:
    """Return the edges of bands on Slaney's mel scale: band b reaches from edge b over b + 1 to b + 2.

    Parameters
    ----------
    n_mels : int
        Number of bands.
    fmin, fmax : float
        Lower edge of the lowest band and upper edge of the highest in Hz.

    Returns
    -------
    ndarray, shape (n_mels + 2,), Hz
    """
    return _slaney_mel_to_hz(np.linspace(_hz_to_slaney_mel(fmin), _hz_to_slaney_mel(fmax), n_mels + 2))


def kaldi_mel_bank(
    sample_rate: int, n_fft: int, n_mels: int = 128, fmin: float = 0.0, fmax: float | None = None
) -> FloatArray:
    """Build triangles of height one, linear in mel, on the HTK mel scale, as Kaldi's `MelBanks` does.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_fft : int
        Length of a frame in samples.
    n_mels : int
        Number of bands.
    fmin, fmax : float
        Lower edge of the lowest band and upper edge of the highest in Hz; None: half the sample rate.

    Returns
    -------
    ndarray, shape (1 + n_fft // 2, n_mels)
    """
    top = sample_rate / 2 if fmax is None else fmax
    edges = np.linspace(_hz_to_htk_mel(fmin), _hz_to_htk_mel(top), n_mels + 2)
    # The bins are moved to the mel scale, instead of the edges to Hz: that makes the sides straight in mel.
    return _readonly(_triangles(_hz_to_htk_mel(fft_frequencies(sample_rate, n_fft)), edges))


@lru_cache(maxsize=128)
def chroma_bank(sample_rate: int, n_fft: int, tuning: float = 0.0) -> FloatArray:
    """Build Ellis's map from bins to the 12 pitch classes, C first (Chroma feature analysis, 2007).

    Each bin is shared out to the nearest pitch classes by a Gaussian, and weighed by a Gaussian of two
    octaves' half-width around the fifth octave above 27.5 Hz.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_fft : int
        Length of a frame in samples.
    tuning : float
        Deviation from A = 440 Hz, in semitones.

    Returns
    -------
    ndarray, shape (1 + n_fft // 2, 12)
    """
    semitones = _semitones_above_a0(sample_rate, n_fft, tuning)
    # A bin is as wide as its distance to the next, in semitones: low bins cover several pitch classes. None
    # counts as narrower than a semitone, so that one between two pitch classes is shared by both.
    widths = np.maximum(np.diff(semitones), 1.0)[:, np.newaxis]
    semitones = semitones[:-1]
    distances = semitones[:, np.newaxis] - np.arange(PITCH_CLASSES)
    # Round the circle of pitch classes, the shorter way: from -6 to 6 semitones.
    distances = np.remainder(distances + 6, PITCH_CLASSES) - 6
    weights = np.exp(-0.5 * (2 * distances / widths) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    weights *= np.exp(-0.5 * ((semitones / PITCH_CLASSES - 5) / 2) ** 2)[:, np.newaxis]
    # Semitones were counted from A; C, three semitones above it, is to be first.
    return _readonly(np.roll(weights, -3, axis=1))


@lru_cache(maxsize=16)
def dct_basis(n_inputs: int, n_outputs: int) -> FloatArray:
    """Build the first vectors of the orthonormal cosine transform of type II.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Number of values to transform, and of coefficients to keep.

    Returns
    -------
    ndarray, shape (n_inputs, n_outputs)
    """
    angles = np.pi * np.outer(np.arange(n_inputs) + 0.5, np.arange(n_outputs)) / n_inputs
    basis = np.cos(angles) * np.sqrt(2 / n_inputs)
    # The constant vector has twice the energy of a cosine of the same height.
    basis[:, 0] = np.sqrt(1 / n_inputs)
    return _readonly(basis)


def _mel_block(bank: FloatArray, first: int) -> MelBlock:
    bands = slice(first, min(first + _BANDS_PER_BLOCK, bank.shape[1]))
    seen = np.flatnonzero(bank[:, bands].any(axis=1))
    # Bands narrower than a bin may cover none; a single bin with weights of zero stands for these.
    bins = slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 1)
    return MelBlock(bins, bands, _readonly(bank[bins, bands]))


def _triangles(positions: Float64Array, edges: Float64Array) -> Float64Array:
    """Return triangle b, which rises from edge b to b + 1 and falls to b + 2, at each position."""
    offsets = positions[:, np.newaxis] - edges
    rises = offsets[:, :-2] / np.diff(edges)[:-1]
    falls = -offsets[:, 2:] / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rises, falls))


def _hz_to_slaney_mel(hz: float) -> float:
    """Convert Hz to mel: linear below 1 kHz, 200/3 Hz a mel; above it 27 mel for a factor of 6.4."""
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * float(np.log(hz / 1000)) / float(np.log(6.4))


def _slaney_mel_to_hz(mel: Float64Array) -> Float64Array:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def _hz_to_htk_mel(hz: Any) -> Any:
    # O'Shaughnessy, "Speech Communication", 1987: 2595 log10(1 + f / 700), here by the natural logarithm.
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
