"""Distillation: shards can be made again, training resumes, and failures are one clear error."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genrescope import datasets, features, utils
from genrescope.errors import ConfigError, DataError, DownloadError, GenrescopeError, WorkerError
from genrescope.labels import STYLE_INDICES
from genrescope.models import EfficientAt, Student, backbone_exposures, init_from_teacher, load_backbone
from genrescope.models.student import WIDTH
from genrescope.training.distillation import targets
from genrescope.training.distillation.module import DistillSchedule, train_student
from genrescope.training.distillation.pipeline import (
    DistillConfig,
    distill,
    select_tracks,
    write_student,
)
from genrescope.training.distillation.targets import ShardSpec, TeacherTargets
from genrescope.types import FloatArray, Track
from helpers.small_data import drone, hiss
from helpers.weights import settled_weights

SPEC = features.SPECTROGRAM_LOG_MEL


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return random weights for mn04."""
    return settled_weights(WIDTH, tmp_path_factory.mktemp("weights") / "mn04.pt", rounds=6, segments=4)


@pytest.fixture
def spec(weights: Path) -> ShardSpec:
    return ShardSpec("mn04", weights, SPEC, seconds=2.0, examples=16, seed=3)


@pytest.fixture
def tracks(little_music: Path) -> list[Track]:
    return list(datasets.load_dataset(little_music).tracks)


@pytest.fixture
def schedule(tracks: list[Track], spec: ShardSpec, tmp_path: Path) -> DistillSchedule:
    """Return a schedule of six chunks, with its shards."""
    writer, folder = targets._ShardWriter(tuple(tracks), spec), tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        write_shard(folder / f"shard-{number:05}.npz", writer.examples(number))
    return DistillSchedule(folder, range(2), range(2, 3), epochs=6, batch_size=8, ema_decay=0.5)


def write_shard(path: Path, examples: TeacherTargets) -> None:
    np.savez(path, **examples._asdict())


def untrained(weights: Path) -> Student:
    """Return a student with its teacher's weights, always the same."""
    torch.manual_seed(0)  # the map of mel bands is random until it is fitted
    teacher = load_backbone("mn04", weights=weights).network
    assert isinstance(teacher, EfficientAt)
    return init_from_teacher(teacher, list(STYLE_INDICES.values()))


def log_mel() -> FloatArray:
    sounds = np.stack([play(2.0, seed) for seed in range(3) for play in (drone, hiss)])
    return features.extract(sounds, SPEC.sample_rate, SPEC)


class StopAt(logging.Handler):
    """Ends a training at a line of its log."""

    def __init__(self, start: str, error: type[BaseException]) -> None:
        super().__init__()
        self.start, self.error = start, error

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self.start):
            raise self.error


def stop_training(
    student: Student,
    schedule: DistillSchedule,
    folder: Path,
    line: str,
    error: type[BaseException] = InterruptedError,
) -> None:
    """Train until a line is logged, and raise ``error`` there; the fixture ``log`` sets the level."""
    logger, handler = logging.getLogger("genrescope.training"), StopAt(line, error)
    logger.addHandler(handler)
    try:
        with pytest.raises(error):
            train_student(student, schedule, folder)
    finally:
        logger.removeHandler(handler)


def assert_same_weights(one: Student, other: Student) -> None:
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name])


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "genrescope.training")
    return caplog


