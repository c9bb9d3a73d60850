"""Features straight from a path, bytes, decoded audio or samples: the same numbers each way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import extract_features, load_audio
from genrescope.errors import AudioError, ConfigError
from genrescope.features import PAPER_LOG_MEL, PAPER_SEQUENCE
from helpers.small_data import drone


def test_integers_are_scaled_as_in_a_file() -> None:
    samples = np.sin(np.arange(44100) / 10).astype(np.float32) * np.float32(0.5)
    integers = np.round(samples * 32768).astype(np.int16)
    np.testing.assert_array_equal(
        extract_features(integers, sample_rate=22050),
        extract_features(integers.astype(np.float32) / np.float32(32768), sample_rate=22050),
    )
    with pytest.raises(ConfigError, match="type int64"):
        extract_features(integers.astype(np.int64), sample_rate=22050)


def test_every_source_gives_the_same(tmp_path: Path) -> None:
    samples = drone(4.0, 1)
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    path = tmp_path / "a.wav"
    expected = extract_features(path)
    assert expected.shape[:2] == (1, PAPER_LOG_MEL.n_mels)
    for other in (
        extract_features(path.read_bytes()),
        extract_features(load_audio(path)),
        extract_features(samples, sample_rate=44_100),
    ):
        np.testing.assert_array_equal(other, expected)
    assert extract_features(path, PAPER_SEQUENCE, seconds=1.0).shape[0] == 2


@pytest.mark.parametrize(("shape", "rate"), [((100,), None), ((2, 100), 8000)])
def test_samples_need_a_rate_and_one_dimension(shape: tuple[int, ...], rate: int | None) -> None:
    with pytest.raises(ConfigError) as caught:
        extract_features(np.zeros(shape, np.float32), sample_rate=rate)
    assert caught.value.code == "invalid_argument"


@pytest.mark.parametrize(
    ("level", "code"),
    [(1e30, "audio_out_of_range"), (np.nan, "audio_not_finite"), (np.inf, "audio_not_finite")],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_samples_of_an_impossible_level_are_refused(level: float, code: str, kind: type) -> None:
    samples = np.zeros(22_050, kind)
    samples[100] = level
    with pytest.raises(AudioError) as caught:
        extract_features(samples, sample_rate=22_050)
    assert caught.value.code == code
