"""`LibraryEntry`: one file of a library with its answer, or with the error in place of one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import Any

from genrescope.errors import GenrescopeError
from genrescope.tagging import AlbumTags
from genrescope.types import FailedFile, Prediction, Timeline

# The order of the columns in files that other programs read: new ones are added, none is moved or renamed.
COLUMNS = (
    "path", "genre", "score", "unsure", "scores", "styles", "seconds", "format", "codec", "sample_rate",
    "channels", "size", "mtime_ns", "hash", "model_name", "model", "excerpts", "flags", "timeline", "error",
    "message", "hint", "scanned", "missing", "music", "not_music", "genre_set",
    "answer", "album", "album_artist", "artist", "title",
)  # fmt: skip
# A track of changing style can have hundreds of spans; this bounds what a row of the database takes.
MAX_SPANS = 50
# No track is as long, no rate as high: what is above is damage, and sums of it might not be finite.
_LARGEST = 1e10


@dataclass(frozen=True)
class TimelineSpan:
    """A stretch of a track in which one genre leads.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the track.
    genre : str
        The genre with the highest mean score between them.
    score : float
        That mean score, 0 to 1.
    """

    start: float
    end: float
    genre: str
    score: float


@dataclass(frozen=True, kw_only=True)
class LibraryEntry:
    """One file of a library: what the file is, and what a model answered about it.

    Attributes
    ----------
    path : str
        Absolute; bytes that are not UTF-8 are surrogate escapes, as `os.fsdecode` makes them.
    size, mtime_ns : int
        Bytes, and nanoseconds since 1970, of the file as it was analyzed.
    hash : str or None
        SHA-256 of its content; None where it could not be read.
    model, model_name : str
        SHA-256 of the model file, and the model's name.
    excerpts : bool
        Whether only excerpts of the track were analyzed.
    scanned : float
        When, in seconds since 1970.
    missing : bool
        Whether the file was no longer there at the last scan.
    format, codec : str or None
        Container and codec, as FFmpeg names them.
    sample_rate, channels : int or None
        Hz, and number of channels.
    seconds : float or None
        Length of the track.
    genre : str or None
        The genre with the highest score; None where there is an error.
    score : float or None
        Its score, 0 to 1.
    is_uncertain : bool
        Whether the genre is not to be relied on: its score is below the model's threshold, or the track is
        not music.
    music : float or None
        Probability that the track is music; None where the model does not tell.
    not_music : bool
        Whether that probability is below the model's threshold for music.
    answer : str or None
        The narrowest label that the model is sure of: a style, its genre, or None.
    genre_set : tuple of str
        The genres that the track may be of (`genrescope.types.Prediction.genre_set`).
    scores, styles : dict of str to float
        All genres by falling score; the styles of `genrescope.types.STYLE_THRESHOLD` or more.
    flags : tuple of str
        What is special about the audio or the answer: ``truncated``, ``excerpts`` and the like.
    timeline : tuple of TimelineSpan
        Which genre leads from when to when.
    album, album_artist, artist, title : str or None
        Of the file's tags; an empty text where it has none; None where they were not read.
    error, message, hint : str or None
        Code and text of the error, and what to do about it.
    """

    path: str
    size: int
    mtime_ns: int
    hash: str | None = None
    model: str
    model_name: str
    excerpts: bool = False
    scanned: float = field(default_factory=time.time)
    missing: bool = False
    format: str | None = None
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    seconds: float | None = None
    genre: str | None = None
    score: float | None = None
    is_uncertain: bool = False
    music: float | None = None
    not_music: bool = False
    answer: str | None = None
    genre_set: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    styles: dict[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    timeline: tuple[TimelineSpan, ...] = ()
    album: str | None = None
    album_artist: str | None = None
    artist: str | None = None
    title: str | None = None
    error: str | None = None
    message: str | None = None
    hint: str | None = None

    @property
    def is_music(self) -> bool:
        """Whether the track is music; True where the model does not tell."""
        return not self.not_music

    @property
    def failure(self) -> FailedFile | None:
        """The error, where there is one in place of an answer."""
        if self.error is None:
            return None
        return FailedFile(self.path, self.error, self.message or "", self.hint or "")

    @classmethod
    def from_prediction(
        cls,
        prediction: Prediction,
        *,
        size: int,
        mtime_ns: int,
        hash: str | None,
        model: str,
    ) -> LibraryEntry:
        """Build the entry of a file that a model answered about.

        Parameters
        ----------
        prediction : Prediction
            Its timeline, where it has one, is summarized.
        size, mtime_ns : int
            Of the file, in bytes and nanoseconds.
        hash : str or None
            SHA-256 of the file's content.
        model : str
            SHA-256 of the model file.
        """
        info = prediction.audio
        assert info is not None  # the prediction of a file has it
        return cls(
            path=prediction.path,
            size=size,
            mtime_ns=mtime_ns,
            hash=hash,
            model=model,
            model_name=prediction.model,
            excerpts="excerpts" in prediction.flags,
            format=info.format,
            codec=info.codec,
            sample_rate=info.sample_rate,
            channels=info.channels,
            seconds=round(prediction.seconds, 3),
            genre=prediction.genre,
            score=prediction.confidence,
            is_uncertain=prediction.is_uncertain,
            music=prediction.music,
            not_music=not prediction.is_music,
            answer=prediction.answer,
            genre_set=prediction.genre_set,
            scores=prediction.scores,
            styles=prediction.probable_styles,
            flags=prediction.flags,
            timeline=() if prediction.timeline is None else summarize_timeline(prediction.timeline),
        )

    @classmethod
    def from_error(
        cls,
        failure: GenrescopeError,
        path: str,
        *,
        size: int,
        mtime_ns: int,
        hash: str | None,
        model: str,
        model_name: str,
    ) -> LibraryEntry:
        """Build the entry of a file that could not be analyzed.

        Parameters
        ----------
        failure : GenrescopeError
            Why not.
        path : str
            Of the file.
        size, mtime_ns : int
            Of the file, in bytes and nanoseconds.
        hash : str or None
            SHA-256 of the file's content, if it could be read.
        model, model_name : str
            SHA-256 and name of the model that was to answer.
        """
        return cls(
            path=path,
            size=size,
            mtime_ns=mtime_ns,
            hash=hash,
            model=model,
            model_name=model_name,
            error=failure.code,
            message=failure.message,
            hint=failure.hint,
        )

    def with_album_tags(self, tags: AlbumTags | None) -> LibraryEntry:
        """Return the entry with tags of album, artists and title.

        Parameters
        ----------
        tags : AlbumTags or None
            None: they were not read.
        """
        if tags is None:
            return self
        return replace(self, **tags._asdict())

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> LibraryEntry:
        """Build an entry from what `to_columns` returns, or from a row of the database with its JSON parsed.

        Parameters
        ----------
        columns : mapping
            Values by name of column; further columns are ignored.
        """
        values = {name: columns[column] for name, column in _COLUMN_OF_FIELD}
        for name in ("excerpts", "missing", "is_uncertain", "not_music"):
            values[name] = bool(values[name])
        for name in ("scores", "styles"):
            values[name] = values[name] or {}
        for name in ("flags", "genre_set"):
            values[name] = tuple(values[name] or ())
        values["timeline"] = tuple(TimelineSpan(**span) for span in values["timeline"] or ())
        return cls(**values)

    def to_columns(self) -> dict[str, Any]:
        """Return all values by name of column, JSON-ready; an answer's columns are None beside an error."""
        values = {column: getattr(self, name) for name, column in _COLUMN_OF_FIELD}
        values |= {"flags": list(self.flags), "genre_set": list(self.genre_set)}
        values["timeline"] = [asdict(span) for span in self.timeline]
        if self.error is not None:
            values |= dict.fromkeys(_ANSWER_COLUMNS)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as the JSON-ready row that ``classify --format jsonl`` prints."""
        if self.failure is not None:
            return self.failure.to_dict()
        return {
            "path": self.path,
            "genre": self.genre,
            "score": self.score,
            "answer": self.answer,
            "unsure": self.is_uncertain,
            "music": self.music,
            "not_music": self.not_music,
            "set": list(self.genre_set),
            "scores": self.scores,
            "styles": self.styles,
            "seconds": self.seconds,
            "model": self.model_name,
            "flags": list(self.flags),
        }


_FIELDS = tuple(one.name for one in fields(LibraryEntry))
# The column, like the key in JSON rows, has kept the name that version 0.1 gave it.
_COLUMN = {"is_uncertain": "unsure"}
_COLUMN_OF_FIELD = tuple((name, _COLUMN.get(name, name)) for name in _FIELDS)
# What stands beside an answer only, and is neither text nor a number of the file itself.
_ANSWER_COLUMNS = ("unsure", "music", "not_music", "genre_set", "scores", "styles", "flags", "timeline")


def check_values(entry: LibraryEntry) -> None:
    """Check what a model or a database put into an entry; no reader of entries has to expect anything else.

    Parameters
    ----------
    entry : LibraryEntry
        What is checked.

    Raises
    ------
    ValueError
        A score that is not finite or not within 0 to 1, an answer without a genre, a negative length.
    TypeError
        A value of another type.
    """
    for name in ("path", "message", "hint"):  # which need not be UTF-8
        value = getattr(entry, name)
        if not isinstance(value, str) and (name == "path" or value is not None):
            raise TypeError(f"{name} is {value!r}")
    for name in ("model", "model_name"):
        _check_text(name, getattr(entry, name))
    for name in ("hash", "format", "codec", "error", "genre", "album", "album_artist", "artist", "title"):
        if getattr(entry, name) is not None:
            _check_text(name, getattr(entry, name))
    for name in ("size", "mtime_ns", "scanned"):
        _check_finite(name, getattr(entry, name))
    for name in ("sample_rate", "channels", "seconds"):
        _check_quantity(name, getattr(entry, name))
    if entry.error is None:
        _check_answer(entry)
    elif not entry.error or entry.genre is not None or entry.score is not None:
        raise ValueError("it has an error without a code, or an answer besides the error")


def _check_answer(entry: LibraryEntry) -> None:
    if entry.genre is None or entry.score is None:
        raise ValueError("it has neither an answer nor an error")
    _check_score(entry.genre, entry.score)
    for scores in (entry.scores, entry.styles):
        for name, score in scores.items():
            _check_score(name, score)
    if entry.music is not None and not 0 <= entry.music <= 1:
        raise ValueError(f"the probability of music is {entry.music}")
    for genre in entry.genre_set:
        _check_label(genre)
    for span in entry.timeline:
        _check_score(span.genre, span.score)
        if not 0 <= span.start <= span.end < math.inf:
            raise ValueError(f"a span of the timeline lies between {span.start} and {span.end} s")
    for flag in entry.flags:
        _check_text("a flag", flag)


def _check_score(name: str, score: float) -> None:
    _check_label(name)
    if not 0 <= score <= 1:  # true for NaN, a TypeError for what is no number
        raise ValueError(f"the score of {name} is {score}")


# A library of a million files has some hundred labels, each of them in many rows.
@lru_cache(1 << 12)
def _check_label(name: str) -> None:
    _check_text("a genre", name)


def _check_quantity(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value < _LARGEST:  # false for NaN, a TypeError for what is no number
        raise ValueError(f"{name} is {value}")


def _check_finite(name: str, value: float) -> None:
    if not math.isfinite(value):  # a TypeError for what is no number
        raise ValueError(f"{name} is {value}")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}")
    value.encode("utf8")  # raises a ValueError where it could not be printed


def summarize_timeline(timeline: Timeline) -> tuple[TimelineSpan, ...]:
    """Return which genre leads from when to when, and its mean score there.

    Parameters
    ----------
    timeline : Timeline
        Of more than `MAX_SPANS` spans, the shortest are joined to their neighbors.
    """
    return tuple(
        TimelineSpan(round(span.start, 3), round(span.end, 3), span.genre, round(span.score, 6))
        for span in timeline.leading_spans(MAX_SPANS)
    )
