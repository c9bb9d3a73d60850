"""Channels that cancel in the mean are not averaged; all other files are mixed as the plain mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genrescope.audio import AudioFile, load_audio, open_stream
from genrescope.audio.mixing import Mixer, downmix
from genrescope.errors import AudioError
from helpers.sounds import LOSSY, encode, noise, tone, write

RATE = 44_100


def music(seconds: float = 6.0) -> np.ndarray:
    """Return low noise and two tones, shape (n,)."""
    smooth = np.convolve(noise(seconds, RATE)[:, 0], np.hanning(20), mode="same")
    tones = tone(seconds, RATE, hertz=220) + tone(seconds, RATE, hertz=1760, amplitude=0.1)
    return (0.3 * smooth + 0.5 * tones[:, 0]).astype(np.float32)


def wav(path: Path, *channels: np.ndarray) -> Path:
    write(path, np.stack(channels, axis=1).astype(np.float32), RATE, kind="WAV", coding="FLOAT")
    return path


def test_inverted_stereo_gives_its_first_channel(tmp_path: Path) -> None:
    left = music()
    loaded = load_audio(wav(tmp_path / "a.wav", left, -left))
    np.testing.assert_array_equal(loaded.samples, left)
    assert loaded.flags == ("channels_cancel",)


@pytest.mark.parametrize("rate", [None, 22_050])
def test_stream_excerpt_and_whole_are_mixed_alike(tmp_path: Path, rate: int | None) -> None:
    left = music()
    path = wav(tmp_path / "a.wav", 0.8 * left, -left)
    whole = load_audio(path, sample_rate=rate)
    with open_stream(path, sample_rate=rate, block_seconds=0.3) as stream:
        np.testing.assert_allclose(np.concatenate(list(stream)), whole.samples, atol=1e-6)
    assert stream.flags == whole.flags == ("channels_cancel",)
    with AudioFile(path) as file:
        file.excerpt(start=1, duration=3)
        assert file.avoid_cancellation()
        assert not file.avoid_cancellation()
        part = file.excerpt(start=1, duration=3)
    assert part.flags == ("channels_cancel",)
    np.testing.assert_array_equal(part.samples, -left[RATE : 4 * RATE])


@pytest.mark.parametrize("name", ["ogg", "mp3", "m4a", "opus", "wma"])
def test_inverted_stereo_after_lossy_coding(tmp_path: Path, name: str) -> None:
    samples = music()
    LOSSY[name](tmp_path / "a", np.stack([samples, -samples], axis=1), 48_000)
    loaded = load_audio(tmp_path / "a")
    assert loaded.flags == ("channels_cancel",)
    # The level, since coders shift and filter.
    assert np.std(loaded.samples) == pytest.approx(np.std(samples), rel=0.2)


def test_a_delay_beside_the_inversion(tmp_path: Path) -> None:
    samples = music()
    loaded = load_audio(wav(tmp_path / "a.wav", samples[4:], -samples[:-4]))
    np.testing.assert_array_equal(loaded.samples, samples[4:])


@pytest.mark.parametrize("inverted", [slice(0, 2), slice(4, 6), slice(2, 3)])
def test_a_part_that_cancels_changes_the_mix_of_all(tmp_path: Path, inverted: slice) -> None:
    left = music()
    right = 0.9 * left
    right[inverted.start * RATE : inverted.stop * RATE] *= -1
    loaded = load_audio(wav(tmp_path / "a.wav", left, right))
    np.testing.assert_array_equal(loaded.samples, left)


def test_silence_before_the_sound_does_not_count(tmp_path: Path) -> None:
    left = np.concatenate([1e-5 * noise(60, RATE)[:, 0], music(2)])
    loaded = load_audio(wav(tmp_path / "a.wav", left, -left))
    np.testing.assert_array_equal(loaded.samples, left)


def test_surround_keeps_the_channels_that_agree(tmp_path: Path) -> None:
    front, center, back = music(), noise(6, RATE, seed=1)[:, 0], 0.5 * noise(6, RATE, seed=2)[:, 0]
    channels = [front, -front, 0.1 * center, np.zeros_like(front), back, -back]
    loaded = load_audio(wav(tmp_path / "a.wav", *channels))
    assert loaded.flags == ("channels_cancel",)
    expected = downmix([channels[place].astype(np.float32) for place in (0, 2, 3, 4)])
    np.testing.assert_allclose(loaded.samples, expected, atol=1e-6)


def test_three_channels_that_cancel_together(tmp_path: Path) -> None:
    first, second = music(), noise(6, RATE, seed=3)[:, 0] * 3
    loaded = load_audio(wav(tmp_path / "a.wav", first, second, -first - second))
    assert loaded.flags == ("channels_cancel",)
    assert np.std(loaded.samples) > 0.5 * np.std(first)


@pytest.mark.parametrize("count", [2, 4, 6, 8])
def test_other_files_are_mixed_as_the_mean(tmp_path: Path, count: int) -> None:
    for name, channels in {
        "alike": [music()] * count,
        "independent": [noise(6, RATE, seed=seed)[:, 0] for seed in range(count)],
        "one": [music()] + [np.zeros(6 * RATE, np.float32)] * (count - 1),
        "unequal": [music(), -0.2 * music()] + [np.zeros(6 * RATE, np.float32)] * (count - 2),
    }.items():
        loaded = load_audio(wav(tmp_path / f"{name}.wav", *channels))
        assert loaded.flags == (), name
        expected = downmix([np.asarray(channel, np.float32) for channel in channels])
        np.testing.assert_array_equal(loaded.samples, expected, err_msg=name)


def test_silence_in_all_channels_is_still_an_error(tmp_path: Path) -> None:
    dither = 2.0**-17 * np.sign(noise(3, RATE)[:, 0])
    with pytest.raises(AudioError, match="silent"):
        load_audio(wav(tmp_path / "a.wav", dither, -dither))


def test_packed_and_planar_channels_through_ffmpeg(tmp_path: Path) -> None:
    left = music()
    encode(tmp_path / "a", np.stack([left, -left], 1), RATE, codec="pcm_f32le", container="matroska")
    loaded = load_audio(tmp_path / "a")
    np.testing.assert_array_equal(loaded.samples, left)
    assert loaded.samples.flags.c_contiguous


def test_the_block_length_does_not_change_the_choice() -> None:
    generator = np.random.default_rng(0)
    planes = np.stack([music(), -music()])
    planes[1, : 5 * RATE] *= -1
    for _ in range(5):
        mixer = Mixer(2, RATE)
        borders = np.sort(generator.integers(1, planes.shape[1], 40))
        for part in np.split(planes, borders, axis=1):
            mixer.mix(part)
        mixer.end()
        assert mixer.choose()
        assert mixer.chosen == (0,)


def test_blocks_with_another_number_of_channels_are_averaged() -> None:
    mixer = Mixer(2, RATE)
    left = music()
    mixer.mix([left, -left])
    np.testing.assert_array_equal(mixer.mix([left, left, left]), downmix([left] * 3))
    assert mixer.choose()
    np.testing.assert_array_equal(mixer.mix([left]), left)
