"""What a teacher says of distorted sound: the lessons of a student that hears less of it.

The teacher listens to exactly the sound that the student sees, so there are as many lessons as one cares to
make (Schmid et al., ICASSP 2023, who mix and distort for their students too). Lessons lie in numbered files,
each drawn from (seed, number): a killed run carries on, and several processes share the work.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
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
from genrescope.errors import AudioError, DataError
from genrescope.features import FeatureSpec
from genrescope.types import Float64Array, FloatArray, IntArray, Track, UInt8Array
from genrescope.utils import write_atomic

MIXED = 0.35
STRENGTHS = (0.0, 0.5, 1.0, 1.5)
# The loudest mel band of a typical recording at full scale. The student sees levels relative to it, so the
# teacher hears every excerpt at this one.
LOUDEST_DB = 32.0


class TeacherTargets(NamedTuple):
    """What the student sees and what the teacher said, row by row.

    Attributes
    ----------
    pictures : ndarray, shape (lessons, mels, frames), uint8
        As GTZAN's pictures, but band 0 first: 0 is -80 dB or less, 255 the loudest band of the excerpt.
    embeddings : ndarray, shape (lessons, size), float16
    logits : ndarray, shape (lessons, classes), float16
    """

    spectrograms: UInt8Array
    embeddings: npt.NDArray[np.float16]
    logits: npt.NDArray[np.float16]

    def log_mel(self, chosen: IntArray) -> FloatArray:
        """Return the chosen pictures in dB below their loudest band."""
        return decode_db(self.spectrograms[chosen])


@dataclass(frozen=True)
class ShardSpec:
    """How lessons are made.

    Attributes
    ----------
    teacher : str
        A name of ``backbones``.
    weights : Path or None
        Its weights; None: the published ones.
    student : FeatureSpec
        What the student sees.
    seconds : float
        Length of an excerpt.
    lessons : int
        How many a file holds.
    seed : int
    """

    teacher: str
    weights: Path | None
    student: FeatureSpec
    seconds: float = 10.0
    examples: int = 256
    seed: int = 0


def build_shards(
    tracks: Sequence[Track],
    plan: ShardSpec,
    folder: Path,
    *,
    numbers: range,
    workers: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Write the files ``numbers`` of lessons into ``folder``; those that are there are kept.

    Parameters
    ----------
    tracks : sequence of Track
        Audio; their labels only decide how often each is heard: all genres alike, as far as the square root
        of their counts. A track that cannot be read is left out, and said.
    workers : int
        Processes, of one thread each.

    Raises
    ------
    DataError
        ``dataset_empty``: no track can be read.
    ModelError, WriteError
        The teacher cannot be loaded, or a file not be written.
    """
    missing = [number for number in numbers if not _file(folder, number).exists()]
    if not missing:
        return
    # A teacher that cannot be loaded is reported from here: in a worker's initializer the error would only
    # break the pool, and its cause would be lost.
    models.load_backbone(plan.teacher, weights=plan.weights)
    context = get_context("spawn")  # forked processes would share torch's threads, and hang
    with ProcessPoolExecutor(workers, context, _init_worker, (tuple(tracks), plan)) as pool:
        for number, failures in zip(missing, pool.map(partial(_write, folder), missing), strict=True):
            for failure in failures:
                say(f"left out {failure}")
            say(f"lessons {number + 1} of {numbers.stop}")


