"""The student: it starts as its teacher, does not mind gain, and learns from lessons that can be repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genrescope import datasets, features
from genrescope.errors import ConfigError, DataError
from genrescope.labels import STYLE_INDICES, STYLES
from genrescope.models import student
from genrescope.models.backbones import registry as backbones
from genrescope.models.backbones.efficientat import EfficientAt
from genrescope.training.distillation import module as distil
from genrescope.training.distillation import pipeline as teaching
from genrescope.training.distillation import targets as lessons
from genrescope.training.distillation.targets import ShardSpec
from genrescope.types import FloatArray, Track
from helpers.small_data import drone, hiss
from helpers.weights import audioset_labels, settled_weights

SPEC = features.SPECTROGRAM_LOG_MEL


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return random weights for mn04."""
    file = tmp_path_factory.mktemp("weights") / "mn04.pt"
    return settled_weights(student.WIDTH, file, rounds=6, segments=4)


@pytest.fixture
def plan(weights: Path) -> ShardSpec:
    return ShardSpec("mn04", weights, SPEC, seconds=2.0, examples=16, seed=3)


@pytest.fixture
def tracks(little_music: Path) -> list[Track]:
    return list(datasets.load_dataset(little_music).tracks)


def pictures() -> FloatArray:
    sounds = np.stack([play(2.0, seed) for seed in range(3) for play in (drone, hiss)])
    return features.extract(sounds, SPEC.sample_rate, SPEC)


def fresh(weights: Path) -> student.Student:
    teacher = backbones.load_backbone("mn04", weights=weights).network
    assert isinstance(teacher, EfficientAt)
    return student.init_from_teacher(teacher, list(STYLE_INDICES.values()))


def test_styles_are_audiosets_music_genres(shared: Path) -> None:
    names = audioset_labels(shared / "weights" / "efficientat" / "audioset_classes.csv")
    assert names[STYLE_INDICES["techno"]] == "Techno"
    assert names[STYLE_INDICES["hip hop"]] == "Hip hop music"
    for style, index in STYLE_INDICES.items():
        assert style.split()[0][:4] in names[index].lower()


def test_a_student_keeps_its_teachers_weights(weights: Path) -> None:
    made, kept = fresh(weights), torch.load(weights, weights_only=True)
    torch.testing.assert_close(
        made.network.features[5].state_dict(),
        {
            name.removeprefix("features.5."): value
            for name, value in kept.items()
            if name.startswith("features.5.")
        },
    )
    rows = kept["classifier.5.weight"][list(STYLE_INDICES.values())]
    torch.testing.assert_close(made.network.classifier[5].weight.data, rows)


def test_a_student_sees_as_many_columns_as_its_teacher_after_two_strides(weights: Path) -> None:
    teacher = backbones.load_backbone("mn04", weights=weights).network
    heard = teacher.features(torch.zeros(1, 1, 128, 1000))
    seen = fresh(weights).network.features(torch.zeros(1, 1, 128, 242))
    assert heard.shape == seen.shape == (1, 384, 4, 32) or abs(heard.shape[3] - seen.shape[3]) <= 1


def test_gain_does_not_change_the_answer(weights: Path) -> None:
    # In float64: a network with random weights enlarges rounding, and how much depends on the processor.
    made, batch = fresh(weights).eval().double(), torch.from_numpy(pictures()).double()
    with torch.inference_mode():
        for loud, soft in zip(made(batch), made(batch - 6), strict=True):
            torch.testing.assert_close(loud, soft, atol=1e-6, rtol=1e-6)


def test_the_map_of_bands_is_found_where_there_is_one() -> None:
    generator = np.random.default_rng(0)
    seen = generator.uniform(-60, 0, (6, 128, 400)).astype(np.float32)
    seen[:, 0, 0] = 0  # the loudest, to which levels are relative
    heard = (0.05 * seen[:, ::-1] + 1.5).astype(np.float32)
    made = student.Student(2)
    student.fit_mel_projection(made, seen, heard)
    with torch.inference_mode():
        found = made.project_mel(torch.from_numpy(seen)).numpy()
    assert np.abs(found - heard).mean() < 0.05 * heard.std()


def test_lessons_repeat_and_are_kept(tracks: list[Track], plan: ShardSpec, tmp_path: Path) -> None:
    lessons.build_shards(tracks, plan, tmp_path, numbers=range(1))
    first = lessons.load_shards(tmp_path, [0])
    size = len(first.spectrograms)
    assert first.spectrograms.shape == (size, 128, 49)
    assert first.embeddings.shape == (size, 384)
    assert first.logits.shape == (size, 527)
    assert first.log_mel(np.arange(size)).max(axis=(1, 2)).min() == 0
    written = (tmp_path / "lessons-00000.npz").stat().st_mtime_ns
    lessons.build_shards(tracks, plan, tmp_path, numbers=range(1))
    assert (tmp_path / "lessons-00000.npz").stat().st_mtime_ns == written


