"""Training examples of the distillation: what the student gets as input, and what the teacher returns for it.

Teacher and student get the same distorted audio, so any number of examples can be made from one collection
(Schmid et al., ICASSP 2023, arXiv 2211.04772, mix and distort for their students too). Examples are stored in
numbered files, the shards. Each is drawn from (seed, number) alone: an interrupted command continues with the
first shard that is missing, and several processes share the work without changing its result.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from genrescope import audio, augmentation, features, models
from genrescope.datasets import decode_db, encode_db
from genrescope.errors import AudioError, DataError, WorkerError
from genrescope.features import FeatureSpec
from genrescope.types import Float64Array, FloatArray, IntArray, Track, UInt8Array
from genrescope.utils import write_atomic

# Share of the examples that are two recordings at once.
MIX_PROBABILITY = 0.35
# Strengths of the random effects, each as likely as the others.
EFFECT_STRENGTHS = (0.0, 0.5, 1.0, 1.5)
# The loudest mel band of a typical recording at full scale. The student's levels are relative to the loudest
# band, so the teacher gets every excerpt at this one level: otherwise the targets would depend on a gain that
# the student cannot know.
PEAK_LEVEL_DB = 32.0
TEACHER_BATCH_SIZE = 16
# 3 s, the length that musicnn was trained on.
PATCH_FRAMES = 187
logger = logging.getLogger(__name__)


Kind = Literal["music", "labeled", "not_music"]
Half = npt.NDArray[np.float16]
Text = npt.NDArray[np.str_]
_NO_ROWS: Half = np.zeros((0, 0), np.float16)
_NO_TEXT: Text = np.zeros(0, "U1")


class Origin(NamedTuple):
    """Where a track that examples are drawn from belongs.

    Attributes
    ----------
    source : str
        Its data set or collection. What is trained without a collection leaves out the examples of it.
    kind : {"music", "labeled", "not_music"}
        "labeled" for music of which a label will be used, so that the track can be found by its id.
    """

    source: str
    kind: Kind = "music"


class TeacherTargets(NamedTuple):
    """Inputs of the student and outputs of its teachers, row by row.

    Shards of one teacher have no rows of the second one; those of version 0.1 do not name tracks either.

    Attributes
    ----------
    spectrograms : ndarray, shape (examples, mels, frames), uint8
        As GTZAN's spectrogram pictures, but band 0 first: 0 is -80 dB or less, 255 the loudest band of the
        excerpt.
    embeddings : ndarray, shape (examples, size), float16
        The teacher's embeddings.
    logits : ndarray, shape (examples, classes), float16
        The teacher's logits of all its classes.
    musicnn, tags : ndarray, shape (examples, 200) and (examples, 50), float16
        The second teacher's penultimate layer and logits, each the mean over three patches of the excerpt.
    track, source, kind : ndarray of str, shape (examples,)
        The id of the track that the excerpt is from, and its `Origin`.
    mixed_source : ndarray of str, shape (examples,)
        The source of the excerpt that was mixed in; empty for none.
    strength : ndarray, shape (examples,), float16
        Of the random effects.
    """

    spectrograms: UInt8Array
    embeddings: Half
    logits: Half
    musicnn: Half = _NO_ROWS
    tags: Half = _NO_ROWS
    track: Text = _NO_TEXT
    source: Text = _NO_TEXT
    kind: Text = _NO_TEXT
    mixed_source: Text = _NO_TEXT
    strength: Half = np.zeros(0, np.float16)

    def log_mel(self, chosen: IntArray) -> FloatArray:
        """Return spectrograms in dB below their loudest band, shape (chosen, mels, frames).

        Parameters
        ----------
        chosen : ndarray of int
            Indices of the examples.
        """
        return decode_db(self.spectrograms[chosen])


@dataclass(frozen=True)
class ShardSpec:
    """How shards are made.

    Attributes
    ----------
    teacher : str
        A name of ``models.BACKBONES``.
    weights : Path or None
        The teacher's weights; None: the published ones.
    student : FeatureSpec
        The student's features.
    seconds : float
        Length of an excerpt.
    examples : int
        Number of examples in a shard.
    seed : int
        Of all random choices.
    second_teacher : str or None
        The name "musicnn": its outputs are stored too.
    second_weights : Path or None
        The weights of the second teacher.
    """

    teacher: str
    weights: Path | None
    student: FeatureSpec
    seconds: float = 10.0
    examples: int = 256
    seed: int = 0
    second_teacher: str | None = None
    second_weights: Path | None = None


def build_shards(
    tracks: Sequence[Track],
    spec: ShardSpec,
    folder: Path,
    *,
    numbers: range,
    workers: int = 1,
    origins: Sequence[Origin] = (),
) -> None:
    """Write shards into a folder; those that are there already are kept.

    Progress, a line per shard, and tracks that cannot be read and are left out are logged at level INFO.
    The processes are spawned: a script that calls this needs ``if __name__ == "__main__":``.

    Parameters
    ----------
    tracks : sequence of Track
        Audio to draw excerpts from. Their labels only decide how often each is drawn: a genre in proportion
        to the square root of its number of tracks.
    spec : ShardSpec
        How shards are made.
    folder : Path
        Where they are written to.
    numbers : range
        Numbers of the shards.
    workers : int
        Processes, of one thread each.
    origins : sequence of Origin
        Of each track; empty: all are music of no named source.

    Raises
    ------
    DataError
        ``dataset_empty``: no track can be read.
    DownloadError, ModelError
        The teacher's weights cannot be downloaded or loaded; no process was started then.
    WorkerError
        ``worker_failed``: a process died.
    WriteError
        ``write_failed``: a shard cannot be written.
    """
    missing = [number for number in numbers if not _shard_path(folder, number).exists()]
    if not missing:
        return
    # Weights that cannot be loaded are found here, once, before any process starts; this call also downloads
    # them, so that the processes find them in the cache.
    models.load_backbone(spec.teacher, weights=spec.weights)
    if spec.second_teacher is not None:
        models.load_backbone(spec.second_teacher, weights=spec.second_weights)
    # Forked processes would inherit the locks of torch's thread pool without its threads, and hang.
    context = get_context("spawn")
    try:
        arguments = (tuple(tracks), spec, tuple(origins))
        with ProcessPoolExecutor(workers, context, _init_worker, arguments) as pool:
            for number, failures in zip(
                missing, pool.map(partial(_write_shard, folder), missing), strict=True
            ):
                for failure in failures:
                    logger.info("left out %s", failure)
                logger.info("shard %d of %d", number + 1, numbers.stop)
    except BrokenProcessPool:
        raise WorkerError(
            "worker_failed",
            "a process that prepares training examples died, possibly because memory ran out",
            "use fewer workers; the same command keeps the shards that are finished",
        ) from None


def load_shards(folder: Path, numbers: Sequence[int]) -> TeacherTargets:
    """Read shards, joined.

    Parameters
    ----------
    folder : Path
        Of `build_shards`.
    numbers : sequence of int
        Numbers of the shards.

    Raises
    ------
    DataError
        ``dataset_not_found``, ``dataset_invalid``: a shard is missing or damaged.
    """
    parts = [_read_shard(_shard_path(folder, number)) for number in numbers]
    try:
        return TeacherTargets(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    except ValueError as reason:
        raise DataError(
            "dataset_invalid",
            f"{folder}: its shards do not fit together: {reason}",
            "delete them and repeat the command",
        ) from None


def shard_numbers(folder: Path) -> list[int]:
    """Return the numbers of the shards in a folder.

    Parameters
    ----------
    folder : Path
        Of `build_shards`.

    Raises
    ------
    DataError
        ``dataset_not_found``: there are none.
    """
    numbers = sorted(
        int(path.stem.rpartition("-")[2])
        for path in folder.glob("*-*.npz")
        if path.stem.rpartition("-")[2].isdecimal()
    )
    if not numbers:
        raise DataError("dataset_not_found", f"{folder}: no shards there", "build them: genrescope distill")
    return numbers


def _shard_path(folder: Path, number: int) -> Path:
    path = folder / f"shard-{number:05}.npz"
    # The name in version 0.1: its shards are used for one release more.
    old = folder / f"lessons-{number:05}.npz"
    return old if old.exists() and not path.exists() else path


def _read_shard(path: Path) -> TeacherTargets:
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            # Version 0.1 named the spectrograms "pictures".
            name = "spectrograms" if "spectrograms" in stored else "pictures"
            # Shards are written without compression: members larger than the file are not of `build_shards`.
            if sum(member.file_size for member in stored.zip.infolist()) > path.stat().st_size:
                raise ValueError("compressed")
            # Of one teacher, and in version 0.1, they have only the first three arrays.
            further = {key: stored[key] for key in TeacherTargets._fields[3:] if key in stored}
            targets = TeacherTargets(stored[name], stored["embeddings"], stored["logits"], **further)
            _check_targets(targets)
            return targets
    except FileNotFoundError:
        raise DataError(
            "dataset_not_found", f"{path}: no such shard", "build it: repeat the command"
        ) from None
    # Damage makes zipfile and the parser of headers raise errors of many kinds.
    except Exception as reason:
        why = str(reason)[:200] or type(reason).__name__
        raise DataError(
            "dataset_invalid",
            f"{path}: not a shard: {why}",
            "delete it and repeat the command",
        ) from None


def _check_targets(targets: TeacherTargets) -> None:
    """Raise ValueError where arrays of a shard are of other kinds or shapes than `TeacherTargets` has."""
    kinds = {"spectrograms": (3, "u1"), "embeddings": (2, "f2"), "logits": (2, "f2")}
    for name, (dimensions, kind) in kinds.items():
        array = getattr(targets, name)
        if array.ndim != dimensions or array.dtype != np.dtype(kind):
            raise ValueError(f"{name} of shape {array.shape}, {array.dtype}")
    for name in ("musicnn", "tags"):
        if (array := getattr(targets, name)).ndim != 2 or array.dtype != np.dtype("f2"):
            raise ValueError(f"{name} of shape {array.shape}, {array.dtype}")
    for name in ("track", "source", "kind", "mixed_source"):
        if (array := getattr(targets, name)).ndim != 1 or array.dtype.kind != "U":
            raise ValueError(f"{name} of shape {array.shape}, {array.dtype}")
    if len({len(array) for array in targets if len(array)}) > 1:
        raise ValueError(f"arrays of {', '.join(str(len(array)) for array in targets)} rows")


def paired_features(
    tracks: Sequence[Track], spec: ShardSpec, *, excerpts: int = 128
) -> tuple[FloatArray, FloatArray]:
    """Return the features of student and teacher for the same undistorted audio.

    Parameters
    ----------
    tracks : sequence of Track
        Audio to draw excerpts from, as in `build_shards`.
    spec : ShardSpec
        Teacher, features of the student, length of an excerpt and seed.
    excerpts : int
        How many to draw.

    Returns
    -------
    student_mel, teacher_mel : ndarray, shape (excerpts, mels, frames), float32
        The student's features, and the teacher's at the times of the student's frames.

    Raises
    ------
    DataError
        ``dataset_empty``: no track can be read.
    DownloadError, ModelError
        The teacher's weights cannot be downloaded or loaded.
    """
    first = replace(spec, second_teacher=None)
    writer, generator = _ShardWriter(tuple(tracks), first), np.random.default_rng([spec.seed, 0xEA7])
    pairs = [writer.feature_pair(writer.excerpt(generator, 0.0)[0])[:2] for _ in range(excerpts)]
    student_mel, teacher_mel = (np.stack(column) for column in zip(*pairs, strict=True))
    times = np.arange(student_mel.shape[2]) * spec.student.hop_length / spec.student.sample_rate
    frames = np.rint(times * writer.rate / writer.teacher_spec.hop_length).astype(int)
    return student_mel, teacher_mel[:, :, np.minimum(frames, teacher_mel.shape[2] - 1)]


class _Example(NamedTuple):
    """An excerpt: ``track`` is its index, ``patches`` are what musicnn gets, none without this teacher."""

    spectrogram: UInt8Array
    teacher_mel: FloatArray
    patches: list[FloatArray]
    track: int
    mixed_source: str
    strength: float


class _ShardWriter:
    """What one process holds: the teacher, and the recordings that it has decoded so far."""

    def __init__(self, tracks: tuple[Track, ...], spec: ShardSpec, origins: tuple[Origin, ...] = ()) -> None:
        self.spec = spec
        self.origins = origins or (Origin(""),) * len(tracks)
        self.musicnn = (
            models.load_backbone(spec.second_teacher, weights=spec.second_weights)
            if spec.second_teacher is not None
            else None
        )
        self.teacher = models.load_backbone(spec.teacher, weights=spec.weights)
        assert self.teacher.info.spec is not None  # backbones that take samples are no teachers
        self.teacher_spec: FeatureSpec = self.teacher.info.spec
        self.rate = self.teacher.info.sample_rate
        self.tracks = tracks
        self.probabilities = _track_probabilities([track.label for track in tracks])
        self.failures: list[str] = []
        # 16 bit integers, half the memory of float32: whole collections have to fit, as excerpts are
        # drawn from any track at any time. None marks a track that cannot be read.
        self._recordings: dict[int, npt.NDArray[np.int16] | None] = {}

    def examples(self, number: int) -> TeacherTargets:
        """Return the examples of a shard, drawn from (seed, number) alone."""
        generator = np.random.default_rng([self.spec.seed, number])
        examples = [self._example(generator) for _ in range(self.spec.examples)]
        outputs = [
            self._teacher_outputs([example.teacher_mel for example in batch])
            for batch in _batches(examples, TEACHER_BATCH_SIZE)
        ]
        embeddings, logits = (np.concatenate(column) for column in zip(*outputs, strict=True))
        origins = [self.origins[example.track] for example in examples]
        targets = TeacherTargets(
            np.stack([example.spectrogram for example in examples]),
            embeddings,
            logits,
            track=np.array([self.tracks[example.track].id for example in examples]),
            source=np.array([origin.source for origin in origins]),
            kind=np.array([origin.kind for origin in origins]),
            mixed_source=np.array([example.mixed_source for example in examples]),
            strength=np.array([example.strength for example in examples], np.float16),
        )
        if self.musicnn is None:
            return targets
        second = [self._musicnn_outputs(batch) for batch in _batches(examples, TEACHER_BATCH_SIZE)]
        musicnn, tags = (np.concatenate(column) for column in zip(*second, strict=True))
        return targets._replace(musicnn=musicnn, tags=tags)

    def _example(self, generator: np.random.Generator) -> _Example:
        """Return one distorted excerpt: the student's spectrogram, and what the teachers get."""
        strength, mixed_source = float(generator.choice(EFFECT_STRENGTHS)), ""
        samples, track = self.excerpt(generator, strength)
        if generator.random() < MIX_PROBABILITY:
            other, mixed = self.excerpt(generator, float(generator.choice(EFFECT_STRENGTHS)))
            samples = augmentation.limit(augmentation.mix(samples, other, generator.uniform(-6, 6)))
            mixed_source = self.origins[mixed].source or "unknown"
        student_mel, teacher_mel, leveled = self.feature_pair(samples)
        spectrogram = encode_db(student_mel - student_mel.max())
        return _Example(spectrogram, teacher_mel, self._patches(leveled), track, mixed_source, strength)

    def feature_pair(self, samples: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the features of student and teacher, and samples at `PEAK_LEVEL_DB`, for the teachers."""
        spec = self.spec.student
        resampled = soxr.resample(samples, self.rate, spec.sample_rate, quality="HQ")
        student_mel = features.extract(resampled[None], spec.sample_rate, spec)[0]
        samples = augmentation.gain(samples, PEAK_LEVEL_DB - float(student_mel.max()))
        return student_mel, features.extract(samples[None], self.rate, self.teacher_spec)[0], samples

    def excerpt(self, generator: np.random.Generator, strength: float) -> tuple[FloatArray, int]:
        """Draw a recording, and from it an excerpt, distorted; return it with the index of its track."""
        while True:
            recording, track = self._recording(int(generator.choice(len(self.tracks), p=self.probabilities)))
            excerpt = augmentation.apply_random_effects(
                recording, self.rate, generator, strength=strength, seconds=self.spec.seconds
            )
            # Near silence, such as the end of a fade-out, the teacher's outputs do not depend on the music.
            if np.abs(excerpt).max() > 1e-3:
                return excerpt, track

    def _recording(self, index: int) -> tuple[FloatArray, int]:
        """Return a track's samples and index, or another's if it cannot be read, which is not drawn again."""
        if index not in self._recordings:
            self._recordings[index] = self._load(index)
        recording = self._recordings[index]
        if recording is not None:
            return recording.astype(np.float32) / np.float32(32768), index
        self.probabilities[index] = 0
        if not self.probabilities.any():
            raise DataError("dataset_empty", "no track can be read", "check them: genrescope classify FOLDER")
        self.probabilities /= self.probabilities.sum()
        return self._recording(int(np.argmax(self.probabilities)))

    def _load(self, index: int) -> npt.NDArray[np.int16] | None:
        try:
            samples = audio.load_audio(self.tracks[index].path, sample_rate=self.rate).samples
        except AudioError as failure:
            self.failures.append(f"{self.tracks[index].id}: {failure.message}")
            return None
        return np.round(augmentation.limit(samples) * 32767).astype(np.int16)

    def _teacher_outputs(
        self, batch: Sequence[FloatArray]
    ) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]:
        import torch

        with torch.inference_mode():
            embeddings, logits = self.teacher(torch.from_numpy(np.stack(batch)))
        return _to_half(embeddings.numpy()), _to_half(logits.numpy())

    def _patches(self, samples: FloatArray) -> list[FloatArray]:
        """Return musicnn's features of patches at the start, the middle and the end."""
        if self.musicnn is None:
            return []
        spec = self.musicnn.info.spec
        assert spec is not None
        resampled = soxr.resample(samples, self.rate, spec.sample_rate, quality="HQ")
        log_mel = features.extract(resampled[None], spec.sample_rate, spec)[0]
        # An excerpt shorter than a patch is one patch, three times.
        last = max(0, log_mel.shape[1] - PATCH_FRAMES)
        return [log_mel[:, first : first + PATCH_FRAMES] for first in (0, last // 2, last)]

    def _musicnn_outputs(self, batch: Sequence[_Example]) -> tuple[Half, Half]:
        """Return musicnn's features and tags, means over the patches."""
        import torch

        assert self.musicnn is not None
        patches = np.stack([patch for example in batch for patch in example.patches])
        with torch.inference_mode():
            outputs = self.musicnn(torch.from_numpy(patches))
        musicnn, tags = (_to_half(part.view(len(batch), 3, -1).mean(1).numpy()) for part in outputs)
        return musicnn, tags


def _to_half(values: FloatArray) -> npt.NDArray[np.float16]:
    """Return ``values`` in half precision; those beyond its range become its limits, not infinite."""
    limit = float(np.finfo(np.float16).max)
    return np.clip(values, -limit, limit).astype(np.float16)


def _track_probabilities(labels: Sequence[str]) -> Float64Array:
    """Return how likely each track is drawn: a genre in proportion to the square root of its count."""
    _, genres, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[genres])
    probabilities: Float64Array = weights / weights.sum()
    return probabilities


def _batches(rows: Sequence[_Example], size: int) -> Iterator[Sequence[_Example]]:
    return (rows[first : first + size] for first in range(0, len(rows), size))


class _WorkerState:
    """State of a worker process: what it was given, and its writer from the first shard on."""

    tracks: tuple[Track, ...]
    spec: ShardSpec
    origins: tuple[Origin, ...]
    writer: _ShardWriter | None = None


def _init_worker(tracks: tuple[Track, ...], spec: ShardSpec, origins: tuple[Origin, ...]) -> None:
    """Set a fresh process up.

    The writer is made by the first `_write_shard`: an error raised in here would break the pool and be lost,
    one raised there reaches the caller.
    """
    import torch

    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(5)
    _WorkerState.tracks, _WorkerState.spec, _WorkerState.origins = tracks, spec, origins


def _write_shard(folder: Path, number: int) -> list[str]:
    """Write one shard; return a message for each track that could not be read."""
    if _WorkerState.writer is None:
        _WorkerState.writer = _ShardWriter(_WorkerState.tracks, _WorkerState.spec, _WorkerState.origins)
    writer = _WorkerState.writer
    stream = io.BytesIO()
    np.savez(stream, **writer.examples(number)._asdict())
    write_atomic(_shard_path(folder, number), stream.getvalue())
    failures, writer.failures = writer.failures, []
    return failures
