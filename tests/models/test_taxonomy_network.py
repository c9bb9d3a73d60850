"""The network of the default model: its outputs, in torch and as a file, and how a classifier uses them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from genrescope import Classifier, features, labels, models
from genrescope.models.student import TwoTeacherStudent
from genrescope.models.taxonomy_network import (
    DistilledHead,
    MusicHead,
    PriorRegression,
    TaxonomyNetwork,
    style_weights,
)
from genrescope.types import FloatArray
from helpers.small_data import drone, hiss

SPEC = features.SPECTROGRAM_LOG_MEL
TAXONOMY = labels.load_taxonomy()
GENRES = tuple(genre.name for genre in TAXONOMY.scored_genres)
STYLES = tuple(style.name for style in TAXONOMY.styles)


def spectrograms() -> FloatArray:
    sounds = np.stack([play(2.0, seed) for seed in range(2) for play in (drone, hiss)])
    return features.extract(sounds, SPEC.sample_rate, SPEC)


def network() -> TaxonomyNetwork:
    """Return one with random weights, whose statistics fit its inputs."""
    torch.manual_seed(1)
    made = TaxonomyNetwork(
        TwoTeacherStudent(),
        PriorRegression.for_genres(TAXONOMY.scored_genres),
        DistilledHead(len(GENRES), [source.index for source in TAXONOMY.genres[0].sources[:1]]),
        MusicHead(),
        style_weights(TAXONOMY.styles),
        1.0,
    )
    with torch.no_grad():
        made.student.train()
        for _ in range(6):
            made(torch.from_numpy(spectrograms()))
    return made.eval()


@pytest.fixture(scope="module")
def made() -> TaxonomyNetwork:
    return network()


@pytest.fixture(scope="module")
def file(made: TaxonomyNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    info = models.ModelInfo(
        name="genres-test",
        classes=GENRES,
        features=SPEC,
        segment_seconds=2.0,
        hop_seconds=2.0,
        styles=STYLES,
        threshold=0.8,
        genre_thresholds=dict.fromkeys(GENRES, 0.01) | {"jazz": 0.99},
        music_threshold=0.5,
        set_level=0.84,
        embedding_size=384,
        taxonomy=TAXONOMY.version,
    )
    exported = models.export_module(made, info, spectrograms())
    path = tmp_path_factory.mktemp("model") / "genres.onnx"
    path.write_bytes(exported.graph)
    return path


def test_outputs(made: TaxonomyNetwork) -> None:
    with torch.inference_mode():
        outputs = made(torch.from_numpy(spectrograms()))
    assert [tuple(one.shape) for one in outputs] == [(4, 16), (4, 94), (4, 1), (4, 384)]
    torch.testing.assert_close(outputs.scores.sum(1), torch.ones(4))
    assert all(((one >= 0) & (one <= 1)).all() for one in outputs[:3])


def test_a_style_is_the_geometric_mean_of_its_sources(made: TaxonomyNetwork) -> None:
    batch = torch.from_numpy(spectrograms())
    with torch.inference_mode():
        teachers, outputs = made.student(batch), made(batch)
    blues, rock = (teachers.logits[:, place].sigmoid() for place in (251, 219))
    torch.testing.assert_close(
        outputs.styles[:, STYLES.index("blues rock")], (blues * rock).sqrt(), rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        outputs.styles[:, STYLES.index("opera")], teachers.logits[:, 238].sigmoid(), rtol=1e-4, atol=1e-6
    )


def test_the_prior_is_the_likeliest_source_of_a_genre(made: TaxonomyNetwork) -> None:
    audioset, tags = made.prior.sources
    assert audioset[GENRES.index("reggae")] == (228, 263)
    assert tags[GENRES.index("reggae")] == ()
    assert tags[GENRES.index("metal")] == (11, 42)


def test_the_model_file_gives_the_same_answers(made: TaxonomyNetwork, file: Path) -> None:
    batch = spectrograms()
    output = models.load_model(str(file)).predict(batch)
    with torch.inference_mode():
        expected = made(torch.from_numpy(batch))
    for found, wanted in zip(
        (output.scores, output.styles, output.music, output.embedding), expected, strict=True
    ):
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


def test_it_stays_within_the_promised_size(made: TaxonomyNetwork, file: Path) -> None:
    assert sum(one.numel() for one in made.parameters()) <= 3_000_000
    assert file.stat().st_size <= 12_000_000


def test_a_genre_may_have_a_threshold_of_its_own(file: Path, tmp_path: Path) -> None:
    track = tmp_path / "track.wav"
    soundfile.write(track, drone(6.0, 1), 22050)
    found = Classifier.from_pretrained(file).predict(track)
    assert found.threshold == (0.99 if found.genre == "jazz" else 0.01)
    # One that was asked for is that of every genre.
    assert Classifier.from_pretrained(file, threshold=0.8).predict(track).threshold == 0.8
    assert models.load_model(str(file)).info.class_thresholds == tuple(
        0.99 if genre == "jazz" else 0.01 for genre in GENRES
    )


def test_a_classifier_says_what_is_not_music(file: Path, tmp_path: Path) -> None:
    track = tmp_path / "track.wav"
    soundfile.write(track, drone(6.0, 1), 22050)
    classifier = Classifier.from_pretrained(file)
    found = classifier.predict(track, embedding=True)
    assert found.music is not None
    assert found.is_music == (found.music >= 0.5)
    assert found.embedding is not None
    assert found.embedding.shape == (384,)
    row = json.loads(json.dumps(found.to_dict()))
    assert set(row["scores"]) == set(GENRES)
    assert row["not_music"] == (not found.is_music)
    assert (row["set"] == []) == row["not_music"]
