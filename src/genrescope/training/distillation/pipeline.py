"""Music and a teacher into a student: lessons, the course, and weights that ``transfer`` can stand on."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genrescope import datasets, features, models
from genrescope.datasets import split_dataset
from genrescope.labels import STYLE_INDICES
from genrescope.models import EfficientAt, Student, fit_mel_projection, init_from_teacher
from genrescope.training.distillation import targets
from genrescope.training.distillation.module import DistillSchedule, train_student
from genrescope.types import Track
from genrescope.utils import write_atomic

TEACHER = "mn04"
HELD_FILES = 2
BAND_LIMITED = 0.4


@dataclass(frozen=True)
class DistillConfig:
    """How a student is made.

    Attributes
    ----------
    weights : Path or None
        Of the teacher, EfficientAT mn04; None: the published ones.
    files, lessons : int
        How many files of lessons, and how many each holds.
    epochs, workers, seed : int
    """

    weights: Path | None = None
    files: int = 160
    epochs: int = 2
    workers: int = 1
    seed: int = 0
    lessons: int = 256


def distill(
    tracks: Sequence[Track],
    settings: DistillConfig,
    folder: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Make a student of mn04's answers to distorted music, or take up a killed run.

    Parameters
    ----------
    tracks : sequence of Track
        Audio to hear; see `tracks_to_hear`.
    folder : Path
        Of lessons, checkpoint and result.

    Returns
    -------
    Path
        Of the student's weights: ``train --config student --set model.weights=...`` goes on from there.

    Raises
    ------
    ConfigError
        ``invalid_config``: ``folder`` holds another course.
    DataError, ModelError, DownloadError, WriteError, GenrescopeError
        As `lessons.prepare_lessons`, `backbones.load` and `distil.distil`.
    """
    plan = targets.ShardSpec(
        TEACHER, settings.weights, features.SPECTROGRAM_LOG_MEL, examples=settings.lessons, seed=settings.seed
    )
    numbers = range(settings.files + HELD_FILES)
    targets.build_shards(tracks, plan, folder / "lessons", numbers=numbers, workers=settings.workers, say=say)
    course = DistillSchedule(
        folder / "lessons",
        numbers[: settings.files],
        numbers[settings.files :],
        epochs=settings.epochs,
        band_limited=BAND_LIMITED,
        seed=settings.seed,
    )
    taught = train_student(_init_student(tracks, plan), course, folder, say=say)
    return write_student(taught, folder / models.STUDENT_FILE)


def select_tracks(
    first: Path, others: Sequence[Path] = (), *, protocol: str | None = None, seed: int = 0
) -> list[Track]:
    """Return the tracks of data sets; of the first without the test part of a protocol.

    Raises
    ------
    ConfigError, DataError
        As ``datasets.read`` and ``splits.split``.
    """
    tracks = datasets.load_dataset(first, kind="audio").tracks
    if protocol is not None:
        parts = split_dataset(tracks, protocol, seed=seed)
        tracks = tuple(tracks[place] for place in sorted([*parts.train, *parts.validation]))
    return [
        *tracks,
        *(track for path in others for track in datasets.load_dataset(path, kind="audio").tracks),
    ]


def write_student(student: Student, path: Path) -> Path:
    """Write a student's weights, in half precision: what is lost is far below what training moves."""
    import torch

    stream = io.BytesIO()
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in student.state_dict().items()
    }
    torch.save(state, stream)
    write_atomic(path, stream.getvalue())
    return path


def _init_student(tracks: Sequence[Track], plan: targets.ShardSpec) -> Student:
    teacher = models.load_backbone(plan.teacher, weights=plan.weights).network
    assert isinstance(teacher, EfficientAt)  # TEACHER names one
    student = init_from_teacher(teacher, list(STYLE_INDICES.values()))
    fit_mel_projection(student, *targets.paired_features(tracks, plan))
    return student
