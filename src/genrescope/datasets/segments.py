"""Training data: the features of whole tracks, and the segments of them that a model is trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrescope import audio, features
from genrescope.datasets import spectrograms, tables
from genrescope.errors import AudioError, DataError
from genrescope.features import FeatureCache, FeatureSpec, segment_frames
from genrescope.types import Float64Array, FloatArray, IntArray, Track

Layout = tuple[FloatArray, IntArray, Float64Array]  # a track's features, segment starts and weights


@dataclass(frozen=True)
class SegmentDataset:
    """The segments of a list of tracks.

    Attributes
    ----------
    tracks : tuple of Track
    spec : FeatureSpec
    spectrograms : tuple of ndarray, shape (features, columns), float32
        One per track, time along the second axis. Despite the name the features may be others; for
        ``vector`` and ``table`` specs a column is a whole segment.
    width : int
        Columns of a segment.
    track : ndarray, shape (segments,), int64
        Which track each segment is of.
    start : ndarray, shape (segments,), int64
        Its first column.
    weights : ndarray, shape (segments,), seconds
        How much of the track it adds to the segments before it; where the track is known by its frames,
        to a hop.
    """

    tracks: tuple[Track, ...]
    spec: FeatureSpec
    spectrograms: tuple[FloatArray, ...]
    width: int
    track: IntArray
    start: IntArray
    weights: Float64Array

    def __len__(self) -> int:
        return len(self.track)

    def take(self, chosen: IntArray) -> FloatArray:
        """Return features of segments.

        Parameters
        ----------
        chosen : ndarray of int, shape (n,)
            Indices of segments.

        Returns
        -------
        ndarray, float32
            As of `genrescope.features.extract`: log-mel (n, mels, frames), sequence (n, frames, features) or
            vector (n, features); or samples (n, width).
        """
        return self.window(self.track[chosen], self.start[chosen])

    def window(self, tracks: IntArray, starts: IntArray) -> FloatArray:
        """Return features of windows of a segment's length that may begin anywhere.

        Parameters
        ----------
        tracks, starts : ndarray of int, shape (n,)
            Track and first column of each window; a track shorter than a window is repeated.

        Returns
        -------
        ndarray, float32
            As of `take`.
        """
        windows = [
            _window(self.spectrograms[t], int(s), self.width) for t, s in zip(tracks, starts, strict=True)
        ]
        stacked = np.stack(windows)
        if self.spec.kind == "sequence":
            return stacked.transpose(0, 2, 1)
        if self.spec.kind == "samples":
            return stacked[:, 0]
        return stacked[:, :, 0] if self.spec.kind in ("vector", "table") else stacked

    def random_starts(self, tracks: IntArray, generator: np.random.Generator) -> IntArray:
        """Draw a first column for each of ``tracks``, uniformly over where a segment fits.

        Parameters
        ----------
        tracks : ndarray of int, shape (n,)
            A track may occur several times.
        generator : numpy.random.Generator
            Source of all that is random.

        Returns
        -------
        ndarray of int, shape (n,)
        """
        positions = np.array([max(1, self.spectrograms[t].shape[1] - self.width + 1) for t in tracks])
        drawn: IntArray = (generator.random(len(tracks)) * positions).astype(np.int64)
        return drawn

    def of_tracks(self, tracks: IntArray) -> IntArray:
        """Return the indices of all segments of ``tracks``, ascending."""
        return np.flatnonzero(np.isin(self.track, tracks))


def _window(picture: FloatArray, start: int, width: int) -> FloatArray:
    # A view, not a copy: the windows of a batch are copied once, when they are stacked.
    if start + width <= picture.shape[1]:
        return picture[:, start : start + width]
    return np.take(picture, np.arange(start, start + width), axis=1, mode="wrap")


def build_segments(
    tracks: Sequence[Track],
    spec: FeatureSpec,
    *,
    seconds: float,
    hop_seconds: float = 0.0,
    limit: int = 0,
    cache: Path | None = None,
    on_failure: Callable[[Track, AudioError], None] | None = None,
    per_segment: bool = False,
) -> SegmentDataset:
    """Read the features of all tracks, several at a time, and lay out their segments.

    Log-mel spectrograms of audio are computed of whole tracks, so that windows can begin anywhere.

    Parameters
    ----------
    tracks : sequence of Track
    spec : FeatureSpec
        Which features; a ``table`` without names has those of all columns of the table.
    seconds, hop_seconds : float
        Length of a segment, and distance between two (0: end to end).
    limit : int
        The most segments of a track, from its beginning (0: no limit).
    cache : Path or None
        Where features of audio files are kept.
    on_failure : callable
        Called for each audio file that cannot be used, which is then left out; None: the first one raises.
    per_segment : bool
        Compute them segment by segment, as classifying does: the frames at a segment's edges differ.

    Returns
    -------
    SegmentDataset
        Of the tracks that could be read, in their order.

    Raises
    ------
    AudioError, DataError
        A track that cannot be read; ``dataset_empty`` when none can.
    """
    rows, spec = _table_rows(tracks, spec, seconds)

    def read(track: Track) -> Layout | AudioError:
        try:
            if per_segment and track.kind == "audio":
                return _read_segments(track, spec, seconds, hop_seconds)
            return rows.get(track.id) or _finite(_read(track, spec, seconds, hop_seconds, cache), track)
        except AudioError as failure:
            if on_failure is None:
                raise
            return failure

    readable: list[Track] = []
    layouts: list[Layout] = []
    # Threads and not processes: FFmpeg and NumPy release Python's global lock while they compute, and the
    # spectrograms need not be copied between processes. ``map`` keeps the order of the tracks.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for track, layout in zip(tracks, pool.map(read, tracks), strict=True):
            if isinstance(layout, AudioError):
                assert on_failure is not None  # or read would have raised
                on_failure(track, layout)
                continue
            readable.append(track)
            layouts.append((layout[0], layout[1][: limit or None], layout[2][: limit or None]))
    return _joined(readable, layouts, spec, seconds)


def _joined(tracks: list[Track], layouts: list[Layout], spec: FeatureSpec, seconds: float) -> SegmentDataset:
    if not tracks:
        raise DataError(
            "dataset_empty", "no track can be read", "check the files: genrescope classify FOLDER"
        )
    return SegmentDataset(
        tracks=tuple(tracks),
        spec=spec,
        spectrograms=tuple(picture for picture, _, _ in layouts),
        width=1 if spec.kind in ("vector", "table") else segment_frames(spec, seconds),
        track=np.repeat(np.arange(len(tracks)), [len(starts) for _, starts, _ in layouts]),
        start=np.concatenate([starts for _, starts, _ in layouts]),
        weights=np.concatenate([weights for _, _, weights in layouts]),
    )


def _table_rows(
    tracks: Sequence[Track], spec: FeatureSpec, seconds: float
) -> tuple[dict[str, Layout], FeatureSpec]:
    """Return the rows of feature tables, by track, and the spec with the names of the columns.

    A row is one segment.
    """
    paths = {track.path for track in tracks if track.kind == "table"}
    other = next((track for track in tracks if track.kind != "table"), None)
    if spec.kind == "table" and other is not None:
        raise DataError(
            "dataset_invalid",
            f"{other.path}: this model takes columns of a table as input",
            "give a CSV with the column filename and these columns, or set data.columns=paper",
        )
    if paths and spec.kind != "table" and spec != features.PAPER_MEANS:
        raise DataError(
            "dataset_invalid",
            f"{min(paths)}: this model does not take a table of clip means as input",
            "train logistic-regression or svm on it, or give audio (--set data.input=audio)",
        )
    rows: dict[str, Layout] = {}
    for path in sorted(paths):
        table = tables.read_table(path)
        if spec.kind == "table":
            spec = replace(spec, features=spec.features or table.columns)
            values = tables.column_values(table, spec.features, path)
        else:
            values = tables.paper_means(table)
        for name, row in zip(table.tracks, values, strict=True):
            rows[name] = (row[:, None].astype(np.float32), np.zeros(1, np.int64), np.array([seconds]))
    return rows, spec


def _read(track: Track, spec: FeatureSpec, seconds: float, hop_seconds: float, cache: Path | None) -> Layout:
    if track.kind == "audio" and spec.kind not in ("log_mel", "samples", "custom"):
        return _read_segments(track, spec, seconds, hop_seconds)
    picture = _read_picture(track, spec, cache)
    # The length is known to a hop only, as a picture or a kept spectrogram has no samples.
    total = (picture.shape[1] - (spec.kind == "log_mel")) * spec.hop_length / spec.sample_rate
    starts, weights = audio.segment_grid(total, seconds=seconds, hop_seconds=hop_seconds or None)
    columns = np.round(starts * spec.sample_rate / spec.hop_length).astype(np.int64)
    # Rounding must not push the last segment beyond the track.
    last = max(0, picture.shape[1] - segment_frames(spec, seconds))
    return picture, np.minimum(columns, last), weights


def _finite(layout: Layout, track: Track) -> Layout:
    """Refuse features that are not finite: one such track would make every weight of a network NaN."""
    if not np.isfinite(layout[0]).all():
        raise AudioError(
            "audio_not_finite",
            f"{track.path}: its features are not finite",
            "its samples are far too large; remove the file, or decode it again",
        )
    return layout


def _read_segments(track: Track, spec: FeatureSpec, seconds: float, hop_seconds: float) -> Layout:
    """Compute features segment by segment, as `Classifier` does: MFCC and chroma depend on the borders."""
    clip = audio.load_audio(track.path, sample_rate=spec.sample_rate)
    segments = audio.split(clip, seconds=seconds, hop_seconds=hop_seconds or None)
    computed = features.extract(segments.samples, segments.sample_rate, spec)
    # One matrix for the whole track, segment after segment along time, as `SegmentDataset` holds it.
    if spec.kind in ("log_mel", "custom"):
        computed = computed.transpose(0, 2, 1)
    elif spec.kind == "samples":
        computed = computed[:, :, None]
    columns = computed.reshape(-1, computed.shape[-1]).T
    return columns, np.arange(len(segments)) * (columns.shape[1] // len(segments)), segments.weights


def _read_picture(track: Track, spec: FeatureSpec, cache: Path | None) -> FloatArray:
    if track.kind == "audio":
        return FeatureCache(cache).get_or_compute(track.path, spec, lambda: _compute_whole(track, spec))
    if track.kind != "spectrogram" or spec.kind != "log_mel":
        raise DataError(
            "dataset_invalid",
            f"{track.path}: this model does not take spectrograms as input",
            "give audio (--set data.input=audio), or train crnn, parallel or cnn",
        )
    picture = spectrograms.load_spectrogram(track.path)
    if len(picture) != spec.n_mels:
        raise DataError(
            "dataset_invalid",
            f"{track.path}: {len(picture)} bands, the input of the model has {spec.n_mels}",
            f"give spectrograms of {spec.n_mels} mel bands",
        )
    if track.path.suffix == ".npy" or spec.hop_length == features.SPECTROGRAM_LOG_MEL.hop_length:
        return picture  # arrays are assumed to have the model's hop length
    frames = 1 + spectrograms.SPECTROGRAM_SAMPLES // spec.hop_length
    return spectrograms.interpolate_columns(picture, frames)


def _compute_whole(track: Track, spec: FeatureSpec) -> FloatArray:
    clip = audio.load_audio(track.path, sample_rate=spec.sample_rate)
    picture: FloatArray = features.extract(clip.samples[None], clip.sample_rate, spec)[0]
    return np.atleast_2d(picture)  # of samples there is one row
