"""Spectral features of one signal, all from one shared short-time Fourier transform.

Defaults and definitions are those of librosa 0.11 (McFee et al., 2015), to which every function holds within
a thousandth of the feature's range. The arrangement differs: frames lie one after another in memory, and
`Spectrum` is handed from function to function, so that nothing is transformed twice.

The transform itself runs in float64 and is kept in float32. In float32 it would take two thirds of the time,
but its noise, 140 dB below the bass, would fill the valleys of the top octave: 0.15 dB of spectral contrast.
And what scipy's float32 transform would save on 25 minutes of sound, its import costs.

All functions return float32 of shape (frames,) or (rows, frames), with ``frames = 1 + n // hop_length``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from genrescope.features.filterbanks import (
    MelScale,
    blocked_mel_bank,
    chroma_bank,
    dct_basis,
    fft_frequencies,
    hann_window,
)
from genrescope.types import Float64Array, FloatArray

PadMode = Literal["constant", "reflect"]

CONTRAST_FMIN = 200.0
CONTRAST_OCTAVES = 6
_CONTRAST_QUANTILE = 0.02
# Hz. Below it a bin is wider than a semitone and says nothing of tuning; above it are mostly overtones.
_TUNING_RANGE = (150.0, 4000.0)
_FLOOR = 1e-10  # of power, before a logarithm
_DYNAMIC_RANGE = 80.0  # dB below the loudest, where librosa clamps
_TINY = np.finfo(np.float32).tiny
_BLOCK_SAMPLES = 1 << 15  # a block of frames and its transform stay in the second-level cache
_STRETCH = 256  # frames whose power stays in the second-level cache


class Spectrum:
    """The short-time Fourier transform that a signal's features share.

    Frames are centered on multiples of the hop; the signal is padded by half a frame on both sides.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    sample_rate : int
        In Hz.
    n_fft, hop_length : int
        In samples.
    win_length : int, optional
        Length of the Hann window, centered in the frame; the whole frame if not given.
    periodic : bool
        Whether the window is periodic (for analysis, as librosa) or symmetric.
    pad_mode : {"constant", "reflect"}
        With what the signal is padded: zeros, or its mirror image.
    keep : bool
        Whether the power of all frames is kept for further features; a long signal's log-mel alone does
        better without.
    """

    def __init__(
        self,
        samples: FloatArray,
        sample_rate: int,
        *,
        n_fft: int = 2048,
        hop_length: int = 512,
        win_length: int | None = None,
        periodic: bool = True,
        pad_mode: PadMode = "constant",
        keep: bool = True,
    ) -> None:
        self.sample_rate = sample_rate
        self._keep = keep
        self.n_fft = n_fft
        # The type of the window decides the type of its product with a frame, and so of the transform:
        # float64 where features other than mel bands are to be computed, see `_double_rfft`.
        window = hann_window(win_length or n_fft, n_fft, periodic)
        self._window = window if keep else window.astype(np.float32)
        padded = np.pad(samples.astype(np.float32, copy=False), n_fft // 2, mode=pad_mode)
        # A view: frames overlap in memory, and take no more of it than the signal.
        self.frames: FloatArray = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def frequencies(self) -> Float64Array:
        """Center of every bin in Hz, shape (bins,)."""
        return fft_frequencies(self.sample_rate, self.n_fft)

    @cached_property
    def power(self) -> FloatArray:
        """Squared magnitudes, shape (frames, bins): frame by frame, as opposed to librosa."""
        return self._power(self.frames)

    def iter_power(self) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, power of these frames): all at once if the power is kept, else little by little."""
        if self._keep:
            yield slice(None), self.power
            return
        for first in range(0, len(self), _STRETCH):
            rows = slice(first, first + _STRETCH)
            yield rows, self._power(self.frames[rows])

    def _power(self, frames: FloatArray) -> FloatArray:
        rfft: Callable[..., npt.NDArray[np.complex64]] = _double_rfft if self._keep else _single_rfft()
        # Block by block, because the product and its transform are several times larger than the result; in
        # one piece they would go through main memory.
        power = np.empty((len(frames), 1 + self.n_fft // 2), np.float32)
        step = max(_BLOCK_SAMPLES // self.n_fft, 1)
        for first in range(0, len(frames), step):
            rows = slice(first, first + step)
            transform = rfft(frames[rows] * self._window)
            # The squared magnitude without the root that ``abs`` takes.
            np.square(transform.real, out=power[rows])
            power[rows] += np.square(transform.imag)
        return power

    @cached_property
    def magnitude(self) -> FloatArray:
        """Magnitudes, shape (frames, bins)."""
        return np.sqrt(self.power)


def _double_rfft(frames: Float64Array) -> npt.NDArray[np.complex64]:
    """Transform in float64: the noise of float32 would fill the valleys that spectral contrast measures."""
    return np.fft.rfft(frames).astype(np.complex64)


def _single_rfft() -> Callable[[FloatArray], npt.NDArray[np.complex64]]:
    """Transform in float32, three times faster: mel bands sum that noise away (1e-4 dB)."""
    from scipy import fft  # a tenth of a second to import, so not before sound is there

    rfft: Callable[[FloatArray], npt.NDArray[np.complex64]] = fft.rfft
    return rfft


def mel_spectrogram(
    spectrum: Spectrum,
    n_mels: int = 128,
    fmin: float = 0.0,
    fmax: float | None = None,
    scale: MelScale = "slaney",
) -> FloatArray:
    """Sum the power in mel bands.

    Parameters
    ----------
    spectrum : Spectrum
    n_mels : int
        Number of bands.
    fmin, fmax : float
        Lower edge of the lowest band and upper edge of the highest in Hz; None: half the sample rate.
    scale : {"slaney", "kaldi"}
        Shape of the bands, see `genrescope.features.filterbanks`.

    Returns
    -------
    ndarray, shape (n_mels, frames), float32
        Power, not decibels.
    """
    bank = blocked_mel_bank(spectrum.sample_rate, spectrum.n_fft, n_mels, fmin, fmax, scale)
    mel = np.empty((len(spectrum), n_mels), np.float32)
    for rows, power in spectrum.iter_power():
        for bins, bands, weights in bank:
            np.matmul(power[:, bins], weights, out=mel[rows, bands])
    return mel.T


def decibels(power: FloatArray, dynamic_range: float | None = None) -> FloatArray:
    """Return 10 log10 of power, floored at -100 dB.

    Parameters
    ----------
    power : ndarray of any shape
    dynamic_range : float, optional
        In dB; values further below the maximum of the whole array are raised to there.

    Returns
    -------
    ndarray of the same shape, dB
    """
    # In place from the second step on: a long spectrogram is large.
    levels = np.maximum(power, np.float32(_FLOOR))
    np.log10(levels, out=levels)
    levels *= np.float32(10)
    if dynamic_range is not None:
        np.maximum(levels, levels.max() - np.float32(dynamic_range), out=levels)
    return levels


def mfcc(mel: FloatArray, n_mfcc: int = 20) -> FloatArray:
    """Compute mel-frequency cepstral coefficients (Davis and Mermelstein, 1980), shape (n_mfcc, frames).

    Parameters
    ----------
    mel : ndarray, shape (n_mels, frames)
        Power in mel bands; what lies over 80 dB below the loudest is raised to there.
    n_mfcc : int
        Number of coefficients, at most ``n_mels``.
    """
    levels = decibels(mel, _DYNAMIC_RANGE)
    cepstra: FloatArray = levels.T @ dct_basis(len(mel), n_mfcc)
    return cepstra.T


def chroma(spectrum: Spectrum, tuning: float | None = None) -> FloatArray:
    """Compute the power of the 12 pitch classes, C first, a frame's strongest being 1; shape (12, frames).

    Parameters
    ----------
    spectrum : Spectrum
    tuning : float, optional
        Deviation from A = 440 Hz in semitones; estimated if not given.
    """
    tuning = estimate_tuning(spectrum) if tuning is None else tuning
    classes = spectrum.power @ chroma_bank(spectrum.sample_rate, spectrum.n_fft, tuning)
    classes /= _never_zero(classes.max(axis=1, keepdims=True))
    return classes.T


def estimate_tuning(spectrum: Spectrum) -> float:
    """Find the commonest deviation of the louder spectral peaks from equal temperament.

    Parameters
    ----------
    spectrum : Spectrum

    Returns
    -------
    float
        In semitones from A = 440 Hz, from -0.5 to 0.49 in steps of 0.01; 0 where nothing sounds.
    """
    pitches, heights = _spectral_peaks(spectrum)
    if len(pitches) == 0:
        return 0.0
    pitches = pitches[heights >= np.median(heights)]
    # 27.5 Hz is the A four octaves below A = 440 Hz: a tuned tone lies a whole number of semitones above it.
    deviations = np.mod(12 * np.log2(pitches / np.float32(27.5)), 1)
    deviations[deviations >= 0.5] -= 1
    # The mode and not the mean: noise and inharmonic peaks spread over all deviations, tones gather at one.
    counts, edges = np.histogram(deviations, np.linspace(-0.5, 0.5, 101))
    return float(edges[np.argmax(counts)])


def _spectral_peaks(spectrum: Spectrum) -> tuple[FloatArray, FloatArray]:
    """Return pitch in Hz and height of the local maxima above a tenth of their frame's maximum.

    A parabola through a maximum and its two neighbors places it between the bins (Smith, 2011).
    """
    power = spectrum.power
    # A peak needs a neighbor on both sides, and the highest bin has none above it.
    first, stop = np.searchsorted(spectrum.frequencies, _TUNING_RANGE)
    stop = min(stop, power.shape[1] - 1)
    below, middle, above = (power[:, first + k : stop + k] for k in (-1, 0, 1))
    loud = middle > np.float32(0.1) * power.max(axis=1, keepdims=True)
    # ">=" on one side only, so that of two equal neighbors one is the peak.
    at = np.flatnonzero(loud & (middle > below) & (middle >= above))
    frames, bins = np.divmod(at, max(stop - first, 1))
    left, peak, right = (power[frames, bins + first + k] for k in (-1, 0, 1))
    curvature = (left + right).astype(np.float64) - 2.0 * peak
    slope = (right - left) / 2
    # A peak that the parabola puts over a bin away is left where it is.
    away = np.abs(slope) >= np.abs(curvature)
    shifts = np.where(away, 0, -slope / np.where(away, 1, curvature)).astype(np.float32)
    pitches = (bins + first + shifts) * spectrum.sample_rate / spectrum.n_fft
    return pitches.astype(np.float32), peak + slope / 2 * shifts


def spectral_contrast(spectrum: Spectrum) -> FloatArray:
    """Compute peaks above valleys in dB in octave bands (Jiang et al., 2002), shape (7, frames).

    Peaks and valleys are the mean magnitudes of a band's highest and lowest fiftieth, at least one bin.

    Parameters
    ----------
    spectrum : Spectrum
        Its sample rate must be above 12.8 kHz, so that the topmost band is not empty.
    """
    peaks = np.empty((CONTRAST_OCTAVES + 1, len(spectrum)), np.float32)
    valleys = np.empty_like(peaks)
    for band, (bins, count) in enumerate(_contrast_bands(spectrum.sample_rate, spectrum.n_fft)):
        valleys[band], peaks[band] = _extremes(spectrum.power[:, bins], count)
    return decibels(peaks, _DYNAMIC_RANGE) - decibels(valleys, _DYNAMIC_RANGE)


def _extremes(power: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Return the mean magnitudes of each row's ``count`` lowest and highest values."""
    if count == 1:
        return np.sqrt(power.min(axis=1)), np.sqrt(power.max(axis=1))
    ordered = np.sort(power, axis=1)  # vectorized in numpy, and so quicker than two partitions
    lowest, highest = np.sqrt(ordered[:, :count]), np.sqrt(ordered[:, -count:])
    return lowest.mean(axis=1), highest.mean(axis=1)


@lru_cache(maxsize=16)
def _contrast_bands(sample_rate: int, n_fft: int) -> tuple[tuple[slice, int], ...]:
    """Return the bins of each band, and how many of them make its peak or valley.

    As in librosa, a band has one more bin for the count than it is searched in, the topmost band excepted.
    """
    frequencies = fft_frequencies(sample_rate, n_fft)
    edges = [0.0, *(CONTRAST_FMIN * 2.0**octave for octave in range(CONTRAST_OCTAVES + 1))]
    starts = [0, *(int(np.searchsorted(frequencies, edge)) - 1 for edge in edges[1:-1])]
    stops = [int(np.searchsorted(frequencies, edge, side="right")) for edge in edges[1:-1]]
    bands = [(slice(a, b - 1), b - a) for a, b in zip(starts[:-1], stops, strict=True)]
    bands.append((slice(starts[-1], len(frequencies)), len(frequencies) - starts[-1]))
    return tuple((bins, max(round(_CONTRAST_QUANTILE * n), 1)) for bins, n in bands)


def spectral_centroid(spectrum: Spectrum) -> FloatArray:
    """Compute the mean frequency of a ``spectrum`` in Hz, weighted by magnitude; 0 in silence; (frames,)."""
    # Sum and weighted sum in one product over the magnitudes, which are the largest array here.
    moments = np.stack([np.ones_like(spectrum.frequencies), spectrum.frequencies], axis=1)
    totals, weighted = (spectrum.magnitude @ moments.astype(np.float32)).T
    centroid: FloatArray = weighted / _never_zero(totals)
    return centroid


def spectral_bandwidth(spectrum: Spectrum, centroid: FloatArray | None = None) -> FloatArray:
    """Compute the deviation of frequency from the centroid in Hz (root mean square), shape (frames,).

    Parameters
    ----------
    spectrum : Spectrum
    centroid : ndarray, shape (frames,), optional
        In Hz, if it is known already; None: `spectral_centroid`.
    """
    centroid = spectral_centroid(spectrum) if centroid is None else centroid
    frequencies = spectrum.frequencies.astype(np.float32)
    bandwidth = np.empty(len(spectrum), np.float32)
    for first in range(0, len(spectrum), 32):  # in blocks that stay in cache
        rows = slice(first, first + 32)
        magnitude = spectrum.magnitude[rows]
        squares = np.square(frequencies - centroid[rows, np.newaxis])
        bandwidth[rows] = np.einsum("fk,fk->f", squares, magnitude) / _never_zero(magnitude.sum(axis=1))
    return np.sqrt(bandwidth)


def spectral_rolloff(spectrum: Spectrum, share: float = 0.85) -> FloatArray:
    """Find the frequency in Hz below which ``share`` of a frame's magnitude lies; shape (frames,).

    Parameters
    ----------
    spectrum : Spectrum
    share : float
        From 0 to 1.


    """
    # Summed in float32 from the lowest bin up, because librosa does: the answer is the center of a bin, and
    # another rounding would now and then choose its neighbor.
    sums = np.cumsum(spectrum.magnitude, axis=1)
    reached = sums >= np.float32(share) * sums[:, -1:]
    rolloff: FloatArray = spectrum.frequencies.astype(np.float32)[np.argmax(reached, axis=1)]
    return rolloff


def rms(spectrum: Spectrum) -> FloatArray:
    """Compute the root mean square of the samples of each frame of a ``spectrum``, unwindowed; (frames,)."""
    frames = spectrum.frames
    means: FloatArray = np.einsum("fn,fn->f", frames, frames) / np.float32(spectrum.n_fft)
    return np.sqrt(means)


def zero_crossing_rate(samples: FloatArray, frame_length: int = 2048, hop_length: int = 512) -> FloatArray:
    """Compute the share of neighboring samples of opposite sign, per centered frame; shape (frames,).

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
        Counted as constant beyond its ends.
    frame_length, hop_length : int
        In samples.
    """
    # Crossings are found once, and counted per frame by binary search: frames overlap fourfold. The
    # threshold is librosa's: what lies between it and zero counts as positive, so that noise of rounding
    # around silence is no crossing.
    negative = samples < -_FLOOR
    crossings = np.flatnonzero(negative[1:] != negative[:-1]) + 1
    starts = np.arange(1 + len(samples) // hop_length) * hop_length - frame_length // 2
    first, last = np.searchsorted(crossings, (starts + 1, starts + frame_length))
    rates: FloatArray = ((last - first) / frame_length).astype(np.float32)
    return rates


def _never_zero(totals: FloatArray) -> FloatArray:
    """Replace what is too small to divide by with one, as librosa does: silence stays zero."""
    return np.where(totals < _TINY, np.float32(1), totals)
