"""Single samples of an impossible level are removed and flagged; a file full of them is a typed error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope.audio import AudioFile, load_audio, open_stream
from genrescope.errors import AudioError
from helpers.sounds import noise

RATE = 22_050


def file_of(path: Path, samples: np.ndarray, coding: str = "FLOAT", kind: str = "WAV") -> Path:
    soundfile.write(path, samples, RATE, subtype=coding, format=kind)
    return path


@pytest.mark.parametrize("value", [1e4, 1e10, 1e20, -1e30, 3.4e38])
@pytest.mark.parametrize(("kind", "coding"), [("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("AIFF", "FLOAT")])
def test_a_spike_is_removed_and_flagged(tmp_path: Path, value: float, kind: str, coding: str) -> None:
    samples = noise(6, RATE, channels=2)
    expected = samples.copy()
    for frame, channel in ((1000, 0), (70_000, 1), (len(samples) - 1, 0)):
        samples[frame, channel] = value
        expected[frame, channel] = 0
    loaded = load_audio(file_of(tmp_path / "a", samples, coding, kind))
    np.testing.assert_array_equal(loaded.samples, (expected[:, 0] + expected[:, 1]) * np.float32(0.5))
    assert loaded.flags == ("spikes_removed",)


def test_a_spike_does_not_ring_in_the_resampler(tmp_path: Path) -> None:
    samples = noise(3, RATE)
    spiked = samples.copy()
    spiked[RATE] = 1e30
    samples[RATE] = 0
    clean = load_audio(file_of(tmp_path / "a", samples), sample_rate=32_000)
    np.testing.assert_array_equal(
        load_audio(file_of(tmp_path / "b", spiked), sample_rate=32_000).samples, clean.samples
    )


@pytest.mark.parametrize("block_seconds", [0.01, 0.37, 2.0])
def test_stream_excerpt_and_whole_agree(tmp_path: Path, block_seconds: float) -> None:
    samples = noise(6, RATE)
    samples[::17_001] = -1e25
    path = file_of(tmp_path / "a", samples)
    whole = load_audio(path)
    with open_stream(path, block_seconds=block_seconds) as stream:
        np.testing.assert_array_equal(np.concatenate(list(stream)), whole.samples)
    assert stream.flags == whole.flags
    with AudioFile(path) as file:
        np.testing.assert_array_equal(
            file.excerpt(start=2, duration=2).samples, whole.samples[2 * RATE : 4 * RATE]
        )


def test_flipped_bits_of_floats(tmp_path: Path) -> None:
    samples = 0.5 * np.clip(noise(10, RATE), -1, 1)
    bits = samples.view(np.uint32)
    generator = np.random.default_rng(1)
    for place in generator.integers(0, len(samples), 600):
        bits[place] ^= np.uint32(1 << int(generator.integers(0, 32)))
    loaded = load_audio(file_of(tmp_path / "a", samples), sample_rate=32_000)
    assert np.abs(loaded.samples).max() < 5
    assert loaded.flags == ("spikes_removed",)


@pytest.mark.parametrize("decibels", [20, 40, 60, 90, 186])
def test_loud_floats_are_music(tmp_path: Path, decibels: float) -> None:
    samples = np.clip(noise(3, RATE), -1, 1) * np.float32(10 ** (decibels / 20))
    loaded = load_audio(file_of(tmp_path / "a", samples))
    np.testing.assert_array_equal(loaded.samples, samples[:, 0])
    assert loaded.flags == ()


@pytest.mark.parametrize("step", [1, 2, 10, 50])
def test_a_file_full_of_impossible_samples_is_refused(tmp_path: Path, step: int) -> None:
    samples = noise(6, RATE, channels=2)
    samples[2 * RATE :: step, 1] = 1e20
    with pytest.raises(AudioError, match=r"2\.000 s") as caught:
        load_audio(file_of(tmp_path / "a", samples), sample_rate=32_000)
    assert caught.value.code == "audio_out_of_range"


@pytest.mark.parametrize("share", [1e-5, 0.5])
def test_samples_that_are_not_numbers_are_refused(tmp_path: Path, share: float) -> None:
    samples = noise(6, RATE, channels=2)
    samples[np.random.default_rng(0).random(samples.shape) < share] = np.nan
    samples[100, 0] = 1e30
    samples[2000, 1] = -np.inf
    with pytest.raises(AudioError) as caught:
        load_audio(file_of(tmp_path / "a", samples))
    assert caught.value.code == "audio_not_finite"


def test_float64_beyond_float32_is_not_finite(tmp_path: Path) -> None:
    samples = noise(3, RATE).astype(np.float64)
    samples[100] = 1e200
    with pytest.raises(AudioError) as caught:
        load_audio(file_of(tmp_path / "a", samples, "DOUBLE"))
    assert caught.value.code == "audio_not_finite"
