"""Types that several packages share: arrays, and frozen data classes that need no library but NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

# The probability from which on a style is part of a row.
STYLE_THRESHOLD = 0.1

# What is shown in place of a genre for speech, noise, tones and effects.
NOT_MUSIC = "not music"

TrackKind = Literal["audio", "spectrogram", "table"]
# Whether a track has exactly one genre, or any number of them.
TaskKind = Literal["single-label", "multi-label"]
# The probability from which on a genre counts as a label of a track, where no threshold was chosen.
LABEL_THRESHOLD = 0.5

# What is looked for in folders. A file that is named itself is opened whatever its name is: FFmpeg recognizes
# formats by content.
# fmt: off
AUDIO_SUFFIXES = frozenset({
    ".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff",
    ".aifc", ".au", ".snd", ".caf", ".m4a", ".m4b", ".mp4", ".aac", ".wma", ".webm", ".mka", ".ac3", ".wv",
    ".ape", ".tta", ".mpc", ".dsf",
})
# fmt: on


@dataclass(frozen=True)
class Track:
    """One recording of a data set.

    Attributes
    ----------
    id : str
        Unique in its data set, such as ``blues.00000``.
    path : Path
        The audio file, the spectrogram (picture or array), or the table that the row stands in.
    label : str
        The genre; where a track has several, or shares of several, the first of those with the largest share.
    group : str
        Artist, or the recording itself where the artist is unknown; a grouped split never divides a group.
    kind : {"audio", "spectrogram", "table"}
        What ``path`` leads to.
    """

    id: str
    path: Path
    label: str
    group: str
    kind: TrackKind = "audio"


@dataclass(frozen=True)
class Audio:
    """Decoded audio.

    Attributes
    ----------
    samples : ndarray, shape (n,), float32
        Mono.
    sample_rate : int
        In Hz.
    source : str
        The path, ``<bytes>``, or empty for samples that come from no file.
    flags : tuple of str
        ``truncated``, where the file holds less than it declares; ``header_mismatch``, where it holds more;
        ``spikes_removed``, where single samples of an impossible level were set to zero;
        ``channels_cancel``, where not all channels were averaged.
    """

    samples: FloatArray
    sample_rate: int
    source: str = ""
    flags: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class AudioSection:
    """A part of an audio file that counts as a track of its own, such as a track of a cue sheet.

    Attributes
    ----------
    path : Path
        The audio file.
    start : float
        Where the track begins, in seconds.
    end : float or None
        Where it ends, in seconds; None: with the file.
    name : str
        What it is called in results, such as ``album.cue#03``; empty: like the file.
    title : str
        Of the track, where it has one.
    """

    path: Path
    start: float = 0.0
    end: float | None = None
    name: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start < (math.inf if self.end is None else self.end):
            raise ValueError(f"a section from {self.start} to {self.end} s")


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about itself.

    Attributes
    ----------
    format, codec : str
        Container and coding, such as ``wav`` and ``pcm_16``, in the words of the library that decodes it.
    sample_rate : int
        In Hz.
    channels : int
    seconds : float or None
        Length; None where only decoding the whole file could tell.
    """

    format: str
    codec: str
    sample_rate: int
    channels: int
    seconds: float | None


@dataclass(frozen=True)
class Segments:
    """Segments of a clip, all of one length.

    Attributes
    ----------
    samples : ndarray, shape (segments, n), float32
    sample_rate : int
        In Hz.
    starts : ndarray, shape (segments,), seconds
        Where each segment begins in its clip.
    weights : ndarray, shape (segments,), seconds
        How much of the clip each segment adds to those before it; they sum to the clip's length.
    """

    samples: FloatArray
    sample_rate: int
    starts: Float64Array
    weights: Float64Array

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class LeadingSpan:
    """A stretch of a track over which one genre has the highest score.

    Attributes
    ----------
    genre : str
    start, end : float
        In seconds.
    score : float
        Mean score of the genre over the segments of the span.
    peak : float
        Its highest score in one of them.
    """

    genre: str
    start: float
    end: float
    score: float
    peak: float