def test_the_teacher_hears_what_the_student_sees(tracks: list[Track], plan: ShardSpec) -> None:
    school = lessons._ShardWriter(tuple(tracks), plan)
    made = school.examples(0)
    again = lessons._ShardWriter(tuple(tracks), plan).examples(0)
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one, other)
    seen, heard = lessons.paired_features(tracks, plan, excerpts=4)
    assert seen.shape == heard.shape == (4, 128, 49)
    # Loud moments are loud for both.
    for one, other in zip(seen.mean(1), heard.mean(1), strict=True):
        if one.std() > 1:
            assert np.corrcoef(one, other)[0, 1] > 0.5


def test_tracks_that_cannot_be_read_are_left_out(plan: ShardSpec, little_music: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    good = next(little_music.rglob("*.wav"))
    school = lessons._ShardWriter((Track("good", good, "a", "a"), Track("broken", broken, "b", "b")), plan)
    assert school.examples(0).spectrograms.shape[0] == 16
    assert len(school.failures) == 1
    assert "broken" in school.failures[0]
    with pytest.raises(DataError, match="no track"):
        lessons._ShardWriter((Track("broken", broken, "b", "b"),), plan).examples(0)


@pytest.fixture
def course(tracks: list[Track], plan: ShardSpec, tmp_path: Path) -> distil.DistillSchedule:
    school = lessons._ShardWriter(tuple(tracks), plan)
    folder = tmp_path / "lessons"
    folder.mkdir()
    for number in range(3):
        np.savez(folder / f"lessons-{number:05}.npz", **school.examples(number)._asdict())
    return distil.DistillSchedule(folder, range(2), range(2, 3), epochs=6, batch_size=8, ema_decay=0.5)


def test_a_student_comes_closer_to_its_teacher(
    course: distil.DistillSchedule, weights: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    taught = distil.train_student(fresh(weights), course, tmp_path / "run", say=told.append)
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in told]
    assert losses[-1] < 0.7 * losses[0]
    assert not taught.training


def test_a_killed_course_carries_on_as_if_nothing_had_happened(
    course: distil.DistillSchedule, weights: Path, tmp_path: Path
) -> None:
    whole = distil.train_student(fresh(weights), course, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(line: str) -> None:
        if line.startswith("stretch 3/"):
            raise Killed

    with pytest.raises(Killed):
        distil.train_student(fresh(weights), course, tmp_path / "half", say=kill)
    resumed = distil.train_student(fresh(weights), course, tmp_path / "half")
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_another_course_is_refused(course: distil.DistillSchedule, weights: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    distil.train_student(fresh(weights), replace(course, epochs=1), tmp_path / "run")
    with pytest.raises(ConfigError, match="another course"):
        distil.train_student(fresh(weights), course, tmp_path / "run")


def test_a_test_part_is_left_out_of_the_first_data_set_only(little_music: Path) -> None:
    every = teaching.select_tracks(little_music)
    fewer = teaching.select_tracks(little_music, protocol="track-random")
    assert len(fewer) < len(every) == 24
    assert len(teaching.select_tracks(little_music, [little_music], protocol="track-random")) == 24 + len(
        fewer
    )


def test_music_and_a_teacher_make_a_student_that_training_stands_on(
    tracks: list[Track], weights: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    settings = teaching.DistillConfig(weights, files=1, epochs=1, lessons=8)
    made = teaching.distill(tracks, settings, tmp_path / "run", say=told.append)
    assert told[-1].startswith("stretch 1/1: ")
    with torch.inference_mode():
        again = backbones.load_backbone("student", weights=made).embed(torch.from_numpy(pictures()))
    assert torch.isfinite(again).all()
    assert teaching.distill(tracks, settings, tmp_path / "run") == made  # nothing is left to do


def test_the_student_in_the_package_loads_and_names_styles() -> None:
    backbone = backbones.load_backbone("student")
    with torch.inference_mode():
        embedding, styles = backbone.embed_with_styles(torch.from_numpy(pictures()))
    assert embedding.shape == (6, 384)
    assert styles.shape == (6, len(STYLES))
    assert sum(parameter.numel() for parameter in backbone.parameters()) < 2_000_000
