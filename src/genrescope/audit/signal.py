"""Measurements of a whole recording in one pass and bounded memory, at its own rate and of all its channels.

`SignalMeter` is fed the blocks of a stream, before they are mixed; its `result` is a `SignalStats`. What
counts as a fault is decided in `genrescope.audit.signal_findings`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from genrescope.audio import Planes
from genrescope.audit.spectrum import HumMeter, HumStats, SpectrumMeter
from genrescope.types import Float64Array, FloatArray, IntArray

# Frames of 50 ms whose peak is below -70 dBFS are silent: dither and the last bits of 16-bit audio are.
_SILENCE_FRAME_SECONDS = 0.05
SILENCE_PEAK = 10 ** (-70 / 20)
# Correlation of channels and the like are measured over seconds.
_SOUNDING_POWER = 10 ** (-60 / 10)
ANTIPHASE_CORRELATION = -0.7
# The stretches of each kind that are kept; only the number and length of further ones are.
MAX_SPANS = 50
# Before and after a run of zeros, the level is taken over this time.
_EDGE_SECONDS = 0.005
MIN_ZERO_SECONDS = 0.02
# A clipped run: at least three samples at the extreme, which the wave reaches steeply. At the top of an
# unclipped wave the neighbors of equal samples differ from these by about one step of the quantization.
_MIN_CLIPPED_SAMPLES = 3
_MAX_TAIL = 2**16
_STEP_16 = 2.0**-15
_STEPS = {"pcm_u8": 2.0**-7, "pcm_s8": 2.0**-7, "ulaw": 2.0**-5, "alaw": 2.0**-5}
# Magnitudes are counted in bins of 1/200 of full scale, up to twice that, and from 0.2 on compared in windows
# of 12 bins (0.06): about as far as a lossy coder spreads the flat top of a clipped wave.
_BINS, _BINS_TO_SCALE, _FIRST_BIN, _PILE_BINS = 400, 200, 40, 12
_MIN_PILE_SAMPLES = 50
_MAX_PILE_SHARE = 0.1

# Samples are rounded to 24 bits for the hash, which all lossless formats hold exactly.
_HASH_SCALE = 2.0**23

Span = tuple[float, float]


@dataclass(frozen=True)
class ZeroRun:
    """Exact zeros in all channels, within a recording.

    Attributes
    ----------
    start, end : float
        In seconds.
    level_before, level_after : float
        RMS of the 5 ms before and after, in dBFS.
    """

    start: float
    end: float
    level_before: float
    level_after: float


@dataclass(frozen=True)
class SignalStats:
    """What was measured of a recording.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    channels : int
    seconds : float
    peak, rms : float
        Largest magnitude, and root of the mean square over all channels; 1 is full scale.
    silent_seconds : float
        In frames of 50 ms whose peak is below -70 dBFS.
    silent_spans : tuple of (float, float)
        Stretches of silence of at least a second, in seconds; the first 50.
    leading_silence, trailing_silence : float
        In seconds.
    zero_runs : tuple of ZeroRun
        The first 50 runs of at least 20 ms, without those at the start and the end of the recording.
    zero_run_count : int
        Of all of them.
    clipped_samples : int
        In runs of at least three samples at the highest or lowest value of a channel, steeply reached.
    clipped_spans : tuple of (float, float)
        The seconds of the recording with clipped samples, joined; the first 50.
    pile_ratio : float
        How many samples there are near some high level for each one just below it, at most. Music has fewer
        samples the higher the level; clipped music, also after lossy coding, has more.
    pile_level : float
        That level; 1 is full scale.
    dc_offset : float
        The largest mean of a channel, with its sign.
    channel_rms : tuple of float
        Of each channel.
    sounding_seconds : int
        Seconds whose level is above -60 dBFS, of stereo.
    antiphase_seconds : int
        Those in which the correlation of the first two channels is below -0.7.
    antiphase_spans : tuple of (float, float)
        The same as stretches; the first 50.
    side_rms : float
        RMS of half the difference of the first two channels; 0 for equal channels.
    hum : HumStats
        Lines at multiples of 50 and 60 Hz.
    bandwidth_hz : float
        The frequency above which there is a steep drop to nothing; the Nyquist frequency where there is none.
    bandwidth_drop_db : float
        How far the spectrum falls there.
    sample_hash : str
        BLAKE2b of the samples, rounded to 24 bits, with rate and channels: equal for the same samples in
        another lossless format.
    """

    sample_rate: int
    channels: int
    seconds: float
    peak: float
    rms: float
    silent_seconds: float
    silent_spans: tuple[Span, ...]
    leading_silence: float
    trailing_silence: float
    zero_runs: tuple[ZeroRun, ...]
    zero_run_count: int
    clipped_samples: int
    clipped_spans: tuple[Span, ...]
    pile_ratio: float
    pile_level: float
    dc_offset: float
    channel_rms: tuple[float, ...]
    sounding_seconds: int
    antiphase_seconds: int
    antiphase_spans: tuple[Span, ...]
    side_rms: float
    hum: HumStats
    bandwidth_hz: float
    bandwidth_drop_db: float
    sample_hash: str


class SignalMeter:
    """Measures a recording while it is decoded.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    channels : int
        As the header states; a file that changes it on the way is measured as far as its first channels go.
    codec : str
        As of `AudioInfo`; tells how coarse the samples are.
    """

    def __init__(self, sample_rate: int, channels: int, codec: str = "") -> None:
        self._rate, self._channels = sample_rate, channels
        self._samples = 0
        self._sums = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._silence = _SilenceMeter(sample_rate)
        self._zeros = _ZeroMeter(sample_rate)
        self._clipping = [_ClipMeter(_STEPS.get(codec, _STEP_16)) for _ in range(channels)]
        self._levels = np.zeros(_BINS, np.int64)
        self._stereo = _StereoMeter(sample_rate) if channels > 1 else None
        self._hum = HumMeter(sample_rate)
        self._spectrum = SpectrumMeter(sample_rate)
        self._hash = hashlib.blake2b(f"{sample_rate} {channels}".encode(), digest_size=20)

    def add(self, planes: Planes) -> None:
        """Measure the next block.

        Parameters
        ----------
        planes : ndarray, shape (channels, n), or sequence of ndarray, shape (n,)
            Float32, at the file's own rate; not changed.
        """
        block = np.ascontiguousarray(np.stack([np.asarray(plane, np.float32) for plane in planes]))
        if len(block) != self._channels:
            block = np.resize(block, (self._channels, block.shape[1]))
        length = block.shape[1]
        if not length:
            return
        self._sums += block.sum(axis=1, dtype=np.float64)
        self._squares += np.einsum("cn,cn->c", block, block, dtype=np.float64)
        magnitude = np.abs(block).max(axis=0)
        self._silence.add(magnitude)
        self._zeros.add(magnitude)
        for meter, plane in zip(self._clipping, block, strict=True):
            meter.add(plane, self._samples)
        scaled = np.minimum(np.abs(block) * np.float32(_BINS_TO_SCALE), _BINS - 1).astype(np.int64)
        self._levels += np.bincount(scaled.ravel(), minlength=_BINS)
        if self._stereo is not None:
            self._stereo.add(block[:2])
        mono = block.mean(axis=0) if self._channels > 1 else block[0]
        self._hum.add(mono)
        self._spectrum.add(block)
        with np.errstate(invalid="ignore", over="ignore"):
            rounded = np.rint(block.T * np.float32(_HASH_SCALE)).clip(-(2.0**31), 2.0**31 - 128)
        self._hash.update(rounded.astype("<i4").tobytes())
        self._samples += length

    def result(self) -> SignalStats:
        """Return what was measured; of no samples at all, zeros."""
        count = max(1, self._samples)
        means, power = self._sums / count, self._squares / count
        seconds = self._samples / self._rate
        spans, leading, trailing, silent = self._silence.result()
        runs, run_count = self._zeros.result()
        clipped = [meter.result() for meter in self._clipping]
        stereo = self._stereo.result() if self._stereo is not None else _NO_STEREO
        pile_ratio, pile_level = _pile(self._levels)
        bandwidth, drop = self._spectrum.bandwidth()
        return SignalStats(
            sample_rate=self._rate,
            channels=self._channels,
            seconds=seconds,
            peak=max((meter.peak for meter in self._clipping), default=0.0),
            rms=float(np.sqrt(power.mean())),
            silent_seconds=silent,
            silent_spans=spans,
            leading_silence=leading,
            trailing_silence=trailing,
            zero_runs=runs,
            zero_run_count=run_count,
            clipped_samples=sum(one[0] for one in clipped),
            clipped_spans=_second_spans(set().union(*(one[1] for one in clipped)), self._rate, seconds),
            pile_ratio=pile_ratio,
            pile_level=pile_level,
            dc_offset=float(means[np.abs(means).argmax()]),
            channel_rms=tuple(float(one) for one in np.sqrt(power)),
            sounding_seconds=stereo[0],
            antiphase_seconds=len(stereo[1]),
            antiphase_spans=_joined([(float(one), min(one + 1.0, seconds)) for one in stereo[1]]),
            side_rms=float(np.sqrt(stereo[2] / count)),
            hum=self._hum.result(),
            bandwidth_hz=bandwidth,
            bandwidth_drop_db=drop,
            sample_hash=self._hash.hexdigest(),
        )


def _pile(levels: IntArray) -> tuple[float, float]:
    """Return the largest ratio of the samples in a window of levels to those in the window below it.

    Windows with more than a tenth of the samples at or above them are left out: pure tones and square
    waves are near their peak most of the time.
    """
    total = max(1, int(levels.sum()))
    at_or_above = levels[::-1].cumsum()[::-1] / total
    best = 0.0, 0.0
    for first in range(_FIRST_BIN, _BINS - _PILE_BINS):
        below = int(levels[first - _PILE_BINS : first].sum())
        if below < _MIN_PILE_SAMPLES or at_or_above[first] > _MAX_PILE_SHARE:
            continue
        ratio = int(levels[first : first + _PILE_BINS].sum()) / below
        best = max(best, (ratio, (first + _PILE_BINS / 2) / _BINS_TO_SCALE))
    return best


def _joined(spans: list[Span]) -> tuple[Span, ...]:
    """Join spans that touch, and keep the first `MAX_SPANS`."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined[:MAX_SPANS])


