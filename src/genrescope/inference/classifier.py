"""The one way from a file to a result: decode, segment, extract features, predict, take the weighted mean."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genrescope import audio, features, labels, models
from genrescope.errors import AudioError, ConfigError, DeviceError, GenrescopeError, ModelError
from genrescope.features import FINGERPRINT_SPEC, SegmentFingerprint
from genrescope.inference import excerpts
from genrescope.inference.batching import BatchedModel, SegmentScorer
from genrescope.inference.ordered import map_ordered
from genrescope.models import Model, ModelOutput
from genrescope.types import (
    LABEL_THRESHOLD,
    Audio,
    AudioSection,
    FailedFile,
    Float64Array,
    FloatArray,
    Prediction,
    Segments,
    Timeline,
    label_scores,
)

# How far before its stated end a file must still have sound to be taken for whole.
_END_SECONDS = 1.0
# The weight of a segment that is surely no music: all of a track may be so.
_LEAST_MUSIC = 1e-3
# By how much the stated length of a file may be too short.
_ROUNDING_SECONDS = 0.5


class Classifier:
    """A model, ready to classify audio.

    Any number of threads may use one object at the same time: nothing in it changes after it was made, and
    each call opens its file and decoders itself. For asyncio programs see `AsyncClassifier`.

    Parameters
    ----------
    model : Model
        As `genrescope.models.load_model` returns it; `from_pretrained` opens one by name.
    threshold : float, optional
        The score, from 0 to 1, below which a result is uncertain, or, of a multi-label model, a genre is no
        label; None: the model's own.
    every_segment : bool
        Whether every segment of a long track is scored. Otherwise, from 40 s on, only every fourth is while
        the genre is clear, and a row of the timeline reaches to the start of the next one: a fifth faster.
    scorer : SegmentScorer, optional
        Scores segments in place of the model, such as a `BatchedModel` that several classifiers share.
        None: the model itself, and where that is on a GPU, a `BatchedModel` of it.

    Raises
    ------
    ConfigError
        ``invalid_argument``: a threshold that is no score.
    ModelError, MissingDependencyError
        A model with a feature function of its own, which is not allowed or not here, see
        `genrescope.features.register_feature`.

    Examples
    --------
    >>> from genrescope import Classifier
    >>> prediction = Classifier.from_pretrained().predict("song.mp3")
    >>> prediction.genre, prediction.confidence
    """

    def __init__(
        self,
        model: Model,
        *,
        threshold: float | None = None,
        every_segment: bool = False,
        scorer: SegmentScorer | None = None,
    ) -> None:
        features.check_custom(model.info.features)
        self.model = model
        self._scorer = scorer or (BatchedModel(model) if model.device != "cpu" else None)
        self._every_segment = every_segment
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError("invalid_argument", f"threshold = {threshold:g}", "give a score from 0 to 1")
        self.threshold = model.info.threshold if threshold is None else threshold
        if self.threshold is None and self._is_multilabel:
            self.threshold = LABEL_THRESHOLD
        # A threshold that was asked for is that of every genre.
        self._genre_thresholds = model.info.genre_thresholds if threshold is None else {}

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike[str] = models.DEFAULT,
        *,
        threads: int = 1,
        threshold: float | None = None,
        every_segment: bool = False,
        device: str = "cpu",
    ) -> Classifier:
        """Open a model by shipped name, path, or repository of the Hugging Face hub.

        Parameters
        ----------
        name : str or PathLike
            A model of the package; the path of a model file; a folder that has one, such as that of a
            training run or of `save_pretrained`; or ``hub:owner/repo`` or ``hub:owner/repo@revision``, which
            needs huggingface_hub (extra ``hub``).
        threads : int
            How many threads the model may use.
        threshold : float, optional
            The score below which a result is uncertain; None: the model's own, chosen on validation data.
        every_segment : bool
            Whether every segment of a long track is scored, also where its genre is clear.
        device : {"cpu", "cuda", "auto"}
            What computes the network: the CPU; an NVIDIA GPU, by onnxruntime-gpu; or that where it works.
            Scores of a GPU differ from those of the CPU by rounding, and depend, by rounding, on which files
            it is given at the same time.

        Raises
        ------
        ModelError
            ``model_not_found``, ``model_incompatible`` or ``model_corrupt``.
        ConfigError
            ``invalid_argument``: a threshold that is no score, a name of no repository, or no device.
        MissingDependencyError, DownloadError
            ``missing_dependency``, ``download_failed``, for ``hub:``; the former also where ``cuda`` cannot
            be used.
        """
        model = models.load_model(os.fspath(name), threads=threads, device=device)
        return cls(model, threshold=threshold, every_segment=every_segment)

    # The name of version 0.1.
    load = from_pretrained

    @property
    def classes(self) -> tuple[str, ...]:
        """The genres this model knows."""
        return self.model.info.classes

    def predict(
        self,
        source: audio.Source | audio.Samples,
        *,
        sample_rate: int | None = None,
        timeline: bool = False,
        strict: bool = False,
        excerpts: bool = False,
        max_seconds: float | None = None,
        embedding: bool = False,
        fingerprint: bool = False,
    ) -> Prediction:
        """Rank the genres of one piece of music.

        The content of a file gives the same scores, to the bit, by its path, as bytes and as a file object.

        Parameters
        ----------
        source : str, PathLike, bytes, binary file, AudioSection, Audio or ndarray
            The path of any audio file; its content; a file object, which is read from its start and left
            open; a part of a file; decoded audio; or samples, shape (n,) or (n, channels), floats, 1 being
            full scale, or integers of 8, 16 or 32 bits, with ``sample_rate``.
        sample_rate : int, optional
            In Hz, of samples in an array; for these alone.
        timeline : bool
            Keep the scores of every segment in the result.
        strict : bool
            Refuse truncated files instead of flagging them.
        excerpts : bool
            Classify some excerpts of a long track, and more where they disagree, instead of all of it:
            several times faster. The result is then flagged ``excerpts``. Multi-label models classify all of
            it: which excerpts are enough is decided by a single leading genre.
        max_seconds : float, optional
            Refuse longer audio, as soon as so much of it was decoded: no header is believed.
        embedding : bool
            Keep the embedding of the track in the result, where the model has one.
        fingerprint : bool
            Keep the acoustic fingerprint of all segments that were scored, by which `genrescope.audit` finds
            copies, where the model's features are those of fingerprints, as the default model's.

        Returns
        -------
        Prediction
            Scores, styles and embedding are means over segments, each weighted by the seconds it stands for,
            and by the probability that it is music where the model tells.

        Raises
        ------
        AudioError
            The file is missing, unreadable, shorter than 1 s, silent, has samples that are not finite, or is
            ``audio_too_long``.
        ConfigError
            ``invalid_argument``: an array without a sample rate, or of another shape or type; a source that
            is none of these.
        """
        with audio.AudioFile(source, sample_rate=sample_rate) as file:
            # Whether a file is whole, or too long, only decoding all of it can tell.
            excerpts = excerpts and not strict and max_seconds is None and not self._is_multilabel
            scored = self._score(file, excerpts, strict, max_seconds, fingerprint)
        info = self.model.info
        course = Timeline(
            classes=info.classes,
            starts=scored.starts,
            ends=np.minimum(scored.starts + scored.lengths, scored.seconds),
            scores=scored.outputs.scores,
        )
        outputs = scored.outputs
        music = outputs.music[:, 0] if info.music_threshold is not None else None
        weights = self._music_weights(scored)
        scores = _ranked(info.classes, _weighted_mean(outputs.scores, weights))
        styles = _ranked(info.styles, _weighted_mean(outputs.styles, weights))
        return Prediction(
            path=file.source,
            scores=scores,
            seconds=scored.seconds,
            model=self.model.name,
            styles=styles,
            style=labels.load_taxonomy().sure_style(next(iter(scores)), styles),
            threshold=self._threshold_of(next(iter(scores))),
            music=None if music is None else round(float(_weighted_mean(music, scored.weights)), 6),
            music_threshold=info.music_threshold,
            set_level=info.set_level,
            embedding=_weighted_mean(outputs.embedding, weights) if embedding else None,
            fingerprint=scored.fingerprint,
            labels=self._labels(scores),
            title=(source.title or None) if isinstance(source, AudioSection) else None,
            flags=tuple(dict.fromkeys((*_known_flags(source), *scored.flags))),
            timeline=course if timeline else None,
            audio=file.info,
        )

    def embed(
        self,
        source: audio.Source | audio.Samples,
        *,
        sample_rate: int | None = None,
        per_segment: bool = False,
        strict: bool = False,
        excerpts: bool = False,
    ) -> FloatArray:
        """Return the embedding of one piece of music: what the model's last layers are fed.

        Needs onnxruntime only. Tracks that sound alike have similar embeddings (cosine similarity), and a
        linear classifier on them is a good start for genres of one's own.

        Parameters
        ----------
        source : str, PathLike, bytes, binary file, Audio or ndarray
            As of `predict`.
        sample_rate : int, optional
            In Hz, of samples in an array.
        per_segment : bool
            One row for each segment that was scored, in the order of time, instead of their weighted mean.
        strict, excerpts : bool
            As of `predict`.

        Returns
        -------
        ndarray, shape (size,) or, ``per_segment``, (segments, size), float32
            The mean is that of ``predict(embedding=True)``.

        Raises
        ------
        ModelError
            ``model_incompatible``: the model has no output for embeddings.
        AudioError, ConfigError
            As of `predict`.
        """
        if not self.model.info.embedding_size:
            raise ModelError(
                "model_incompatible",
                f"{self.model.name}: the model file has no output for embeddings",
                "use the default model; if this is mn04, run again: genrescope models download mn04",
            )
        with audio.AudioFile(source, sample_rate=sample_rate) as file:
            scored = self._score(file, excerpts and not strict, strict, None)
        embeddings = scored.outputs.embedding
        return embeddings if per_segment else _weighted_mean(embeddings, self._music_weights(scored))

    def embed_many(
        self, sources: Iterable[audio.Source | Audio], *, strict: bool = False, excerpts: bool = False
    ) -> FloatArray:
        """Return the embeddings of many pieces of music, one row each; the first that fails raises.

        Parameters
        ----------
        sources : iterable of str, PathLike, bytes, binary file or Audio
            As of `predict`.
        strict, excerpts : bool
            As of `predict`.

        Returns
        -------
        ndarray, shape (sources, size), float32

        Raises
        ------
        ModelError, AudioError
            As of `embed`.
        """
        rows = [self.embed(source, strict=strict, excerpts=excerpts) for source in sources]
        return np.stack(rows) if rows else np.zeros((0, self.model.info.embedding_size), np.float32)

    def save_pretrained(self, folder: str | PathLike[str]) -> Path:
        """Write the model file, as ``model.onnx``, and its model card, ``README.md``, into a folder.

        `from_pretrained` opens the folder.

        Parameters
        ----------
        folder : str or PathLike
            Is created if need be.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ModelError
            ``model_corrupt``: the file that this model was read from has changed or is gone.
        WriteError
            ``write_failed``.
        """
        return models.save_pretrained(self.model, Path(folder))

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = False,
        token: str | None = None,
        message: str = "Upload a genrescope model",
        api: models.HubApi | None = None,
    ) -> str:
        """Upload the model file and its model card to a repository of the Hugging Face hub.

        `from_pretrained` opens ``hub:owner/repo``. The card is made of what the file states about itself.

        Parameters
        ----------
        repo : str
            ``owner/repo``; is created if need be.
        private : bool
            Whether a repository that is created is private.
        token : str, optional
            Of the hub; None: that of ``hf auth login``.
        message : str
            Of the commit.
        api : HubApi, optional
            Instead of ``huggingface_hub.HfApi``.

        Returns
        -------
        str
            Address of the repository.

        Raises
        ------
        MissingDependencyError
            ``missing_dependency``: huggingface_hub is not installed.
        ConfigError
            ``invalid_argument``: no ``owner/repo``.
        UploadError
            ``upload_failed``: no network, or no right to write.
        """
        return models.push_to_hub(self.model, repo, private=private, token=token, message=message, api=api)

    def predict_many(
        self,
        paths: Iterable[audio.Source | Audio],
        *,
        timeline: bool = False,
        strict: bool = False,
        excerpts: bool = False,
        threads: int | None = None,
    ) -> Iterator[Prediction | FailedFile]:
        """Classify many files: what fails becomes a row with the error, and the rest goes on.

        Parameters
        ----------
        paths : iterable of str, PathLike, bytes, binary file or Audio
            Audio files, or what else `predict` takes without a sample rate.
        timeline, strict, excerpts : bool
            As of `predict`.
        threads : int, optional
            Files at a time, each in a thread that decodes it. None: one after the other, and where the model
            is on a GPU, one for each core, so that it is given segments of several files as one batch.

        Yields
        ------
        Prediction or FailedFile
            One for each path, in order, as soon as it is known.

        Raises
        ------
        DeviceError
            ``device_failed``: the GPU failed, which no file is the cause of.
        """

        def row(path: audio.Source | Audio) -> Prediction | FailedFile:
            try:
                return self.predict(path, timeline=timeline, strict=strict, excerpts=excerpts)
            except DeviceError:
                raise
            except GenrescopeError as failure:
                return FailedFile(audio.source_name(path), **failure.to_dict())

        if threads is None:
            threads = 1 if self.model.device == "cpu" else os.cpu_count() or 1
        yield from map(row, paths) if threads == 1 else map_ordered(row, paths, threads)

    @property
    def _is_multilabel(self) -> bool:
        return self.model.info.task == "multi-label"

    def _labels(self, scores: dict[str, float]) -> tuple[str, ...] | None:
        """Return the genres that reach their thresholds, of a multi-label model."""
        if not self._is_multilabel:
            return None
        return tuple(genre for genre, score in scores.items() if score >= (self._threshold_of(genre) or 0.0))

    def _threshold_of(self, genre: str) -> float | None:
        """Return the score below which this genre is uncertain."""
        return self._genre_thresholds.get(genre, self.threshold)

    def _music_weights(self, scored: _ScoredSegments) -> Float64Array:
        """Return what each segment counts for in the means of a track, shape (segments,)."""
        if self.model.info.music_threshold is None:
            return scored.weights
        # What is said or announced before the music is no part of it, and does not decide its genre.
        return scored.weights * np.maximum(scored.outputs.music[:, 0], _LEAST_MUSIC)

    def _score(
        self,
        file: audio.AudioFile,
        excerpts: bool,
        strict: bool,
        max_seconds: float | None,
        fingerprint: bool = False,
    ) -> _ScoredSegments:
        """Score a file; once more, with other channels, where its channels cancel each other."""

        def once() -> _ScoredSegments:
            # Excerpts where they are asked for and of use, else all of the file.
            scored = self._predict_excerpts(file, fingerprint) if excerpts else None
            return scored or self._predict_full(file, strict, max_seconds, fingerprint)

        scored = once()
        return once() if file.avoid_cancellation() else scored

    def _predict_full(
        self, file: audio.AudioFile, strict: bool, max_seconds: float | None, fingerprint: bool
    ) -> _ScoredSegments:
        """Score the segments, batch by batch, in bounded memory; few of them while the genre is clear."""
        info = self.model.info
        starts, weights, lengths = [], [], []
        outputs: list[ModelOutput] = []
        peaks = self._peaks(fingerprint)
        with file.stream(sample_rate=info.features.sample_rate, strict=strict) as stream:
            batches = audio.split_stream(
                _bounded(stream, max_seconds),
                info.features.sample_rate,
                seconds=info.segment_seconds,
                hop_seconds=info.hop_seconds,
            )
            for batch in batches:
                length = info.segment_seconds
                if outputs and self._is_clear(outputs, float(batch.starts[0])):
                    length += float(batch.starts[-1] - batch.starts[0])
                    batch = _first_for_all(batch)
                starts.append(batch.starts)
                weights.append(batch.weights)
                lengths.append(np.full(len(batch), length))
                outputs.append(self._predict_batch(batch, peaks))
        return _ScoredSegments(
            np.concatenate(starts),
            np.concatenate(weights),
            np.concatenate(lengths),
            _concatenate(outputs),
            stream.seconds,
            stream.flags,
            _packed(peaks, stream.seconds),
        )

    def _is_clear(self, outputs: Sequence[ModelOutput], seconds: float) -> bool:
        if self._every_segment or self._is_multilabel:
            return False
        return excerpts.should_thin(np.concatenate([output.scores for output in outputs]), seconds)

    def _predict_excerpts(self, file: audio.AudioFile, fingerprint: bool) -> _ScoredSegments | None:
        """Score excerpts; None where that is no gain, or where only all of the file tells what is wrong."""
        length = self.model.info.segment_seconds
        seconds = file.info.seconds or 0.0
        count = int(seconds / length)
        if count < excerpts.MIN_SEGMENTS or not file.suits_excerpts:
            return None
        scored: list[int] = []
        outputs: list[ModelOutput] = []
        flags: dict[str, None] = {"excerpts": None}
        peaks = self._peaks(fingerprint)
        try:
            for chosen in excerpts.excerpt_batches(count):
                batch, found = self._decode_excerpts(file, [number * length for number in chosen])
                if batch is None:
                    return None
                flags |= dict.fromkeys(found)
                scored += chosen
                outputs.append(self._predict_batch(batch, peaks))
                if excerpts.should_stop(_concatenate(outputs).scores, count):
                    break
        except AudioError:
            return None
        if not _ends_as_stated(file, seconds) or not file.suits_excerpts:
            return None
        order = np.argsort(scored)
        joined = _concatenate(outputs)
        return _ScoredSegments(
            np.array(scored)[order] * length,
            np.ones(len(order)),
            np.full(len(order), length),
            ModelOutput(*(output[order] for output in joined)),
            seconds,
            tuple(flags),
            _packed(peaks, seconds),
        )

    def _decode_excerpts(
        self, file: audio.AudioFile, starts: list[float]
    ) -> tuple[Segments | None, tuple[str, ...]]:
        """Return the excerpts from ``starts``, in seconds, and their flags; None if excerpts are no gain."""
        info = self.model.info
        length, rate = info.segment_seconds, info.features.sample_rate
        size = round(length * rate)
        segments: list[FloatArray] = []
        flags: dict[str, None] = {}
        for start in starts:
            excerpt = file.excerpt(start=start, duration=length, sample_rate=rate)
            if not file.suits_excerpts:
                return None, ()
            samples = excerpt.samples
            flags |= dict.fromkeys(excerpt.flags)
            # A resampler may give a sample more or less than was asked for.
            segments.append(samples[:size] if len(samples) >= size else np.resize(samples, size))
        cut = Segments(np.stack(segments), rate, np.array(starts), np.full(len(starts), length))
        return cut, tuple(flags)

    def _peaks(self, wanted: bool) -> SegmentFingerprint | None:
        # What scores elsewhere computes the features there.
        if not wanted or self._scorer is not None or self.model.info.features != FINGERPRINT_SPEC:
            return None
        return SegmentFingerprint()

    def _predict_batch(self, batch: Segments, peaks: SegmentFingerprint | None = None) -> ModelOutput:
        if self._scorer is not None:
            return self._scorer.predict(batch.samples)
        extracted = features.extract(batch.samples, batch.sample_rate, self.model.info.features)
        if peaks is not None:
            for start, log_mel in zip(batch.starts, extracted, strict=True):
                peaks.add(float(start), log_mel)
        return self.model.predict(extracted)


def _packed(peaks: SegmentFingerprint | None, seconds: float) -> bytes | None:
    return None if peaks is None else peaks.result(seconds).pack()


def _ends_as_stated(file: audio.AudioFile, seconds: float) -> bool:
    """Return whether a file has sound near its stated end, and none behind it.

    A file that was cut off states its whole length all the same; one that was joined of several may go on
    behind it, further than what containers round to. Silence counts as sound: one track in five ends with it.
    """
    near = _failure_at(file, seconds - _END_SECONDS)
    return (
        near in (None, "audio_silent") and _failure_at(file, seconds + _ROUNDING_SECONDS) == "audio_too_short"
    )


def _failure_at(file: audio.AudioFile, start: float) -> str | None:
    """Return the code of the error that decoding from ``start``, in seconds, ends with; None if it works."""
    try:
        file.excerpt(start=start, duration=_END_SECONDS / 2)
    except AudioError as error:
        return error.code
    return None


class _ScoredSegments(NamedTuple):
    """The segments of a track that were scored.

    ``starts`` in seconds, ``weights``, and ``lengths`` in seconds of what they stand for, shape (segments,);
    the model's ``outputs`` for each of them; the length of the track in seconds; the flags of the result; the
    packed fingerprint.
    """

    starts: Float64Array
    weights: Float64Array
    lengths: Float64Array
    outputs: ModelOutput
    seconds: float
    flags: tuple[str, ...]
    fingerprint: bytes | None


def _known_flags(source: audio.Source | audio.Samples) -> tuple[str, ...]:
    """Return the flags that decoded audio has already."""
    return source.flags if isinstance(source, Audio) else ()


def _first_for_all(batch: Segments) -> Segments:
    """Return the first segment of a batch, with the weight of all."""
    return Segments(batch.samples[:1], batch.sample_rate, batch.starts[:1], batch.weights.sum(keepdims=True))


def _concatenate(outputs: Sequence[ModelOutput]) -> ModelOutput:
    return ModelOutput(*(np.concatenate(part) for part in zip(*outputs, strict=True)))


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


def _weighted_mean(scores: FloatArray, weights: Float64Array) -> FloatArray:
    mean: FloatArray = np.average(scores.astype(np.float64), axis=0, weights=weights).astype(np.float32)
    return mean


def _ranked(classes: tuple[str, ...], scores: FloatArray) -> dict[str, float]:
    order = np.argsort(-scores, kind="stable")
    return label_scores([classes[index] for index in order], scores[order])
