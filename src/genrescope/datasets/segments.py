"""Training data: the features of whole tracks, and the segments of them that a model is trained on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from genrescope import audio, features
from genrescope.datasets import spectrograms, tables
from genrescope.datasets.feature_files import FeatureFile, Grid
from genrescope.errors import AudioError, DataError, GenrescopeError
from genrescope.features import FeatureCache, FeatureSpec, FeatureWriter, MappedFeatures, segment_frames
from genrescope.types import Float64Array, FloatArray, IntArray, Track
from genrescope.utils import load_array
from genrescope.workers import WorkerPool, WorkerSpec

Layout = tuple[FloatArray, IntArray, Float64Array]  # a track's features, segment starts and weights
# The features of a thousand tracks of 30 s take less; those of whole songs are kept in a file beyond it.
MEMORY_LIMIT_BYTES = 1 << 30
MAX_TRACK_BYTES = 1 << 32


@dataclass(frozen=True)
class SegmentDataset:
    """The segments of a list of tracks.

    Attributes
    ----------
    tracks : tuple of Track
    spec : FeatureSpec
    spectrograms : sequence of ndarray, shape (features, columns), float32
        One per track, time along the second axis. Despite the name the features may be others; for
        ``vector`` and ``table`` specs a column is a whole segment. `MappedFeatures` where they are in a file.
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
    spectrograms: Sequence[FloatArray]
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
        # The same layout in memory whatever that of the tracks is, so that rounding is the same too.
        stacked = np.empty((len(windows), *windows[0].shape), np.float32)
        np.stack(windows, out=stacked)
        if isinstance(self.spectrograms, MappedFeatures):
            self.spectrograms.note_read(stacked.nbytes)
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
    store: Path | None = None,
    memory_limit: int = MEMORY_LIMIT_BYTES,
    workers: int = 0,
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
    store : Path or None
        Folder for the features of whole data sets that are larger than ``memory_limit``: they are
        memory-mapped, and found again by the next call for the same files. None: all are kept in memory.
    memory_limit : int
        Bytes of features that are kept in memory where there is a ``store``.
    workers : int
        Processes that read audio files; one that a damaged file crashes costs that file only. 0: threads of
        this process, as many as it has processors.

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
    options = _Reading(spec, seconds, hop_seconds, cache, per_segment)
    file = None
    if store is not None and spec.kind in ("log_mel", "sequence"):
        file = FeatureFile.of(store, tracks, spec, [seconds, hop_seconds, limit, per_segment])
        kept = file.load(tracks)
        if kept is not None:
            for track, failure in kept.failures:
                _leave_out(track, failure, on_failure)
            return _joined(kept.tracks, kept.spectrograms, kept.grids, spec, seconds)
    readable: list[Track] = []
    grids: list[Grid] = []
    failures: list[tuple[Track, AudioError]] = []
    with FeatureWriter(file.path if file is not None else None, memory_limit) as writer:
        for track, layout in _layouts(tracks, rows, options, workers):
            if isinstance(layout, AudioError):
                _leave_out(track, layout, on_failure)
                failures.append((track, layout))
                continue
            readable.append(track)
            writer.append(layout[0])
            grids.append((layout[1][: limit or None], layout[2][: limit or None]))
        written = writer.finish()
    if file is not None and isinstance(written, MappedFeatures):
        file.save_index(readable, written, grids, failures)
    return _joined(readable, written, grids, spec, seconds)


@dataclass(frozen=True)
class _Reading:
    """How the features of a track are read."""

    spec: FeatureSpec
    seconds: float
    hop_seconds: float
    cache: Path | None
    per_segment: bool

    def read(self, track: Track) -> Layout | AudioError:
        """Return features, segment starts and weights of a track, or why it cannot be used."""
        try:
            if self.per_segment and track.kind == "audio":
                return _read_segments(track, self.spec, self.seconds, self.hop_seconds)
            return _finite(_read(track, self.spec, self.seconds, self.hop_seconds, self.cache), track)
        except AudioError as failure:
            return failure


def _leave_out(
    track: Track, failure: AudioError, on_failure: Callable[[Track, AudioError], None] | None
) -> None:
    if on_failure is None:
        raise failure
    on_failure(track, failure)


