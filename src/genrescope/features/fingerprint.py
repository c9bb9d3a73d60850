"""Acoustic fingerprints: spectral peaks of a recording, and hashes of groups of them.

A fingerprint keeps the strongest local maxima of a log-mel spectrogram, as Wang's "An Industrial-Strength
Audio Search Algorithm" (ISMIR 2003) keeps those of a linear one. Peaks survive encoding, filtering and
noise, and their places do not depend on the level. A hash stands for four peaks, as in Sonnleitner and
Widmer, "Robust Quad-based Audio Fingerprinting" (IEEE/ACM TASLP 2016): one peak, and how far in frequency and
time three later ones lie from it. Four peaks agree by chance far less often than the two of Wang or the three
of Six and Leman, "Panako" (ISMIR 2014), so that few hashes per second suffice to find a recording among
100,000. Peaks are kept and hashes computed of them when needed: those of a copy that plays faster are hashes
of moved peaks.

The spectrogram is the default model's own, so that a scan has it already, and that of GTZAN's pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from genrescope import audio
from genrescope.errors import ConfigError
from genrescope.features.extraction import extract
from genrescope.features.spec import SPECTROGRAM_LOG_MEL
from genrescope.types import Audio, BoolArray, Float64Array, FloatArray, IntArray

UInt32Array = npt.NDArray[np.uint32]

FINGERPRINT_SPEC: Final = SPECTROGRAM_LOG_MEL
"""Features that a fingerprint is made of: 128 Slaney mel bands up to 11,025 Hz, 24.1 frames a second."""

FRAMES_PER_SECOND: Final = FINGERPRINT_SPEC.frames_per_second

_BANDS = FINGERPRINT_SPEC.n_mels
# A peak is kept if it is among the ten strongest within half a second before and after it. A grid of cells
# would keep other peaks of a recording that begins elsewhere.
_WINDOW_FRAMES, _WINDOW_PEAKS = 12, 10
_CELL_FRAMES = 2 * _WINDOW_FRAMES
# A peak stands out by 3 dB from the mean of this many bands and frames around it, and lies at most 65 dB
# below the loudest point: encoders leave nothing reliable below that.
_MEAN_BANDS, _MEAN_FRAMES, _MIN_PROMINENCE, _MAX_DEPTH = 25, 49, 3.0, 65.0
# A peak is the maximum of this many bands and frames.
_PEAK_BANDS, _PEAK_FRAMES = 9, 7
# Weights of a Gaussian with a deviation of 0.6 bins, beside and at the center: noise makes fewer peaks of one
# ridge.
_SMOOTHING = np.float32(0.1662), np.float32(0.6676)
# A hash joins a peak with three of the next five that lie 2 to 40 frames later and within 32 bands.
_FAN, _LOOK_AHEAD, _MIN_LAG, _MAX_LAG, _MAX_BAND_STEP = 5, 20, 2.0, 40.0, 32.0
_TRIPLES = np.array(list(combinations(range(_FAN), 3)))
# Width of the steps to which places are rounded in a hash: bands of the first peak, bands, frames.
_FIRST_STEP, _BAND_STEP, _LAG_STEP = 2.0, 1.0, 2.0
_HASHED_PEAKS = 16_384
_GAP_BITS = 20
_MAX_GAP = (1 << _GAP_BITS) - 1
# Features are made of this many frames at once: two minutes, whole cells.
_BLOCK_FRAMES = 120 * _CELL_FRAMES
# Frames beside a block that its first and last peaks depend on, whole cells.
_CONTEXT_FRAMES = 2 * _CELL_FRAMES
# Slaney's mel scale: linear below 1000 Hz, 27 steps per factor 6.4 above.
_LINEAR_MEL, _LINEAR_HERTZ, _LOG_STEP = 15.0, 1000.0, np.log(6.4) / 27


@dataclass(frozen=True)
class Fingerprint:
    """Spectral peaks of a recording, in order of time.

    Attributes
    ----------
    bands : ndarray, shape (peaks,), float32
        Frequency in mel bands of `FINGERPRINT_SPEC`, interpolated between them.
    frames : ndarray, shape (peaks,), float32
        Time in frames, `FRAMES_PER_SECOND` of them a second.
    seconds : float
        Length of the recording.
    """

    bands: FloatArray
    frames: FloatArray
    seconds: float

    def __len__(self) -> int:
        return len(self.bands)

    @property
    def times(self) -> FloatArray:
        """Time of every peak in seconds, shape (peaks,)."""
        return self.frames / np.float32(FRAMES_PER_SECOND)

    @property
    def hertz(self) -> Float64Array:
        """Frequency of every peak in Hz, shape (peaks,)."""
        return _band_hertz(self.bands)

    def at_speed(self, speed: float) -> Fingerprint:
        """Return the fingerprint of the recording played at another speed, pitch included.

        Parameters
        ----------
        speed : float
            1.03 is 3 % faster and higher. Peaks above the highest band are left out.
        """
        if speed == 1:
            return self
        bands = bands_at_speed(self.bands, speed)
        kept = (bands > 0) & (bands < _BANDS - 1)
        frames = self.frames[kept] / np.float32(speed)
        return Fingerprint(bands[kept], frames, self.seconds / speed)

    def pack(self) -> bytes:
        """Return the fingerprint as bytes, four for each peak; `unpack` reads them.

        The first word is the length in milliseconds. Of the others, the upper 12 bits are the band in steps
        of 1/32, the lower 20 the distance in time from the peak before in steps of 1/64 frame. A word without
        band adds to the distance of the next.
        """
        bands = np.clip(np.rint(self.bands * 32), 1, 4095).astype(np.uint64)
        places = np.maximum(np.rint(self.frames.astype(np.float64) * 64), 0).astype(np.int64)
        gaps = np.diff(places, prepend=0).astype(np.uint64)
        words = bands << np.uint64(_GAP_BITS) | (gaps & np.uint64(_MAX_GAP))
        # Distances of 11 minutes and more take several words, which is rare.
        jumps = (gaps >> np.uint64(_GAP_BITS)).astype(np.int64)
        places_of_jumps = np.repeat(np.arange(len(words)), 2 * jumps)
        halves = np.full(len(places_of_jumps), 1 << (_GAP_BITS - 1), np.uint64)
        words = np.insert(words, places_of_jumps, halves)
        head = min(round(self.seconds * 1000), 2**32 - 1)
        return np.concatenate([[head], words]).astype("<u4").tobytes()

    @classmethod
    def unpack(cls, packed: bytes) -> Fingerprint:
        """Return the fingerprint that `pack` gave.

        Parameters
        ----------
        packed : bytes

        Raises
        ------
        ValueError
            No words, or not whole ones.
        """
        words = np.frombuffer(packed, "<u4")
        if not len(words):
            raise ValueError("an empty fingerprint")
        bands = words[1:] >> _GAP_BITS
        places = np.cumsum(words[1:] & _MAX_GAP, dtype=np.int64)
        peaks = bands > 0
        frames = (places[peaks] / 64).astype(np.float32)
        return cls((bands[peaks] / 32).astype(np.float32), frames, int(words[0]) / 1000)

    def hashes(self, *, share: float = 1.0) -> tuple[UInt32Array, IntArray]:
        """Return the hashes of this fingerprint.

        Parameters
        ----------
        share : float
            Which part of all possible hashes to keep, from 0 to 1: those below a bound, so that two
            recordings keep the same ones.

        Returns
        -------
        hashes : ndarray, shape (n,), uint32
        anchors : ndarray, shape (n,), int64
            The peak that each hash begins with.
        """
        return hash_peaks(self.bands, self.frames, share)


def fingerprint_log_mel(log_mel: FloatArray, seconds: float | None = None) -> Fingerprint:
    """Compute the fingerprint of a log-mel spectrogram, such as one of GTZAN's pictures.

    Parameters
    ----------
    log_mel : ndarray, shape (128, frames), float32
        In dB, of `FINGERPRINT_SPEC`, lowest band first; the level does not matter.
    seconds : float, optional
        Length of the recording; None: that of the frames.

    Raises
    ------
    ConfigError
        ``invalid_argument``: another number of bands.
    """
    if log_mel.ndim != 2 or log_mel.shape[0] != _BANDS:
        raise ConfigError(
            "invalid_argument",
            f"a spectrogram of shape {log_mel.shape}",
            f"give {_BANDS} mel bands and their frames, as of fingerprint_log_mel's FINGERPRINT_SPEC",
        )
    frames = log_mel.shape[1]
    pieces = []
    for start in range(0, max(frames - _CELL_FRAMES, 1), _BLOCK_FRAMES):
        stop = start + _BLOCK_FRAMES
        # A rest shorter than a cell stays with the block before it.
        stop = frames if stop > frames - _CELL_FRAMES else stop
        first = max(start - _CONTEXT_FRAMES, 0)
        pieces.append(_peaks(log_mel[:, first : stop + _CONTEXT_FRAMES], first, start, stop))
    return _joined(pieces, frames / FRAMES_PER_SECOND if seconds is None else seconds)


def fingerprint_audio(source: audio.Source | Audio) -> Fingerprint:
    """Compute the fingerprint of an audio file, in bounded memory.

    Parameters
    ----------
    source : str, PathLike, bytes, binary file or Audio
        As of `genrescope.audio.AudioFile`.

    Raises
    ------
    AudioError
        A file that cannot be used, as of `genrescope.load_audio`.
    """
    with audio.AudioFile(source) as file, file.stream(sample_rate=FINGERPRINT_SPEC.sample_rate) as stream:
        return fingerprint_stream(stream)


def fingerprint_stream(blocks: Iterable[FloatArray]) -> Fingerprint:
    """Compute the fingerprint of samples that arrive in blocks, in bounded memory.

    Parameters
    ----------
    blocks : iterable of ndarray, shape (n,), float32
        Consecutive mono samples at 22,050 Hz, such as an `genrescope.audio.AudioStream` at this rate.
    """
    builder = FingerprintBuilder()
    for block in blocks:
        builder.add(block)
    return builder.result()


class FingerprintBuilder:
    """Computes a fingerprint of blocks of samples, two minutes at a time."""

    def __init__(self) -> None:
        # Frame at which the next stretch begins, frames of context held before it, samples held in all.
        self._start = self._context = self._held = 0
        self._pending: list[FloatArray] = []
        self._pieces: list[tuple[FloatArray, FloatArray]] = []

    def add(self, block: FloatArray) -> None:
        """Take the next samples.

        Parameters
        ----------
        block : ndarray, shape (n,), float32
            Mono, at 22,050 Hz.
        """
        hop = FINGERPRINT_SPEC.hop_length
        self._pending.append(block)
        self._held += len(block)
        # One more cell than needed, because a rest shorter than that stays with the block before it.
        while self._held > (self._context + _BLOCK_FRAMES + _CONTEXT_FRAMES + _CELL_FRAMES) * hop:
            samples = np.concatenate(self._pending)
            self._append(samples[: (self._context + _BLOCK_FRAMES + _CONTEXT_FRAMES) * hop], _BLOCK_FRAMES)
            rest = samples[(self._context + _BLOCK_FRAMES - _CONTEXT_FRAMES) * hop :]
            self._start += _BLOCK_FRAMES
            self._context, self._pending, self._held = _CONTEXT_FRAMES, [rest], len(rest)

    def result(self) -> Fingerprint:
        """Return the fingerprint of all samples."""
        hop, rate = FINGERPRINT_SPEC.hop_length, FINGERPRINT_SPEC.sample_rate
        total = (self._start - self._context) * hop + self._held
        if self._held:
            self._append(np.concatenate(self._pending), None)
        self._pending, self._held = [], 0
        return _joined(self._pieces, total / rate)

    def _append(self, samples: FloatArray, frames: int | None) -> None:
        """Keep the peaks of some frames; None: of all."""
        log_mel = extract(samples[np.newaxis], FINGERPRINT_SPEC.sample_rate, FINGERPRINT_SPEC)[0]
        first = self._start - self._context
        stop = first + log_mel.shape[1] if frames is None else self._start + frames
        self._pieces.append(_peaks(log_mel, first, self._start, stop))


class SegmentFingerprint:
    """A fingerprint of those segments of a recording whose spectrograms a model was fed.

    It costs the search for peaks alone. Each segment begins a grid of frames of its own, and has no sound
    beyond its ends: copies that were cut into segments elsewhere keep other peaks near the ends.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[float, float, FloatArray, FloatArray]] = []

    def add(self, start: float, log_mel: FloatArray) -> None:
        """Take the next segment.

        Parameters
        ----------
        start : float
            Where it begins in the recording, in seconds.
        log_mel : ndarray, shape (128, frames), float32
            Of `FINGERPRINT_SPEC`, from its start.
        """
        frames = log_mel.shape[1]
        bands, places = _peaks(log_mel, 0, 0, frames)
        first = start * FRAMES_PER_SECOND
        self._pieces.append((first, first + frames - 1, bands, places))

    def result(self, seconds: float) -> Fingerprint:
        """Return the fingerprint of all segments.

        Parameters
        ----------
        seconds : float
            Length of the recording. A segment that is longer repeats it.
        """
        reached, pieces = 0.0, []
        for start, stop, bands, frames in sorted(self._pieces, key=lambda piece: piece[0]):
            places = frames.astype(np.float64) + start
            # The last segment may begin before the end of the one before it.
            kept = (places >= reached) & (places < seconds * FRAMES_PER_SECOND)
            pieces.append((bands[kept], places[kept].astype(np.float32)))
            reached = stop
        return _joined(pieces, seconds)