def test_shards_are_made_once_and_kept(
    tracks: list[Track], spec: ShardSpec, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    targets.build_shards(tracks, spec, tmp_path, numbers=range(1))
    assert log.messages == ["shard 1 of 1"]
    shard = targets.load_shards(tmp_path, [0])
    size = len(shard.spectrograms)
    assert shard.spectrograms.shape == (size, 128, 49)
    assert shard.embeddings.shape == (size, 384)
    assert shard.logits.shape == (size, 527)
    assert shard.log_mel(np.arange(size)).max(axis=(1, 2)).min() == 0
    written = (tmp_path / "shard-00000.npz").stat().st_mtime_ns
    targets.build_shards(tracks, spec, tmp_path, numbers=range(1))
    assert (tmp_path / "shard-00000.npz").stat().st_mtime_ns == written


def test_shards_of_version_0_1_are_read(tracks: list[Track], spec: ShardSpec, tmp_path: Path) -> None:
    made = targets._ShardWriter(tuple(tracks), spec).examples(0)
    np.savez(
        tmp_path / "lessons-00000.npz",
        pictures=made.spectrograms,
        embeddings=made.embeddings,
        logits=made.logits,
    )
    targets.build_shards(tracks, spec, tmp_path, numbers=range(1))
    assert [path.name for path in tmp_path.iterdir()] == ["lessons-00000.npz"]
    for one, other in zip(made[:3], targets.load_shards(tmp_path, [0])[:3], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_damaged_or_missing_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "shard-00001.npz").write_bytes(b"PK")
    for number, code in ((0, "dataset_not_found"), (1, "dataset_invalid")):
        with pytest.raises(DataError, match=f"shard-0000{number}.npz") as caught:
            targets.load_shards(tmp_path, [number])
        assert caught.value.code == code


def test_a_shard_of_other_content_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.npz"
    spectrograms, half = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 5), np.float16)
    good = TeacherTargets(spectrograms, half, half)
    write_shard(path, good)
    content = path.read_bytes()
    contents = [content[:size] for size in (0, 10, 200, len(content) - 30)]
    # The header of an array states 10**12 rows; the spaces behind it make room.
    contents.append(content.replace(b"(2, 5), }            ", b"(1000000000000, 5), }", 1))
    for stored in (
        good._replace(logits=half[:1]),
        good._replace(embeddings=half[0]),
        good._replace(spectrograms=spectrograms.astype(np.float64)),
    ):
        write_shard(path, stored)
        contents.append(path.read_bytes())
    np.savez_compressed(path, **good._replace(spectrograms=np.zeros((2, 3000, 400), np.uint8))._asdict())
    contents.append(path.read_bytes())
    for damaged in contents:
        path.write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            targets.load_shards(tmp_path, [0])
        assert caught.value.code == "dataset_invalid"


def test_teacher_and_student_get_the_same_audio(tracks: list[Track], spec: ShardSpec) -> None:
    made = targets._ShardWriter(tuple(tracks), spec).examples(0)
    again = targets._ShardWriter(tuple(tracks), spec).examples(0)
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one, other)
    student_mel, teacher_mel = targets.paired_features(tracks, spec, excerpts=4)
    assert student_mel.shape == teacher_mel.shape == (4, 128, 49)
    # Loud moments are loud for both.
    for one, other in zip(student_mel.mean(1), teacher_mel.mean(1), strict=True):
        if one.std() > 1:
            assert np.corrcoef(one, other)[0, 1] > 0.5