def _layouts(
    tracks: Sequence[Track], rows: dict[str, Layout], options: _Reading, workers: int
) -> Iterator[tuple[Track, Layout | AudioError]]:
    """Yield tracks in their order, each with what was read of it; several are read at a time."""
    if workers and any(track.kind == "audio" for track in tracks):
        yield from _layouts_of_workers(tracks, options, workers)
        return
    # FFmpeg and NumPy release Python's global lock while they compute, and nothing is copied.
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[tuple[Track, Future[Layout | AudioError]]] = deque()
        for track in tracks:
            known = rows.get(track.id)
            pending.append((track, pool.submit(options.read, track) if known is None else _done(known)))
            # Not all at once: what is read must not pile up where it is written more slowly.
            if len(pending) > 2 * threads:
                first, result = pending.popleft()
                yield first, result.result()
        for last, result in pending:
            yield last, result.result()


def _done(layout: Layout) -> Future[Layout | AudioError]:
    future: Future[Layout | AudioError] = Future()
    future.set_result(layout)
    return future


def _layouts_of_workers(
    tracks: Sequence[Track], options: _Reading, workers: int
) -> Iterator[tuple[Track, Layout | AudioError]]:
    """Do the same with worker processes, which hand over features in files."""
    with TemporaryDirectory(prefix="genrescope-") as folder:
        kwargs = {
            "spec": options.spec.to_json(),
            "seconds": options.seconds,
            "hop_seconds": options.hop_seconds,
            "cache": None if options.cache is None else str(options.cache),
            "per_segment": options.per_segment,
            "folder": folder,
        }
        length = 2 * workers
        with WorkerPool(WorkerSpec(create_reader, kwargs), workers, queue_length=length + 1) as pool:
            pending: deque[tuple[Track, Future[dict[str, Any]]]] = deque()
            for number, track in enumerate(tracks):
                job = {"number": number, "id": track.id, "path": str(track.path), "kind": track.kind}
                pending.append((track, pool.submit(job)))
                if len(pending) > length:
                    first, answer = pending.popleft()
                    yield first, _received(first, answer)
            for last, answer in pending:
                yield last, _received(last, answer)


def _received(track: Track, answer: Future[dict[str, Any]]) -> Layout | AudioError:
    try:
        found = answer.result()
    except GenrescopeError as failure:
        # The worker is gone with its memory, but not the work: another file can be read.
        if failure.code == "worker_crashed":
            return AudioError("audio_unreadable", f"{track.path}: {failure.message}", failure.hint)
        raise
    if "error" in found:
        error = found["error"]
        return AudioError(error["code"], error["message"], error["hint"])
    file = Path(found["file"])
    values = load_array(file, max_bytes=MAX_TRACK_BYTES)
    file.unlink()
    return values, np.array(found["starts"], np.int64), np.array(found["weights"], np.float64)


def create_reader(
    spec: dict[str, Any],
    seconds: float,
    hop_seconds: float,
    cache: str | None,
    per_segment: bool,
    folder: str,
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return, in a worker process, the function that reads the features of one track.

    Parameters
    ----------
    spec : dict
        `FeatureSpec.to_json`.
    seconds, hop_seconds : float
        Length of a segment, and distance between two (0: end to end).
    cache : str or None
        Where features of audio files are kept.
    per_segment : bool
        As of `build_segments`.
    folder : str
        Where features are handed over.

    Returns
    -------
    callable
        A job is ``{"number", "id", "path", "kind"}`` of a track. The answer holds the ``file`` of its
        features, ``starts`` and ``weights``; or the ``error``.
    """
    options = _Reading(
        FeatureSpec.from_json(spec), seconds, hop_seconds, Path(cache) if cache else None, per_segment
    )
    audio.import_decoders()

    def read(job: dict[str, Any]) -> dict[str, Any]:
        layout = options.read(Track(job["id"], Path(job["path"]), "", "", job["kind"]))
        if isinstance(layout, AudioError):
            return {"error": layout.to_dict()}
        file = Path(folder, f"{job['number']}.npy")
        np.save(file, layout[0], allow_pickle=False)
        return {"file": str(file), "starts": layout[1].tolist(), "weights": layout[2].tolist()}

    return read


def _joined(
    tracks: Sequence[Track],
    spectrograms: Sequence[FloatArray],
    grids: Sequence[Grid],
    spec: FeatureSpec,
    seconds: float,
) -> SegmentDataset:
    if not tracks:
        raise DataError(
            "dataset_empty", "no track can be read", "check the files: genrescope classify FOLDER"
        )
    return SegmentDataset(
        tracks=tuple(tracks),
        spec=spec,
        spectrograms=spectrograms,
        width=1 if spec.kind in ("vector", "table") else segment_frames(spec, seconds),
        track=np.repeat(np.arange(len(tracks)), [len(starts) for starts, _ in grids]),
        start=np.concatenate([starts for starts, _ in grids]),
        weights=np.concatenate([weights for _, weights in grids]),
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
