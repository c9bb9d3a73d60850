"""Outliers, samples far outside the range of audio: single ones are removed, more of them are an error.

A flipped bit in a file of floats gives a sample of 1e30 or more, or one that is hardly larger than its
neighbors; damaged bytes give any number. The level alone is no criterion: floats of +40 dBFS exist, and
programs that do not scale write integers up to 2**31 as floats, which are music all the same. A spike is a
sample far beyond all others near it.
"""

from __future__ import annotations

import numpy as np

from genrescope.audio.mixing import Planes
from genrescope.types import FloatArray

# The largest magnitude that is believed: above that of any integer of 32 bits. Sums of squares over a window,
# and their products with frequencies, stay far below the largest float32 (3.4e38).
MAX_MAGNITUDE = 2.0**32
# A spike is 60 dB above full scale, and 60 dB above what 99 % of the samples of its block stay below.
SPIKE_MAGNITUDE = 1000.0
_SPIKE_SHARE = 0.01


def remove_spikes(planes: Planes) -> int:
    """Set single samples of an impossible level to zero, in place.

    Zero, and not the nearest plausible value, because audio swings around zero: any other value is a louder
    click. It is done before mixing and resampling, since the filter of a resampler rings around a spike.

    Parameters
    ----------
    planes : ndarray or sequence of ndarray
        A block; one array for each channel, shape (n,), float32, finite.

    Returns
    -------
    int
        How many samples were set to zero.
    """
    return sum(_remove(plane) for plane in planes)


def _remove(plane: FloatArray) -> int:
    magnitudes = np.abs(plane)
    if magnitudes.max(initial=0) <= SPIKE_MAGNITUDE:
        return 0
    spikes = magnitudes > SPIKE_MAGNITUDE * max(1.0, _usual_peak(magnitudes))
    plane[spikes] = 0
    return int(np.count_nonzero(spikes))


def _usual_peak(magnitudes: FloatArray) -> float:
    """Return what all magnitudes but 1 % (but one, of fewer than 100) stay below; 0 for a single one."""
    allowed = max(1, int(_SPIKE_SHARE * len(magnitudes)))
    if len(magnitudes) <= allowed:
        return 0.0
    place = len(magnitudes) - 1 - allowed
    return float(np.partition(magnitudes, place)[place])
