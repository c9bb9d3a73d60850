"""Features of many tracks in one ``.npy`` file that is memory-mapped: for data sets larger than memory."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, overload

import numpy as np

from genrescope.errors import write_failed
from genrescope.types import FloatArray, IntArray
from genrescope.utils import replace_file, temporary_beside

# Pages of a mapped file count as memory of the process until the system takes them back, which it does only
# when memory is short. They are given back after so many bytes: what a process shows is what it needs.
RESIDENT_BYTES = 1 << 28


class MappedFeatures(Sequence[FloatArray]):
    """The features of many tracks, read from a file as they are used.

    A pickle of it holds the path of the file and not its content, so that other processes map the same file.

    Parameters
    ----------
    path : Path
        A ``.npy`` file of shape (columns of all tracks, features), float32: time along the first axis, so
        that a window is one piece of the file.
    columns : ndarray of int, shape (tracks,)
        Columns of each track.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no such file, or has not as many columns as the tracks.
    """

    def __init__(self, path: Path, columns: IntArray) -> None:
        self.path = path
        self.columns = columns
        self._ends = np.cumsum(columns)
        mapped: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.dtype != np.float32 or mapped.ndim != 2 or len(mapped) != columns.sum():
            raise ValueError(f"{path}: not the features of {columns.sum()} columns")
        self._map: Any = mapped.base
        # Without the subclass, whose views take several times as long to make.
        self._values: FloatArray = mapped.view(np.ndarray)
        self._read = 0

    def __len__(self) -> int:
        return len(self.columns)

    @overload
    def __getitem__(self, index: int) -> FloatArray: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FloatArray]: ...
    def __getitem__(self, index: int | slice) -> FloatArray | Sequence[FloatArray]:
        """Return the features of a track, shape (features, columns): a view, read when it is used."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        end = self._ends[index]
        return self._values[end - self.columns[index] : end].T

    def note_read(self, size: int) -> None:
        """Give the mapped pages back to the system from time to time; it keeps them as long as it has memory.

        Parameters
        ----------
        size : int
            Bytes that were just read, and copied.
        """
        self._read += size
        if self._read > RESIDENT_BYTES:
            self._read = 0
            if isinstance(self._map, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
                self._map.madvise(mmap.MADV_DONTNEED)

    def __reduce__(self) -> tuple[type[MappedFeatures], tuple[Path, IntArray]]:
        """Return how another process maps the same file."""
        return type(self), (self.path, self.columns)


class FeatureWriter:
    """Collects the features of tracks: in memory up to a limit, beyond it in a file.

    Parameters
    ----------
    path : Path or None
        The file, written completely or not at all; None: all are kept in memory.
    memory_limit : int
        Bytes that are kept in memory.

    Examples
    --------
    >>> with FeatureWriter(Path("features.npy"), 1 << 30) as writer:
    ...     for track in tracks:
    ...         writer.append(compute(track))
    ...     features = writer.finish()
    """

    def __init__(self, path: Path | None, memory_limit: int) -> None:
        self._path = path
        self._limit = memory_limit
        self._kept: list[FloatArray] = []
        self._bytes = 0
        self._columns: list[int] = []
        self._stream: BinaryIO | None = None
        self._temporary: Path | None = None
        self._height = 0

    def append(self, features: FloatArray) -> None:
        """Add the features of the next track.

        Parameters
        ----------
        features : ndarray, shape (features, columns), float32

        Raises
        ------
        WriteError
            ``write_failed``: the disk is full, or the folder cannot be written to.
        """
        self._columns.append(features.shape[1])
        self._bytes += features.nbytes
        if self._stream is None and (self._path is None or self._bytes <= self._limit):
            self._kept.append(features)
            return
        try:
            if self._stream is None:
                self._open(len(features))
            self._write(features)
        except OSError as reason:
            assert self._path is not None
            raise write_failed(self._path, reason) from None

    def finish(self) -> Sequence[FloatArray]:
        """Return the features of all tracks, in their order.

        Returns
        -------
        tuple of ndarray, or MappedFeatures
            Which of them depends on the limit alone, their values do not.

        Raises
        ------
        WriteError
            ``write_failed``.
        """
        if self._stream is None:
            return tuple(self._kept)
        assert self._path is not None
        assert self._temporary is not None
        try:
            # The number of columns is known only now; NumPy leaves room for it in the header.
            self._stream.seek(0)
            self._write_header(sum(self._columns))
            self._stream.close()
            replace_file(self._temporary, self._path)
            return MappedFeatures(self._path, np.array(self._columns, np.int64))
        except OSError as reason:
            raise write_failed(self._path, reason) from None

    def _open(self, height: int) -> None:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary_beside(self._path)
        self._stream = self._temporary.open("xb")
        self._height = height
        self._write_header(0)
        for features in self._kept:
            self._write(features)
        self._kept.clear()

    def _write_header(self, columns: int) -> None:
        assert self._stream is not None
        header = {"descr": "<f4", "fortran_order": False, "shape": (columns, self._height)}
        np.lib.format.write_array_header_1_0(self._stream, header)

    def _write(self, features: FloatArray) -> None:
        assert self._stream is not None
        self._stream.write(np.ascontiguousarray(features.T, "<f4").data)

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None and self._temporary is not None:
            self._stream.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)
