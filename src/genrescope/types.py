"""The nouns that travel between rooms: frozen, typed, and free of behavior that needs a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

STYLE_THRESHOLD = 0.1

TrackKind = Literal["audio", "spectrogram", "table"]

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
        The genre.
    group : str
        Artist, or the recording itself where the artist is unknown: never divided by an honest split.
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
    """Decoded audio: ``samples`` float32 mono, shape (n,), at ``sample_rate`` Hz.

    ``flags`` names what is odd about it: ``truncated``, ``clipped``.
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
class Segments:
    """Pieces of a clip, all of one length.

    Attributes
    ----------
    samples : ndarray, shape (segments, n), float32
    sample_rate : int
        In Hz.
    starts : ndarray, shape (segments,), seconds
        Where each piece begins in its clip.
    weights : ndarray, shape (segments,), seconds
        How much of the clip each piece adds to those before it; they sum to the clip's length.
    """

    samples: FloatArray
    sample_rate: int
    starts: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Timeline:
    """The course of the genres over a track.

    ``starts`` and ``ends`` in seconds, shape (segments,); ``scores``, shape (segments, classes).
    """

    classes: tuple[str, ...]
    starts: npt.NDArray[np.float64]
    ends: npt.NDArray[np.float64]
    scores: FloatArray

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one JSON-ready row per segment."""
        return [
            {
                "start": round(float(start), 3),
                "end": round(float(end), 3),
                "scores": label_scores(self.classes, scores),
            }
            for start, end, scores in zip(self.starts, self.ends, self.scores, strict=True)
        ]


@dataclass(frozen=True)
class Prediction:
    """The answer for one track: genres by falling score, styles by falling probability.

    ``scores`` sum to one; ``styles`` do not exclude each other, and may be empty. ``min_score`` is the score
    below which the genre is doubtful; None: no doubt is spoken of.
    """

    path: str
    scores: dict[str, float]
    seconds: float
    model: str
    styles: dict[str, float] = field(default_factory=dict)
    threshold: float | None = None
    flags: tuple[str, ...] = ()
    timeline: Timeline | None = field(default=None, repr=False, compare=False)

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
        """Whether the highest score is too low to be relied on."""
        return self.threshold is not None and self.confidence < self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as a JSON-ready row, as ``classify --format jsonl`` prints it.

        Of the styles it has those of `LIKELY_STYLE` or more.
        """
        row: dict[str, Any] = {
            "path": self.path,
            "genre": self.genre,
            "score": self.confidence,
            "unsure": self.is_uncertain,
            "scores": self.scores,
            "styles": {name: chance for name, chance in self.styles.items() if chance >= STYLE_THRESHOLD},
            "seconds": round(self.seconds, 3),
            "model": self.model,
            "flags": list(self.flags),
        }
        if self.timeline is not None:
            row["timeline"] = self.timeline.to_dicts()
        return row


def label_scores(classes: Sequence[str], scores: FloatArray) -> dict[str, float]:
    """Pair ``classes`` with ``scores``, to six decimals."""
    return {name: round(float(score), 6) for name, score in zip(classes, scores, strict=True)}
