"""Effects, tested on known signals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrescope.augmentation import effects
from genrescope.errors import ConfigError
from genrescope.types import FloatArray
from helpers.sounds import measure_tone

RATE = 32000
ANY = np.random.default_rng  # a fresh generator per test

Effect = Callable[[FloatArray], FloatArray]
KEEP_LENGTH: dict[str, Effect] = {
    "amplify": partial(effects.gain, gain_db=-3),
    "mix": lambda samples: effects.mix(samples, samples[::-1], 6),
    "equalize": lambda samples: effects.equalize(
        samples,
        RATE,
        [effects.EqualizerBand("peak", 900, 9, 1), effects.EqualizerBand("high_shelf", 6000, -9)],
    ),
    "band_limit": lambda samples: effects.band_limit(samples, RATE, low_hertz=80, high_hertz=4000),
    "add_noise": lambda samples: effects.add_noise(samples, RATE, ANY(0), snr_db=10, color="pink"),
    "soft_clip": partial(effects.soft_clip, drive_db=9),
    "compress": partial(effects.compress, sample_rate=RATE, threshold_db=-12, ratio=4),
    "reverberate": lambda samples: effects.reverb(samples, RATE, ANY(0), decay_seconds=0.3, wet_db=-3),
    "shift_time": partial(effects.roll, sample_rate=RATE, seconds=0.1),
    "shift_pitch": partial(effects.shift_pitch, sample_rate=RATE, semitones=2.5),
}
CODECS: dict[str, Effect] = {
    codec: partial(effects.codec_roundtrip, sample_rate=RATE, codec=codec, kbit_per_second=64)
    for codec in get_args(effects.Codec)
}
CHANGE_LENGTH: dict[str, Effect] = {
    "change_speed": partial(effects.resample_speed, factor=1.1),
    "change_tempo": partial(effects.change_tempo, sample_rate=RATE, factor=0.9),
}


def tone(hertz: float, seconds: float = 2.0, rate: int = RATE) -> FloatArray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def hiss(seconds: float = 2.0, seed: int = 0) -> FloatArray:
    return (0.1 * ANY(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def power_db(samples: FloatArray) -> float:
    return float(10 * np.log10(np.square(samples, dtype=np.float64).mean()))


def gain_at(effect: Effect, hertz: float) -> float:
    """Return the gain of a tone in decibels."""
    before, after = (measure_tone(sound, RATE)[1] for sound in (tone(hertz), effect(tone(hertz))))
    return float(20 * np.log10(after / before))


def test_six_decibels_double() -> None:
    np.testing.assert_allclose(effects.gain(hiss(), 6.0206), 2 * hiss(), rtol=1e-5)


def test_limit_changes_only_peaks_above_one() -> None:
    assert np.abs(effects.limit(tone(440) * 7)).max() == 1
    np.testing.assert_array_equal(effects.limit(tone(440)), tone(440))


@pytest.mark.parametrize("snr_db", [-6, 0, 20])
@pytest.mark.parametrize("seconds", [0.7, 5])
def test_mix_has_the_given_snr(snr_db: float, seconds: float) -> None:
    mixed = effects.mix(hiss(), tone(300, seconds), snr_db)
    assert power_db(hiss()) - power_db(mixed - hiss()) == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize("color", get_args(effects.NoiseColor))
def test_noise_has_the_given_snr(color: effects.NoiseColor) -> None:
    noisy = effects.add_noise(tone(440), RATE, ANY(0), snr_db=12, color=color)
    assert power_db(tone(440)) - power_db(noisy - tone(440)) == pytest.approx(12, abs=0.1)


@pytest.mark.parametrize(("color", "slope"), [("white", 0), ("pink", -3.01), ("brown", -6.02)])
def test_noise_has_the_slope_of_its_color(color: effects.NoiseColor, slope: float) -> None:
    noise = effects.add_noise(tone(440, 8), RATE, ANY(1), snr_db=0, color=color) - tone(440, 8)
    power = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    density = [power[(hertz >= low) & (hertz < 2 * low)].mean() for low in (100, 200, 400, 800, 1600, 3200)]
    assert np.diff(10 * np.log10(density)).mean() == pytest.approx(slope, abs=0.2)
    assert abs(noise.mean()) < 1e-4  # no offset


@pytest.mark.parametrize("kind", ["peak", "low_shelf", "high_shelf"])
def test_an_equalizer_at_zero_changes_nothing(kind: str) -> None:
    flat = [effects.EqualizerBand(kind, 1000, 0.0, 1.2), effects.EqualizerBand(kind, 60, 0.0)]  # type: ignore[arg-type]
    np.testing.assert_allclose(effects.equalize(hiss(), RATE, flat), hiss(), atol=1e-7)
    np.testing.assert_array_equal(effects.equalize(hiss(), RATE, []), hiss())


@pytest.mark.parametrize("gain_db", [-9.0, 6.0])
@pytest.mark.parametrize(
    ("kind", "gains"), [("peak", (0, 1, 0)), ("low_shelf", (1, 0.5, 0)), ("high_shelf", (0, 0.5, 1))]
)
def test_a_band_has_its_gain_at_its_frequency(kind: str, gains: tuple[float, ...], gain_db: float) -> None:
    band = effects.EqualizerBand(kind, 1000, gain_db)  # type: ignore[arg-type]
    for hertz, share in zip((20, 1000, 15500), gains, strict=True):
        gain = gain_at(lambda samples: effects.equalize(samples, RATE, [band]), hertz)
        assert gain == pytest.approx(share * gain_db, abs=0.1)


def test_band_limits_are_at_their_frequencies() -> None:
    low_pass = partial(effects.band_limit, sample_rate=RATE, high_hertz=2000)
    high_pass = partial(effects.band_limit, sample_rate=RATE, low_hertz=500)
    for effect, within, limit, beyond in ((low_pass, 1000, 2000, 4000), (high_pass, 1000, 500, 250)):
        assert gain_at(effect, within) == pytest.approx(0, abs=0.1)
        assert gain_at(effect, limit) == pytest.approx(-3.01, abs=0.1)
        assert gain_at(effect, beyond) < -34


def test_soft_clipping_flattens_and_keeps_the_peak() -> None:
    clipped = effects.soft_clip(tone(440), 24)
    assert np.abs(clipped).max() == pytest.approx(0.5, rel=1e-4)
    assert power_db(clipped) > power_db(tone(440)) + 2  # nearly a square wave: 3 dB
    np.testing.assert_allclose(effects.soft_clip(tone(440), -60), tone(440), atol=1e-5)


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_compression_divides_differences_of_level(ratio: float) -> None:
    loud, soft = tone(440), effects.gain(tone(440), -24)
    pressed = effects.compress(np.concatenate([loud, soft]), RATE, threshold_db=-40, ratio=ratio)
    middle = slice(RATE // 2, 3 * RATE // 2)
    difference = power_db(pressed[: len(loud)][middle]) - power_db(pressed[len(loud) :][middle])
    assert difference == pytest.approx(24 / ratio, abs=0.2)
    assert power_db(pressed) == pytest.approx(power_db(np.concatenate([loud, soft])), abs=0.01)


def test_compression_leaves_alone_what_is_below_the_threshold() -> None:
    np.testing.assert_allclose(
        effects.compress(hiss(), RATE, threshold_db=10, ratio=8), hiss(), rtol=1e-4, atol=1e-7
    )


def test_reverb_decays_in_the_given_time() -> None:
    click = np.zeros(2 * RATE, dtype=np.float32)
    click[0] = 1
    answer = effects.reverb(click, RATE, ANY(0), decay_seconds=1.0, wet_db=-6)
    tail = np.square(answer[1:], dtype=np.float64)
    assert 10 * np.log10(tail.sum() / answer[0] ** 2) == pytest.approx(-6, abs=1)
    left = 10 * np.log10(np.cumsum(tail[::-1])[::-1][[0, RATE // 2]])  # Schroeder's backward integral
    assert left[0] - left[1] == pytest.approx(30, abs=2)


def test_roll_wraps_around() -> None:
    ramp = np.arange(RATE, dtype=np.float32)
    np.testing.assert_array_equal(
        effects.roll(ramp, RATE, 0.25), np.concatenate([ramp[-8000:], ramp[:-8000]])
    )


@pytest.mark.parametrize("rate", [8000, 22050, 32000])
@pytest.mark.parametrize("semitones", [12, -12, 3, -5])
def test_pitch_moves_and_duration_stays(semitones: float, rate: int) -> None:
    shifted = effects.shift_pitch(tone(440, rate=rate), rate, semitones)
    assert len(shifted) == 2 * rate
    hertz, amplitude = measure_tone(shifted, rate)
    assert hertz == pytest.approx(440 * 2 ** (semitones / 12), rel=0.002)
    assert amplitude == pytest.approx(0.5, rel=0.05)  # pieces agree where they are joined


@pytest.mark.parametrize("hertz", [55, 440, 997, 5000])
@pytest.mark.parametrize("factor", [0.8, 1.25, 2**0.25])
def test_tempo_keeps_the_pitch(factor: float, hertz: float) -> None:
    hurried = effects.change_tempo(tone(hertz), RATE, factor)
    assert len(hurried) == round(2 * RATE / factor)
    assert measure_tone(hurried, RATE) == (pytest.approx(hertz, rel=0.002), pytest.approx(0.5, rel=0.03))


@pytest.mark.parametrize("factor", [0.8, 0.93, 2**0.25])
def test_tempo_joins_blocks_without_discontinuities(factor: float) -> None:
    """What is not the tone is 65 dB below it; chords, which agree nowhere entirely, show no steps."""
    hurried = effects.change_tempo(tone(55), RATE, factor)[RATE // 5 : -RATE // 5]
    power = np.abs(np.fft.rfft(hurried * np.hanning(len(hurried)))) ** 2
    hertz = np.fft.rfftfreq(len(hurried), 1 / RATE)
    assert 10 * np.log10(power[np.abs(hertz - 55) > 20].sum() / power.sum()) < -65
    chord = tone(110) + tone(155.6) + tone(261.7) + tone(340)
    steps = np.abs(np.diff(effects.change_tempo(chord, RATE, factor)[: -RATE // 5]))
    assert steps.max() < 1.2 * np.abs(np.diff(chord)).max()


@settings(max_examples=40, deadline=None)
@given(length=st.integers(1, 6000), factor=st.floats(0.25, 4), rate=st.sampled_from([4000, 22050, 44100]))
def test_any_tempo_of_any_length(length: int, factor: float, rate: int) -> None:
    hurried = effects.change_tempo(hiss(length / RATE), rate, factor)
    assert len(hurried) == max(1, round(length / factor))
    assert np.isfinite(hurried).all()


def test_tempo_moves_events() -> None:
    """Four knocks, half a second apart: at 1.25 times the tempo they come every 0.4 s."""
    knocks = np.zeros(2 * RATE, dtype=np.float32)
    for start in (8000, 24000, 40000, 56000):
        knocks[start : start + 400] = hiss(400 / RATE)
    hurried = effects.change_tempo(knocks, RATE, 1.25)
    energy = np.square(hurried).reshape(-1, 160).sum(axis=1)
    found = np.flatnonzero((energy[1:] > 0.01) & (energy[:-1] <= 0.01)) * 160 / RATE
    np.testing.assert_allclose(found, [0.2, 0.6, 1.0, 1.4], atol=0.022)


def test_tempo_at_one_changes_nothing() -> None:
    np.testing.assert_allclose(effects.change_tempo(hiss(), RATE, 1.0), hiss(), atol=1e-6)


def test_speed_moves_pitch_and_duration() -> None:
    fast = effects.resample_speed(tone(440), 1.25)
    assert len(fast) == round(2 * RATE / 1.25)
    assert measure_tone(fast, RATE) == (pytest.approx(550, rel=0.001), pytest.approx(0.5, rel=0.01))


@pytest.mark.parametrize("rate", [8000, 22050, 32000, 50000])
@pytest.mark.parametrize("codec", get_args(effects.Codec))
def test_a_codec_keeps_length_and_place(codec: effects.Codec, rate: int) -> None:
    sound = tone(440, 1, rate) * np.linspace(0, 1, rate, dtype=np.float32) + 0.2 * tone(1234, 1, rate)
    decoded = effects.codec_roundtrip(sound, rate, codec, 48)
    assert len(decoded) == rate
    assert decoded.dtype == np.float32
    assert np.corrcoef(sound, decoded)[0, 1] > 0.98
    assert not np.array_equal(sound, decoded)


def test_a_very_short_mp3_is_recognized_as_mp3() -> None:
    """Without a given format, FFmpeg detects no audio in these two."""
    for seed in (265, 356):
        blip = ANY(seed).standard_normal(47).astype(np.float32)
        assert len(effects.codec_roundtrip(blip, RATE, "mp3", 24)) == 47


def test_fewer_bits_lose_more() -> None:
    lost = [
        power_db(effects.codec_roundtrip(hiss(), RATE, codec, bits) - hiss())
        for codec in get_args(effects.Codec)
        for bits in (24, 128)
    ]
    assert all(low > high + 3 for low, high in zip(lost[::2], lost[1::2], strict=True))


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 6000),
    name=st.sampled_from(sorted(KEEP_LENGTH | CODECS | CHANGE_LENGTH)),
    level=st.sampled_from([0.0, 1e-38, 1e-6, 1.0]),
)
def test_every_effect_keeps_sound_finite(length: int, name: str, level: float) -> None:
    effect = (KEEP_LENGTH | CODECS | CHANGE_LENGTH)[name]
    sound = np.float32(level) * hiss(length / RATE)
    changed = effect(sound)
    assert np.isfinite(changed).all()
    assert changed.dtype == np.float32
    assert changed.flags.writeable
    if name not in CHANGE_LENGTH:
        assert len(changed) == length
    if level == 0:
        assert np.abs(changed).max() < 1e-4  # a codec may hiss


@pytest.mark.parametrize("name", KEEP_LENGTH | CODECS | CHANGE_LENGTH)
def test_the_smallest_float(name: str) -> None:
    almost_silence = np.zeros(6000, dtype=np.float32)
    almost_silence[3000] = 1e-45
    changed = (KEEP_LENGTH | CODECS | CHANGE_LENGTH)[name](almost_silence)
    assert np.abs(changed).max() < 1e-4
    assert np.isfinite(effects.mix(hiss(), almost_silence, 0)).all()


@pytest.mark.parametrize("name", KEEP_LENGTH | CHANGE_LENGTH)
def test_effects_scale_with_their_input(name: str) -> None:
    effect, sound = (KEEP_LENGTH | CHANGE_LENGTH)[name], hiss(0.5)
    np.testing.assert_allclose(effect(sound * 0.25), 0.25 * effect(sound), atol=1e-5)
    np.testing.assert_array_equal(sound, hiss(0.5))  # what was given is left alone


@pytest.mark.parametrize(
    "refused",
    [
        lambda: effects.change_tempo(hiss(), RATE, 0),
        lambda: effects.resample_speed(hiss(), float("nan")),
        lambda: effects.band_limit(hiss(), RATE, high_hertz=16000),
        lambda: effects.equalize(hiss(), RATE, [effects.EqualizerBand("peak", -1, 3)]),
        lambda: effects.equalize(hiss(), RATE, [effects.EqualizerBand("notch", 100, 3)]),  # type: ignore[arg-type]
        lambda: effects.compress(hiss(), RATE, threshold_db=0, ratio=0),
        lambda: effects.reverb(hiss(), RATE, ANY(0), decay_seconds=-1, wet_db=0),
        lambda: effects.add_noise(hiss(), RATE, ANY(0), snr_db=0, color="blue"),  # type: ignore[arg-type]
        lambda: effects.codec_roundtrip(hiss(), RATE, "flac", 64),  # type: ignore[arg-type]
        lambda: effects.codec_roundtrip(hiss(), RATE, "mp3", 0),
    ],
)
def test_invalid_parameters_are_refused(refused: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        refused()
    assert caught.value.code == "invalid_argument"
