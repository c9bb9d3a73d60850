"""Pitched instruments: a MIDI pitch, a length in seconds and a take make samples.

A *take* seeds whatever is random in a note, so that repeated notes differ as a player's do. Every
instrument peaks near 1, whatever its pitch.
"""

from __future__ import annotations

import numpy as np

from signals import (
    RATE,
    Samples,
    bandpass,
    clock,
    decay,
    envelope,
    hertz,
    highpass,
    lowpass,
    noise,
    resonance,
    sawtooth,
    turns,
    vibrato,
)

# Frequency in Hz, bandwidth in Hz and level in dB of four formants, those of a singer with some effort.
FORMANTS = {
    "ah": ((730, 90, 0), (1090, 110, -3), (2440, 170, -10), (3400, 250, -12)),
    "oh": ((500, 80, 0), (900, 100, -5), (2400, 170, -15), (3300, 250, -17)),
    "eh": ((550, 80, 0), (1770, 130, -6), (2490, 170, -9), (3500, 250, -13)),
    "ee": ((310, 80, 0), (2150, 140, -9), (2900, 180, -10), (3600, 250, -13)),
}


def peaked(samples: Samples) -> Samples:
    """Scale to a peak of 1."""
    return samples / max(float(np.abs(samples).max()), 1e-9)


def string(
    pitch: float,
    seconds: float,
    take: int = 0,
    *,
    sustain: float = 4.0,
    bright: float = 0.4,
    hardness: float = 5000.0,
    place: float = 0.13,
    release: float = 0.06,
) -> Samples:
    """Pluck a string (Karplus and Strong 1983; tuned loop after Jaffe and Smith 1983).

    Parameters
    ----------
    pitch : float
        MIDI pitch.
    seconds : float
        How long it rings before it is damped.
    take : int
        Seed of the pluck.
    sustain : float
        Seconds in which the fundamental falls by 60 dB.
    bright : float
        The same for what lies at 4 kHz.
    hardness : float
        Low-pass of the pluck, in Hz: a thumb is soft, a plectrum is hard.
    place : float
        Where it is plucked, as a fraction of the string.
    release : float
        Seconds that the damping takes.
    """
    period = RATE / hertz(pitch)
    shape = envelope(seconds, 0.0005, release)
    loop = _loop_filter(period, sustain, bright)
    delay = round(period - _loop_delay(period))
    wave = _circulate(_burst(period, take, hardness, place), loop, delay, len(shape))
    return peaked(highpass(wave, 30.0) * shape)


def _circulate(burst: Samples, loop: Samples, delay: int, length: int) -> Samples:
    """Feed a burst through a delay line with the filter ``loop`` in its feedback, one period at a time."""
    lead = len(loop) - 1
    wave = np.zeros(lead + max(length, len(burst)))
    wave[lead : lead + len(burst)] = burst
    for start in range(lead + delay, len(wave), delay):
        stop = min(start + delay, len(wave))
        past = wave[start - delay - lead : stop - delay]
        wave[start:stop] += np.convolve(past, loop, "valid")
    return wave[lead : lead + length]


def _loop_delay(period: float) -> float:
    """Return what the loop filter delays, in samples: 1 to damp, and 1 to 2 to tune."""
    return 2.0 + period % 1.0


def _loop_filter(period: float, sustain: float, bright: float) -> Samples:
    """Return the taps that damp the string and delay it by what its whole-sample line lacks."""
    high = 1.0 - np.cos(2.0 * np.pi * 4000.0 / RATE)
    loss = (1.0 - 10.0 ** (-3.0 * period / RATE / bright)) / high
    half = min(0.5, loss) / 2.0
    gain = 10.0 ** (-3.0 * period / RATE / sustain)
    damper = np.array([half, 1.0 - 2.0 * half, half])
    return np.asarray(gain * np.convolve(damper, _lagrange(_loop_delay(period) - 1.0)))


def _lagrange(delay: float) -> Samples:
    """Return the four taps of a cubic Lagrange interpolator that delays by ``delay`` samples (1 to 2)."""
    nodes = np.arange(4)
    ratios = [[(delay - m) / (k - m) for m in nodes if m != k] for k in nodes]
    return np.asarray(np.prod(ratios, axis=1))


