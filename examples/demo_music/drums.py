"""Drums and cymbals: functions from a take, which seeds the noise, to samples with a peak of 1."""

from __future__ import annotations

import numpy as np

from instruments import peaked
from signals import RATE, Samples, bandpass, clock, decay, highpass, lowpass, noise, turns

# Partials of a cymbal are dense and inharmonic; six square waves at these ratios give their beating (TR-808).
CYMBAL_HERTZ = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)


def _drop(start: float, end: float, time: float, seconds: float) -> Samples:
    """Return a sine that falls from ``start`` to ``end`` Hz with the time constant ``time``."""
    frequency = end + (start - end) * np.exp(-clock(seconds) / time)
    return np.asarray(np.sin(2.0 * np.pi * turns(frequency, seconds)))


def _onset(samples: Samples, seconds: float = 0.001) -> Samples:
    """Fade in over the first ``seconds``, so that no stroke begins with a step."""
    return samples * np.clip(np.arange(len(samples)) / (seconds * RATE), 0.0, 1.0)


def kick(
    take: int = 0, *, low: float = 52.0, high: float = 170.0, t60: float = 0.35, click: float = 0.25
) -> Samples:
    """Beat a bass drum that falls from ``high`` to ``low`` Hz; ``click`` is the level of the beater."""
    body = _drop(high, low, 0.03, 0.5) * decay(0.5, t60)
    beater = bandpass(noise(0.5, take), 1800.0, 6000.0) * decay(0.5, 0.025)
    return peaked(_onset(np.tanh(1.6 * body) + click * peaked(beater)))


def snare(
    take: int = 0, *, tone: float = 190.0, t60: float = 0.28, wires: float = 0.8, top: float = 9000.0
) -> Samples:
    """Beat a snare drum: two modes of the head near ``tone`` Hz, and the wires below."""
    head = _drop(1.6 * tone, tone, 0.012, 0.45) + 0.5 * _drop(2.4 * tone, 1.7 * tone, 0.01, 0.45)
    rattle = lowpass(highpass(noise(0.45, take), 1100.0), top) * decay(0.45, t60)
    crack = bandpass(noise(0.45, take + 50), 1500.0, 7000.0) * decay(0.45, 0.04)
    return peaked(_onset(0.6 * head * decay(0.45, 0.16) + 0.5 * wires * rattle + 0.35 * crack))


def _metal(seconds: float, take: int, scale: float) -> Samples:
    """Return the beating of inharmonic square waves, mixed with noise."""
    generator = np.random.default_rng(take)
    bars = [
        np.sign(np.sin(2.0 * np.pi * turns(scale * f, seconds) + generator.random())) for f in CYMBAL_HERTZ
    ]
    return np.asarray(np.mean(bars, axis=0) + 0.7 * noise(seconds, take + 99))


def hat(take: int = 0, *, t60: float = 0.09, cutoff: float = 6500.0) -> Samples:
    """Strike a hi-hat; a short ``t60`` is closed, a long one open."""
    seconds = max(0.08, 1.2 * t60)
    return peaked(_onset(highpass(_metal(seconds, take, 1.7), cutoff) * decay(seconds, t60), 0.0005))


def ride(take: int = 0) -> Samples:
    """Strike a ride cymbal: a ping that stands out of a long wash."""
    ping = bandpass(_metal(1.1, take, 1.45), 2500.0, 6500.0) * decay(1.1, 0.35)
    wash = highpass(_metal(1.1, take + 7, 2.1), 4500.0) * decay(1.1, 1.6)
    return peaked(_onset(peaked(ping) + 0.35 * peaked(wash)))


def crash(take: int = 0) -> Samples:
    """Strike a crash cymbal."""
    wash = highpass(_metal(2.2, take, 1.3), 1800.0) * decay(2.2, 2.4)
    return peaked(_onset(lowpass(wash, 11_000.0, 1), 0.003))


def clap(take: int = 0) -> Samples:
    """Clap: four hands, not quite together."""
    shape = decay(0.3, 0.25) * 0.6
    for late in (0.0, 0.011, 0.019, 0.026):
        start = round(late * RATE)
        shape[start:] += decay(0.3, 0.03)[: len(shape) - start]
    return peaked(_onset(bandpass(noise(0.3, take), 750.0, 4500.0) * shape))


def rim(take: int = 0) -> Samples:
    """Click on the rim of the snare drum."""
    wood = _drop(900.0, 820.0, 0.01, 0.12) + 0.6 * _drop(1900.0, 1740.0, 0.01, 0.12)
    return peaked(_onset((wood + 0.3 * noise(0.12, take)) * decay(0.12, 0.06)))


def brush(take: int = 0, *, t60: float = 0.16) -> Samples:
    """Slap a snare drum with a brush."""
    wires = bandpass(noise(0.3, take), 900.0, 8000.0) * decay(0.3, t60)
    return peaked(_onset(wires + 0.5 * _drop(260.0, 200.0, 0.02, 0.3) * decay(0.3, 0.1), 0.004))


def tom(take: int = 0, *, low: float = 95.0) -> Samples:
    """Beat a tom."""
    skin = lowpass(noise(0.5, take), 3000.0) * decay(0.5, 0.06)
    return peaked(_onset(_drop(1.6 * low, low, 0.05, 0.5) * decay(0.5, 0.45) + 0.12 * skin))


def shaker(take: int = 0) -> Samples:
    """Shake once."""
    return peaked(_onset(bandpass(noise(0.12, take), 4500.0, 11_000.0) * decay(0.12, 0.12), 0.015))
