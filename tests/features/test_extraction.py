"""FeatureSpec and `extract`: shapes, names, JSON, batches, errors, published values."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from genrescope.errors import AudioError, ConfigError, ModelError
from genrescope.features import (
    EFFICIENTAT,
    FEATURES,
    PAPER_LOG_MEL,
    PAPER_MEANS,
    PAPER_SEQUENCE,
    SPECTROGRAM_LOG_MEL,
    FeatureSpec,
    extract,
    feature_dimension,
    feature_names,
)
from genrescope.features.spec import STATISTICS
from genrescope.types import FloatArray

ALL_STATISTICS = FeatureSpec("vector", features=FEATURES, statistics=tuple(STATISTICS))
SPECS = {
    "means": PAPER_MEANS,
    "sequence": PAPER_SEQUENCE,
    "log_mel": PAPER_LOG_MEL,
    "picture": SPECTROGRAM_LOG_MEL,
    "efficientat": EFFICIENTAT,
    "all_statistics": ALL_STATISTICS,
}


def segments(count: int = 3, n: int = 20000) -> FloatArray:
    generator = np.random.default_rng(0)
    gains = 0.2 / (1 + np.arange(count))[:, np.newaxis]
    return (gains * generator.standard_normal((count, n))).astype(np.float32)


def expected_shape(spec: FeatureSpec, count: int, n: int) -> tuple[int, ...]:
    frames = 1 + (n - (spec.pre_emphasis is not None)) // spec.hop_length
    return {
        "log_mel": (count, feature_dimension(spec), frames),
        "sequence": (count, frames, feature_dimension(spec)),
        "vector": (count, feature_dimension(spec)),
    }[spec.kind]


@pytest.mark.parametrize("name", SPECS)
def test_shape_and_type(name: str) -> None:
    spec = SPECS[name]
    result = extract(segments(), spec.sample_rate, spec)
    assert result.shape == expected_shape(spec, 3, 20000)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous


@pytest.mark.parametrize("name", SPECS)
def test_a_batch_gives_what_its_segments_give_one_by_one(name: str) -> None:
    spec = SPECS[name]
    together = extract(segments(), spec.sample_rate, spec)
    alone = [extract(segment[np.newaxis], spec.sample_rate, spec)[0] for segment in segments()]
    np.testing.assert_array_equal(together, np.stack(alone))


@pytest.mark.parametrize("name", SPECS)
def test_silence_gives_finite_numbers(name: str) -> None:
    assert np.all(
        np.isfinite(extract(np.zeros((1, 20000), np.float32), SPECS[name].sample_rate, SPECS[name]))
    )


@pytest.mark.parametrize("name", SPECS)
def test_samples_are_left_as_they_were(name: str) -> None:
    samples = segments()
    samples.setflags(write=False)
    extract(samples, SPECS[name].sample_rate, SPECS[name])
    np.testing.assert_array_equal(samples, segments())


def test_log_mel_in_decibels_is_absolute_and_unclamped() -> None:
    quiet_end = np.concatenate([segments(1), np.zeros((1, 20000), np.float32)], axis=1)
    levels = extract(quiet_end, 22050, PAPER_LOG_MEL)
    assert levels.min() == pytest.approx(-100)
    doubled = extract(2 * segments(1), 22050, PAPER_LOG_MEL) - extract(segments(1), 22050, PAPER_LOG_MEL)
    assert doubled == pytest.approx(6.0206, abs=1e-3)


def test_a_vector_pools_the_features_of_a_sequence() -> None:
    sequence = extract(segments(), 22050, FeatureSpec("sequence", features=FEATURES)).astype(np.float64)
    pooled = np.stack([f(sequence, axis=1) for f in (np.mean, np.std, np.var)], axis=-1).reshape(3, -1)
    np.testing.assert_allclose(extract(segments(), 22050, ALL_STATISTICS), pooled, rtol=1e-5, atol=1e-8)


def test_pooled_bins_give_the_papers_six_numbers() -> None:
    assert feature_names(PAPER_MEANS) == (
        "chroma_mean",
        "spectral_centroid_mean",
        "spectral_bandwidth_mean",
        "spectral_rolloff_mean",
        "zero_crossing_rate_mean",
        "mfcc_mean",
    )
    sequence = extract(segments(), 22050, PAPER_SEQUENCE)
    vector = extract(segments(), 22050, PAPER_MEANS)
    np.testing.assert_allclose(vector[:, -1], sequence[:, :, :20].mean(axis=(1, 2)), rtol=1e-4)


def test_names_follow_rows_and_statistics() -> None:
    assert feature_dimension(PAPER_SEQUENCE) == 40
    assert feature_names(PAPER_SEQUENCE)[19:22] == ("mfcc_20", "spectral_centroid", "chroma_1")
    assert feature_names(PAPER_LOG_MEL) == tuple(f"mel_{band}" for band in range(1, 129))
    assert feature_names(ALL_STATISTICS)[6:9] == ("mfcc_3_mean", "mfcc_3_std", "mfcc_3_var")
    assert (
        len(set(feature_names(ALL_STATISTICS))) == feature_dimension(ALL_STATISTICS) == 3 * (20 + 12 + 7 + 5)
    )


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_survives_json(name: str) -> None:
    assert FeatureSpec.from_json(json.loads(json.dumps(SPECS[name].to_json()))) == SPECS[name]


@given(
    hop_length=st.integers(1, 4096),
    n_mels=st.integers(20, 256),
    fmax=st.none() | st.floats(100, 11025),
    features=st.lists(st.sampled_from(FEATURES), min_size=1, unique=True),
)
def test_any_spec_survives_json(
    hop_length: int, n_mels: int, fmax: float | None, features: list[str]
) -> None:
    spec = FeatureSpec("sequence", hop_length=hop_length, n_mels=n_mels, fmax=fmax, features=tuple(features))
    assert FeatureSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


FOREIGN: dict[str, Any] = {
    "kind": "picture",
    "sample_rate": 22050.0,
    "n_fft": True,
    "hop_length": "512",
    "win_length": 4096,
    "window_periodic": 1,
    "pad_mode": "wrap",
    "pre_emphasis": [0.97],
    "n_mels": None,
    "fmin": -1.0,
    "fmax": float("nan"),
    "mel_scale": "bark",
    "log": None,
    "n_mfcc": 129,
    "features": "mfcc",
    "statistics": ["median"],
    "pool_bins": None,
}


@pytest.mark.parametrize("key", FOREIGN)
def test_settings_of_wrong_type_or_value_are_incompatible(key: str) -> None:
    assert FOREIGN.keys() == PAPER_MEANS.to_json().keys()
    with pytest.raises(ModelError, match=key) as caught:
        FeatureSpec.from_json(PAPER_MEANS.to_json() | {key: FOREIGN[key]})
    assert caught.value.code == "model_incompatible"


@pytest.mark.parametrize(
    "settings",
    [None, [], "log_mel", {}, PAPER_LOG_MEL.to_json() | {"hop": 512}, PAPER_LOG_MEL.to_json() | {3: 4}],
)
def test_missing_and_unknown_keys_are_incompatible(settings: object) -> None:
    with pytest.raises(ModelError) as caught:
        FeatureSpec.from_json(settings)
    assert caught.value.code == "model_incompatible"


@pytest.mark.parametrize(
    ("base", "change"),
    [
        (PAPER_LOG_MEL, {"features": ("mfcc",)}),
        (PAPER_LOG_MEL, {"pool_bins": True}),
        (PAPER_LOG_MEL, {"n_fft": 2047}),
        (PAPER_LOG_MEL, {"hop_length": 0}),
        (PAPER_LOG_MEL, {"pre_emphasis": 1.5}),
        (PAPER_LOG_MEL, {"fmax": 12000.0}),
        (PAPER_SEQUENCE, {"features": ()}),
        (PAPER_SEQUENCE, {"features": ("mfcc", "mfcc")}),
        (PAPER_SEQUENCE, {"features": ("tempo",)}),
        (PAPER_SEQUENCE, {"sample_rate": 8000}),
        (PAPER_SEQUENCE, {"n_fft": 64}),
        (PAPER_MEANS, {"statistics": ()}),
    ],
)
def test_contradictions_are_refused(base: FeatureSpec, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(base, **change)
    assert caught.value.code == "invalid_config"


def test_another_sample_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match="44100 Hz") as caught:
        extract(segments(), 44100, PAPER_LOG_MEL)
    assert caught.value.code == "invalid_argument"


def test_a_segment_without_batch_axis_is_refused() -> None:
    with pytest.raises(ConfigError, match="shape"):
        extract(segments()[0], 22050, PAPER_LOG_MEL)


@pytest.mark.parametrize(
    ("count", "n", "spec"), [(0, 9, PAPER_LOG_MEL), (2, 0, PAPER_MEANS), (1, 1, EFFICIENTAT)]
)
def test_no_samples_are_refused(count: int, n: int, spec: FeatureSpec) -> None:
    with pytest.raises(AudioError) as caught:
        extract(np.zeros((count, n), np.float32), spec.sample_rate, spec)
    assert caught.value.code == "audio_no_samples"


def test_efficientats_own_front_end_gives_the_same(shared: Path) -> None:
    golden = np.load(shared / "weights" / "efficientat" / "golden.npz")
    waves = (golden["wave_int16_32k"] / 32767).astype(np.float32)
    np.testing.assert_allclose(extract(waves, 32000, EFFICIENTAT), golden["logmel"], atol=1e-3)


@pytest.mark.parametrize("track", ["blues.00005", "classical.00005", "jazz.00005", "rock.00005"])
def test_the_published_table_of_means_is_reproduced(gtzan: Path, track: str) -> None:
    y, rate = soundfile.read(gtzan / "audio" / track[:-6] / f"{track}.flac", dtype="float32")
    with (gtzan / "features_30_sec.csv").open() as table:
        row = next(row for row in csv.DictReader(table) if row["filename"] == f"{track}.wav")
    published = [
        float(row[f"{name}_mean"]) for name in ("chroma_stft", "spectral_centroid", "spectral_bandwidth")
    ]
    published += [float(row["rolloff_mean"]), float(row["zero_crossing_rate_mean"])]
    published.append(float(np.mean([float(row[f"mfcc{number}_mean"]) for number in range(1, 21)])))
    np.testing.assert_allclose(extract(y[np.newaxis], rate, PAPER_MEANS)[0], published, rtol=0.02)