def load_shards(folder: Path, numbers: Sequence[int]) -> TeacherTargets:
    """Read files of lessons, joined.

    Raises
    ------
    DataError
        ``dataset_not_found``, ``dataset_invalid``.
    """
    parts = [_read(_file(folder, number)) for number in numbers]
    return TeacherTargets(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _file(folder: Path, number: int) -> Path:
    return folder / f"lessons-{number:05}.npz"


def _read(path: Path) -> TeacherTargets:
    try:
        with np.load(path, allow_pickle=False) as kept:
            return TeacherTargets(*(kept[name] for name in TeacherTargets._fields))
    except FileNotFoundError:
        raise DataError("dataset_not_found", f"{path}: no such lessons", "prepare them first") from None
    except (OSError, ValueError, KeyError, EOFError) as reason:
        raise DataError(
            "dataset_invalid", f"{path}: not a file of lessons: {reason}", "delete it and repeat the command"
        ) from None


def paired_features(
    tracks: Sequence[Track], plan: ShardSpec, *, excerpts: int = 128
) -> tuple[FloatArray, FloatArray]:
    """Return what student and teacher make of the same undistorted sound.

    Returns
    -------
    seen, heard : ndarray, shape (excerpts, mels, frames), float32
        The student's features, and the teacher's at the times of the student's frames.
    """
    school, generator = _ShardWriter(tuple(tracks), plan), np.random.default_rng([plan.seed, 0xEA7])
    spec, rate = plan.student, school.rate
    pairs = [school.pair(school.excerpt(generator, 0.0)) for _ in range(excerpts)]
    seen, heard = (np.stack(column) for column in zip(*pairs, strict=True))
    times = np.arange(seen.shape[2]) * spec.hop_length / spec.sample_rate
    assert school.teacher.info.spec is not None
    frames = np.rint(times * rate / school.teacher.info.spec.hop_length).astype(int)
    return seen, heard[:, :, np.minimum(frames, heard.shape[2] - 1)]


class _ShardWriter:
    """One process: recordings in memory, and a teacher."""

    def __init__(self, tracks: tuple[Track, ...], plan: ShardSpec) -> None:
        self.plan = plan
        self.teacher = models.load_backbone(plan.teacher, weights=plan.weights)
        self.rate = self.teacher.info.sample_rate
        self.tracks = tracks
        self.chances = _chances([track.label for track in tracks])
        self.failures: list[str] = []
        self._heard: dict[int, npt.NDArray[np.int16] | None] = {}

    def examples(self, number: int) -> TeacherTargets:
        generator = np.random.default_rng([self.plan.seed, number])
        rows = [self._example(generator) for _ in range(self.plan.examples)]
        pictures, seen = zip(*rows, strict=True)
        embeddings, logits = zip(*(self._teach(part) for part in _batches(seen, 16)), strict=True)
        return TeacherTargets(np.stack(pictures), np.concatenate(embeddings), np.concatenate(logits))

    def _example(self, generator: np.random.Generator) -> tuple[UInt8Array, FloatArray]:
        """Return what the student sees, and what the teacher hears, as its features."""
        samples = self.excerpt(generator, float(generator.choice(STRENGTHS)))
        if generator.random() < MIXED:
            other = self.excerpt(generator, float(generator.choice(STRENGTHS)))
            samples = augmentation.limit(augmentation.mix(samples, other, generator.uniform(-6, 6)))
        picture, heard = self.pair(samples)
        return encode_db(picture - picture.max()), heard

    def pair(self, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the features of the student and of the teacher, who hears the sound at one level."""
        spec = self.plan.student
        resampled = soxr.resample(samples, self.rate, spec.sample_rate, quality="HQ")
        picture = features.extract(resampled[None], spec.sample_rate, spec)[0]
        samples = augmentation.gain(samples, LOUDEST_DB - float(picture.max()))
        assert self.teacher.info.spec is not None  # samples would need no student
        return picture, features.extract(samples[None], self.rate, self.teacher.info.spec)[0]

    def excerpt(self, generator: np.random.Generator, strength: float) -> FloatArray:
        """Draw a recording, and from it an excerpt, distorted."""
        while True:
            recording = self._recording(int(generator.choice(len(self.tracks), p=self.chances)))
            excerpt = augmentation.apply_random_effects(
                recording, self.rate, generator, strength=strength, seconds=self.plan.seconds
            )
            if np.abs(excerpt).max() > 1e-3:  # a fade-out says nothing
                return excerpt

    def _recording(self, place: int) -> FloatArray:
        if place not in self._heard:
            self._heard[place] = self._load(place)
        kept = self._heard[place]
        if kept is not None:
            return kept.astype(np.float32) / np.float32(32768)
        self.chances[place] = 0
        if not self.chances.any():
            raise DataError("dataset_empty", "no track can be read", "check them: genrescope classify FOLDER")
        self.chances /= self.chances.sum()
        return self._recording(int(np.argmax(self.chances)))

    def _load(self, place: int) -> npt.NDArray[np.int16] | None:
        try:
            samples = audio.load_audio(self.tracks[place].path, sample_rate=self.rate).samples
        except AudioError as failure:
            self.failures.append(f"{self.tracks[place].id}: {failure.message}")
            return None
        return np.round(augmentation.limit(samples) * 32767).astype(np.int16)

    def _teach(self, seen: Sequence[FloatArray]) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]:
        import torch

        with torch.inference_mode():
            embeddings, logits = self.teacher(torch.from_numpy(np.stack(seen)))
        return embeddings.numpy().astype(np.float16), logits.numpy().astype(np.float16)


def _chances(labels: Sequence[str]) -> Float64Array:
    """Return how likely each track is heard: a genre as the square root of its count."""
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    chances = 1 / np.sqrt(counts[places])
    normalized: Float64Array = chances / chances.sum()
    return normalized


def _batches(rows: Sequence[FloatArray], size: int) -> Iterator[Sequence[FloatArray]]:
    return (rows[first : first + size] for first in range(0, len(rows), size))


_school: _ShardWriter | None = None


def _init_worker(tracks: tuple[Track, ...], plan: ShardSpec) -> None:
    """Open school in a fresh process."""
    import torch

    global _school
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(5)
    _school = _ShardWriter(tracks, plan)


def _write(folder: Path, number: int) -> list[str]:
    assert _school is not None  # _enter ran before
    stream = io.BytesIO()
    np.savez(stream, **_school.examples(number)._asdict())
    write_atomic(_file(folder, number), stream.getvalue())
    failures, _school.failures = _school.failures, []
    return failures
