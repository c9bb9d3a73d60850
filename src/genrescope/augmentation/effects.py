"""Audio effects for data augmentation: gain, noise, filters, dynamics, reverb, speed, pitch and codecs.

Pure functions on float32 mono samples, shape (n,), n > 0, all finite. Where it does not say otherwise, a
function returns as many samples as it was given, its output scales with its input, and silence stays silence;
peaks may exceed 1. Random numbers come from the generator that is given. An unknown name or a number out of
range is a ConfigError, ``invalid_argument``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from typing import Any, Literal, NamedTuple, TypeVar

import av
import numpy as np
import numpy.typing as npt
import soxr
from scipy import fft, ndimage, signal

from genrescope.errors import ConfigError
from genrescope.types import Float64Array, FloatArray, IntArray

NoiseColor = Literal["white", "pink", "brown"]
Codec = Literal["mp3", "aac", "opus"]
_Value = TypeVar("_Value")

# A mean level below this is silence: its reciprocal would leave the range of float32.
_SILENCE = 1e-30
# The lowest frequency of colored noise: what is below it is inaudible, and would dominate brown noise.
_NOISE_HERTZ = 20.0
_BUTTERWORTH_ORDER = 6
_COMPRESSOR_SECONDS, _COMPRESSOR_BLOCKS = 0.01, 7
# WSOLA: the length of a block, of the cross-fade at its start, and how far from its nominal position its
# start is searched for.
_BODY_SECONDS, _FADE_SECONDS, _SEEK_SECONDS = 0.05, 0.012, 0.015
_SEEK_RATE = 8000

_SLOPES: dict[NoiseColor, float] = {"white": 0.0, "pink": -0.5, "brown": -1.0}

_SIDES = {"low_shelf": 1, "high_shelf": -1}


class EqualizerBand(NamedTuple):
    """One band of an equalizer: a bell around a frequency, or a shelf that ends there.

    Attributes
    ----------
    kind : {"peak", "low_shelf", "high_shelf"}
    hertz : float
        Center of the bell, or middle of the shelf's slope, below half the sample rate.
    gain_db : float
        In dB, at the center or on the shelf.
    q : float
        Quality: the larger, the narrower the bell or the steeper the shelf; 0.707 is without resonance.
    """

    kind: Literal["peak", "low_shelf", "high_shelf"]
    hertz: float
    gain_db: float
    q: float = 0.707


class _Coder(NamedTuple):
    """Settings of FFmpeg for a codec: a fast encoder, and a container that stores the encoder's delay."""

    name: str
    container: str
    rates: tuple[int, ...]
    options: dict[str, str]


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_CODERS: dict[Codec, _Coder] = {
    "mp3": _Coder("libmp3lame", "mp3", _MPEG_RATES, {"compression_level": "9"}),
    "aac": _Coder("aac", "mp4", _MPEG_RATES, {"aac_coder": "fast"}),
    "opus": _Coder("libopus", "ogg", (8000, 12000, 16000, 24000, 48000), {"compression_level": "0"}),
}


def gain(samples: FloatArray, gain_db: float) -> FloatArray:
    """Make ``samples``, shape (n,), louder by ``gain_db`` dB, or softer where that is below zero."""
    return samples * np.float32(10 ** (gain_db / 20))


def limit(samples: FloatArray) -> FloatArray:
    """Scale ``samples``, shape (n,), down to a peak of 1 where they are louder; else leave them alone."""
    peak = _peak(samples)
    return samples / np.float32(peak) if peak > 1 else samples


def mix(samples: FloatArray, other: FloatArray, snr_db: float) -> FloatArray:
    """Add another recording.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    other : ndarray, shape (m,), float32
        Repeated or cut to the length of ``samples``; silence adds nothing.
    snr_db : float
        By how many dB the mean level of ``other`` is to lie below that of ``samples``.
    """
    other = np.resize(other, len(samples))
    level = _rms(other)
    if level == 0:
        return samples
    return samples + np.float32(_rms(samples) / level * 10 ** (-snr_db / 20)) * other


