"""Selection of excerpts, and the rule that stops it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import Classifier
from genrescope.audio import loading as audio
from genrescope.inference import excerpts
from helpers.small_data import RATE, drone, hiss
from helpers.sounds import LOSSLESS, LOSSY, measure_tone

WRITERS = {"flac": LOSSLESS["flac-16"], "wav": LOSSLESS["wav-16"], **LOSSY}


@pytest.mark.parametrize("segments", [1, 2, 6, 24, 100])
def test_every_segment_occurs_once(segments: int) -> None:
    assert (
        sorted(excerpts.excerpt_order(segments)) == list(range(segments)) or segments < excerpts.MIN_EXCERPTS
    )


def test_the_first_few_are_in_order_and_spread() -> None:
    first = list(islice(excerpts.excerpt_order(100), 3))
    assert first == sorted(first)
    assert np.diff([0, *first, 99]).min() > 10
    places = sorted(islice(excerpts.excerpt_order(1000), 50))
    assert np.diff([0, *places, 999]).max() < 40


def test_a_large_lead_stops_early_and_a_small_one_does_not() -> None:
    clear = np.tile(np.float32([0.9, 0.1]), (3, 1))
    assert not excerpts.should_stop(clear[:2], 24)
    assert excerpts.should_stop(clear, 24)
    narrow = np.tile(np.float32([0.51, 0.49]), (3, 1))
    assert not excerpts.should_stop(narrow, 24)
    assert excerpts.should_stop(np.tile(np.float32([0.51, 0.49]), (24, 1)), 24)
    mixed = np.float32([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])
    assert not excerpts.should_stop(mixed, 24)


def test_segments_are_left_out_only_after_40_s_and_with_a_large_lead() -> None:
    clear = np.tile(np.float32([0.9, 0.1]), (4, 1))
    assert excerpts.should_thin(clear, 40.0)
    assert not excerpts.should_thin(clear, 39.0)
    assert not excerpts.should_thin(np.tile(np.float32([0.55, 0.45]), (4, 1)), 40.0)
    assert not excerpts.should_thin(np.float32([[0.9, 0.1], [0.1, 0.9]] * 5), 100.0)


@pytest.fixture(scope="module")
def classifier(little_model: Path) -> Classifier:
    return Classifier.from_pretrained(little_model)


@pytest.mark.parametrize("kind", ["ogg", "mp3", "m4a", "opus", "flac"])
def test_excerpts_agree_with_the_whole(classifier: Classifier, tmp_path: Path, kind: str) -> None:
    samples = np.tile(drone(30.0, 3), 20)[:, None]
    file = tmp_path / f"long.{kind}"
    WRITERS[kind](file, samples, 24_000 if kind == "opus" else RATE)
    whole = classifier.predict(file)
    part = classifier.predict(file, excerpts=True, timeline=True)
    assert part.genre == whole.genre
    assert part.confidence == pytest.approx(whole.confidence, abs=0.05)
    assert part.flags == ("excerpts",)
    assert part.seconds == pytest.approx(whole.seconds, abs=0.1)
    assert part.timeline is not None
    assert len(part.timeline.starts) == 3


@pytest.mark.parametrize("kind", ["flac", "wav", "mp3", "ogg", "m4a"])
def test_excerpts_are_read_in_any_order(tmp_path: Path, kind: str) -> None:
    """A tone of rising frequency, from which the position of an excerpt follows."""
    seconds = np.arange(60 * RATE) / RATE
    file = tmp_path / f"rise.{kind}"
    sound = (0.5 * np.sin(2 * np.pi * (500 * seconds + 10 * seconds**2))).astype(np.float32)[:, None]
    WRITERS[kind](file, sound, RATE)
    with audio.AudioFile(file) as recording:
        for start in (30.0, 10.0, 50.0, 0.0, 20.0, 0.0):
            clip = recording.excerpt(start=start, duration=2.0)
            hertz, _ = measure_tone(clip.samples, RATE)
            assert hertz == pytest.approx(500 + 20 * (start + 1), abs=25), start


@pytest.mark.parametrize("kind", ["flac", "wav", "mp3", "ogg"])
def test_a_truncated_file_is_flagged_though_classified_by_excerpts(
    classifier: Classifier, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / f"cut.{kind}"
    WRITERS[kind](file, np.tile(drone(30.0, 3), 10)[:, None], RATE)
    file.write_bytes(file.read_bytes()[: int(0.9 * file.stat().st_size)])
    answer = classifier.predict(file, excerpts=True)
    assert "truncated" in answer.flags
    assert answer.seconds < 290


@pytest.mark.parametrize("kind", ["m4a", "mka"])
def test_sound_behind_the_stated_end_is_classified_in_full(
    classifier: Classifier, tmp_path: Path, kind: str
) -> None:
    """The header states all of the first part, 300 s, and nothing of the second."""
    file = tmp_path / f"long.{kind}"
    WRITERS[kind](file, np.tile(drone(30.0, 3), 10)[:, None], RATE)
    data = bytearray(file.read_bytes())
    if kind == "mka":
        data *= 2
    else:
        at = data.index(b"mdhd")
        scale = int.from_bytes(data[at + 16 : at + 20], "big")
        data[at + 20 : at + 24] = (200 * scale).to_bytes(4, "big")
    file.write_bytes(data)
    answer = classifier.predict(file, excerpts=True)
    assert answer.flags == ("header_mismatch",)
    assert answer.seconds == pytest.approx(600 if kind == "mka" else 300, abs=1)
    assert answer == classifier.predict(file) == classifier.predict(file, strict=True)


def test_a_track_of_two_genres_needs_more_excerpts(classifier: Classifier, tmp_path: Path) -> None:
    song = tmp_path / "two genres.wav"
    soundfile.write(song, np.concatenate([drone(300.0, 1), hiss(330.0, 1)]), RATE)
    answer = classifier.predict(song, excerpts=True, timeline=True)
    assert answer.timeline is not None
    assert len(answer.timeline.starts) > excerpts.MIN_EXCERPTS
    assert answer.genre == "hiss"


def test_short_silent_and_strict_are_classified_in_full(classifier: Classifier, tmp_path: Path) -> None:
    short, quiet = tmp_path / "short.wav", tmp_path / "quiet.wav"
    soundfile.write(short, drone(40.0, 1), RATE)
    soundfile.write(quiet, np.concatenate([np.zeros(200 * RATE, np.float32), drone(100.0, 1)]), RATE)
    for song, options in ((short, {}), (quiet, {}), (quiet, {"strict": True})):
        assert classifier.predict(song, excerpts=True, **options) == classifier.predict(song)