def _burst(period: float, take: int, hardness: float, place: float) -> Samples:
    """Return one period of filtered noise, the excitation of the string."""
    raw = noise(2.0 * period / RATE, 1000 * take + int(period))
    soft = lowpass(raw, hardness, 1)
    comb = soft - np.roll(soft, max(1, round(place * period)))
    burst = comb[-round(period) :] * np.hanning(round(period) + 2)[1:-1] ** 0.25
    return np.asarray(burst - burst.mean())


def piano(pitch: float, seconds: float, take: int = 0, *, hardness: float = 0.75) -> Samples:
    """Strike a piano string: stiff partials, each with its own decay, and the knock of the hammer.

    ``hardness`` is the fall from one partial to the next at middle C: 0.6 is soft, 0.85 is loud.
    """
    shape = envelope(seconds, 0.002, 0.12)
    length = len(shape) / RATE
    base = hertz(pitch)
    order = np.arange(1, 25)
    partials = base * order * np.sqrt(1.0 + 0.0004 * (base / 262.0) * order**2)
    order, partials = order[partials < 9000.0], partials[partials < 9000.0]
    levels = hardness ** ((order - 1) * (base / 262.0) ** 0.5) * np.abs(np.sin(np.pi * order / 8.0))
    t60 = 9.0 * (262.0 / base) ** 0.6 / (1.0 + 0.35 * (order - 1))
    time = clock(length)
    tone = np.zeros(len(time))
    for number, (partial, level, fall) in enumerate(zip(partials, levels, t60, strict=True)):
        beating = 1.0 + 0.25 * np.cos(2.0 * np.pi * (0.5 + 0.1 * number) * time)
        phase = 2.0 * np.pi * (partial * time + 0.17 * number)
        tone += level * np.sin(phase) * beating * 10.0 ** (-3.0 * time / fall)
    knock = lowpass(noise(length, take), 900.0) * decay(length, 0.08)
    return peaked(peaked(tone) + 0.15 * peaked(knock)) * shape


def electric_piano(pitch: float, seconds: float, take: int = 0, *, bite: float = 1.2) -> Samples:
    """Strike a tine: two-operator frequency modulation (Chowning 1973), with a slow tremolo."""
    shape = envelope(seconds, 0.002, 0.15)
    length = len(shape) / RATE
    phase = 2.0 * np.pi * turns(hertz(pitch), length)
    index = bite * decay(length, 1.6)
    tine = 0.12 * np.sin(14.0 * phase) * decay(length, 0.25)
    tremolo = 1.0 - 0.2 * (1.0 + np.sin(2.0 * np.pi * 4.5 * clock(length) + take))
    return peaked((np.sin(phase + index * np.sin(phase)) + tine) * decay(length, 6.0) * tremolo * shape)


