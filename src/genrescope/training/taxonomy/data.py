"""Labeled clips of many collections, and the outputs of student and teachers that heads are fitted on.

A collection is what leave-one-collection-out leaves out: recordings that one person or project put together,
with labels and sound of their own. A collection whose labels do not distinguish a genre says nothing about
it: a clip of GTZAN labeled "pop" may be electronic.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from genrescope import audio, datasets, features
from genrescope.datasets import load_index
from genrescope.errors import AudioError, DataError
from genrescope.features import SPECTROGRAM_LOG_MEL
from genrescope.labels import Taxonomy, matching_labels
from genrescope.models import TeacherOutputs, TwoTeacherStudent
from genrescope.training.distillation import targets
from genrescope.types import BoolArray, FloatArray, IntArray
from genrescope.utils import ListedPaths

SEGMENT_SECONDS = 10.0
# Heads are fitted on segments that overlap by half; a track is scored by every second one, end to end.
HOP_SECONDS = 5.0
# What is left at the end of a clip is a segment too, if it is longer than this share of a hop.
_LAST_HOP_SHARE = 1 / 3
_BATCH_SIZE = 64
# The columns of a CSV that name the file and the genre, the first that is there.
_PATH_COLUMNS, _GENRE_COLUMNS = ("path", "audio"), ("genre", "label")
_LOW_TRUST = "low"
logger = logging.getLogger(__name__)

Text = npt.NDArray[np.str_]


@dataclass(frozen=True)
class LabeledSource:
    """A labeled data set.

    Attributes
    ----------
    name : str
        Its tracks are one collection of this name, unless its column ``source`` names several.
    path : Path
        A CSV with the columns ``path`` (or ``audio``) and ``genre`` (or ``label``), and if known ``artist``,
        ``source`` and ``trust``; a folder that has one as ``tracks.csv``; or a data set as for
        `genrescope.datasets.load_dataset`. Clips of trust ``low`` are trained on, but are in no figure.
    genres : tuple of str or None
        Those that its labels distinguish. None: all of the taxonomy where the column ``source`` names
        collections, otherwise those that occur in it.
    """

    name: str
    path: Path
    genres: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Clip:
    """A labeled recording.

    Attributes
    ----------
    track : str
        Its id: in a CSV the column ``track``, or the path as it stands there.
    path : Path
    genre : str
        A scored genre of the taxonomy.
    source, collection : str
        Name of the data set, and of the collection in it.
    artist : str
        Without case, spaces and punctuation; empty where unknown.
    is_trusted : bool
        Whether it counts in figures and calibration.
    genres : frozenset of str
        Those that its collection distinguishes.
    """

    track: str
    path: Path
    genre: str
    source: str
    collection: str
    artist: str
    is_trusted: bool
    genres: frozenset[str]


def read_clips(sources: Sequence[LabeledSource], taxonomy: Taxonomy) -> list[Clip]:
    """Read the clips of labeled data sets, each content once.

    Of GTZAN only the training and validation parts of the fault-filtered split are read, so that its test
    part stays unseen.

    Parameters
    ----------
    sources : sequence of LabeledSource
    taxonomy : Taxonomy
        Whose scored genres the labels are turned into; any spelling that
        `genrescope.labels.matching_labels` knows.

    Raises
    ------
    DataError
        ``dataset_not_found``, ``dataset_invalid``: also for a label that is no genre of the taxonomy.
    """
    clips = [clip for source in sources for clip in _read_source(source, taxonomy)]
    missing = next((clip for clip in clips if not clip.path.is_file()), None)
    if missing is not None:
        raise DataError("dataset_not_found", f"{missing.path}: no such file", "check the paths in the list")
    copies = {
        place for same in datasets.find_duplicates([c.path for c in clips]) for place in sorted(same)[1:]
    }
    if copies:
        logger.info("left out %d clips with the content of another", len(copies))
    return [clip for place, clip in enumerate(clips) if place not in copies]


def scored_genre(label: str, taxonomy: Taxonomy) -> str:
    """Return the scored genre of the taxonomy that a label means.

    Parameters
    ----------
    label : str
        A genre or style, in any spelling.
    taxonomy : Taxonomy

    Raises
    ------
    DataError
        ``dataset_invalid``: it means none, or more than one.
    """
    scored = {genre.name: genre.scored_as for genre in taxonomy.genres}
    genre_of = {style.name: style.genre for style in taxonomy.styles}
    names = matching_labels(label)
    # "disco" is the genre disco_funk and a style: the genre says what is meant.
    found = {scored[name] for name in names if name in scored} or {
        scored[genre_of[name]] for name in names if name in genre_of
    }
    if len(found) != 1:
        raise DataError(
            "dataset_invalid",
            f"{label!r} is {'no genre' if not found else 'more than one genre'} of the taxonomy",
            f"use one of {', '.join(genre.name for genre in taxonomy.scored_genres)}",
        )
    return found.pop()


def normalize_artist(name: str) -> str:
    """Return the name of an artist without case, spaces, punctuation and a leading "the".

    Parameters
    ----------
    name : str
    """
    words = re.sub(r"^the ", "", name.casefold())
    return "".join(letter for letter in words if letter.isalnum())


@dataclass(frozen=True)
class _Row:
    """A row of a list; ``collection`` is empty where the list does not name any."""

    track: str
    path: Path
    label: str
    artist: str
    collection: str
    trust: str


def _read_source(source: LabeledSource, taxonomy: Taxonomy) -> list[Clip]:
    rows = [row for row in _rows(source.path) if not _is_held_out(row)]
    if not rows:
        raise DataError("dataset_empty", f"{source.path}: no clips there", "give a folder or a CSV of audio")
    labels = [scored_genre(row.label, taxonomy) for row in rows]
    everything = frozenset(genre.name for genre in taxonomy.scored_genres)
    stated = source.genres and frozenset(scored_genre(genre, taxonomy) for genre in source.genres)
    own = stated or frozenset(labels)
    for row, label in zip(rows, labels, strict=True):
        if stated and label not in stated:
            raise DataError(
                "dataset_invalid", f"{row.path}: {label!r} is not among the genres of {source.name}", "add it"
            )
    return [
        Clip(
            track=row.track,
            path=row.path,
            genre=label,
            source=source.name,
            collection=row.collection or source.name,
            artist=normalize_artist(row.artist),
            is_trusted=row.trust != _LOW_TRUST,
            genres=everything if row.collection and not stated else own,
        )
        for row, label in zip(rows, labels, strict=True)
    ]


def _rows(path: Path) -> Iterator[_Row]:
    listed = path / "tracks.csv" if path.is_dir() else path
    if listed.suffix.lower() == ".csv" and listed.is_file():
        yield from _csv_rows(listed)
        return
    for track in datasets.load_dataset(path, kind="audio").tracks:
        # A track without a known artist is a group of its own.
        yield _Row(track.id, track.path, track.label, "" if track.group == track.id else track.group, "", "")


def _csv_rows(path: Path) -> Iterator[_Row]:
    rows = datasets.read_rows(path, ())
    names = rows[0].values
    file, genre = (
        next((column for column in columns if column in names), None)
        for columns in (_PATH_COLUMNS, _GENRE_COLUMNS)
    )
    if file is None or genre is None:
        raise DataError(
            "dataset_invalid", f"{path}: no columns path and genre", "name the columns path and genre"
        )
    listed = ListedPaths(path.parent)
    for _, values in rows:
        if values[file]:  # lists of GTZAN have rows of tracks without audio
            yield _Row(
                values.get("track") or values[file],
                Path(listed.find(values[file])),
                values[genre],
                values.get("artist", ""),
                values.get("source", ""),
                values.get("trust", ""),
            )


def _is_held_out(row: _Row) -> bool:
    """Whether a clip has the name of a track of GTZAN that is not in training or validation."""
    index = load_index()
    name = index.canonical_id(row.path.stem)
    is_gtzan = name is not None and name.startswith(f"{row.label}.")
    return is_gtzan and index.fault_filtered.get(name or "") not in ("train", "validation")


@dataclass(frozen=True, eq=False)
class LabeledClips:
    """Labeled clips as arrays, and a student's outputs for their segments.

    Attributes
    ----------
    genres : tuple of str
        The scored genres.
    track, source, collection, artist : ndarray of str, shape (clips,)
        As of `Clip`.
    genre : ndarray of int, shape (clips,)
        Index into ``genres``.
    mask : ndarray of bool, shape (clips, genres)
        The genres that the clip's collection distinguishes.
    is_trusted : ndarray of bool, shape (clips,)
    outputs : TeacherOutputs
        Of all segments.
    clip : ndarray of int, shape (segments,)
        Index of each segment's clip.
    is_scored : ndarray of bool, shape (segments,)
        Whether the clip's scores are the mean over this segment among others.
    """

    genres: tuple[str, ...]
    track: Text
    source: Text
    collection: Text
    artist: Text
    genre: IntArray
    mask: BoolArray
    is_trusted: BoolArray
    outputs: TeacherOutputs
    clip: IntArray
    is_scored: BoolArray

    def __len__(self) -> int:
        return len(self.track)

    @classmethod
    def build(
        cls, clips: Sequence[Clip], genres: Sequence[str], outputs: TeacherOutputs, clip: IntArray
    ) -> LabeledClips:
        """Put clips and the outputs of their segments together.

        Parameters
        ----------
        clips : sequence of Clip
        genres : sequence of str
            The scored genres, in the order of the model's classes.
        outputs : TeacherOutputs
            Of segments `HOP_SECONDS` apart, in the order of ``clips``.
        clip : ndarray of int, shape (segments,)
            Index of each segment's clip.
        """
        first = np.r_[True, clip[1:] != clip[:-1]]
        places = np.arange(len(clip))
        position = places - np.maximum.accumulate(np.where(first, places, 0))
        return cls(
            tuple(genres),
            np.array([one.track for one in clips]),
            np.array([one.source for one in clips]),
            np.array([one.collection for one in clips]),
            np.array([one.artist for one in clips]),
            np.array([genres.index(one.genre) for one in clips]),
            np.array([[genre in one.genres for genre in genres] for one in clips]),
            np.array([one.is_trusted for one in clips]),
            outputs,
            clip,
            position % round(SEGMENT_SECONDS / HOP_SECONDS) == 0,
        )


@dataclass(frozen=True, eq=False)
class TargetWindows:
    """What shards of two teachers say of their excerpts, and the student's outputs for them.

    Attributes
    ----------
    student, teachers : TeacherOutputs
    track, source, kind, mixed_source : ndarray of str, shape (windows,)
        As of `genrescope.training.distillation.targets.TeacherTargets`.
    is_distorted : ndarray of bool, shape (windows,)
    """

    student: TeacherOutputs
    teachers: TeacherOutputs
    track: Text
    source: Text
    kind: Text
    mixed_source: Text
    is_distorted: BoolArray


def read_windows(folder: Path, student: TwoTeacherStudent, device: torch.device) -> TargetWindows:
    """Read all shards of a folder, and run the student on their spectrograms.

    Parameters
    ----------
    folder : Path
        Of shards with both teachers' outputs.
    student : TwoTeacherStudent
    device : torch.device
        That the student is run on.

    Raises
    ------
    DataError
        ``dataset_not_found``, ``dataset_invalid``: no shards, damaged ones, or such of one teacher.
    """
    outputs: list[TeacherOutputs] = []
    shards: list[targets.TeacherTargets] = []
    for number in targets.shard_numbers(folder):
        shard = targets.load_shards(folder, [number])
        if not len(shard.tags) or not len(shard.track):
            raise DataError(
                "dataset_invalid",
                f"{folder}: shard {number} has no outputs of musicnn",
                "build shards with: genrescope distill --teacher mn04 --teacher musicnn",
            )
        rows = np.arange(len(shard.track))
        outputs += [
            run_student(student, shard.log_mel(batch), device)
            for batch in np.array_split(rows, -(-len(rows) // _BATCH_SIZE))
        ]
        # The spectrograms of all shards would fill the memory.
        shards.append(shard._replace(spectrograms=shard.spectrograms[:0]))
        logger.info("student's outputs of shard %d", number)
    text = {
        name: np.concatenate([getattr(shard, name) for shard in shards])
        for name in ("track", "source", "kind", "mixed_source")
    }
    teachers = join_outputs(
        [
            TeacherOutputs(
                *(
                    torch.from_numpy(values.astype(np.float32))
                    for values in (shard.embeddings, shard.logits, shard.musicnn, shard.tags)
                )
            )
            for shard in shards
        ]
    )
    strength = np.concatenate([shard.strength for shard in shards])
    return TargetWindows(join_outputs(outputs), teachers, **text, is_distorted=strength > 0)


def compute_segments(
    paths: Sequence[Path], student: TwoTeacherStudent, device: torch.device
) -> tuple[TeacherOutputs, IntArray]:
    """Run a student on overlapping segments of audio files.

    Parameters
    ----------
    paths : sequence of Path
    student : TwoTeacherStudent
    device : torch.device
        That the student is run on.

    Returns
    -------
    outputs : TeacherOutputs
        Of all segments, in order.
    file : ndarray of int, shape (segments,)
        Index into ``paths``; a file that cannot be decoded has no segments, and is logged.

    Raises
    ------
    DataError
        ``dataset_empty``: no file can be decoded.
    """
    outputs: list[TeacherOutputs] = []
    files: list[IntArray] = []
    for index, path in enumerate(paths):
        try:
            log_mel = segment_features(path)
        except AudioError as failure:
            logger.info("left out %s: %s", path, failure.message)
            continue
        outputs += [
            run_student(student, log_mel[first : first + _BATCH_SIZE], device)
            for first in range(0, len(log_mel), _BATCH_SIZE)
        ]
        files.append(np.full(len(log_mel), index))
        if (index + 1) % 100 == 0:
            logger.info("student's outputs of %d of %d files", index + 1, len(paths))
    if not outputs:
        raise DataError("dataset_empty", "no file can be decoded", "check them: genrescope classify FOLDER")
    return join_outputs(outputs), np.concatenate(files)


def segment_features(path: Path) -> FloatArray:
    """Return the log-mel of a file's segments of 10 s, 5 s apart, shape (segments, 128, 242), in dB.

    A file that is shorter is repeated.

    Parameters
    ----------
    path : Path

    Raises
    ------
    AudioError
        It cannot be decoded.
    """
    spec = SPECTROGRAM_LOG_MEL
    samples = audio.load_audio(path, sample_rate=spec.sample_rate).samples
    length, hop = (round(seconds * spec.sample_rate) for seconds in (SEGMENT_SECONDS, HOP_SECONDS))
    if len(samples) < length:
        return features.extract(np.resize(samples, length)[None], spec.sample_rate, spec)
    starts = list(range(0, len(samples) - length + 1, hop))
    if len(samples) - length - starts[-1] > hop * _LAST_HOP_SHARE:
        starts.append(len(samples) - length)
    segments = np.stack([samples[start : start + length] for start in starts])
    return features.extract(segments, spec.sample_rate, spec)


@torch.inference_mode()
def run_student(student: TwoTeacherStudent, log_mel: FloatArray, device: torch.device) -> TeacherOutputs:
    """Return a student's outputs for segments, on the CPU.

    Parameters
    ----------
    student : TwoTeacherStudent
        On ``device``, in eval mode.
    log_mel : ndarray, shape (segments, 128, frames), float32
        In dB.
    device : torch.device
    """
    return TeacherOutputs(*(part.cpu() for part in student(torch.from_numpy(log_mel).to(device))))


def join_outputs(parts: Sequence[TeacherOutputs]) -> TeacherOutputs:
    """Join outputs, row after row.

    Parameters
    ----------
    parts : sequence of TeacherOutputs
    """
    return TeacherOutputs(*(torch.cat(column) for column in zip(*parts, strict=True)))


def take_rows(outputs: TeacherOutputs, rows: IntArray | BoolArray) -> TeacherOutputs:
    """Return some rows of outputs.

    Parameters
    ----------
    outputs : TeacherOutputs
    rows : ndarray
        Of indices, or whether to keep each row.
    """
    chosen = torch.from_numpy(rows)
    return TeacherOutputs(*(part[chosen] for part in outputs))


def average_outputs(outputs: TeacherOutputs, owner: IntArray, count: int) -> TeacherOutputs:
    """Average outputs over the segments of each clip: embeddings, and probabilities of classes.

    Parameters
    ----------
    outputs : TeacherOutputs
        Of segments.
    owner : ndarray of int, shape (segments,)
        Index of each segment's clip.
    count : int
        Number of clips; one without segments has rows of NaN.

    Returns
    -------
    TeacherOutputs
        Of clips; the logits are those of the mean probabilities.
    """
    index = torch.from_numpy(owner)
    sizes = torch.bincount(index, minlength=count)[:, None]

    def mean(values: torch.Tensor) -> torch.Tensor:
        return (
            torch.zeros(count, values.shape[1], dtype=torch.float64).index_add_(0, index, values.double())
            / sizes
        )

    def logits(values: torch.Tensor) -> torch.Tensor:
        return torch.logit(mean(values.sigmoid()), eps=1e-9).float()

    return TeacherOutputs(
        mean(outputs.embedding).float(),
        logits(outputs.logits),
        mean(outputs.musicnn).float(),
        logits(outputs.tags),
    )