def _second_spans(samples: set[int], rate: int, seconds: float) -> tuple[Span, ...]:
    """Return the seconds of the recording that hold some samples, joined."""
    found = sorted({one // rate for one in samples})
    return _joined([(float(one), min(one + 1.0, seconds)) for one in found])


def _runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and the ends of the runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return edges[::2], edges[1::2]


class _SilenceMeter:
    """Frames without sound, and stretches of them."""

    def __init__(self, rate: int) -> None:
        self._size = max(1, round(_SILENCE_FRAME_SECONDS * rate))
        self._frame_seconds = self._size / rate
        self._rest: FloatArray = np.zeros(0, np.float32)
        self._frames = self._silent = 0
        self._run = 0
        self._leading: int | None = None
        self._spans: list[Span] = []

    def add(self, magnitude: FloatArray) -> None:
        """Measure the largest magnitudes over the channels, shape (n,)."""
        joined = np.concatenate([self._rest, magnitude])
        whole = len(joined) // self._size * self._size
        self._rest = joined[whole:]
        if whole:
            self._count(joined[:whole].reshape(-1, self._size).max(axis=1) < SILENCE_PEAK)

    def _count(self, silent: np.ndarray) -> None:
        self._silent += int(silent.sum())
        for is_silent in silent.tolist():
            if is_silent:
                self._run += 1
            else:
                self._end_run()
            self._frames += 1

    def _end_run(self) -> None:
        if self._leading is None:
            self._leading = self._run
        if self._run * self._frame_seconds >= 1 and len(self._spans) < MAX_SPANS:
            end = self._frames * self._frame_seconds
            self._spans.append((end - self._run * self._frame_seconds, end))
        self._run = 0

    def result(self) -> tuple[tuple[Span, ...], float, float, float]:
        """Return the stretches, the leading, the trailing and all silence in seconds."""
        trailing = self._run
        self._end_run()
        leading = self._leading or 0
        lengths = (count * self._frame_seconds for count in (leading, trailing, self._silent))
        return tuple(self._spans), *lengths  # type: ignore[return-value]


class _ZeroMeter:
    """Runs of exact zeros between sound."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._minimum = max(2, round(MIN_ZERO_SECONDS * rate))
        self._edge = max(1, round(_EDGE_SECONDS * rate))
        self._position = 0
        self._tail: FloatArray = np.zeros(0, np.float32)
        self._open: tuple[int, float] | None = None
        self._pending: tuple[int, int, float] | None = None
        self._has_sound = False
        self._runs: list[ZeroRun] = []
        self._count = 0

    def add(self, magnitude: FloatArray) -> None:
        """Measure the largest magnitudes over the channels, shape (n,)."""
        starts, ends = _runs(magnitude == 0)
        length = len(magnitude)
        if self._open is not None and (not len(starts) or starts[0] > 0):
            self._close(0, magnitude)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if self._open is None and end - start < self._minimum and end < length:
                self._has_sound = True
                continue
            if not (start == 0 and self._open is not None):
                self._has_sound |= start > 0
                before = np.concatenate([self._tail, magnitude[:start]])[-self._edge :]
                self._open = self._position + start, _level(before)
            if end < length:
                self._close(end, magnitude)
        self._has_sound |= not len(starts) or int((ends - starts).sum()) < length
        self._tail = np.concatenate([self._tail, magnitude])[-self._edge :]
        self._position += length

    def _close(self, end: int, magnitude: FloatArray) -> None:
        """End the run that is open before place ``end`` of the block."""
        if self._open is None:
            return
        start, before = self._open
        self._open = None
        stop = self._position + end
        # Zeros at the start are a lead-in, not a hole.
        if start == 0 or stop - start < self._minimum:
            return
        self._count += 1
        if len(self._runs) < MAX_SPANS:
            after = _level(magnitude[end : end + self._edge])
            self._runs.append(ZeroRun(start / self._rate, stop / self._rate, before, after))

    def result(self) -> tuple[tuple[ZeroRun, ...], int]:
        """Return the first runs, and the number of all."""
        return tuple(self._runs), self._count


def _level(samples: FloatArray) -> float:
    if not len(samples):
        return -200.0
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


class _ClipMeter:
    """Runs of samples at the extremes of one channel, which are not known before its end.

    Where a block goes beyond the extreme so far, what was counted there is discarded: the wave was not
    clipped at that level.
    """

    def __init__(self, step: float) -> None:
        self._steep = 4 * step
        self._extremes = [0.0, 0.0]
        self._counts = [0, 0]
        self._places: list[set[int]] = [set(), set()]
        self._tail: FloatArray = np.zeros(0, np.float32)

    @property
    def peak(self) -> float:
        """The largest magnitude so far."""
        return max(self._extremes)

    def add(self, plane: FloatArray, position: int) -> None:
        """Measure samples, shape (n,), which begin at a ``position`` of the recording."""
        joined = np.concatenate([self._tail, plane])
        offset = position - len(self._tail)
        for side, extreme in enumerate((float(joined.max()), -float(joined.min()))):
            if extreme > self._extremes[side]:
                self._extremes[side], self._counts[side] = extreme, 0
                self._places[side].clear()
            if extreme == self._extremes[side] and extreme > 0:
                self._count(joined if side == 0 else -joined, side, offset)
        # A run across two blocks is counted in the second: the equal samples at the end are kept for it, with
        # the one before them.
        other = np.flatnonzero(joined != joined[-1])
        first = int(other[-1]) if len(other) else 0
        self._tail = joined[max(first, len(joined) - _MAX_TAIL) :].copy()

    def _count(self, wave: FloatArray, side: int, offset: int) -> None:
        extreme = self._extremes[side]
        starts, ends = _runs(wave == np.float32(extreme))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if end - start < _MIN_CLIPPED_SAMPLES or start == 0 or end == len(wave):
                continue
            fall = max(extreme - float(wave[start - 1]), extreme - float(wave[end]))
            if fall > self._steep:
                self._counts[side] += end - start
                if len(self._places[side]) < 10_000:
                    self._places[side].add(offset + start)

    def result(self) -> tuple[int, set[int]]:
        """Return the number of clipped samples, and where runs of them begin."""
        # A wave that is clipped on one side far below the other is a sound of that shape.
        top = self.peak
        sides = [side for side in (0, 1) if self._extremes[side] > 0.7 * top]
        return sum(self._counts[side] for side in sides), set().union(*(self._places[side] for side in sides))


_NO_STEREO: tuple[int, list[int], float] = (0, [], 0.0)


class _StereoMeter:
    """The correlation of two channels, second by second, and the energy of their difference."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._filled = self._second = 0
        self._products: Float64Array = np.zeros((2, 2))
        self._side = 0.0
        self._sounding = 0
        self._opposed: list[int] = []

    def add(self, pair: FloatArray) -> None:
        """Measure a block, shape (2, n)."""
        half = (pair[0] - pair[1]) * np.float32(0.5)
        self._side += float(np.dot(half, half))
        start, length = 0, pair.shape[1]
        while start < length:
            stop = min(length, start + self._rate - self._filled)
            part = pair[:, start:stop]
            self._products += part @ part.T
            self._filled += stop - start
            if self._filled == self._rate:
                self._judge()
            start = stop

    def _judge(self) -> None:
        left, right = self._products[0, 0], self._products[1, 1]
        if (left + right) / 2 > _SOUNDING_POWER * self._filled:
            self._sounding += 1
            # A channel that is all but silent is not opposed to anything.
            if min(left, right) > 1e-4 * max(left, right):
                correlation = self._products[0, 1] / np.sqrt(left * right)
                if correlation < ANTIPHASE_CORRELATION:
                    self._opposed.append(self._second)
        self._second += 1
        self._filled = 0
        self._products = np.zeros((2, 2))

    def result(self) -> tuple[int, list[int], float]:
        """Return the sounding seconds, the opposed ones, and the energy of the difference."""
        if 2 * self._filled >= self._rate:
            self._judge()
        return self._sounding, self._opposed, self._side
