"""Small spectrograms of files, as PNG, for pages about an audit; drawn by worker processes."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from genrescope import audio, features
from genrescope.errors import AudioError, GenrescopeError
from genrescope.features import FeatureSpec
from genrescope.types import FloatArray
from genrescope.workers import Job, WorkerSpec, run_jobs

PICTURE_SPEC: Final = FeatureSpec("log_mel", sample_rate=32_000, n_fft=1024, hop_length=512, n_mels=64)
"""The log-mel spectrogram that is drawn: up to 16 kHz, a frame each 16 ms."""

# Columns of a picture: at least half as many where a file has so many frames.
_WIDTH = 400
_BLOCK_FRAMES = 600
_RANGE_DB = 80.0
# Fewer shades than bytes have make the file a third smaller.
_SHADES = 64
# Five colors of matplotlib's "magma", and straight lines between them.
_PALETTE = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
_TIMEOUT_SECONDS = 300.0
_MEMORY_LIMIT_MB = 1500


def draw_spectrogram(path: str) -> bytes:
    """Return the log-mel spectrogram of a whole file as PNG, 64 pixels high and up to 400 wide.

    Parameters
    ----------
    path : str
        Decoded in blocks, so that memory is bounded whatever its length. What is behind an error of the
        decoder is left out.

    Raises
    ------
    AudioError
        Nothing of the file can be decoded.
    """
    columns = _Columns()
    with audio.AudioFile(path) as file, file.stream(sample_rate=PICTURE_SPEC.sample_rate) as stream:
        try:
            for block in stream:
                columns.add(block)
        except AudioError:
            if not columns.any:
                raise
    return _png(columns.picture())


class _Columns:
    """Collects a spectrogram of bounded width: once it is too wide, columns are averaged in pairs."""

    def __init__(self) -> None:
        self._samples: list[FloatArray] = []
        self._waiting = 0
        self._frames: FloatArray = np.zeros((PICTURE_SPEC.n_mels, 0), np.float32)
        self._columns: FloatArray = np.zeros((PICTURE_SPEC.n_mels, 0), np.float32)
        self._per_column = 1

    @property
    def any(self) -> bool:
        """Whether there is something to draw."""
        return self._waiting > 0 or self._columns.shape[1] > 0

    def add(self, mono: FloatArray) -> None:
        """Take samples, shape (n,), at the rate of `PICTURE_SPEC`."""
        self._samples.append(mono)
        self._waiting += len(mono)
        if self._waiting >= _BLOCK_FRAMES * PICTURE_SPEC.hop_length:
            self._analyze()

    def _analyze(self) -> None:
        samples = np.concatenate(self._samples)
        self._samples, self._waiting = [], 0
        count = max(1, len(samples) // PICTURE_SPEC.hop_length)
        found = features.extract(samples[np.newaxis], PICTURE_SPEC.sample_rate, PICTURE_SPEC)[0][:, :count]
        self._frames = np.concatenate([self._frames, found], axis=1)
        whole = self._frames.shape[1] // self._per_column * self._per_column
        new = self._frames[:, :whole].reshape(len(self._frames), -1, self._per_column).mean(axis=2)
        self._columns = np.concatenate([self._columns, new], axis=1)
        self._frames = self._frames[:, whole:]
        while self._columns.shape[1] >= 2 * _WIDTH:
            self._columns = self._columns[:, : self._columns.shape[1] // 2 * 2]
            self._columns = self._columns.reshape(len(self._columns), -1, 2).mean(axis=2)
            self._per_column *= 2

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return shades, shape (mels, columns), the highest band first."""
        if self._waiting:
            self._analyze()
        columns = self._columns if self._columns.shape[1] else self._frames
        while columns.shape[1] > _WIDTH:
            columns = columns[:, : columns.shape[1] // 2 * 2].reshape(len(columns), -1, 2).mean(axis=2)
        level = (columns - columns.max(initial=-100.0)) / _RANGE_DB + 1
        shades: npt.NDArray[np.uint8] = np.clip(level * (_SHADES - 1), 0, _SHADES - 1).astype(np.uint8)
        return shades[::-1]


def _png(shades: npt.NDArray[np.uint8]) -> bytes:
    """Return a picture of palette colors (https://www.w3.org/TR/png-3)."""
    height, width = shades.shape
    places = np.linspace(0, len(_PALETTE) - 1, _SHADES)
    channels = [np.interp(places, range(len(_PALETTE)), values) for values in zip(*_PALETTE, strict=True)]
    palette = np.stack(channels, axis=1).round().astype(np.uint8)
    # Each row begins with a byte that names its filter: none.
    rows = np.concatenate([np.zeros((height, 1), np.uint8), shades], axis=1)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def create_handler() -> Callable[[Job], Job]:
    """Return the function that does the jobs of a worker process: ``{"path"}`` to ``{"png"}``, in base64."""
    # Before the memory limit is set and the first job's time runs, see `genrescope.workers.process.run`.
    audio.import_decoders()

    def draw(job: Job) -> Job:
        return {"png": base64.b64encode(draw_spectrogram(str(job["path"]))).decode("ascii")}

    return draw


def draw_spectrograms(
    paths: Sequence[str],
    *,
    workers: int = 1,
    timeout: float = _TIMEOUT_SECONDS,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Yield a path and its picture, in the order in which they are done; files that fail are left out.

    Parameters
    ----------
    paths : sequence of str
    workers : int
        Processes.
    timeout : float
        Seconds that one file may take.
    on_progress : callable, optional
        Told how many of how many files are done, failed ones included.
    """
    spec = WorkerSpec(create_handler, timeout=timeout, memory_limit_mb=_MEMORY_LIMIT_MB)
    jobs = ((path, {"path": path}) for path in paths)
    for done, (path, answer) in enumerate(run_jobs(spec, jobs, min(workers, len(paths))), 1):
        if on_progress is not None:
            on_progress(done, len(paths))
        if not isinstance(answer, GenrescopeError):
            yield path, base64.b64decode(answer["png"])