@dataclass(frozen=True)
class Timeline:
    """The scores of the genres over the course of a track.

    Attributes
    ----------
    classes : tuple of str
        The genres.
    starts, ends : ndarray, shape (segments,), seconds
        Where each segment begins and ends. Where segments were left out since the genre was clear, the one
        before them reaches to the end of the last of them.
    scores : ndarray, shape (segments, classes), float32
    """

    classes: tuple[str, ...]
    starts: Float64Array
    ends: Float64Array
    scores: FloatArray

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one JSON-ready row per segment: ``start``, ``end``, and ``scores`` by genre."""
        return [
            {
                "start": round(float(start), 3),
                "end": round(float(end), 3),
                "scores": label_scores(self.classes, scores),
            }
            for start, end, scores in zip(self.starts, self.ends, self.scores, strict=True)
        ]

    def leading_spans(self, max_spans: int | None = None, *, overlapping: bool = True) -> list[LeadingSpan]:
        """Return which genre leads from when to when: runs of segments with the same highest score.

        Parameters
        ----------
        max_spans : int, optional
            The most spans to return, at least 1: while there are more, the one with the fewest segments joins
            the span before it, and the genre with the highest mean score leads it then. None: no limit.
        overlapping : bool
            Where segments overlap, a span ends with its last segment, after the next span begins. False: it
            ends where the next span begins, as a text about the track states it.

        Returns
        -------
        list of LeadingSpan
            In order of time; where two genres have the same score, the first of ``classes`` leads.
        """
        # argmax takes the first of equal scores, so the order of the classes decides ties, everywhere alike.
        leaders = self.scores.argmax(axis=1).tolist()
        spans = [list(run) for _, run in groupby(range(len(leaders)), key=leaders.__getitem__)]
        while max_spans is not None and len(spans) > max(1, max_spans):
            shortest = min(range(len(spans)), key=lambda place: (len(spans[place]), place))
            # The first span has none before it, and joins the second.
            first = max(0, shortest - 1)
            spans[first : first + 2] = [spans[first] + spans[first + 1]]
        found = [self._span(segments) for segments in spans]
        if overlapping:
            return found
        return [replace(one, end=after.start) for one, after in pairwise(found)] + found[-1:]

    def _span(self, segments: Sequence[int]) -> LeadingSpan:
        scores = self.scores[segments]
        mean = scores.mean(axis=0)
        leader = int(mean.argmax())
        return LeadingSpan(
            genre=self.classes[leader],
            start=float(self.starts[segments[0]]),
            end=float(self.ends[segments[-1]]),
            score=float(mean[leader]),
            peak=float(scores[:, leader].max()),
        )


@dataclass(frozen=True)
class Prediction:
    """The result for one track: genres by falling score, styles by falling probability.

    Attributes
    ----------
    path : str
        The file, or ``<bytes>``.
    scores : dict of str to float
        By genre, at least one; they sum to one, but for multi-label models, see ``labels``.
    seconds : float
        Length of the track.
    model : str
        Name of the model.
    styles : dict of str to float
        Probabilities by style; they do not exclude each other, and there may be none.
    threshold : float or None
        The score below which the genre is uncertain; None: it is never called uncertain.
    flags : tuple of str
        What is to be known of the result: ``excerpts``, and the flags of `Audio`.
    timeline : Timeline or None
        The scores of every segment, where they were asked for.
    audio : AudioInfo or None
        What the file says about itself.
    style : str or None
        The style below the genre that the model is sure of, if there is one.
    music : float or None
        Probability that the track is music, against speech, noise, tones and effects; None where the model
        does not tell.
    music_threshold : float or None
        The probability below which the track is not music.
    set_level : float or None
        The sum of scores that `genre_set` reaches; None: the model gives no sets.
    embedding : ndarray, shape (size,), float32, or None
        Of the track, where it was asked for.
    fingerprint : bytes or None
        That of `genrescope.features.SegmentFingerprint`, packed, where it was asked for.
    labels : tuple of str or None
        Of a multi-label model, the genres whose probability reaches their threshold, by falling probability;
        None: of a single-label model.
    title : str or None
        Of a track of a cue sheet, where it has one.

    Raises
    ------
    ValueError
        There are no scores.
    """

    path: str
    scores: dict[str, float]
    seconds: float
    model: str
    styles: dict[str, float] = field(default_factory=dict)
    threshold: float | None = None
    flags: tuple[str, ...] = ()
    timeline: Timeline | None = field(default=None, repr=False, compare=False)
    audio: AudioInfo | None = field(default=None, repr=False, compare=False)
    style: str | None = None
    music: float | None = None
    music_threshold: float | None = None
    set_level: float | None = None
    embedding: FloatArray | None = field(default=None, repr=False, compare=False)
    fingerprint: bytes | None = field(default=None, repr=False, compare=False)
    labels: tuple[str, ...] | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        if not self.scores:
            raise ValueError(f"a prediction for {self.path!r} without scores")

    @property
    def genre(self) -> str:
        """The genre with the highest score."""
        return next(iter(self.scores))

    @property
    def confidence(self) -> float:
        """The highest score."""
        return next(iter(self.scores.values()))

    @property
    def is_uncertain(self) -> bool:
        """Whether the genre is not to be relied on: its score is too low, or the track is not music.

        Of a multi-label model: no genre reaches its threshold.
        """
        if self.labels is not None:
            return not self.labels or not self.is_music
        return not self.is_music or (self.threshold is not None and self.confidence < self.threshold)

    @property
    def answer(self) -> str | None:
        """The narrowest label that the model is sure of: a style, its genre, or None where it is unsure.

        Of a multi-label model: the first of its ``labels``.
        """
        if self.is_uncertain:
            return None
        return self.labels[0] if self.labels else self.style or self.genre

    @property
    def is_music(self) -> bool:
        """Whether the track is music; True where the model does not tell."""
        return self.music is None or self.music_threshold is None or self.music >= self.music_threshold

    @property
    def genre_set(self) -> tuple[str, ...]:
        """The genres that the track may be of, by falling score.

        Split conformal prediction chose how far the set goes, so that it holds the right genre for nine of
        ten tracks of a collection that the model does not know (Angelopoulos and Bates, arXiv 2107.07511).
        One genre where it is sure; none where the track is not music or the model gives no sets. Of a
        multi-label model: its ``labels``.
        """
        if self.labels is not None:
            return self.labels if self.is_music else ()
        if self.set_level is None or not self.is_music:
            return ()
        if self.threshold is not None and not self.is_uncertain:
            return (self.genre,)
        # Of every genre, the sum of the scores of those before it; the last sum, of all, is before none.
        before = accumulate(self.scores.values(), initial=0.0)
        return tuple(
            genre
            for genre, sum_before in zip(self.scores, before, strict=False)
            if sum_before < self.set_level
        )

    @property
    def probable_styles(self) -> dict[str, float]:
        """The styles with a probability of at least `STYLE_THRESHOLD`, which rows and reports list."""
        return {name: chance for name, chance in self.styles.items() if chance >= STYLE_THRESHOLD}

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a JSON-ready row, as ``classify --format jsonl`` prints it.

        Of the styles it has the `probable_styles`; a track of a cue sheet has its ``title``, too.
        """
        row: dict[str, Any] = {
            "path": self.path,
            "genre": self.genre,
            "score": self.confidence,
            "answer": self.answer,
            "unsure": self.is_uncertain,
            "music": self.music,
            "not_music": not self.is_music,
            "set": list(self.genre_set),
            "scores": self.scores,
            "styles": self.probable_styles,
            "seconds": round(self.seconds, 3),
            "model": self.model,
            "flags": list(self.flags),
        }
        if self.title is not None:
            row["title"] = self.title
        if self.timeline is not None:
            row["timeline"] = self.timeline.to_dicts()
        return row


@dataclass(frozen=True)
class FailedFile:
    """A file without a result: the error that stands in its place among the results of many files.

    Attributes
    ----------
    path : str
        The file.
    code : str
        Code of the error, a key of `genrescope.errors.OUTCOMES`.
    message : str
        What happened.
    hint : str
        What to do next.
    """

    path: str
    code: str
    message: str
    hint: str

    def to_dict(self) -> dict[str, Any]:
        """Return the error as a JSON-ready row, as ``classify --format jsonl`` prints it."""
        return {
            "path": self.path,
            "error": {"code": self.code, "message": self.message, "hint": self.hint},
        }


def label_scores(classes: Sequence[str], scores: FloatArray) -> dict[str, float]:
    """Return scores by class, rounded to six decimals.

    Parameters
    ----------
    classes : sequence of str
        Names, in the order of ``scores``.
    scores : ndarray, shape (classes,), float32
    """
    return {name: round(float(score), 6) for name, score in zip(classes, scores, strict=True)}