def organ(
    pitch: float,
    seconds: float,
    take: int = 0,
    *,
    drawbars: tuple[int, ...] = (8, 8, 8, 0, 0, 0, 0, 0, 4),
    click: float = 0.2,
) -> Samples:
    """Hold an organ key: nine drawbars, 0 to 8, at 16', 5 1/3', 8', 4', 2 2/3', 2', 1 3/5', 1 1/3' and 1'."""
    feet = np.array([0.5, 1.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
    shape = envelope(seconds, 0.006, 0.03)
    length = len(shape) / RATE
    wobble = vibrato(pitch, length, 12.0, 6.2, delay=0.0)
    phase = 2.0 * np.pi * turns(wobble, length)
    tone = np.zeros(len(phase))
    for ratio, drawn in zip(feet, drawbars, strict=True):
        if drawn and ratio * hertz(pitch) < 12_000.0:
            tone += 10.0 ** ((drawn - 8) * 0.15) * np.sin(ratio * phase)
    attack = bandpass(noise(length, take), 800.0, 4000.0) * decay(length, 0.03)
    return peaked(peaked(tone) + click * peaked(attack)) * shape


def pipes(
    pitch: float, seconds: float, take: int = 0, *, stops: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)
) -> Samples:
    """Hold a key of a pipe organ: ranks of pipes at multiples of the pitch, with a slow attack and chiff."""
    shape = envelope(seconds, 0.07, 0.12)
    length = len(shape) / RATE
    generator = np.random.default_rng(take * 131 + int(pitch))
    tone = np.zeros(len(shape))
    for rank, ratio in enumerate(stops):
        base = ratio * hertz(pitch) * (1.0 + generator.normal(0.0, 0.0006))
        for partial in range(1, 9):
            if partial * base < 10_000.0:
                phase = turns(partial * base, length) + generator.random()
                tone += 0.75**rank * 0.42 ** (partial - 1) * np.sin(2.0 * np.pi * phase)
    breath = bandpass(noise(length, take), hertz(pitch), 5000.0) * (0.006 + 0.05 * decay(length, 0.2))
    return peaked(peaked(tone) + breath) * shape


def strings(
    pitch: float, seconds: float, take: int = 0, *, cutoff: float = 3200.0, attack: float = 0.12
) -> Samples:
    """Bow a section of strings: five detuned sawtooths, each with its own vibrato, behind a low-pass."""
    shape = envelope(seconds, attack, 0.25)
    length = len(shape) / RATE
    generator = np.random.default_rng(take * 17 + int(pitch))
    desks = np.zeros(len(shape))
    for _ in range(5):
        detuned = pitch + generator.normal(0.0, 0.06)
        frequency = vibrato(detuned, length, 14.0, generator.uniform(4.6, 6.0), 0.05)
        desks += sawtooth(frequency, length, generator.random())
    bow = 0.05 * bandpass(noise(length, take), 1500.0, 6000.0)
    return peaked(lowpass(desks / 5.0 + bow, cutoff) * shape)


def synth(
    pitch: float, seconds: float, take: int = 0, *, cutoff: float = 1200.0, sweep: float = 4.0
) -> Samples:
    """Play a synthesizer: two sawtooths whose low-pass falls from ``sweep`` times ``cutoff`` Hz."""
    shape = envelope(seconds, 0.004, 0.08)
    length = len(shape) / RATE
    raw = sawtooth(hertz(pitch - 0.05), length) + sawtooth(hertz(pitch + 0.05), length, 0.4)
    fall = decay(length, 0.9)
    body = lowpass(raw, min(cutoff, 15_000.0)) * (1.0 - fall)
    open_filter = lowpass(raw, min(cutoff * sweep, 16_000.0)) * fall
    return peaked((body + open_filter) * shape)


def sub_bass(pitch: float, seconds: float, take: int = 0) -> Samples:
    """Play a sine an octave or so below the music, with some third partial for small loudspeakers."""
    shape = envelope(seconds, 0.008, 0.06)
    length = len(shape) / RATE
    phase = 2.0 * np.pi * turns(hertz(pitch), length)
    return peaked(np.tanh(1.8 * np.sin(phase)) * shape * (0.4 + 0.6 * decay(length, 2.5)))


def voice(
    pitch: float,
    seconds: float,
    take: int = 0,
    *,
    vowels: tuple[str, ...] = ("ah",),
    breath: float = 0.03,
    hiss: float = 0.25,
) -> Samples:
    """Sing a vowel: a vibrating source through formants (Klatt 1980); takes go through the ``vowels``.

    ``breath`` is the level of the air in the source, ``hiss`` that of the consonant before it.
    """
    shape = envelope(seconds, 0.05, 0.1)
    length = len(shape) / RATE
    source = lowpass(sawtooth(vibrato(pitch, length, 30.0), length), 3000.0, 1)
    source = source + breath * noise(length, take)
    formants = FORMANTS[vowels[take % len(vowels)]]
    mouth = [10.0 ** (level / 20.0) * resonance(source, center, width) for center, width, level in formants]
    tongue = highpass(noise(length, take + 3), 3000.0 + 1200.0 * (take % 3)) * decay(length, 0.15)
    return peaked(peaked(np.sum(mouth, axis=0) * shape) + hiss * peaked(tongue))


def reed(pitch: float, seconds: float, take: int = 0, *, cutoff: float = 2400.0) -> Samples:
    """Blow a saxophone, roughly: a sawtooth with breath, two body resonances, and a late vibrato."""
    shape = envelope(seconds, 0.035, 0.07)
    length = len(shape) / RATE
    tone = sawtooth(vibrato(pitch, length, 22.0, 5.2, 0.2), length)
    breath = 0.12 * bandpass(noise(length, take), 700.0, 5000.0)
    horn = lowpass(np.tanh(1.5 * tone) + breath, cutoff)
    return peaked((horn + 1.2 * resonance(horn, 650.0, 250.0) + resonance(horn, 1450.0, 350.0)) * shape)
