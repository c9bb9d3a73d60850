"""Long-term spectra of a recording: the highest frequency that it holds, and lines of the mains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genrescope.types import Float64Array, FloatArray

# Bandwidth: frames of 2048 samples, one of every two, averaged in bands of a 128th of the Nyquist frequency.
_FFT = 2048
_STRIDE = 2 * _FFT
_BANDS = 128
_WINDOW = np.hanning(_FFT).astype(np.float32)
# Power below this, relative to a sine of full scale, is that of rounding to 16 bits (-98 dBFS, in one bin).
_FLOOR = 1e-13
# Bands below and above the edge that are compared: about 1 kHz at 44.1 kHz.
_BELOW = 6
_TRANSITION = 2
_NOTHING_DB = 60.0

# Hum: frames of 4 s at 2 kHz, which resolve 0.25 Hz; the sides of a line end 0.5 Hz from it.
_HUM_RATE = 2000
_HUM_FRAME = 4 * _HUM_RATE
_HUM_HOP = _HUM_FRAME // 2
_HUM_WINDOW = np.hanning(_HUM_FRAME).astype(np.float32)
_HARMONICS = 8
# Over an hour and a quarter; a mean over more tells nothing new.
_MAX_HUM_FRAMES = 2400
MAINS = (50, 60)


@dataclass(frozen=True)
class HumStats:
    """Lines of the mains.

    Attributes
    ----------
    mains_hz : int
        50 or 60, whichever stands out more.
    lines : int
        How many of the first eight multiples stand out steadily: at least 10 dB above their neighbors in four
        of five frames of 4 s.
    prominence_db : float
        By how much the strongest of these does, in four of five frames.
    level_db : float
        Power of these lines together, in dBFS.
    frames : int
        Number of frames that were measured.
    """

    mains_hz: int
    lines: int
    prominence_db: float
    level_db: float
    frames: int


class SpectrumMeter:
    """The mean power spectrum of all channels.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._power: Float64Array = np.zeros(_FFT // 2 + 1)
        self._frames = 0
        self._rest: FloatArray | None = None
        self._skip = 0

    def add(self, block: FloatArray) -> None:
        """Measure a block.

        Parameters
        ----------
        block : ndarray, shape (channels, n), float32
        """
        joined = block if self._rest is None else np.concatenate([self._rest, block], axis=1)
        start, length = self._skip, joined.shape[1]
        starts = np.arange(start, length - _FFT + 1, _STRIDE)
        if len(starts):
            frames = joined[:, starts[:, None] + np.arange(_FFT)] * _WINDOW
            spectrum = np.fft.rfft(frames, axis=-1)
            self._power += (spectrum.real**2 + spectrum.imag**2).sum(axis=1).mean(axis=0)
            self._frames += len(starts)
            start = int(starts[-1]) + _STRIDE
        self._rest = joined[:, min(start, length) :].copy()
        self._skip = max(0, start - length)

    def levels(self) -> Float64Array:
        """Return the power in each band, shape (128,), in dB relative to a sine of full scale."""
        scale = (_WINDOW.sum() / 2) ** 2 * max(1, self._frames)
        power = self._power[1:] / scale
        levels: Float64Array = 10 * np.log10(power.reshape(_BANDS, -1).mean(axis=1) + _FLOOR)
        return levels

    def bandwidth(self) -> tuple[float, float]:
        """Return the frequency of the steepest drop to nothing, in Hz, and the drop in dB.

        At each band, the mean level of the six bands below it is compared with the highest level of all that
        lie two bands above it or more: energy that comes back higher up counts against an edge.
        """
        nyquist = self._rate / 2
        if not self._frames:
            return nyquist, 0.0
        levels = self.levels()
        above = np.maximum.accumulate(levels[::-1])[::-1]
        edges = np.arange(_BELOW, _BANDS - _TRANSITION)
        below = np.array([levels[edge - _BELOW : edge].mean() for edge in edges])
        drops = below - above[edges + _TRANSITION]
        # Bass may be 30 dB above all else; nothing is what is far below the loudest band.
        drops[above[edges + _TRANSITION] > levels.max() - _NOTHING_DB] = 0.0
        best = int(drops.argmax())
        return float(edges[best] * nyquist / _BANDS), float(drops[best])


class HumMeter:
    """Lines at multiples of 50 and 60 Hz that stand out from their neighbors, frame by frame.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        import soxr

        self._resampler = soxr.ResampleStream(sample_rate, _HUM_RATE, 1, dtype="float32", quality="LQ")
        self._rest: FloatArray = np.zeros(0, np.float32)
        self._frames: list[FloatArray] = []
        self._powers: list[FloatArray] = []

    def add(self, mono: FloatArray) -> None:
        """Measure samples.

        Parameters
        ----------
        mono : ndarray, shape (n,), float32
            At the rate of the recording.
        """
        if len(self._frames) >= _MAX_HUM_FRAMES:
            return
        converted = self._resampler.resample_chunk(np.ascontiguousarray(mono, np.float32))
        joined = np.concatenate([self._rest, converted])
        start = 0
        while start + _HUM_FRAME <= len(joined):
            self._measure(joined[start : start + _HUM_FRAME])
            start += _HUM_HOP
        self._rest = joined[start:]

    def _measure(self, frame: FloatArray) -> None:
        spectrum = np.fft.rfft(frame * _HUM_WINDOW)
        power = spectrum.real**2 + spectrum.imag**2
        if power.sum() < 1e-6:  # silence
            return
        prominence, level = _line_prominence(power)
        self._frames.append(prominence)
        self._powers.append(level)

    def result(self) -> HumStats:
        """Return the lines of that mains frequency of which more stand out."""
        if len(self._frames) < 3:
            return HumStats(MAINS[0], 0, 0.0, -200.0, len(self._frames))
        # The lower fifth: a note comes and goes, hum is there all the time.
        steady = np.quantile(np.array(self._frames), 0.2, axis=0)
        power = np.array(self._powers).mean(axis=0) / (_HUM_WINDOW.sum() / 2) ** 2
        best = max(
            range(len(MAINS)), key=lambda mains: (int((steady[mains] >= 10).sum()), steady[mains].max())
        )
        stands_out = steady[best] >= 10
        total = float(power[best][stands_out].sum())
        return HumStats(
            MAINS[best],
            int(stands_out.sum()),
            float(steady[best].max()),
            float(10 * np.log10(total + 1e-20)),
            len(self._frames),
        )


def _line_prominence(power: Float64Array) -> tuple[FloatArray, FloatArray]:
    """Return prominence in dB and power of each line, both of shape (2, 8).

    A line is the highest bin within 0.25 Hz of a multiple of the mains frequency; its neighbors are the bins
    from 0.75 to 4 Hz on both sides, of which the upper quartile of each side counts. The side with the
    stronger neighbors decides: the flank of a note beside the line is no line.
    """
    prominence = np.zeros((len(MAINS), _HARMONICS), np.float32)
    level = np.zeros_like(prominence)
    per_hz = _HUM_FRAME // _HUM_RATE
    near, far = 3 * per_hz // 4, 4 * per_hz
    for row, mains in enumerate(MAINS):
        for number in range(_HARMONICS):
            center = mains * (number + 1) * per_hz
            line = power[center - 1 : center + 2].max()
            sides = power[center - far : center - near + 1], power[center + near : center + far + 1]
            around = max(float(np.quantile(side, 0.75)) for side in sides)
            prominence[row, number] = 10 * np.log10((line + 1e-12) / (around + 1e-12))
            level[row, number] = line
    return prominence, level