def _joined(pieces: list[tuple[FloatArray, FloatArray]], seconds: float) -> Fingerprint:
    bands, frames = (np.concatenate(parts) for parts in zip(*pieces, strict=True)) if pieces else ([], [])
    return Fingerprint(np.asarray(bands, np.float32), np.asarray(frames, np.float32), seconds)


def _peaks(log_mel: FloatArray, first: int, start: int, stop: int) -> tuple[FloatArray, FloatArray]:
    """Return bands and frames of the peaks from ``start`` to ``stop``; ``log_mel`` begins at ``first``."""
    level = np.asarray(log_mel, np.float32)
    if level.shape[1] < 3:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    contrast = _smoothed(level - _local_mean(level))
    is_peak = contrast == _running_maximum(_running_maximum(contrast, _PEAK_BANDS, 0), _PEAK_FRAMES, 1)
    is_peak &= contrast > _MIN_PROMINENCE
    is_peak &= level > level.max() - _MAX_DEPTH
    # In order of time. The first and last band and frame have no neighbors to interpolate with.
    is_peak[:, (0, -1)] = False
    is_peak[(0, -1), :] = False
    band, frame = np.divmod(np.flatnonzero(is_peak), level.shape[1])
    order = np.argsort(frame, kind="stable")
    band, frame = band[order], frame[order]
    kept = _strongest(contrast[band, frame], frame)
    kept &= (frame + first >= start) & (frame + first < stop)
    band, frame = band[kept], frame[kept]
    height = contrast[band, frame]
    bands = band + _vertex(contrast[band - 1, frame], height, contrast[band + 1, frame])
    frames = frame + first + _vertex(contrast[band, frame - 1], height, contrast[band, frame + 1])
    order = np.argsort(frames, kind="stable")
    return bands[order].astype(np.float32), frames[order].astype(np.float32)


