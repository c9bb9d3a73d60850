"""The student: it starts with its teacher's weights, and its scores do not depend on gain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genrescope import features
from genrescope.labels import STYLE_INDICES, STYLES
from genrescope.models import student
from genrescope.models.backbones import registry as backbones
from genrescope.models.backbones.efficientat import EfficientAt
from genrescope.types import FloatArray
from helpers.small_data import drone, hiss
from helpers.weights import audioset_labels, settled_weights

SPEC = features.SPECTROGRAM_LOG_MEL


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return random weights for mn04."""
    file = tmp_path_factory.mktemp("weights") / "mn04.pt"
    return settled_weights(student.WIDTH, file, rounds=6, segments=4)


def spectrograms() -> FloatArray:
    sounds = np.stack([play(2.0, seed) for seed in range(3) for play in (drone, hiss)])
    return features.extract(sounds, SPEC.sample_rate, SPEC)


def untrained(weights: Path) -> student.Student:
    teacher = backbones.load_backbone("mn04", weights=weights).network
    assert isinstance(teacher, EfficientAt)
    return student.init_from_teacher(teacher, list(STYLE_INDICES.values()))


def test_styles_are_audiosets_music_genres(shared: Path) -> None:
    names = audioset_labels(shared / "weights" / "efficientat" / "audioset_classes.csv")
    assert names[STYLE_INDICES["techno"]] == "Techno"
    assert names[STYLE_INDICES["hip hop"]] == "Hip hop music"
    for style, index in STYLE_INDICES.items():
        assert style.split()[0][:4] in names[index].lower()


def test_a_student_starts_with_its_teachers_weights(weights: Path) -> None:
    made, loaded = untrained(weights), torch.load(weights, weights_only=True)
    torch.testing.assert_close(
        made.network.features[5].state_dict(),
        {
            name.removeprefix("features.5."): value
            for name, value in loaded.items()
            if name.startswith("features.5.")
        },
    )
    rows = loaded["classifier.5.weight"][list(STYLE_INDICES.values())]
    torch.testing.assert_close(made.network.classifier[5].weight.data, rows)


def test_a_student_has_as_many_columns_as_its_teacher_after_two_strides(weights: Path) -> None:
    teacher = backbones.load_backbone("mn04", weights=weights).network
    expected = teacher.features(torch.zeros(1, 1, 128, 1000))
    maps = untrained(weights).network.features(torch.zeros(1, 1, 128, 242))
    assert expected.shape == maps.shape == (1, 384, 4, 32) or abs(expected.shape[3] - maps.shape[3]) <= 1


def test_gain_does_not_change_the_output(weights: Path) -> None:
    # In float64: a network with random weights enlarges rounding, and how much depends on the processor.
    made, batch = untrained(weights).eval().double(), torch.from_numpy(spectrograms()).double()
    with torch.inference_mode():
        for loud, soft in zip(made(batch), made(batch - 6), strict=True):
            torch.testing.assert_close(loud, soft, atol=1e-6, rtol=1e-6)


def test_a_linear_map_of_mel_bands_is_found() -> None:
    generator = np.random.default_rng(0)
    student_mel = generator.uniform(-60, 0, (6, 128, 400)).astype(np.float32)
    student_mel[:, 0, 0] = 0  # the loudest, to which levels are relative
    teacher_mel = (0.05 * student_mel[:, ::-1] + 1.5).astype(np.float32)
    made = student.Student(2)
    student.fit_mel_projection(made, student_mel, teacher_mel)
    with torch.inference_mode():
        found = made.project_mel(torch.from_numpy(student_mel)).numpy()
    assert np.abs(found - teacher_mel).mean() < 0.05 * teacher_mel.std()


def test_the_packaged_student_loads_and_scores_styles() -> None:
    backbone = backbones.load_backbone("student")
    with torch.inference_mode():
        embedding, styles = backbone.embed_with_styles(torch.from_numpy(spectrograms()))
    assert embedding.shape == (6, 384)
    assert styles.shape == (6, len(STYLES))
    assert sum(parameter.numel() for parameter in backbone.parameters()) < 2_000_000
