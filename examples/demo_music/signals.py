"""Signals that instruments are made of: noise, envelopes, filters, oscillators.

Samples are float64 mono, shape (n,), at ``RATE`` Hz. Signatures are in seconds, Hz and dB.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, lfilter, sosfilt

RATE = 44_100

Samples = npt.NDArray[np.float64]


def count(seconds: float) -> int:
    """Return how many samples last ``seconds``."""
    return round(seconds * RATE)


def clock(seconds: float) -> Samples:
    """Return the time of every sample, in seconds, from zero."""
    return np.arange(count(seconds)) / RATE


def hertz(pitch: float) -> float:
    """Return the frequency of a MIDI pitch (69 is A4, 440 Hz; fractions are allowed)."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def amplitude(decibels: float) -> float:
    """Return the factor that ``decibels`` stands for."""
    return float(10.0 ** (decibels / 20.0))


def noise(seconds: float, seed: int) -> Samples:
    """Return white Gaussian noise; the same seed gives the same noise."""
    return np.random.default_rng(seed).standard_normal(count(seconds))


def decay(seconds: float, t60: float) -> Samples:
    """Return an exponential that falls by 60 dB in ``t60`` seconds."""
    return 10.0 ** (-3.0 * clock(seconds) / t60)


def envelope(seconds: float, attack: float, release: float) -> Samples:
    """Rise for ``attack``, hold until ``seconds``, then fall for ``release``; all in seconds."""
    knots = [0.0, attack, max(seconds, attack), max(seconds, attack) + release]
    return np.interp(clock(knots[-1]), knots, [0.0, 1.0, 1.0, 0.0])


@lru_cache(maxsize=256)
def _butterworth(kind: str, edges: tuple[float, ...], order: int) -> Samples:
    cutoff = edges[0] if len(edges) == 1 else edges
    return np.asarray(butter(order, cutoff, kind, fs=RATE, output="sos"))


def lowpass(samples: Samples, cutoff: float, order: int = 2) -> Samples:
    """Remove frequencies above ``cutoff`` Hz."""
    return np.asarray(sosfilt(_butterworth("lowpass", (cutoff,), order), samples))


def highpass(samples: Samples, cutoff: float, order: int = 2) -> Samples:
    """Remove frequencies below ``cutoff`` Hz."""
    return np.asarray(sosfilt(_butterworth("highpass", (cutoff,), order), samples))


def bandpass(samples: Samples, low: float, high: float, order: int = 2) -> Samples:
    """Keep frequencies between ``low`` and ``high`` Hz."""
    return np.asarray(sosfilt(_butterworth("bandpass", (low, high), order), samples))


def bell(samples: Samples, center: float, gain_db: float, q: float = 1.0) -> Samples:
    """Raise or lower the band around ``center`` Hz (the peaking filter of the Audio EQ Cookbook)."""
    root = amplitude(gain_db / 2.0)
    angle = 2.0 * np.pi * center / RATE
    alpha = np.sin(angle) / (2.0 * q)
    numerator = [1.0 + alpha * root, -2.0 * np.cos(angle), 1.0 - alpha * root]
    denominator = [1.0 + alpha / root, -2.0 * np.cos(angle), 1.0 - alpha / root]
    return np.asarray(lfilter(numerator, denominator, samples))


def resonance(samples: Samples, center: float, bandwidth: float) -> Samples:
    """Ring at ``center`` Hz with unit gain there and -3 dB at half ``bandwidth`` on either side."""
    radius = np.exp(-np.pi * bandwidth / RATE)
    feedback = [1.0, -2.0 * radius * np.cos(2.0 * np.pi * center / RATE), radius**2]
    return np.asarray(lfilter([0.5 * (1.0 - radius**2), 0.0, -0.5 * (1.0 - radius**2)], feedback, samples))


def turns(frequency: float | Samples, seconds: float) -> Samples:
    """Return the running phase, in turns, of a tone at ``frequency`` Hz, fixed or per sample."""
    return np.cumsum(np.broadcast_to(frequency, count(seconds)) / RATE)


def sawtooth(frequency: float | Samples, seconds: float, phase: float = 0.0) -> Samples:
    """Return a sawtooth, its step rounded so that it hardly aliases (PolyBLEP, Välimäki 2007)."""
    step = np.broadcast_to(np.asarray(frequency) / RATE, count(seconds))
    position = (turns(frequency, seconds) + phase) % 1.0
    after = np.clip(1.0 - position / step, 0.0, None)
    before = np.clip(1.0 - (1.0 - position) / step, 0.0, None)
    return 2.0 * position - 1.0 + after**2 - before**2


def vibrato(pitch: float, seconds: float, cents: float, rate: float = 5.5, delay: float = 0.25) -> Samples:
    """Return the frequency, in Hz per sample, of a note whose vibrato sets in after ``delay`` seconds."""
    time = clock(seconds)
    depth = np.clip((time - delay) / 0.3, 0.0, 1.0) * cents / 100.0
    return hertz(pitch) * 2.0 ** (depth * np.sin(2.0 * np.pi * rate * time) / 12.0)


def slide(samples: Samples, semitones: float, seconds: float = 0.12) -> Samples:
    """Begin a note ``semitones`` off its pitch and reach it within ``seconds``, by variable-speed reading."""
    offset = semitones * np.interp(np.arange(len(samples)) / RATE, [0.0, seconds], [1.0, 0.0])
    heads = np.cumsum(2.0 ** (offset / 12.0))
    return np.asarray(np.interp(heads - heads[0], np.arange(len(samples)), samples, right=0.0))
