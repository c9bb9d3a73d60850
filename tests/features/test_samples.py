"""Samples as features: for networks that compute their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genrescope import audio
from genrescope.datasets import load_dataset
from genrescope.datasets.segments import build_segments
from genrescope.errors import ConfigError
from genrescope.features import (
    FeatureSpec,
    extract,
    extract_features,
    feature_dimension,
    samples_spec,
    segment_frames,
)

SPEC = samples_spec(16000)


def test_samples_are_passed_on_as_they_are() -> None:
    samples = np.random.default_rng(0).normal(size=(3, 1600)).astype(np.float32)
    assert np.array_equal(extract(samples, 16000, SPEC), samples)
    assert segment_frames(SPEC, 0.1) == 1600
    assert feature_dimension(SPEC) == 1
    assert FeatureSpec.from_json(SPEC.to_json()) == SPEC


def test_a_file_is_resampled_and_cut(little_music: Path) -> None:
    song = next((little_music / "hiss").rglob("*.wav"))
    found = extract_features(song, SPEC, seconds=1.0)
    assert np.array_equal(found, audio.split(audio.load_audio(song, sample_rate=16000), seconds=1.0).samples)


@pytest.mark.parametrize("per_segment", [False, True])
def test_training_gets_the_segments_that_classifying_gets(little_music: Path, per_segment: bool) -> None:
    tracks = load_dataset(little_music).tracks[:2]
    segments = build_segments(tracks, SPEC, seconds=0.7, per_segment=per_segment)
    clip = audio.load_audio(tracks[0].path, sample_rate=16000)
    wanted = audio.split(clip, seconds=0.7)
    chosen = segments.of_tracks(np.array([0]))
    assert np.array_equal(segments.take(chosen), wanted.samples)
    np.testing.assert_allclose(segments.weights[chosen], wanted.weights, atol=1e-3)


@pytest.mark.parametrize("settings", [{"hop_length": 2}, {"pre_emphasis": 0.97}, {"features": ("mfcc",)}])
def test_other_settings_make_no_sense(settings: dict[str, object]) -> None:
    values = {"hop_length": 1, "sample_rate": 16000, **settings}
    with pytest.raises(ConfigError):
        FeatureSpec("samples", **values)  # type: ignore[arg-type]
