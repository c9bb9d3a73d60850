"""Distillation from two teachers: what shards hold, the loss over both, batches from a device's memory."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from genrescope import datasets, features
from genrescope.errors import ConfigError
from genrescope.labels import load_taxonomy
from genrescope.models import TwoTeacherStudent
from genrescope.models.student import WIDTH
from genrescope.training import LabeledSource, further_tracks
from genrescope.training.distillation import module, targets
from genrescope.training.distillation.module import (
    ChunkBatches,
    DistillSchedule,
    ResidentShards,
    train_student,
)
from genrescope.training.distillation.pipeline import DistillConfig, distill, write_student
from genrescope.training.distillation.targets import Origin, ShardSpec, TeacherTargets
from genrescope.training.taxonomy.pipeline import load_student
from helpers.weights import settled_weights


def random_shard(folder: Path, number: int, rows: int = 12) -> TeacherTargets:
    """Write a shard of noise; return it."""
    generator = np.random.default_rng(number)
    outputs = [generator.normal(size=(rows, size)).astype(np.float16) for size in (384, 527, 200, 50)]
    spectrograms = generator.integers(0, 256, (rows, 128, 49), dtype=np.uint8)
    names = np.array([f"track {row}" for row in range(rows)])
    origin = np.array(["radio"] * rows)
    shard = TeacherTargets(
        spectrograms,
        *outputs,
        track=names,
        source=origin,
        kind=np.array(["music"] * rows),
        mixed_source=np.array([""] * rows),
        strength=np.zeros(rows, np.float16),
    )
    np.savez(folder / f"shard-{number:05}.npz", **shard._asdict())
    return shard


@pytest.fixture
def schedule(tmp_path: Path) -> DistillSchedule:
    """Return a schedule of two epochs, with shards of both teachers."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        random_shard(folder, number)
    return DistillSchedule(folder, range(2), range(2, 3), epochs=2, batch_size=6, ema_decay=0.5)


def test_a_student_of_two_teachers_is_trained_and_written(
    schedule: DistillSchedule, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genrescope.training")
    torch.manual_seed(0)
    student = train_student(TwoTeacherStudent(), schedule, tmp_path / "run", device="cpu")
    assert not student.training
    assert len(caplog.messages) == 2
    for name in ("embeddings", "classes", "musicnn", "tags"):
        assert f"{name} " in caplog.messages[-1]
    read = load_student(write_student(student, tmp_path / "student.pt"))
    for name, value in student.state_dict().items():
        torch.testing.assert_close(value, read.state_dict()[name], rtol=1e-3, atol=1e-3)


def test_genres_speech_and_music_weigh_more_in_the_loss() -> None:
    weights = module._class_weights()
    for part in weights.values():
        assert part.mean() == pytest.approx(1)
    genre = next(one for one in load_taxonomy().scored_genres if one.name == "jazz")
    index = next(source.index for source in genre.sources if source.network == "audioset")
    classes = weights["classes"]
    # Music, speech, jazz, another class of the branch of music, the sound of a cat.
    assert classes[137] > classes[0] > classes[index] > classes[138] > classes[81]
    tag = next(source.index for source in genre.sources if source.network == "lastfm")
    assert weights["tags"][tag] == weights["tags"].max() > weights["tags"].min()


def test_a_target_as_good_as_the_mean_has_an_error_of_one(tmp_path: Path) -> None:
    shard = random_shard(tmp_path, 0, rows=200)
    scaler = module._TargetScaler(shard)
    batch = module._batch(shard.log_mel(np.arange(200)), shard, np.arange(200))
    means = tuple(part.mean(0).expand_as(part) for part in batch[1:])
    for error in scaler(means, batch):
        assert error.item() == pytest.approx(1, abs=0.02)
    for error in scaler(batch[1:], batch):
        assert error.item() == 0


def test_batches_from_memory_are_those_from_the_disk(schedule: DistillSchedule) -> None:
    resident = ResidentShards(schedule, torch.device("cpu"))
    pairs = zip(ChunkBatches(schedule, 1, 12), ChunkBatches(schedule, 1, 12, resident), strict=True)
    count = 0
    for from_disk, from_memory in pairs:
        for one, other in zip(from_disk, from_memory, strict=True):
            torch.testing.assert_close(one, other)
        count += 1
    assert count == 4


def test_spectrograms_in_memory_lose_their_highest_bands(schedule: DistillSchedule) -> None:
    resident = ResidentShards(schedule, torch.device("cpu"))
    chosen = np.arange(12)
    whole = resident.batch(chosen, np.random.default_rng(0), 0.0).features
    limited = resident.batch(chosen, np.random.default_rng(0), 1.0).features
    changed = (whole != limited).any(2)
    assert not changed[:, : 2 * 128 // 3].any()
    assert changed[:, -1].all()
    torch.testing.assert_close(limited[:, -1, 0], whole.amax((1, 2)) - 100)


def test_shards_name_tracks_and_hold_both_teachers(
    little_music: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    weights = settled_weights(WIDTH, tmp_path_factory.mktemp("weights") / "mn04.pt", rounds=2, segments=2)
    musicnn = shared / "weights" / "musicnn" / "msd_musicnn.npz"
    tracks = datasets.load_dataset(little_music).tracks
    origins = tuple(Origin(track.label, "labeled") for track in tracks)
    spec = ShardSpec("mn04", weights, features.SPECTROGRAM_LOG_MEL, seconds=2.0, examples=8, seed=3)
    alone = targets._ShardWriter(tracks, spec, origins).examples(0)
    both_spec = ShardSpec(
        "mn04",
        weights,
        features.SPECTROGRAM_LOG_MEL,
        seconds=4.0,
        examples=8,
        seed=3,
        second_teacher="musicnn",
        second_weights=musicnn,
    )
    both = targets._ShardWriter(tracks, both_spec, origins).examples(0)
    assert not len(alone.tags)
    assert both.musicnn.shape == (8, 200)
    assert both.tags.shape == (8, 50)
    labels = {track.id: track.label for track in tracks}
    for shard in (alone, both):
        assert [labels[name] for name in shard.track.tolist()] == shard.source.tolist()
        assert set(shard.kind.tolist()) == {"labeled"}
        assert set(shard.mixed_source.tolist()) <= {"", "drone", "hiss"}
        assert set(np.unique(shard.strength)) <= {0, 0.5, 1, 1.5}


def test_labeled_music_and_other_sound_are_told_apart(little_music: Path, tmp_path: Path) -> None:
    files = sorted(little_music.rglob("*.wav"))[:2]
    rows = "".join(f"{file},{genre}\n" for file, genre in zip(files, ("rock", "jazz"), strict=True))
    (tmp_path / "list.csv").write_text(f"path,genre\n{rows}")
    found = further_tracks([LabeledSource("mine", tmp_path / "list.csv")], [little_music / "hiss"])
    assert found.origins[:2] == (Origin("mine", "labeled"),) * 2
    assert set(found.origins[2:]) == {Origin("hiss", "not_music")}
    assert [track.label for track in found.tracks[:2]] == ["rock", "jazz"]
    assert len(found.tracks) == 2 + 12


def test_unknown_teachers_and_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        distill([], DistillConfig(teachers=("musicnn",)), tmp_path)
    with pytest.raises(ConfigError, match="unknown device"):
        distill([], DistillConfig(device="tpu"), tmp_path)
