"""The main road: a file in, ranked genres and their course out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from os import PathLike

import numpy as np

from genrescope import audio, features, models, segments
from genrescope.errors import AudioError, ConfigError
from genrescope.models import Answers, Model
from genrescope.records import Floats, Prediction, Segments, Timeline, rounded

Source = str | PathLike[str] | bytes


class Classifier:
    """A model, ready to hear music.

    Examples
    --------
    >>> from genrescope import Classifier
    >>> answer = Classifier.load().classify("song.mp3")
    >>> answer.genre, answer.score
    """

    def __init__(self, model: Model, *, min_score: float | None = None) -> None:
        self.model = model
        if min_score is not None and not 0 <= min_score <= 1:
            raise ConfigError("bad_use", f"min_score = {min_score:g}", "give a score from 0 to 1")
        self.min_score = model.info.min_score if min_score is None else min_score

    @classmethod
    def load(
        cls,
        name: str | PathLike[str] = models.DEFAULT,
        *,
        threads: int = 1,
        min_score: float | None = None,
    ) -> Classifier:
        """Open a model by shipped name or path of a ``.onnx`` file.

        Parameters
        ----------
        min_score : float, optional
            Below which score an answer is unsure; None: the model's own choice, made on validation data.

        Raises
        ------
        ModelError
            ``model_missing``, ``model_foreign`` or ``model_damaged``.
        ConfigError
            ``bad_use``: a score that is none.
        """
        return cls(models.load(os.fspath(name), threads=threads), min_score=min_score)

    @property
    def classes(self) -> tuple[str, ...]:
        """The genres this model knows."""
        return self.model.info.classes

    def classify(
        self,
        source: Source,
        *,
        timeline: bool = False,
        strict: bool = False,
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
        info = self.model.info
        starts, weights, answers = [], [], []
        with audio.open_stream(source, sample_rate=info.features.sample_rate, strict=strict) as stream:
            for batch in self._segments(_bounded(stream, max_seconds)):
                starts.append(batch.starts)
                weights.append(batch.weights)
                answers.append(self._answer(batch))
        shares = np.concatenate(weights)
        scores, styles = (np.concatenate(part) for part in zip(*answers, strict=True))
        course = Timeline(
            classes=info.classes,
            starts=np.concatenate(starts),
            ends=np.minimum(np.concatenate(starts) + info.segment_seconds, stream.seconds),
            scores=scores,
        )
        return Prediction(
            path="<bytes>" if isinstance(source, bytes) else os.fspath(source),
            scores=_ranked(info.classes, _weighted_mean(scores, shares)),
            seconds=stream.seconds,
            model=self.model.name,
            styles=_ranked(info.styles, _weighted_mean(styles, shares)),
            min_score=self.min_score,
            flags=stream.flags,
            timeline=course if timeline else None,
        )

    def timeline(self, source: Source, *, strict: bool = False) -> Timeline:
        """Return the scores of every segment of one piece of music; see ``classify``."""
        course = self.classify(source, timeline=True, strict=strict).timeline
        assert course is not None  # asked for one line above
        return course

    def _segments(self, blocks: Iterable[Floats]) -> Iterator[Segments]:
        info = self.model.info
        return segments.stream(
            blocks, info.features.sample_rate, seconds=info.segment_seconds, hop_seconds=info.hop_seconds
        )

    def _answer(self, batch: Segments) -> Answers:
        return self.model.answer(features.compute(batch.samples, batch.sample_rate, self.model.info.features))


def _bounded(stream: audio.Stream, max_seconds: float | None) -> Iterator[Floats]:
    """Pass blocks on until they hold more seconds than allowed."""
    for block in stream:
        if max_seconds is not None and stream.seconds > max_seconds:
            raise AudioError(
                "audio_too_long",
                f"{stream.source}: longer than the {max_seconds:g} s that are allowed",
                "give a shorter piece of it, or allow more seconds",
            )
        yield block


def _weighted_mean(scores: Floats, weights: np.ndarray) -> Floats:
    mean: Floats = np.average(scores.astype(np.float64), axis=0, weights=weights).astype(np.float32)
    return mean


def _ranked(classes: tuple[str, ...], scores: Floats) -> dict[str, float]:
    order = np.argsort(-scores, kind="stable")
    return rounded([classes[index] for index in order], scores[order])
