"""The demo music: instruments in tune, correct tempo and levels, the same samples every time."""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "demo_music"))

import band
import club
import concert
import effects
import instruments
import notation
import render
import signals
from score import Score, Voice
from styles import STYLES, Style

GENRES = {"blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"}
EXCERPT = 4.0
TUNES = [
    *(band.BLUES_LEAD, band.COUNTRY_VOICE, band.STEEL, band.JAZZ_LEAD, band.ROCK_LEAD, band.METAL_LEAD),
    *(club.DISCO_STRINGS, club.DISCO_VOICE, club.POP_VOICE, club.REGGAE_VOICE, club.REGGAE_BASS, concert.AIR),
]
Array = npt.NDArray[np.float64]


def named(name: str) -> Style:
    return next(style for style in STYLES if style.name.startswith(name))


def fundamental(samples: Array, near: float) -> float:
    """Return the frequency of the strongest partial within 3 % of ``near``, by a parabola."""
    size = 2**19
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size)) + 1e-12)
    bins = np.arange(round(0.97 * near * size / signals.RATE), round(1.03 * near * size / signals.RATE))
    peak = bins[np.argmax(spectrum[bins])]
    left, top, right = spectrum[peak - 1 : peak + 2]
    return float((peak + 0.5 * (left - right) / (left - 2 * top + right)) * signals.RATE / size)


def bars(words: str) -> list[list[notation.Note]]:
    """Read a tune and give every note to the bar that it is written in."""
    counts = [len(bar.split()) for bar in words.split("|")]
    notes = iter(notation.tune(words))
    return [[next(notes) for _ in range(count)] for count in counts]


def cents(measured: float, wanted: float) -> float:
    return 1200.0 * float(np.log2(measured / wanted))


# Pitch, time, level.


@pytest.mark.parametrize("pitch", [28, 33, 40, 45, 52, 57, 61, 64, 69, 74, 79, 84])
def test_plucked_string_is_in_tune_within_five_cents(pitch: int) -> None:
    wanted = signals.hertz(pitch)
    note = instruments.string(pitch, 1.5, sustain=6.0)
    assert abs(cents(fundamental(note, wanted), wanted)) < 5.0


@pytest.mark.parametrize("voice", [instruments.organ, instruments.pipes, instruments.piano, instruments.reed])
def test_other_instruments_are_in_tune_within_ten_cents(voice: Voice) -> None:
    wanted = signals.hertz(57)
    assert abs(cents(fundamental(voice(57, 1.5, 0), wanted), wanted)) < 10.0


def test_string_decays_in_the_time_it_is_given() -> None:
    note = instruments.string(45, 2.0, sustain=2.0, bright=0.2)
    band = signals.bandpass(note, 100.0, 120.0, 1)
    early, late = (np.sqrt(np.mean(band[signals.count(t) : signals.count(t + 0.2)] ** 2)) for t in (0.4, 1.4))
    assert 20.0 * np.log10(late / early) == pytest.approx(-30.0, abs=3.0)


def test_slide_begins_off_pitch_and_ends_on_it() -> None:
    tone = np.sin(2.0 * np.pi * 440.0 * signals.clock(1.0))
    slid = signals.slide(tone, -2.0, 0.3)
    start, end = signals.count(0.02), signals.count(0.5)
    ends = np.flatnonzero(np.diff(np.signbit(slid[end : end + 4410])))
    assert (len(ends) - 1) / 2 / (np.diff(ends).sum() / signals.RATE) == pytest.approx(440.0, rel=0.01)
    begins = np.flatnonzero(np.diff(np.signbit(slid[:start])))
    assert signals.RATE / 2 / np.diff(begins).mean() == pytest.approx(440.0 * 2 ** (-2 / 12), rel=0.03)