def test_tracks_that_cannot_be_read_are_left_out(spec: ShardSpec, little_music: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    good = next(little_music.rglob("*.wav"))
    writer = targets._ShardWriter((Track("good", good, "a", "a"), Track("broken", broken, "b", "b")), spec)
    assert writer.examples(0).spectrograms.shape[0] == 16
    assert len(writer.failures) == 1
    assert "broken" in writer.failures[0]
    with pytest.raises(DataError, match="no track"):
        targets._ShardWriter((Track("broken", broken, "b", "b"),), spec).examples(0)


def test_without_a_readable_track_the_workers_error_arrives(spec: ShardSpec, tmp_path: Path) -> None:
    broken = Track("broken", tmp_path / "no such file.wav", "a", "a")
    with pytest.raises(DataError, match="no track can be read"):
        targets.build_shards([broken], spec, tmp_path / "shards", numbers=range(1))


def test_a_teacher_that_cannot_be_downloaded_starts_no_process(
    tracks: list[Track], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> Path:
        raise DownloadError("download_failed", "offline", "go online")

    def no_pool(*_: object) -> None:
        pytest.fail("a worker process was started")

    monkeypatch.setenv("GENRESCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(utils, "download_file", offline)
    monkeypatch.setattr(targets, "ProcessPoolExecutor", no_pool)
    with pytest.raises(DownloadError, match="offline"):
        distill(tracks, DistillConfig(shards=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class _DeadlyPath(type(Path())):  # type: ignore[misc]
    """A path that ends every process which receives it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


def test_a_worker_that_dies_is_one_error(tracks: list[Track], spec: ShardSpec, tmp_path: Path) -> None:
    with pytest.raises(WorkerError) as caught:
        targets.build_shards(tracks, spec, _DeadlyPath(tmp_path), numbers=range(1))
    assert caught.value.code == "worker_failed"
    assert caught.value.__suppress_context__
    assert "\n" not in caught.value.message


def test_a_student_comes_closer_to_its_teacher(
    schedule: DistillSchedule, weights: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    trained = train_student(untrained(weights), schedule, tmp_path / "run")
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in log.messages]
    assert len(losses) == 6
    assert losses[-1] < 0.7 * losses[0]
    assert not trained.training


@pytest.mark.parametrize("chunk", [1, 3, 6])
def test_a_resumed_run_gives_the_same_student(
    chunk: int, schedule: DistillSchedule, weights: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    whole = train_student(untrained(weights), schedule, tmp_path / "whole")
    lines = log.messages.copy()
    stop_training(untrained(weights), schedule, tmp_path / "stopped", f"chunk {chunk}/6")
    log.clear()
    resumed = train_student(untrained(weights), schedule, tmp_path / "stopped")
    # The chunk in which it stopped had no checkpoint yet.
    assert log.messages == lines[chunk - 1 :]
    assert_same_weights(whole, resumed)


def test_a_finished_run_returns_the_averaged_weights_again(
    schedule: DistillSchedule, weights: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    finished = train_student(untrained(weights), schedule, tmp_path / "run")
    log.clear()
    again = train_student(untrained(weights), schedule, tmp_path / "run")
    assert log.messages == []
    assert_same_weights(finished, again)
    stored = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    name = "student.network.features.0.0.weight"
    assert not torch.equal(stored["state_dict"][name], stored["current_model_state"][name])
    assert torch.equal(stored["state_dict"][name], again.state_dict()[name.removeprefix("student.")])


def test_an_average_that_forgets_at_once_is_the_last_weights(
    schedule: DistillSchedule, weights: Path, tmp_path: Path
) -> None:
    last = train_student(untrained(weights), replace(schedule, epochs=1, ema_decay=0.0), tmp_path / "last")
    stored = torch.load(tmp_path / "last" / "last.ckpt", weights_only=True)
    for name, value in last.state_dict().items():
        torch.testing.assert_close(value, stored["current_model_state"][f"student.{name}"])


def test_another_schedule_is_refused(schedule: DistillSchedule, weights: Path, tmp_path: Path) -> None:
    train_student(untrained(weights), replace(schedule, epochs=1), tmp_path / "run")
    with pytest.raises(ConfigError, match="another schedule"):
        train_student(untrained(weights), schedule, tmp_path / "run")


def test_a_run_resumes_after_its_shards_were_moved(
    schedule: DistillSchedule, weights: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    stop_training(untrained(weights), schedule, tmp_path / "run", "chunk 3/6")
    shutil.move(schedule.shards, tmp_path / "elsewhere")
    log.clear()
    train_student(untrained(weights), replace(schedule, shards=tmp_path / "elsewhere"), tmp_path / "run")
    assert log.messages[0].startswith("chunk 3/6: ")


@pytest.mark.usefixtures("log")
def test_an_interrupt_is_passed_on(schedule: DistillSchedule, weights: Path, tmp_path: Path) -> None:
    """Lightning alone would exit without a message, and ignore all further interrupts."""
    handler = signal.getsignal(signal.SIGINT)
    stop_training(untrained(weights), schedule, tmp_path / "run", "chunk 1/6", KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_test_part_is_left_out_of_the_first_data_set_only(little_music: Path) -> None:
    every = select_tracks(little_music)
    fewer = select_tracks(little_music, protocol="track-random")
    assert len(fewer) < len(every) == 24
    assert len(select_tracks(little_music, [little_music], protocol="track-random")) == 24 + len(fewer)


def test_a_folder_without_labels_is_music_to_train_on(little_music: Path, tmp_path: Path) -> None:
    names = [path.name for path in sorted(little_music.rglob("*.wav"))[:3]]
    for path in sorted(little_music.rglob("*.wav"))[:3]:
        shutil.copy(path, tmp_path / path.name)
    assert [track.id for track in select_tracks(tmp_path)] == names
    assert len(select_tracks(little_music, [tmp_path], protocol="track-random")) == 3 + len(
        select_tracks(little_music, protocol="track-random")
    )
    with pytest.raises(DataError, match=r"two genres|no tracks"):
        select_tracks(tmp_path, protocol="track-random")
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no audio files"):
        select_tracks(empty)


def test_music_and_a_teacher_make_a_student_that_training_starts_from(
    tracks: list[Track], weights: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    config = DistillConfig(weights, shards=1, epochs=1, examples_per_shard=8)
    made = distill(tracks, config, tmp_path / "run")
    assert log.messages[-1].startswith("chunk 1/1: ")
    with torch.inference_mode():
        embedding = load_backbone("student", weights=made).embed(torch.from_numpy(log_mel()))
    assert torch.isfinite(embedding).all()
    assert distill(tracks, config, tmp_path / "run") == made  # nothing is left to do
    teacher, music = backbone_exposures("student", weights=made)
    assert teacher.data == "AudioSet"
    assert (music.data, music.tracks, len(music.content)) == ("distillation", 24, 24)
    assert music.hours == pytest.approx(24 * 3 / 3600, abs=1e-3)


@pytest.mark.parametrize("package", ["torch", "lightning"])
def test_without_its_libraries_distill_says_what_to_install(
    package: str, little_music: Path, tmp_path: Path
) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from genrescope.cli import run\n"
        f"sys.argv = ['genrescope', 'distill', {str(little_music)!r}, '--run-dir', {str(tmp_path)!r}]\n"
        "run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"needs the package '{package}'" in done.stderr
    assert "genrescope[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_statistics_of_a_written_student_are_exact_and_values_beyond_half_precision_are_kept(
    weights: Path, tmp_path: Path
) -> None:
    student = untrained(weights)
    variance = student.network.features[0][1].running_var
    variance[3], variance[4] = 1e6, 1e-9  # beyond what half precision has
    student.mel_projection.bias.data[0] = 1e5
    path = write_student(student, tmp_path / "student.pt")
    read = load_backbone("student", weights=path).network.state_dict()
    for name, value in student.state_dict().items():
        if name.endswith(("running_mean", "running_var")) or name == "mel_projection.bias":
            assert torch.equal(read[name], value), name
        else:
            torch.testing.assert_close(read[name], value, rtol=1e-3, atol=1e-6)


def test_a_student_that_is_not_finite_is_not_written(weights: Path, tmp_path: Path) -> None:
    student = untrained(weights)
    student.mel_projection.bias.data[0] = float("nan")
    with pytest.raises(GenrescopeError, match=r"mel_projection\.bias") as caught:
        write_student(student, tmp_path / "student.pt")
    assert caught.value.code == "training_failed"
    assert list(tmp_path.iterdir()) == []


def test_teacher_outputs_beyond_half_precision_stay_finite() -> None:
    stored = targets._to_half(np.float32([1e6, -1e6, 0.5]))
    assert stored.tolist() == [65504.0, -65504.0, 0.5]