def add_noise(
    samples: FloatArray, sample_rate: int, generator: np.random.Generator, *, snr_db: float, color: NoiseColor
) -> FloatArray:
    """Add noise.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    sample_rate : int
        In Hz.
    generator : numpy.random.Generator
        Source of all that is random.
    snr_db : float
        By how many dB the mean level of the noise lies below that of ``samples``.
    color : {"white", "pink", "brown"}
        The noise's power falls by 0, 3 or 6 dB an octave, from 20 Hz on.
    """
    # White noise is made in the frequency domain, where a slope is one product: bins are independent normal
    # variables there too. A transform of a length with small prime factors is many times faster than others.
    size = fft.next_fast_len(max(2, len(samples)), real=True)
    parts = generator.standard_normal((size // 2 + 1) * 2, dtype=np.float32)
    spectrum = parts.view(np.complex64)
    spectrum[0] = 0
    if slope := _known("color", color, _SLOPES):
        hertz = fft.rfftfreq(size, 1 / sample_rate).astype(np.float32)
        spectrum *= np.maximum(hertz, _NOISE_HERTZ) ** np.float32(slope)
    noise: FloatArray = fft.irfft(spectrum, size)[: len(samples)]
    return mix(samples, noise, snr_db)


def equalize(samples: FloatArray, sample_rate: int, bands: Sequence[EqualizerBand]) -> FloatArray:
    """Raise and lower bands with second-order filters (R. Bristow-Johnson's audio EQ cookbook).

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    sample_rate : int
        In Hz.
    bands : sequence of EqualizerBand
        Applied one after another.
    """
    if not bands:
        return samples
    sections = np.stack([_biquad(band, _share_of_nyquist(band.hertz, sample_rate)) for band in bands])
    return _filter(samples, sections)


def band_limit(
    samples: FloatArray, sample_rate: int, *, low_hertz: float | None = None, high_hertz: float | None = None
) -> FloatArray:
    """Keep what lies between two frequencies: Butterworth filters, 36 dB an octave, -3 dB at the limits.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    sample_rate : int
        In Hz.
    low_hertz, high_hertz : float, optional
        The limits in Hz, below half the sample rate; None: no limit on this side.
    """
    for hertz, kind in ((low_hertz, "highpass"), (high_hertz, "lowpass")):
        if hertz is not None:
            share = _share_of_nyquist(hertz, sample_rate)
            samples = _filter(samples, signal.butter(_BUTTERWORTH_ORDER, share, kind, output="sos"))
    return samples


def soft_clip(samples: FloatArray, drive_db: float) -> FloatArray:
    """Overdrive ``samples``, shape (n,), by ``drive_db`` dB into a tanh curve; peaks keep their height."""
    peak = _peak(samples)
    if peak == 0:
        return samples
    drive = 10 ** (drive_db / 20)
    # Divided by the peak first and multiplied by it after, so that the effect does not depend on the level.
    clipped: FloatArray = np.tanh(samples / np.float32(peak) * np.float32(drive))
    return clipped * np.float32(peak / math.tanh(drive))


def compress(samples: FloatArray, sample_rate: int, *, threshold_db: float, ratio: float) -> FloatArray:
    """Reduce by ``ratio`` what the level has above a threshold; the mean level stays.

    The level is that of 10 ms blocks, the gain a moving mean over seven of them: it looks ahead.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    sample_rate : int
        In Hz.
    threshold_db : float
        Relative to the recording's own mean level (RMS).
    ratio : float
        Decibels in for one decibel out; below 1 it expands.
    """
    mean_level = _rms(samples)
    if mean_level == 0:
        return samples
    size = max(1, round(_COMPRESSOR_SECONDS * sample_rate))
    blocks = np.pad(samples / np.float32(mean_level), (0, -len(samples) % size)).reshape(-1, size)
    # A feed-forward compressor (Giannoulis, Massberg and Reiss, "Digital Dynamic Range Compressor Design",
    # JAES 2012), with a moving mean in place of attack and release: whole arrays, no loop over samples.
    level = 10 * np.log10(np.square(blocks).mean(axis=1) + 1e-12)
    reduction = np.maximum(level - threshold_db, 0) * (1 / _positive("ratio", ratio) - 1)
    gain = 10 ** (ndimage.uniform_filter1d(reduction, _COMPRESSOR_BLOCKS, mode="nearest") / 20)
    # The gain is known at the centers of blocks, and ramped between their edges: steps would be audible.
    edges = np.pad((gain[1:] + gain[:-1]) / 2, 1, mode="edge") if len(gain) > 1 else np.repeat(gain, 2)
    ramp = np.arange(size, dtype=np.float32) / size
    curve = edges[:-1, None].astype(np.float32) + np.diff(edges)[:, None].astype(np.float32) * ramp
    pressed: FloatArray = (blocks * curve).astype(np.float32).reshape(-1)[: len(samples)]
    return _at_level(pressed, mean_level)


def reverb(
    samples: FloatArray,
    sample_rate: int,
    generator: np.random.Generator,
    *,
    decay_seconds: float,
    wet_db: float,
) -> FloatArray:
    """Add the reverberation of a room; the mean level stays.

    The echoes are noise that decays exponentially (Moorer, "About this reverberation business", Computer
    Music Journal, 1979).

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    sample_rate : int
        In Hz.
    generator : numpy.random.Generator
        Source of all that is random.
    decay_seconds : float
        Time in which the echoes fall by 60 dB.
    wet_db : float
        Energy of the echoes against that of the direct sound, in dB.
    """
    size = max(1, round(_positive("decay_seconds", decay_seconds) * sample_rate))
    response = generator.standard_normal(size, dtype=np.float32)
    response *= np.exp(np.linspace(0, -math.log(1000), size, dtype=np.float32))
    response *= np.float32(10 ** (wet_db / 20) / np.linalg.norm(response))
    # The direct sound, at the start of its echoes: one convolution gives both.
    response[0] += 1
    wet: FloatArray = signal.oaconvolve(samples, response)[: len(samples)]
    return _at_level(wet, _rms(samples))


def roll(samples: FloatArray, sample_rate: int, seconds: float) -> FloatArray:
    """Delay ``samples`` at ``sample_rate`` Hz by ``seconds``; what leaves at the end enters at the start."""
    return np.roll(samples, round(seconds * sample_rate))


def resample_speed(samples: FloatArray, factor: float) -> FloatArray:
    """Play faster and higher, as a turntable does: tempo and pitch times ``factor``.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    factor : float
        Above 0.

    Returns
    -------
    ndarray, shape (round(n / factor),)
    """
    length = _length_after(samples, factor)
    return _fit(soxr.resample(samples, factor, 1.0, quality="MQ"), length)


def change_tempo(samples: FloatArray, sample_rate: int, factor: float) -> FloatArray:
    """Play faster at the same pitch, tempo times ``factor``.

    Pieces of 50 ms are joined where their waves agree: WSOLA (Verhelst and Roelands, ICASSP 1993), with
    short cross-fades in place of their half-overlapping windows. Events move by up to 15 ms.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    sample_rate : int
        In Hz.
    factor : float
        Above 0.

    Returns
    -------
    ndarray, shape (round(n / factor),)
    """
    length = _length_after(samples, factor)
    body, fade, seek = (
        max(1, round(duration * sample_rate)) for duration in (_BODY_SECONDS, _FADE_SECONDS, _SEEK_SECONDS)
    )
    step = max(1, sample_rate // _SEEK_RATE)
    padded = np.pad(samples, (0, body + fade + seek + 2 * step))
    aims = np.arange(0, length, body) * factor
    starts = _splices(padded, aims, body, fade, seek, step)
    pieces: FloatArray = padded[starts[:, None] + np.arange(body + fade)]
    rise = (np.arange(1, fade + 1, dtype=np.float32) / (fade + 1))[None]
    pieces[1:, :fade] = pieces[1:, :fade] * rise + pieces[:-1, body:] * (1 - rise)
    return pieces[:, :body].reshape(-1)[:length]


def shift_pitch(samples: FloatArray, sample_rate: int, semitones: float) -> FloatArray:
    """Play higher at the same tempo: `change_tempo` one way, `resample_speed` back.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    sample_rate : int
        In Hz.
    semitones : float
        Lower where it is below zero.
    """
    factor = 2 ** (semitones / 12)
    return _fit(resample_speed(change_tempo(samples, sample_rate, 1 / factor), factor), len(samples))


def codec_roundtrip(
    samples: FloatArray, sample_rate: int, codec: Codec, kbit_per_second: float
) -> FloatArray:
    """Encode and decode in memory (FFmpeg), aligned with what was given.

    A rate that the codec does not know is resampled to the next that it does, and back. An encoder takes the
    nearest bit rate that it has. Codecs do not scale with the level: what is soft enough, they leave out.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    sample_rate : int
        In Hz.
    codec : {"mp3", "aac", "opus"}
    kbit_per_second : float
        The bit rate.
    """
    coder = _known("codec", codec, _CODERS)
    bit_rate = round(1000 * _positive("kbit_per_second", kbit_per_second))
    rate = min((rate for rate in coder.rates if rate >= sample_rate), default=max(coder.rates))
    file = _encoded(_resample(samples, sample_rate, rate), rate, coder, bit_rate)
    # The format is given because FFmpeg takes a few very short MP3 files for something else.
    with av.open(file, "r", format=coder.container) as container:
        frames: list[Any] = list(container.decode(audio=0))
    if not frames:  # an encoder may return no frame at all for a few samples
        return samples
    decoded = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return _fit(_resample(decoded, frames[0].sample_rate, sample_rate), len(samples))


def _biquad(band: EqualizerBand, share: float) -> Float64Array:
    """Return one filter's coefficients b0 b1 b2 a0 a1 a2, a0 = 1; ``share`` is its place below Nyquist."""
    cosine, width = math.cos(math.pi * share), math.sin(math.pi * share) / (2 * _positive("q", band.q))
    root = 10 ** (band.gain_db / 40)
    if band.kind == "peak":
        up, down = width * root, width / root
        section = np.array([1 + up, -2 * cosine, 1 - up, 1 + down, -2 * cosine, 1 - down])
        return _normalized(section)
    # A high shelf is a low shelf with the frequency axis reversed.
    side = _known("kind", band.kind, _SIDES)
    more, less, slant = root + 1, (root - 1) * side * cosine, 2 * math.sqrt(root) * width
    tilt = more * side * cosine
    shelf = np.array(
        [
            root * (more - less + slant),
            2 * side * root * (root - 1 - tilt),
            root * (more - less - slant),
            more + less + slant,
            -2 * side * (root - 1 + tilt),
            more + less - slant,
        ]
    )
    return _normalized(shelf)


def _normalized(section: Float64Array) -> Float64Array:
    a0 = float(section[3])
    return section / a0


def _filter(samples: FloatArray, sections: Float64Array) -> FloatArray:
    """Apply second-order sections in double precision: at low frequencies they are unstable in single."""
    filtered: FloatArray = signal.sosfilt(sections, samples).astype(np.float32)
    return filtered


def _splices(
    samples: FloatArray, aims: npt.NDArray[np.floating[Any]], body: int, fade: int, seek: int, step: int
) -> IntArray:
    """Choose where each block starts: near its nominal position, where it best continues the block before.

    A coarse search over means of ``step`` samples, then a fine one around its result.
    """
    blurred = samples[: len(samples) // step * step].reshape(-1, step).mean(axis=1)
    coarse, fine = _Matcher(blurred), _Matcher(samples)
    starts = np.zeros(len(aims), dtype=np.int64)
    for piece in range(1, len(aims)):
        aim, follow = int(aims[piece]), int(starts[piece - 1]) + body
        first, last = max(0, aim - seek) // step, (aim + seek) // step
        near = step * coarse.best(follow // step, fade // step, first, last)
        starts[piece] = fine.best(follow, fade, max(0, near - step), near + step)
    return starts


class _Matcher:
    """Finds the samples that are most similar to given ones, by normalized correlation."""

    def __init__(self, samples: FloatArray) -> None:
        self._samples = samples
        self._energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])

    def best(self, template: int, size: int, first: int, last: int) -> int:
        """Return the start in ``first`` to ``last`` most similar to the ``size`` samples at ``template``."""
        size = max(1, size)
        wanted = self._samples[template : template + size]
        products = np.correlate(self._samples[first : last + size], wanted, "valid")
        energy = self._energy[first + size : last + size + 1] - self._energy[first : last + 1]
        return first + int(np.argmax(products / np.sqrt(energy + 1e-9)))


def _encoded(samples: FloatArray, rate: int, coder: _Coder, bit_rate: int) -> BytesIO:
    """Encode samples as a file in memory."""
    file = BytesIO()
    whole = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
    with av.open(file, "w", format=coder.container) as container:
        stream: Any = container.add_stream(coder.name, rate=rate, layout="mono", options=coder.options)
        stream.bit_rate = bit_rate
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.codec_context.format, "mono", rate, frame_size=size)
        for frame in [*resampler.resample(whole), *resampler.resample(None), None]:
            container.mux(stream.encode(frame))
    file.seek(0)
    return file


def _resample(samples: FloatArray, rate: int, wanted: int) -> FloatArray:
    return samples if rate == wanted else soxr.resample(samples, rate, wanted, quality="MQ")


def _fit(samples: FloatArray, length: int) -> FloatArray:
    """Cut or zero-pad to ``length`` samples."""
    return samples[:length] if len(samples) >= length else np.pad(samples, (0, length - len(samples)))


def _at_level(samples: FloatArray, level: float) -> FloatArray:
    """Return ``samples`` with a mean level (RMS) of ``level``; silence stays."""
    now = _rms(samples)
    return samples * np.float32(level / now) if now else samples


def _rms(samples: FloatArray) -> float:
    """Return the mean level, in double precision: squares of very small samples underflow in single."""
    level = float(np.sqrt(np.square(samples, dtype=np.float64).mean()))
    return level if level > _SILENCE else 0.0


def _peak(samples: FloatArray) -> float:
    return max(float(samples.max()), -float(samples.min()))


def _length_after(samples: FloatArray, factor: float) -> int:
    return max(1, round(len(samples) / _positive("factor", factor)))


def _share_of_nyquist(hertz: float, sample_rate: int) -> float:
    share = 2 * hertz / sample_rate
    if 0 < share < 1:
        return share
    raise ConfigError(
        "invalid_argument", f"no {hertz:g} Hz at {sample_rate} Hz", "stay below half the sample rate"
    )


def _known(name: str, key: str, table: Mapping[Any, _Value]) -> _Value:
    if key in table:
        return table[key]
    raise ConfigError(
        "invalid_argument", f"{name} = {key!r} is not known", f"choose one of {', '.join(table)}"
    )


def _positive(name: str, value: float) -> float:
    if 0 < value < math.inf:
        return value
    raise ConfigError("invalid_argument", f"{name} = {value}", "give a positive number")
