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
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

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
logger = logging.getLogger(__name__)


class TeacherTargets(NamedTuple):
    """Inputs of the student and outputs of the teacher, row by row.

    Attributes
    ----------
    spectrograms : ndarray, shape (examples, mels, frames), uint8
        As GTZAN's spectrogram pictures, but band 0 first: 0 is -80 dB or less, 255 the loudest band of the
        excerpt.
    embeddings : ndarray, shape (examples, size), float16
        The teacher's embeddings.
    logits : ndarray, shape (examples, classes), float16
        The teacher's logits of all its classes.
    """

    spectrograms: UInt8Array
    embeddings: npt.NDArray[np.float16]
    logits: npt.NDArray[np.float16]

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
    """

    teacher: str
    weights: Path | None
    student: FeatureSpec
    seconds: float = 10.0
    examples: int = 256
    seed: int = 0


def build_shards(
    tracks: Sequence[Track], spec: ShardSpec, folder: Path, *, numbers: range, workers: int = 1
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
    # Forked processes would inherit the locks of torch's thread pool without its threads, and hang.
    context = get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, _init_worker, (tuple(tracks), spec)) as pool:
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
            targets = TeacherTargets(stored[name], stored["embeddings"], stored["logits"])
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
    if len({len(array) for array in targets}) > 1:
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
    writer, generator = _ShardWriter(tuple(tracks), spec), np.random.default_rng([spec.seed, 0xEA7])
    pairs = [writer.feature_pair(writer.excerpt(generator, 0.0)) for _ in range(excerpts)]
    student_mel, teacher_mel = (np.stack(column) for column in zip(*pairs, strict=True))
    times = np.arange(student_mel.shape[2]) * spec.student.hop_length / spec.student.sample_rate
    frames = np.rint(times * writer.rate / writer.teacher_spec.hop_length).astype(int)
    return student_mel, teacher_mel[:, :, np.minimum(frames, teacher_mel.shape[2] - 1)]


class _ShardWriter:
    """What one process holds: the teacher, and the recordings that it has decoded so far."""

    def __init__(self, tracks: tuple[Track, ...], spec: ShardSpec) -> None:
        self.spec = spec
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
        rows = [self._example(generator) for _ in range(self.spec.examples)]
        spectrograms, teacher_mel = zip(*rows, strict=True)
        outputs = [self._teacher_outputs(batch) for batch in _batches(teacher_mel, TEACHER_BATCH_SIZE)]
        embeddings, logits = zip(*outputs, strict=True)
        return TeacherTargets(np.stack(spectrograms), np.concatenate(embeddings), np.concatenate(logits))

    def _example(self, generator: np.random.Generator) -> tuple[UInt8Array, FloatArray]:
        """Return the student's spectrogram and the teacher's features of one distorted excerpt."""
        samples = self.excerpt(generator, float(generator.choice(EFFECT_STRENGTHS)))
        if generator.random() < MIX_PROBABILITY:
            other = self.excerpt(generator, float(generator.choice(EFFECT_STRENGTHS)))
            samples = augmentation.limit(augmentation.mix(samples, other, generator.uniform(-6, 6)))
        student_mel, teacher_mel = self.feature_pair(samples)
        return encode_db(student_mel - student_mel.max()), teacher_mel

    def feature_pair(self, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the features of student and teacher; the teacher's at the level `PEAK_LEVEL_DB`."""
        spec = self.spec.student
        resampled = soxr.resample(samples, self.rate, spec.sample_rate, quality="HQ")
        student_mel = features.extract(resampled[None], spec.sample_rate, spec)[0]
        samples = augmentation.gain(samples, PEAK_LEVEL_DB - float(student_mel.max()))
        return student_mel, features.extract(samples[None], self.rate, self.teacher_spec)[0]

    def excerpt(self, generator: np.random.Generator, strength: float) -> FloatArray:
        """Draw a recording, and from it an excerpt, distorted."""
        while True:
            recording = self._recording(int(generator.choice(len(self.tracks), p=self.probabilities)))
            excerpt = augmentation.apply_random_effects(
                recording, self.rate, generator, strength=strength, seconds=self.spec.seconds
            )
            # Near silence, such as the end of a fade-out, the teacher's outputs do not depend on the music.
            if np.abs(excerpt).max() > 1e-3:
                return excerpt

    def _recording(self, index: int) -> FloatArray:
        """Return a track's samples, or those of another if it cannot be read; it is not drawn again then."""
        if index not in self._recordings:
            self._recordings[index] = self._load(index)
        recording = self._recordings[index]
        if recording is not None:
            return recording.astype(np.float32) / np.float32(32768)
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


def _batches(rows: Sequence[FloatArray], size: int) -> Iterator[Sequence[FloatArray]]:
    return (rows[first : first + size] for first in range(0, len(rows), size))


class _WorkerState:
    """State of a worker process: what it was given, and its writer from the first shard on."""

    tracks: tuple[Track, ...]
    spec: ShardSpec
    writer: _ShardWriter | None = None


def _init_worker(tracks: tuple[Track, ...], spec: ShardSpec) -> None:
    """Set a fresh process up.

    The writer is made by the first `_write_shard`: an error raised in here would break the pool and be lost,
    one raised there reaches the caller.
    """
    import torch

    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(5)
    _WorkerState.tracks, _WorkerState.spec = tracks, spec


def _write_shard(folder: Path, number: int) -> list[str]:
    """Write one shard; return a message for each track that could not be read."""
    if _WorkerState.writer is None:
        _WorkerState.writer = _ShardWriter(_WorkerState.tracks, _WorkerState.spec)
    writer = _WorkerState.writer
    stream = io.BytesIO()
    np.savez(stream, **writer.examples(number)._asdict())
    write_atomic(_shard_path(folder, number), stream.getvalue())
    failures, writer.failures = writer.failures, []
    return failures
