"""Channels to mono: the mean of all of them, or of some where all of them together cancel.

A stereo file with one channel inverted is silent in the mean, and after lossy coding only errors of the
coder are left of it. `Mixer` measures, while the mean is used, whether it is far weaker than its channels.
Other channels are chosen between two decodings, never within one, so that a track is mixed in one way from
its start to its end, and a file that does not cancel is mixed as if nothing had been measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genrescope.types import Float64Array, FloatArray, IntArray

# A block of every channel: an array of shape (channels, n), or a sequence of arrays of shape (n,).
Planes = FloatArray | Sequence[FloatArray]

# Energy of the sum of channels over the sum of their energies: 1 for independent channels, their number for
# equal ones. Stereo is below 0.3 when its correlation is below -0.7. Of 261 stereo pieces of game music, a
# tenth of the seconds was below 0.4 in none.
_WEAK_SUM = 0.3
# The correlation below which two channels are not averaged with each other once all of them cancel.
_OPPOSED = -0.6
# The share of the sounding seconds that must cancel: one in ten, since the result is a mean over all of them.
_CANCELLED_SHARE = 0.1
# Power of all channels together, -70 dBFS: below it there is dither and the like.
_SOUNDING_POWER = 10 ** (-70 / 10)
# The matrix product that measures costs channels squared; larger layouts than that of 22.2 are no music.
_MAX_CHANNELS = 24


def downmix(planes: Planes) -> FloatArray:
    """Return the mean of channels.

    Parameters
    ----------
    planes : ndarray, shape (channels, n), float32, or sequence of ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n,), float32
        A single channel is returned itself, not a copy.
    """
    if len(planes) == 1:
        only: FloatArray = planes[0]
        return only
    total: FloatArray = planes[0] + planes[1]
    for plane in planes[2:]:
        total += plane
    total *= np.float32(1 / len(planes))
    return total


class Mixer:
    """Mixes the channels of one file to mono, and finds out whether they cancel.

    Parameters
    ----------
    channels : int
    sample_rate : int
        In Hz. Cancellation is judged second by second.

    Attributes
    ----------
    chosen : tuple of int or None
        The channels that are averaged; None: all.
    """

    def __init__(self, channels: int, sample_rate: int) -> None:
        self._channels = channels
        self._cell_size = sample_rate
        self.chosen: tuple[int, ...] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget what was measured, but not what was chosen."""
        shape = (self._channels, self._channels) if self._measures else (0, 0)
        # Of all seconds that cancel: products of the channels, and in how many seconds two were opposed.
        self._total: Float64Array = np.zeros(shape)
        self._opposed: IntArray = np.zeros(shape, np.int64)
        self._sounding = self._cancelled = 0
        self._begin_second()

    def _begin_second(self) -> None:
        self._filled = 0
        self._energy = self._sum_energy = 0.0
        self._products: Float64Array = np.zeros_like(self._total)

    @property
    def _measures(self) -> bool:
        return 1 < self._channels <= _MAX_CHANNELS and self.chosen is None

    @property
    def cancels(self) -> bool:
        """Whether the mean of all channels is in use, and was far weaker than they are in what was mixed."""
        return self._cancelled > _CANCELLED_SHARE * self._sounding

    def mix(self, planes: Planes) -> FloatArray:
        """Return the mono mix of a block, shape (n,), and measure the block.

        Parameters
        ----------
        planes : ndarray or sequence of ndarray
            One for each channel, shape (n,), float32.
        """
        # Some files change their number of channels on the way: no choice fits then, only the mean of all.
        if len(planes) == self._channels:
            if self.chosen is not None:
                return np.ascontiguousarray(downmix([planes[channel] for channel in self.chosen]))
            if self._measures:
                mean = downmix(planes)
                self._measure(planes, mean)
                return mean
        return downmix(planes)

    def end(self) -> None:
        """Judge the last second, where at least half of it is there; the next block begins a new one."""
        if 2 * self._filled >= self._cell_size:
            self._judge()
        self._begin_second()

    def choose(self) -> bool:
        """Choose other channels where all of them cancel; return whether that changed the mix."""
        if not self.cancels:
            return False
        self.chosen = self._compatible()
        self.reset()
        return True

    def _measure(self, planes: Planes, mean: FloatArray) -> None:
        start, length = 0, len(mean)
        # The seconds are counted from the start of the decoding, whatever the lengths of the blocks.
        while start < length:
            stop = min(length, start + self._cell_size - self._filled)
            self._measure_part(_between(planes, start, stop), mean[start:stop])
            self._filled += stop - start
            start = stop
            if self._filled == self._cell_size:
                self._judge()
                self._begin_second()

    def _measure_part(self, planes: Planes, mean: FloatArray) -> None:
        block_energy = energy(planes)
        sum_energy = self._channels**2 * float(np.dot(mean, mean))
        self._energy += block_energy
        self._sum_energy += sum_energy
        # The products take longer than all else here, and are needed only where the channels may cancel.
        if sum_energy < _WEAK_SUM * block_energy:
            matrix = np.asarray(planes)
            self._products += matrix @ matrix.T

    def _judge(self) -> None:
        if self._energy < _SOUNDING_POWER * self._filled:
            return
        self._sounding += 1
        if self._sum_energy < _WEAK_SUM * self._energy:
            self._cancelled += 1
            energies = self._products.diagonal()
            self._opposed += self._products < _OPPOSED * np.sqrt(np.outer(energies, energies))
            self._total += self._products

    def _compatible(self) -> tuple[int, ...]:
        """Return the first of the loudest channels, and those that oppose neither it nor each other."""
        energies = self._total.diagonal()
        # Channels of the same content differ by the coder's errors: within 1 dB the first is the loudest.
        first = int(np.argmax(energies >= 0.8 * energies.max()))
        kept = [first]
        for channel in range(self._channels):
            opposed = self._opposed[channel, kept].max()
            if channel != first and opposed <= _CANCELLED_SHARE * self._sounding:
                kept.append(channel)
        mixed = self._total[np.ix_(kept, kept)]
        # Three channels and more can cancel without any two of them being opposed.
        cancels = mixed.sum() < _WEAK_SUM * mixed.trace()
        return (first,) if cancels else tuple(sorted(kept))


def _between(planes: Planes, start: int, stop: int) -> Planes:
    if isinstance(planes, np.ndarray):
        return planes[:, start:stop]
    return [plane[start:stop] for plane in planes]


def energy(planes: Planes) -> float:
    """Return the sum of all squares of a block; NaN or infinite where a sample is.

    Parameters
    ----------
    planes : ndarray or sequence of ndarray
        One for each channel, shape (n,), float32.
    """
    if isinstance(planes, np.ndarray):
        values = planes.T.ravel()  # no copy: libsndfile interleaves the channels
        return float(np.dot(values, values))
    return sum(float(np.dot(plane, plane)) for plane in planes)
