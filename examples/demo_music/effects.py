"""Effects of a part, or of the whole mix: overdrive, cabinet, body, room, limiter, fade.

One channel is (n,), stereo is (channels, n); levels in dB, times in seconds.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import oaconvolve

from signals import RATE, Samples, amplitude, bell, clock, count, decay, highpass, lowpass, noise


def drive(samples: Samples, gain_db: float, bias: float = 0.1) -> Samples:
    """Overdrive samples of a peak near 1 as a tube amplifier does: an asymmetric soft clipper."""
    pushed = np.tanh(amplitude(gain_db) * samples + bias) - np.tanh(bias)
    return highpass(pushed, 25.0)


def cabinet(samples: Samples, top: float = 4800.0) -> Samples:
    """Filter like a guitar loudspeaker: a peak near 130 Hz, falling above 1 kHz, little above ``top`` Hz."""
    shaped = bell(highpass(samples, 75.0), 130.0, 5.0, 0.7)
    sloped = lowpass(shaped, 1000.0, 1) + 0.25 * shaped
    return lowpass(bell(sloped, 2800.0, 2.0), top, 3)


def amplifier(samples: Samples, gain_db: float, top: float = 4800.0, tight: float = 120.0) -> Samples:
    """Simulate a guitar amplifier; frequencies below ``tight`` Hz are not distorted."""
    return cabinet(drive(highpass(samples, tight, 1), gain_db), top)


def body(samples: Samples) -> Samples:
    """Add the resonances of a guitar's body: of the air, the top, and the back."""
    return bell(bell(bell(highpass(samples, 70.0), 105.0, 5.0, 3.0), 205.0, 4.0, 3.0), 410.0, 2.5, 2.0)


def deep(samples: Samples, top: float = 2200.0) -> Samples:
    """Filter as a bass loudspeaker does: a peak near 65 Hz, little above ``top`` Hz."""
    return lowpass(bell(samples, 65.0, 9.0, 0.8), top)


def air(samples: Samples, gain_db: float = 5.0) -> Samples:
    """Raise high frequencies, from about 4 kHz, as mastering for radio does."""
    return bell(samples, 9000.0, gain_db, 0.5)


def chorus(samples: Samples, milliseconds: float = 2.5, rate: float = 0.7) -> Samples:
    """Add a copy with a periodically varying delay, as a chorus effect does."""
    time = np.arange(len(samples), dtype=np.float64)
    swing = 1e-3 * RATE * milliseconds * (1.5 + np.sin(2.0 * np.pi * rate * time / RATE))
    return 0.6 * (samples + np.interp(time - swing, time, samples, left=0.0))


def echo(samples: Samples, seconds: float, feedback: float = 0.35, repeats: int = 4) -> Samples:
    """Repeat every ``seconds``, darker and softer each time."""
    output, copy = samples.copy(), samples
    for number in range(1, repeats + 1):
        copy = feedback * lowpass(copy, 2500.0, 1)
        shift = number * count(seconds)
        output[shift:] += copy[: max(0, len(samples) - shift)]
    return output


def room(seconds: float, bright: float, seed: int) -> Samples:
    """Return the two impulse responses of a room, shape (2, n): noise that decays by 60 dB in ``seconds``."""
    early = clock(seconds) > 0.012
    sides = [lowpass(noise(seconds, seed + side), bright, 1) * decay(seconds, seconds) for side in (0, 1)]
    response = np.stack(sides) * early
    return np.asarray(response / np.sqrt((response**2).sum(axis=1, keepdims=True)))


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Return the reverberation of one channel in a room of impulse responses ``response``, shape (2, n)."""
    wet = oaconvolve(samples[None, :], response, axes=1)
    return np.asarray(highpass(wet[:, : len(samples)], 150.0))


def room_tone(seconds: float, level_db: float, seed: int) -> Samples:
    """Return the noise of microphones and tape, shape (2, n): low-frequency rumble, and hiss."""
    hiss = np.stack([noise(seconds, seed + side) for side in (0, 1)])
    return at_loudness(lowpass(hiss, 60.0, 1) + 0.02 * hiss, level_db)


def phrased(samples: Samples, seconds: float, depth_db: float) -> Samples:
    """Swell and fall once in every ``seconds``, by ``depth_db``, as players phrase."""
    time = np.arange(len(samples)) / RATE
    return samples * 10.0 ** (-depth_db / 40.0 * (1.0 + np.cos(2.0 * np.pi * time / seconds)))


def limit(stereo: Samples, ceiling: float = 0.89, seconds: float = 0.006) -> Samples:
    """Limit every peak to ``ceiling``, with look-ahead; the gain changes within ``seconds``."""
    width = 2 * count(seconds) + 1
    loudest = maximum_filter1d(np.abs(stereo).max(axis=0), width)
    gain = np.minimum(1.0, ceiling / np.maximum(loudest, 1e-9))
    return np.asarray(np.clip(stereo * uniform_filter1d(gain, width), -ceiling, ceiling))


def fade(stereo: Samples, seconds: float) -> Samples:
    """Fall to silence over the last ``seconds``."""
    end = stereo.shape[-1] / RATE
    return stereo * np.interp(clock(end), [end - seconds, end], [1.0, 0.0]) ** 1.5


def at_loudness(stereo: Samples, rms_db: float) -> Samples:
    """Scale to a root mean square of ``rms_db`` dB of full scale."""
    rms = float(np.sqrt(np.mean(stereo**2)))
    return stereo * amplitude(rms_db) / max(rms, 1e-9)
