"""From music and a teacher to a student: shards, training, and weights that ``train`` can start from."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from genrescope import audio, datasets, features, models
from genrescope.datasets import split_dataset
from genrescope.errors import ConfigError, DataError, GenrescopeError
from genrescope.labels import STYLE_INDICES, load_taxonomy
from genrescope.models import (
    MAX_EXPOSURE_NAME,
    EfficientAt,
    ImageStudent,
    Student,
    TwoTeacherStudent,
    UnlabeledExposure,
    fit_mel_projection,
    init_from_teacher,
)
from genrescope.training.devices import select_device
from genrescope.training.distillation import targets
from genrescope.training.distillation.module import AnyStudent, DistillSchedule, train_student
from genrescope.training.taxonomy.data import LabeledSource, read_clips
from genrescope.types import Track
from genrescope.utils import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

TEACHER, SECOND_TEACHER = "mn04", "musicnn"
VALIDATION_SHARDS = 2
# What can be trained, and the peak of its learning rate. The student starts from its teacher's weights, the
# others at random; VGG16 has no normalization, without which large steps diverge.
STUDENT = "student"
LEARNING_RATES = {STUDENT: 3e-3, "vgg16": 3e-4, "inception-v3": 1e-3}
# The source of tracks that are neither labeled music nor marked as not music.
MUSIC_SOURCE = "music"
# Share of the examples that the student gets without their highest bands. Much music that is classified later
# was stored at a low sample rate or bit rate, which the student must not take for a property of the genre.
LOWPASS_PROBABILITY = 0.4


@dataclass(frozen=True)
class DistillConfig:
    """How a student is made.

    Attributes
    ----------
    weights : Path or None
        Of the teacher, EfficientAT mn04; None: the published ones.
    shards : int
        Number of shards to train on; two more are made for validation.
    epochs : int
        How often each shard is used.
    workers : int
        Processes that make shards.
    seed : int
        Of all random choices.
    examples_per_shard : int
        Number of examples in each shard.
    teachers : tuple of str
        ("mn04",) for a `Student` of its styles, ("mn04", "musicnn") for a `TwoTeacherStudent`.
    musicnn_weights : Path or None
        Of the second teacher.
    batch_size : int
        Examples per step of the training.
    device : {"auto", "cpu", "cuda"}
        Where the student is trained.
    network : {"student", "vgg16", "inception-v3"}
        What is trained on the teachers' outputs: the student, which starts from its teacher's weights, or an
        image network, which starts at random and gives a file for ``model.weights`` of the configurations
        ``parallel-vgg16`` and ``parallel-inception``.
    """

    weights: Path | None = None
    shards: int = 160
    epochs: int = 2
    workers: int = 1
    seed: int = 0
    examples_per_shard: int = 256
    teachers: tuple[str, ...] = (TEACHER,)
    musicnn_weights: Path | None = None
    batch_size: int = 32
    device: str = "auto"
    network: str = STUDENT


class FurtherTracks(NamedTuple):
    """Tracks besides those of music without labels, and what each is; see `further_tracks`.

    Attributes
    ----------
    tracks : tuple of Track
    origins : tuple of targets.Origin
        Of each track.
    """

    tracks: tuple[Track, ...] = ()
    origins: tuple[targets.Origin, ...] = ()


def distill(
    tracks: Sequence[Track],
    config: DistillConfig,
    folder: Path,
    *,
    data: str = "distillation",
    progress_bar: bool = False,
    further: FurtherTracks | None = None,
) -> Path:
    """Train a student on the outputs of one or two teachers for distorted music, or resume such a run.

    Progress, a line per shard and per chunk of the training, is logged at level INFO below the logger
    ``genrescope.training``. The processes that make shards are spawned: a script that calls this needs
    ``if __name__ == "__main__":``.

    Parameters
    ----------
    tracks : sequence of Track
        Audio to train on; see `select_tracks`. Labels only decide how often each track is drawn.
    config : DistillConfig
        How the student is made.
    folder : Path
        Of shards, checkpoint and result. The same call with the same folder resumes. Shards that are there
        already are used: networks of several kinds can be trained on the same, and the checkpoint of an image
        network is in a folder of its name.
    data : str
        Name of the music, under which it stands in what models from this student state of themselves.
    progress_bar : bool
        Whether to show the progress of a chunk on standard error.
    further : FurtherTracks, optional
        Labeled music and other sound, for `genrescope.training.train_taxonomy`.

    Returns
    -------
    Path
        Of the weights, ``student.pt`` or a name like ``vgg16.pt``: ``train --config student --set
        model.weights=...`` goes on from there, or another configuration with that backbone. What the network
        was exposed to stands in a JSON file beside it.

    Raises
    ------
    ConfigError
        ``invalid_config``: ``folder`` holds a run with other settings; ``invalid_argument``: no such
        teachers, network or device.
    DataError
        ``dataset_empty``: no track can be read; ``dataset_not_found``, ``dataset_invalid``: a shard is
        missing or damaged.
    DownloadError, ModelError
        The teacher's weights cannot be downloaded or loaded; nothing was begun then.
    GenrescopeError
        ``training_failed``: the loss is not finite.
    WorkerError
        ``worker_failed``: a process that makes shards died.
    WriteError
        ``write_failed``.
    """
    if config.teachers not in ((TEACHER,), (TEACHER, SECOND_TEACHER)):
        raise ConfigError(
            "invalid_argument",
            f"a student of {', '.join(config.teachers) or 'no teacher'} cannot be made",
            f"give {TEACHER}, or {TEACHER} and {SECOND_TEACHER}",
        )
    if config.network not in LEARNING_RATES:
        raise ConfigError(
            "invalid_argument",
            f"no network to distill into is named {config.network!r}",
            f"choose one of: {', '.join(LEARNING_RATES)}",
        )
    select_device(config.device)
    spec = targets.ShardSpec(
        TEACHER,
        config.weights,
        features.SPECTROGRAM_LOG_MEL,
        examples=config.examples_per_shard,
        seed=config.seed,
        second_teacher=SECOND_TEACHER if SECOND_TEACHER in config.teachers else None,
        second_weights=config.musicnn_weights,
    )
    numbers, shards = range(config.shards + VALIDATION_SHARDS), _shards_folder(folder)
    further = further or FurtherTracks()
    origins = (targets.Origin(MUSIC_SOURCE),) * len(tracks) + further.origins
    tracks = (*tracks, *further.tracks)
    targets.build_shards(tracks, spec, shards, numbers=numbers, workers=config.workers, origins=origins)
    schedule = DistillSchedule(
        shards,
        numbers[: config.shards],
        numbers[config.shards :],
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=LEARNING_RATES[config.network],
        lowpass_probability=LOWPASS_PROBABILITY,
        seed=config.seed,
    )
    start = _init_network(tracks, spec, config.network)
    checkpoints = folder if config.network == STUDENT else folder / config.network
    student = train_student(start, schedule, checkpoints, progress_bar=progress_bar, device=config.device)
    weights = folder / (models.STUDENT_FILE if config.network == STUDENT else f"{config.network}.pt")
    everything = [*tracks, *(further.tracks if further else ())]
    # First, so that there are no weights without it when the run is killed in between.
    exposures = [exposure for teacher in config.teachers for exposure in models.backbone_exposures(teacher)]
    models.write_exposures([*exposures, describe_exposure(everything, data)], weights)
    return write_student(student, weights)


def describe_exposure(tracks: Sequence[Track], data: str) -> UnlabeledExposure:
    """Return the entry for tracks that a network is exposed to without their labels.

    Parameters
    ----------
    tracks : sequence of Track
        Audio; those that cannot be read are counted with a length of 0.
    data : str
        Name of the data set, or of several together.
    """
    seconds = 0.0
    for track in tracks:
        with suppress(GenrescopeError):
            seconds += audio.info(track.path).seconds or 0.0
    content = sorted(set(datasets.content_digests(tracks).values()))
    # Names of folders may hold what a name in a model file may not.
    name = "".join(letter for letter in data if letter.isprintable())[:MAX_EXPOSURE_NAME] or "distillation"
    return UnlabeledExposure(name, len(tracks), round(seconds / 3600, 3), tuple(content))


def further_tracks(labeled: Sequence[LabeledSource], not_music: Sequence[Path]) -> FurtherTracks:
    """Return labeled music and other sound as tracks whose examples can be told apart.

    Parameters
    ----------
    labeled : sequence of LabeledSource
        Labeled data sets, read as `genrescope.training.train_taxonomy` reads them: without the test part of
        GTZAN.
    not_music : sequence of Path
        Folders of speech, noise and other sound.

    Raises
    ------
    DataError
        As of `genrescope.training.train_taxonomy`; ``dataset_empty``: no audio in the folders.
    """
    tracks: list[Track] = []
    origins: list[targets.Origin] = []
    for clip in read_clips(labeled, load_taxonomy()):
        tracks.append(Track(clip.track, clip.path, clip.genre, clip.artist or clip.track))
        origins.append(targets.Origin(clip.collection, "labeled"))
    for place in not_music:
        for path in audio.find_audio([place]):
            name = path.relative_to(place).as_posix() if path != place else path.name
            tracks.append(Track(name, path, "not music", name))
            origins.append(targets.Origin(place.name, "not_music"))
    return FurtherTracks(tuple(tracks), tuple(origins))


def _shards_folder(folder: Path) -> Path:
    # The name in version 0.1: the shards of a run that it began are used for one release more.
    old = folder / "lessons"
    return old if old.is_dir() else folder / "shards"


def select_tracks(
    first: Path, others: Sequence[Path] = (), *, protocol: str | None = None, seed: int = 0
) -> list[Track]:
    """Return the tracks of data sets; of the first without the test part of a protocol.

    Parameters
    ----------
    first : Path
        A data set, as for ``datasets.load_dataset``; or, without ``protocol``, any folder of audio.
    others : sequence of Path
        More data sets or folders of audio, of which all tracks are returned.
    protocol : str, optional
        Name of the protocol; None: all tracks of the first data set too.
    seed : int
        Of the split.

    Raises
    ------
    ConfigError, DataError
        As ``datasets.load_dataset`` and ``datasets.split_dataset``.
    """
    if protocol is None:
        tracks = _music(first)
    else:
        dataset = datasets.load_dataset(first, kind="audio")
        parts = split_dataset(dataset.tracks, protocol, seed=seed, official_splits=dataset.official_splits)
        tracks = tuple(dataset.tracks[index] for index in sorted([*parts.train, *parts.validation]))
    return [*tracks, *(track for path in others for track in _music(path))]


def _music(place: Path) -> tuple[Track, ...]:
    """Return the tracks of a data set, or all audio of a folder that is none: labels are not needed here."""
    try:
        return datasets.load_dataset(place, kind="audio").tracks
    except DataError as failure:
        if not place.is_dir() or failure.code not in ("dataset_empty", "dataset_too_small"):
            raise
        found = sorted(audio.find_audio([place]))
        if not found:
            raise
    names = [path.relative_to(place).as_posix() for path in found]
    return tuple(Track(name, path, "music", name) for name, path in zip(names, found, strict=True))


def write_student(student: AnyStudent, path: Path) -> Path:
    """Write a student's weights, in half precision: what is lost is far below what training moves.

    The statistics of normalization stay in single precision, since variances may exceed the largest number of
    half precision, 65504, and so do other tensors with such values.

    Parameters
    ----------
    student : Student, TwoTeacherStudent or ImageStudent
        Whose weights are written; of an image network without the layers that predict the teachers' outputs,
        and under the names of its published weights.
    path : Path
        The file.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    GenrescopeError
        ``training_failed``: a weight is not finite; nothing is written then.
    WriteError
        ``write_failed``.
    """
    import torch

    if isinstance(student, ImageStudent):
        values = models.published_names(student.network)
    else:
        values = student.state_dict()
    state = {name: _stored_tensor(name, value) for name, value in values.items()}
    stream = io.BytesIO()
    torch.save(state, stream)
    write_atomic(path, stream.getvalue())
    return path


def _stored_tensor(name: str, value: Tensor) -> Tensor:
    """Return a tensor in half precision, if nothing but digits is lost."""
    if not value.is_floating_point():
        return value
    if not value.isfinite().all():
        raise GenrescopeError(
            "training_failed", f"{name} holds values that are not finite", "lower the learning rate"
        )
    half = value.half()
    is_statistic = name.endswith(("running_mean", "running_var"))
    return value if is_statistic or not half.isfinite().all() else half


def _init_network(tracks: Sequence[Track], spec: targets.ShardSpec, network: str) -> AnyStudent:
    """Return the network to train, with the weights that it starts from."""
    if network != STUDENT:
        return models.build_image_student(
            network, two_teachers=spec.second_teacher is not None, seed=spec.seed
        )
    if spec.second_teacher is None:
        return _init_student(tracks, spec)
    return _init_two_teacher_student(tracks, spec)


def _init_student(tracks: Sequence[Track], spec: targets.ShardSpec) -> Student:
    """Return a student with its teacher's weights, and a fitted map of its mel bands to the teacher's."""
    teacher = models.load_backbone(spec.teacher, weights=spec.weights).network
    assert isinstance(teacher, EfficientAt)  # TEACHER names one
    student = init_from_teacher(teacher, list(STYLE_INDICES.values()))
    fit_mel_projection(student, *targets.paired_features(tracks, spec))
    return student


def _init_two_teacher_student(tracks: Sequence[Track], spec: targets.ShardSpec) -> TwoTeacherStudent:
    """Return a student with the first teacher's weights and all its classes; the rest is random."""
    import torch

    teacher = models.load_backbone(spec.teacher, weights=spec.weights).network
    assert isinstance(teacher, EfficientAt)  # TEACHER names one
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        student = TwoTeacherStudent()
    student.student.network.load_state_dict(teacher.state_dict())
    fit_mel_projection(student.student, *targets.paired_features(tracks, spec))
    return student