def test_disco_keeps_120_beats_a_minute() -> None:
    left = named("disco").compose().mix(12.0)[0]
    loudness = np.log(np.mean(left[: len(left) // 441 * 441].reshape(-1, 441) ** 2, axis=1) + 1e-6)
    onsets = np.maximum(np.diff(loudness), 0.0)
    onsets -= onsets.mean()
    course = np.correlate(onsets, onsets, "full")[len(onsets) - 1 :]
    lags = np.arange(30, 86)  # hundredths of a second: 200 to 70 beats a minute
    assert lags[np.argmax(course[lags])] == pytest.approx(50, abs=1)


def test_swing_delays_the_off_beat_only() -> None:
    straight, swung = Score(120, 1), Score(120, 1, swing=2 / 3)
    assert [swung.second(b) for b in range(5)] == pytest.approx([straight.second(b) for b in range(5)])
    assert swung.second(1.5) == pytest.approx(0.5 + 2 / 3 * 0.5)


def test_reverb_falls_by_sixty_decibels_in_its_time() -> None:
    response = effects.room(1.0, 5000.0, seed=1)
    early, late = (np.mean(response[:, signals.count(t) : signals.count(t + 0.1)] ** 2) for t in (0.2, 0.7))
    assert 10.0 * np.log10(late / early) == pytest.approx(-30.0, abs=2.0)


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.01, 100.0), seed=st.integers(0, 1000))
def test_limiter_never_exceeds_its_threshold_and_leaves_soft_samples_unchanged(
    gain: float, seed: int
) -> None:
    stereo = gain * np.stack([signals.noise(0.1, seed), signals.noise(0.1, seed + 1)])
    limited = effects.limit(stereo, 0.5)
    assert np.abs(limited).max() <= 0.5
    if np.abs(stereo).max() < 0.5:
        np.testing.assert_allclose(limited, stereo)


def test_later_instants_of_an_excerpt_do_not_change_its_parts() -> None:
    part = named("rock").compose().parts[0]
    np.testing.assert_allclose(part.samples(2.0), part.samples(3.0)[: signals.count(2.0)], atol=1e-9)


# Notation.


def test_names_of_pitches_and_chords() -> None:
    assert [notation.pitch(name) for name in ("C4", "A4", "Bb2", "F#3")] == [60, 69, 46, 54]
    assert notation.stacked("Am7", "A2") == (45, 48, 52, 55)
    assert notation.voiced("F", "C4") == (60, 65, 69)


def test_tune_reads_chords_rests_and_slides() -> None:
    chord, rest, bend = notation.tune("C4+E4:2 | -:.5 D4>E4")
    assert (chord.pitches, chord.beats) == ((60, 64), 2.0)
    assert (rest.pitches, rest.beats) == ((), 0.5)
    assert (bend.pitches, bend.beats, bend.offset) == ((64,), 0.5, -2.0)


@pytest.mark.parametrize("word", ["H4", "C", "4:1", "c4"])
def test_a_word_that_is_no_note_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="not a pitch"):
        list(notation.tune(word))


def test_four_voices_of_the_chorale_end_together() -> None:
    assert {sum(note.beats for note in notation.tune(words)) for words in concert.CHORALE} == {32.0}


@pytest.mark.parametrize("words", TUNES)
def test_every_bar_of_a_tune_has_its_beats(words: str) -> None:
    assert [sum(note.beats for note in bar) % 4.0 for bar in bars(words)] == [0.0] * words.count("|") + [0.0]


# Every style.


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_every_style_renders_sound_at_a_sensible_level(style: Style) -> None:
    music = render.render(style, EXCERPT)
    assert music.shape == (EXCERPT * style.sample_rate, style.channels)
    assert np.isfinite(music).all()
    assert np.abs(music).max() < 0.99
    assert -32.0 < 20.0 * np.log10(np.sqrt(np.mean(music**2))) < -11.0
    assert np.abs(music[-10:]).max() < 0.01  # it fades out


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_every_style_lasts_twenty_to_thirty_seconds_and_is_played_throughout(style: Style) -> None:
    score = style.compose()
    assert 20.0 <= score.seconds <= 30.0
    last = max(event.second for part in score.parts for event in part.events)
    assert score.seconds - 6.0 < last < score.seconds


def test_styles_have_unique_names_and_cover_the_genres() -> None:
    assert Counter(style.name for style in STYLES).most_common(1)[0][1] == 1
    assert {style.name.split("_")[0] for style in STYLES} == GENRES
    assert {style.suffix for style in STYLES} == set(render.ENCODINGS)


# The script.


def test_same_command_writes_same_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        assert render.main([str(tmp_path / folder), "--only", "reggae", "--seconds", "2"]) == 0
    first, second = sorted(tmp_path.rglob("*.wav"))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["reggae_one_drop.wav"]


@pytest.mark.parametrize("suffix", sorted(render.ENCODINGS))
def test_every_format_reads_back_as_written(suffix: str, tmp_path: Path) -> None:
    style = next(style for style in STYLES if style.suffix == suffix)
    path = render.write(style, tmp_path, 1.0)
    info = soundfile.info(path)
    assert (info.samplerate, info.channels) == (style.sample_rate, style.channels)
    assert info.duration == pytest.approx(1.0, abs=0.1)


def test_folder_that_cannot_be_made_is_an_error_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    assert render.main([str(tmp_path / "taken"), "--only", "blues", "--seconds", "1"]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("wrong", [["--only", "polka"], ["--seconds", "-1"], ["--seconds", "nan"]])
def test_wrong_use_exits_two(wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        render.main([str(tmp_path), *wrong])


def test_takes_of_a_note_differ_and_repeat_exactly() -> None:
    play = partial(instruments.string, 52, 0.3)
    np.testing.assert_array_equal(play(1), play(1))
    assert np.abs(play(1) - play(2)).max() > 0.05
