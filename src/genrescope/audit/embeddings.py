"""Features of tracks by which their labels are judged: outputs of the default model, or columns of a table.

The embedding and the styles of the default model come from a network that learned from other networks, and
not from genre labels; its genres are not used, since these were learned from labels of data sets that may
be the one in question.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from genrescope import audio, features, models
from genrescope.audit.label_model import standardized
from genrescope.audit.records import AuditTrack
from genrescope.datasets import SegmentDataset, build_segments
from genrescope.errors import GenrescopeError
from genrescope.features import FeatureSpec
from genrescope.models import Model, ModelOutput
from genrescope.types import Audio, AudioInfo, Float64Array, FloatArray, Track

EXTRACTOR: Final = "label_embedding"
"""Name under which `FileFacts.extra` has the result of `create_embedding`."""

# Of a long track, about so many segments of the model are embedded, at equal distances.
_SEGMENTS: Final = 8
# Where the length of a file is not known beforehand, every third segment is.
_STRIDE_UNKNOWN: Final = 3
# The weight of a segment that is surely no music, and the smallest probability of a style: as classifying.
_LEAST_MUSIC: Final = 1e-3
_LEAST_STYLE: Final = 1e-4
_BATCH: Final = 64


class TrackVectors(NamedTuple):
    """Features of the tracks that have any.

    Attributes
    ----------
    tracks : tuple of AuditTrack
    views : tuple of ndarray, shape (tracks, features)
        Standardized: embedding and styles, or columns of a table.
    """

    tracks: tuple[AuditTrack, ...]
    views: tuple[Float64Array, ...]


class EmbeddingExtractor:
    """Embeds segments of a track while it is decoded.

    Parameters
    ----------
    model : Model
    info : AudioInfo
        What the header of the file says.
    """

    def __init__(self, model: Model, info: AudioInfo) -> None:
        self._model = model
        self._rate = info.sample_rate
        self._length = round(model.info.segment_seconds * info.sample_rate)
        segments = info.seconds / model.info.segment_seconds if info.seconds else None
        self._stride = max(1, math.ceil(segments / _SEGMENTS)) if segments else _STRIDE_UNKNOWN
        self._pending: list[FloatArray] = []
        self._filled = self._segment = 0
        self._outputs: list[ModelOutput] = []

    def add(self, mono: FloatArray) -> None:
        """Take the next samples.

        Parameters
        ----------
        mono : ndarray, shape (n,), float32
            At the file's own rate.
        """
        while len(mono):
            part, mono = np.split(mono, [self._length - self._filled])
            self._filled += len(part)
            if self._segment % self._stride == 0:
                self._pending.append(part)
            if self._filled == self._length:
                self._embed()
                self._filled = 0
                self._segment += 1

    def result(self) -> object:
        """Return the mean over segments, ready for JSON; None where the track is too short or unusable."""
        if self._filled * 2 >= self._length or (not self._outputs and self._filled >= self._rate):
            self._embed()
        return encode_vector(mean_outputs(self._outputs)) if self._outputs else None

    def _embed(self) -> None:
        if not self._pending:
            return
        samples = np.concatenate(self._pending)
        self._pending = []
        spec = self._model.info.features
        # A track that is shorter than a segment is repeated.
        whole = np.resize(samples, self._length)
        resampled = audio.resample(Audio(whole, self._rate), spec.sample_rate).samples
        # What the model cannot take is judged by the rest of the track.
        with suppress(GenrescopeError):
            segment = features.extract(resampled[None], spec.sample_rate, spec)
            self._outputs.append(self._model.predict(segment))


@lru_cache(maxsize=1)
def embedding_model() -> Model:
    """Return the model whose outputs are used, opened once in a process."""
    return models.load_model()


def create_embedding(path: str, info: AudioInfo) -> EmbeddingExtractor:
    """Return what embeds a file while it is decoded, see `genrescope.audit.Extensions`.

    Parameters
    ----------
    path : str
    info : AudioInfo
    """
    return EmbeddingExtractor(embedding_model(), info)


def mean_outputs(outputs: Sequence[ModelOutput]) -> FloatArray:
    """Return the features of a track: embedding and log of the styles, means over segments of music.

    Parameters
    ----------
    outputs : sequence of ModelOutput
        Of the segments of one track, at least one.

    Returns
    -------
    ndarray, shape (embedding + styles,), float32
    """
    music = np.concatenate([one.music for one in outputs])
    weights = np.maximum(music[:, 0], _LEAST_MUSIC) if music.shape[1] else np.ones(len(music))
    embedding = np.average(np.concatenate([one.embedding for one in outputs]), axis=0, weights=weights)
    styles = np.average(np.concatenate([one.styles for one in outputs]), axis=0, weights=weights)
    return np.concatenate([embedding, np.log(styles + _LEAST_STYLE)]).astype(np.float32)


def encode_vector(vector: FloatArray) -> dict[str, str]:
    """Return a vector for JSON, with half precision, and the model that it is of.

    Parameters
    ----------
    vector : ndarray, shape (n,), float32
    """
    limited = np.clip(vector, -60_000, 60_000).astype("<f2")
    return {"model": embedding_model().sha256[:16], "values": base64.b64encode(limited.tobytes()).decode()}


def decode_vector(stored: object) -> FloatArray | None:
    """Return the vector that `encode_vector` gave; None where it is none, or of another model.

    Parameters
    ----------
    stored : object
        Read from JSON.
    """
    model = embedding_model()
    if not isinstance(stored, dict) or stored.get("model") != model.sha256[:16]:
        return None
    with suppress(ValueError):
        values = np.frombuffer(base64.b64decode(str(stored.get("values", ""))), "<f2").astype(np.float32)
        if len(values) == model.info.embedding_size + len(model.info.styles) and np.isfinite(values).all():
            return values
    return None


def track_vectors(tracks: Sequence[AuditTrack]) -> TrackVectors:
    """Return the features of all tracks of the most frequent kind that have any.

    Parameters
    ----------
    tracks : sequence of AuditTrack
        Audio with what workers found out, spectrograms, or rows of a table.
    """
    kinds = [track.kind for track in tracks]
    kind = max(sorted(set(kinds)), key=kinds.count, default="audio")
    of_kind = [track for track in tracks if track.kind == kind]
    if kind == "table":
        return _table_vectors(of_kind)
    if kind == "audio":
        stored = ((track, decode_vector(track.facts.extra.get(EXTRACTOR))) for track in of_kind)
        found = [(track, vector) for track, vector in stored if vector is not None]
    else:
        found = list(_spectrogram_vectors(of_kind))
    if not found:
        return TrackVectors((), ())
    values = np.stack([vector for _, vector in found]).astype(np.float64)
    parts = np.split(values, [embedding_model().info.embedding_size], axis=1)
    return TrackVectors(tuple(track for track, _ in found), tuple(standardized(part) for part in parts))


def _segments(tracks: Sequence[AuditTrack], spec: FeatureSpec, seconds: float) -> SegmentDataset | None:
    """Return the features of tracks; None where one of them cannot be read."""
    plain = [Track(track.id, track.path, track.label, track.group, track.kind) for track in tracks]
    with suppress(GenrescopeError):
        return build_segments(plain, spec, seconds=seconds)
    return None


def _spectrogram_vectors(tracks: Sequence[AuditTrack]) -> Iterator[tuple[AuditTrack, FloatArray]]:
    model = embedding_model()
    for start in range(0, len(tracks), _BATCH):
        batch = tracks[start : start + _BATCH]
        read = _segments(batch, model.info.features, model.info.segment_seconds)
        # One that cannot be read must not cost the others.
        parts = [(list(batch), read)] if read else [([one], _one(one, model)) for one in batch]
        for members, segments in parts:
            if segments is not None:
                yield from _embedded(members, segments, model)


def _one(track: AuditTrack, model: Model) -> SegmentDataset | None:
    return _segments([track], model.info.features, model.info.segment_seconds)


def _embedded(
    tracks: Sequence[AuditTrack], segments: SegmentDataset, model: Model
) -> Iterator[tuple[AuditTrack, FloatArray]]:
    for place, track in enumerate(tracks):
        own = segments.of_tracks(np.array([place]))
        with suppress(GenrescopeError):
            yield track, mean_outputs([model.predict(segments.take(own))])


def _table_vectors(tracks: Sequence[AuditTrack]) -> TrackVectors:
    """Return the columns of a table as normal scores, since many columns have a few extreme values."""
    segments = _segments(tracks, FeatureSpec(kind="table"), 1.0)
    if segments is None:
        return TrackVectors((), ())
    values = segments.take(np.arange(len(segments))).astype(np.float64)
    scores = ndtri((rankdata(values, axis=0) - 0.5) / len(values))
    known = {track.id: track for track in tracks}
    return TrackVectors(tuple(known[one.id] for one in segments.tracks), (standardized(scores),))
