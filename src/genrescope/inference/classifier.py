"""The main road: a file in, ranked genres and their course out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np

from genrescope import audio, features, models
from genrescope.errors import AudioError, ConfigError
from genrescope.inference import excerpts
from genrescope.models import Model, ModelOutput
from genrescope.types import Float64Array, FloatArray, Prediction, Segments, Timeline, label_scores

# How far before its stated end a file must still have sound to be taken for whole.
_END_SECONDS = 1.0
Source = str | PathLike[str] | bytes


class Classifier:
    """A model, ready to hear music.

    Examples
    --------
    >>> from genrescope import Classifier
    >>> answer = Classifier.load().predict("song.mp3")
    >>> answer.genre, answer.confidence
    """

    def __init__(self, model: Model, *, threshold: float | None = None) -> None:
        self.model = model
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError("invalid_argument", f"min_score = {threshold:g}", "give a score from 0 to 1")
        self.threshold = model.info.threshold if threshold is None else threshold

    @classmethod
    def load(
        cls,
        name: str | PathLike[str] = models.DEFAULT,
        *,
        threads: int = 1,
        threshold: float | None = None,
    ) -> Classifier:
        """Open a model by shipped name or path of a ``.onnx`` file.

        Parameters
        ----------
        min_score : float, optional
            Below which score an answer is unsure; None: the model's own choice, made on validation data.

        Raises
        ------
        ModelError
            ``model_not_found``, ``model_incompatible`` or ``model_corrupt``.
        ConfigError
            ``invalid_argument``: a score that is none.
        """
        return cls(models.load_model(os.fspath(name), threads=threads), threshold=threshold)

    @property
    def classes(self) -> tuple[str, ...]:
        """The genres this model knows."""
        return self.model.info.classes

    def predict(
        self,
        source: Source,
        *,
        timeline: bool = False,
        strict: bool = False,
        excerpts: bool = False,
        max_seconds: float | None = None,
    ) -> Prediction:
        """Rank the genres of one piece of music.

        Parameters
        ----------
        source : path or bytes
            Any audio file, or its content.
        timeline : bool
            Keep the scores of every segment in the answer.
        strict : bool
            Refuse truncated files instead of flagging them.
        excerpts : bool
            Hear some places of a long track, and more where they disagree, instead of all of it: several
            times faster. The answer is then flagged ``excerpts``.
        max_seconds : float, optional
            Refuse longer sound, as soon as so much of it was decoded: no header is believed.

        Returns
        -------
        Prediction
            Scores and styles are means over segments, each weighted by the seconds it stands for.

        Raises
        ------
        AudioError
            The file is missing, unreadable, shorter than 1 s, silent, has samples that are not finite, or is
            ``audio_too_long``.
        """
        # Whether a file is whole, or too long, only hearing all of it can tell.
        heard = self._predict_excerpts(source) if excerpts and not strict and max_seconds is None else None
        if heard is None:
            heard = self._predict_full(source, strict, max_seconds)
        info = self.model.info
        course = Timeline(
            classes=info.classes,
            starts=heard.starts,
            ends=np.minimum(heard.starts + info.segment_seconds, heard.seconds),
            scores=heard.answers.scores,
        )
        return Prediction(
            path="<bytes>" if isinstance(source, bytes) else os.fspath(source),
            scores=_ranked(info.classes, _weighted_mean(heard.answers.scores, heard.weights)),
            seconds=heard.seconds,
            model=self.model.name,
            styles=_ranked(info.styles, _weighted_mean(heard.answers.styles, heard.weights)),
            threshold=self.threshold,
            flags=heard.flags,
            timeline=course if timeline else None,
        )

    def timeline(self, source: Source, *, strict: bool = False) -> Timeline:
        """Return the scores of every segment of one piece of music; see ``classify``."""
        course = self.predict(source, timeline=True, strict=strict).timeline
        assert course is not None  # asked for one line above
        return course

    def _predict_full(self, source: Source, strict: bool, max_seconds: float | None) -> _ScoredSegments:
        """Hear all of it, block by block."""
        info = self.model.info
        starts, weights, answers = [], [], []
        with audio.open_stream(source, sample_rate=info.features.sample_rate, strict=strict) as stream:
            pieces = audio.split_stream(
                _bounded(stream, max_seconds),
                info.features.sample_rate,
                seconds=info.segment_seconds,
                hop_seconds=info.hop_seconds,
            )
            for batch in pieces:
                starts.append(batch.starts)
                weights.append(batch.weights)
                answers.append(self._predict_batch(batch))
        return _ScoredSegments(
            np.concatenate(starts),
            np.concatenate(weights),
            _concatenate(answers),
            stream.seconds,
            stream.flags,
        )

    def _predict_excerpts(self, source: Source) -> _ScoredSegments | None:
        """Hear excerpts; None where that would be no gain, or where only the whole can tell what is wrong."""
        length = self.model.info.segment_seconds
        with audio.AudioFile(source) as recording:
            seconds = recording.info.seconds or 0.0
            pieces = int(seconds / length)
            if pieces < excerpts.MIN_SEGMENTS or recording.truncated:
                return None
            heard: list[int] = []
            answers: list[ModelOutput] = []
            try:
                for places in excerpts.excerpt_batches(pieces):
                    batch = self._excerpts(recording, [place * length for place in places])
                    heard += places
                    answers.append(self._predict_batch(batch))
                    if excerpts.should_stop(_concatenate(answers).scores, pieces):
                        break
                recording.excerpt(start=seconds - _END_SECONDS, duration=_END_SECONDS / 2)
            except AudioError:
                return None
            if recording.truncated:
                return None
        order = np.argsort(heard)
        joined = _concatenate(answers)
        return _ScoredSegments(
            np.array(heard)[order] * length,
            np.ones(len(order)),
            ModelOutput(joined.scores[order], joined.styles[order]),
            seconds,
            ("excerpts",),
        )

    def _excerpts(self, recording: audio.AudioFile, starts: list[float]) -> Segments:
        info = self.model.info
        length, rate = info.segment_seconds, info.features.sample_rate
        size = round(length * rate)
        pieces = []
        for start in starts:
            samples = recording.excerpt(start=start, duration=length, sample_rate=rate).samples
            # A resampler may give a sample more or less than was asked for.
            pieces.append(samples[:size] if len(samples) >= size else np.resize(samples, size))
        return Segments(np.stack(pieces), rate, np.array(starts), np.full(len(starts), length))

    def _predict_batch(self, batch: Segments) -> ModelOutput:
        return self.model.predict(
            features.extract(batch.samples, batch.sample_rate, self.model.info.features)
        )


class _ScoredSegments(NamedTuple):
    """The pieces heard of a track: where, for how much they stand, what the model said."""

    starts: Float64Array
    weights: Float64Array
    answers: ModelOutput
    seconds: float
    flags: tuple[str, ...]


def _concatenate(answers: Sequence[ModelOutput]) -> ModelOutput:
    return ModelOutput(*(np.concatenate(part) for part in zip(*answers, strict=True)))


def _bounded(stream: audio.AudioStream, max_seconds: float | None) -> Iterator[FloatArray]:
    """Pass blocks on until they hold more seconds than allowed."""
    for block in stream:
        if max_seconds is not None and stream.seconds > max_seconds:
            raise AudioError(
                "audio_too_long",
                f"{stream.source}: longer than the {max_seconds:g} s that are allowed",
                "give a shorter piece of it, or allow more seconds",
            )
        yield block


def _weighted_mean(scores: FloatArray, weights: np.ndarray) -> FloatArray:
    mean: FloatArray = np.average(scores.astype(np.float64), axis=0, weights=weights).astype(np.float32)
    return mean


def _ranked(classes: tuple[str, ...], scores: FloatArray) -> dict[str, float]:
    order = np.argsort(-scores, kind="stable")
    return label_scores([classes[index] for index in order], scores[order])