def _local_mean(level: FloatArray) -> FloatArray:
    """Return the mean over the surrounding bands and frames; edges are repeated outwards."""
    from scipy import ndimage  # a tenth of a second to import, so not before sound is there

    size = (_MEAN_BANDS, _MEAN_FRAMES)
    return np.asarray(ndimage.uniform_filter(level, size, mode="nearest"), np.float32)


def _along(values: FloatArray, axis: int, start: int, stop: int) -> FloatArray:
    return values[start:stop] if axis == 0 else values[:, start:stop]


def _smoothed(values: FloatArray) -> FloatArray:
    """Return a weighted mean with the neighboring bands and frames; edges are repeated outwards."""
    for axis in (0, 1):
        n, beside = values.shape[axis], values * _SMOOTHING[0]
        values = values * _SMOOTHING[1]
        for start, shift, stop in ((1, -1, n), (0, 0, 1), (0, 1, n - 1), (n - 1, 0, n)):
            part = _along(values, axis, start, stop)
            part += _along(beside, axis, start + shift, stop + shift)
    return values


def _running_maximum(values: FloatArray, size: int, axis: int) -> FloatArray:
    """Return the maximum over ``size`` neighbors, by windows that double."""
    padding = [(0, 0), (0, 0)]
    padding[axis] = (size // 2, size // 2)
    window = np.pad(values, padding, constant_values=-np.inf)
    width = 1
    while width < size:
        step = min(width, size - width)
        n = window.shape[axis] - step
        window = np.maximum(_along(window, axis, 0, n), _along(window, axis, step, step + n))
        width += step
    return window


def _strongest(height: FloatArray, frame: IntArray) -> BoolArray:
    """Tell which peaks, in order of time, are among the highest of the second around them."""
    if not len(frame):
        return np.zeros(0, bool)
    start = np.searchsorted(frame, frame - _WINDOW_FRAMES)
    stop = np.searchsorted(frame, frame + _WINDOW_FRAMES, side="right")
    others = start[:, np.newaxis] + np.arange(int((stop - start).max()))
    near = others < stop[:, np.newaxis]
    higher = height[np.minimum(others, len(frame) - 1)] > height[:, np.newaxis]
    rank: IntArray = np.count_nonzero(higher & near, axis=1)
    return rank < _WINDOW_PEAKS


def _vertex(before: FloatArray, height: FloatArray, after: FloatArray) -> FloatArray:
    """Return where the parabola through three neighbors has its vertex, from -0.5 to 0.5."""
    curvature = before - 2 * height + after
    flat = np.abs(curvature) < 1e-6
    shift = 0.5 * (before - after) / np.where(flat, np.float32(1), curvature)
    return np.clip(np.where(flat, np.float32(0), shift), -0.5, 0.5).astype(np.float32)


def hash_peaks(
    bands: FloatArray, frames: FloatArray | Float64Array, share: float = 1.0
) -> tuple[UInt32Array, IntArray]:
    """Return the hashes of peaks, also of several recordings that lie more than two seconds apart.

    Parameters
    ----------
    bands, frames : ndarray, shape (peaks,)
        As of `Fingerprint`.
    share : float
        As of `Fingerprint.hashes`.

    Returns
    -------
    hashes : ndarray, shape (n,), uint32
    anchors : ndarray, shape (n,), int64
        The peak that each hash begins with.
    """
    # In float64, differences are exact, so that they do not depend on how late in a recording peaks are.
    places = np.asarray(frames, np.float64)
    # Beyond the end lie peaks that are too late for any other.
    bands = np.concatenate([np.asarray(bands, np.float32), np.zeros(_LOOK_AHEAD, np.float32)])
    places = np.concatenate([places, np.full(_LOOK_AHEAD, np.inf)])
    # Few peaks at a time stay in the processor's cache.
    starts = range(0, len(bands) - _LOOK_AHEAD, _HASHED_PEAKS)
    ends = [min(start + _HASHED_PEAKS, len(bands) - _LOOK_AHEAD) for start in starts]
    parts = [
        _hash_block(bands[start : end + _LOOK_AHEAD], places[start : end + _LOOK_AHEAD], start, share)
        for start, end in zip(starts, ends, strict=True)
    ]
    if not parts:
        return np.zeros(0, np.uint32), np.zeros(0, np.int64)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _hash_block(
    bands: FloatArray, frames: Float64Array, start: int, share: float
) -> tuple[UInt32Array, IntArray]:
    """Return the hashes of all peaks but the last `_LOOK_AHEAD`; the first one is peak ``start``."""
    n = len(bands) - _LOOK_AHEAD
    codes = _fan_codes(bands, frames, n)
    first = (bands[:n] / np.float32(_FIRST_STEP)).astype(np.uint64)
    bound = np.uint64(round(share * 2**32))
    hashes, anchors = [], []
    # Multiplication by large odd numbers spreads the codes over 64 bits, of which the upper ones are used.
    for a, b, c in _TRIPLES:
        mixed = ((codes[a] * _MIX[0] + codes[b]) * _MIX[1] + codes[c]) * _MIX[2] + first
        mixed ^= mixed >> np.uint64(29)
        values = (mixed * _MIX[3]) >> np.uint64(32)
        valid = np.flatnonzero((values < bound) & (codes[c] > 0))
        hashes.append(values[valid].astype(np.uint32))
        anchors.append(valid + start)
    return np.concatenate(hashes), np.concatenate(anchors)


def _fan_codes(bands: FloatArray, frames: Float64Array, n: int) -> npt.NDArray[np.uint64]:
    """Return a code for each of the `_FAN` next peaks of the first ``n``, shape (fan, n); 0 for none."""
    codes = np.zeros((_FAN, n), np.uint64)
    found = np.zeros(n, np.int8)
    for step in range(1, _LOOK_AHEAD + 1):
        lags, steps = frames[step : step + n] - frames[:n], bands[step : step + n] - bands[:n]
        near = (lags >= _MIN_LAG) & (lags <= _MAX_LAG) & (np.abs(steps) <= _MAX_BAND_STEP) & (found < _FAN)
        peaks = np.flatnonzero(near)
        code = (steps[peaks] / np.float32(_BAND_STEP) + np.float32(64)).astype(np.uint64) << np.uint64(8)
        code |= (lags[peaks] / _LAG_STEP).astype(np.uint64) + np.uint64(1)
        codes[found[peaks], peaks] = code
        found += near
    return codes


_MIX = tuple(
    np.uint64(number)
    for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
)


def bands_at_speed(bands: FloatArray, speed: float) -> FloatArray:
    """Return where ``bands`` move when a recording is played at another ``speed``; 1.03 is 3 % faster."""
    return _hertz_band(_band_hertz(bands) * speed).astype(np.float32)


def _band_hertz(bands: FloatArray) -> Float64Array:
    """Return the center frequency of mel bands, which may lie between whole ones."""
    mel = (np.asarray(bands, np.float64) + 1) * (_HIGHEST_MEL / (_BANDS + 1))
    linear = mel * (_LINEAR_HERTZ / _LINEAR_MEL)
    return np.where(
        mel < _LINEAR_MEL, linear, _LINEAR_HERTZ * np.exp(np.maximum(mel - _LINEAR_MEL, 0) * _LOG_STEP)
    )


def _hertz_band(hertz: Float64Array) -> Float64Array:
    return _hertz_mel(hertz) * ((_BANDS + 1) / _HIGHEST_MEL) - 1


def _hertz_mel(hertz: Float64Array) -> Float64Array:
    linear = hertz * (_LINEAR_MEL / _LINEAR_HERTZ)
    above = np.log(np.maximum(hertz, _LINEAR_HERTZ) / _LINEAR_HERTZ) / _LOG_STEP
    return np.where(hertz < _LINEAR_HERTZ, linear, _LINEAR_MEL + above)


_HIGHEST_MEL = float(_hertz_mel(np.array(FINGERPRINT_SPEC.sample_rate / 2)))
