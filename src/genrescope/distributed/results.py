"""The parts that a run writes, and what is in them already: which files are done is told by these alone.

A part is a Parquet file, named by the paths in it and written whole. A run that was killed has lost the rows
that were in no part yet, and the next one classifies what is in none. Ray's own checkpoints
(``ray.data.checkpoint``) keep ids in files beside the data, removed after a success; then a second command
would classify all again. One truth cannot disagree with itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from genrescope.distributed.storage import is_remote, locate, storage_errors, write_whole
from genrescope.errors import ClusterError, ConfigError, DataError, GenrescopeError
from genrescope.library import check_schema

if TYPE_CHECKING:
    import pyarrow

Digests = npt.NDArray[np.bytes_]
# Of 16 bytes: with 73 million paths, the probability that two have the same is 1e-23.
_DIGEST_BYTES = 16
# Readers of Parquet folders leave out names that begin so.
_MARKER = "_genrescope_run.json"
_READERS = 16


def digests(paths: Iterable[bytes]) -> Digests:
    """Return a short hash of each path, shape (paths,): 16 bytes, whatever the length of the path.

    Parameters
    ----------
    paths : iterable of bytes
        As `os.fsencode` gives them.
    """
    hashed = b"".join(hashlib.blake2b(path, digest_size=_DIGEST_BYTES).digest() for path in paths)
    return np.frombuffer(hashed, dtype=f"S{_DIGEST_BYTES}")


def is_in(wanted: Digests, known: Digests) -> npt.NDArray[np.bool_]:
    """Return for each of ``wanted`` whether it is among ``known``, shape (wanted,).

    Parameters
    ----------
    wanted, known : ndarray of digests
        ``known`` is sorted.
    """
    if not len(known):
        return np.zeros(len(wanted), bool)
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found: npt.NDArray[np.bool_] = known[places] == wanted
    return found


class ResultStore:
    """The folder or bucket that a run writes to.

    Parameters
    ----------
    destination : str
        A local path or an address.
    options : mapping, optional
        For the file system.

    Raises
    ------
    MissingDependencyError, ConfigError
        As `genrescope.distributed.storage.locate`.
    """

    def __init__(self, destination: str, options: dict[str, Any] | None = None) -> None:
        self.location = locate(destination, options)
        self.run = ""

    def begin(self, question: dict[str, Any]) -> None:
        """Take over the folder for a new run, before any work; a run that still writes there is stopped.

        Parameters
        ----------
        question : dict
            What the rows depend on, such as the model. All parts of a folder answer the same.

        Raises
        ------
        ConfigError
            ``invalid_argument``: the folder holds answers to another question.
        StorageError, DataError, WriteError
            It cannot be written.
        """
        if not is_remote(self.location.uri) and os.path.isfile(self.location.path):  # noqa: PTH113
            raise ConfigError(
                "invalid_argument", f"{self.location.uri}: a file, not a folder", "name another folder"
            )
        before = self._marker()
        for name, value in question.items():
            if before is not None and before.get(name) != value:
                raise ConfigError(
                    "invalid_argument",
                    f"{self.location.uri} holds rows with {name} = {before.get(name)}, not {value}",
                    "name another --output, or give the same options",
                )
        self.run = uuid.uuid4().hex
        marker = json.dumps(question | {"run": self.run}, indent=1)
        write_whole(self.location.child(_MARKER), marker.encode())

    def check_owner(self) -> None:
        """Check that no later run has taken over the folder.

        Raises
        ------
        ClusterError
            ``cluster_failed``: one has.
        """
        marker = self._marker()
        if marker is None or marker.get("run") != self.run:
            raise ClusterError(
                "cluster_failed",
                f"{self.location.uri}: a later command writes there now",
                "let that one finish: it classifies what this one has not",
            )

    def _marker(self) -> dict[str, Any] | None:
        place = self.location.child(_MARKER)
        with storage_errors(place.uri):
            try:
                marker: dict[str, Any] = json.loads(place.filesystem.cat_file(place.path))
            except (FileNotFoundError, NotADirectoryError, ValueError):
                return None
        return marker

    def write(self, rows: pyarrow.Table, replaced: str = "") -> None:
        """Write a part: whole, under a name that the paths in it determine.

        A task that is run again, since its machine was lost, writes the same file once more.

        Parameters
        ----------
        rows : pyarrow.Table
            As of `genrescope.library.entries_to_table`.
        replaced : str
            The part that this one is to replace: it is never given the name of a third one.

        Raises
        ------
        ClusterError
            As `check_owner`.
        WriteError, StorageError
            It cannot be written.
        """
        import pyarrow
        from pyarrow import parquet

        if not rows.num_rows:
            return
        names = [*sorted(row_paths(rows)), replaced.encode()]
        name = hashlib.sha256(b"\0".join(names)).hexdigest()[:32]
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(rows, sink, compression="zstd")
        self.check_owner()
        write_whole(self.location.child(f"part-{name}.parquet"), sink.getvalue().to_pybytes())

    def parts(self) -> list[str]:
        """Return the parts, as paths in the file system, sorted."""
        with storage_errors(self.location.uri):
            try:
                self.location.filesystem.invalidate_cache()
                found = self.location.filesystem.ls(self.location.path, detail=False)
            except FileNotFoundError:
                return []
        names = [(name, name.rpartition("/")[2]) for name in found]
        return sorted(name for name, base in names if base.startswith("part-") and base.endswith(".parquet"))

    def written(self) -> Digests:
        """Return the digests of the paths in all parts, sorted.

        Raises
        ------
        DataError
            ``dataset_invalid``: a part that is damaged, or of a later version.
        """
        found = [digests(paths) for paths in self._paths_by_part(self.parts())]
        return np.sort(np.concatenate([digests(()), *found]))

    def remove_doubled(self) -> int:
        """Write those parts again, without the row, that have a path which an earlier part has.

        That is so where a manifest names a file twice, or where a run was taken over as it wrote a part.

        Returns
        -------
        int
            How many rows were removed.
        """
        parts = self.parts()
        listed = [digests(paths) for paths in self._paths_by_part(parts)]
        if not listed:
            return 0
        joined = np.concatenate(listed)
        _, first = np.unique(joined, return_index=True)
        if len(first) == len(joined):
            return 0
        is_first = np.zeros(len(joined), bool)
        is_first[first] = True
        start = 0
        for part, own in zip(parts, listed, strict=True):
            keep, start = is_first[start : start + len(own)], start + len(own)
            if not keep.all():
                self._rewrite(part, keep)
        return int(len(joined) - len(first))

    def _rewrite(self, part: str, keep: npt.NDArray[np.bool_]) -> None:
        import pyarrow
        from pyarrow import parquet

        with storage_errors(part), self.location.filesystem.open(part, "rb") as stream:
            rows = parquet.read_table(stream, use_threads=False, pre_buffer=False)
        # The new part first: a kill between the two leaves a doubled row, which the next run removes.
        self.write(rows.filter(pyarrow.array(keep)), replaced=part)
        with storage_errors(part):
            self.location.filesystem.rm_file(part)

    def _paths_by_part(self, parts: Sequence[str]) -> Iterable[list[bytes]]:
        with ThreadPoolExecutor(_READERS) as readers:
            yield from readers.map(self._paths, parts)

    def _paths(self, part: str) -> list[bytes]:
        import pyarrow
        from pyarrow import parquet

        try:
            with storage_errors(part), self.location.filesystem.open(part, "rb") as stream:
                file = parquet.ParquetFile(stream)
                check_schema(file.schema_arrow, part)
                # Without Arrow's threads: one that still holds a buffer of Python when the interpreter ends
                # crashes the process.
                return row_paths(file.read(columns=["path", "path_bytes"], use_threads=False))
        except GenrescopeError as failure:
            if not isinstance(failure.__context__, pyarrow.ArrowInvalid):
                raise
            raise DataError(
                "dataset_invalid",
                f"{part}: damaged: {failure.__context__}",
                "remove it: its rows are then classified again",
            ) from None


def row_paths(rows: pyarrow.Table) -> list[bytes]:
    """Return the paths of rows, as `os.fsencode` gives them.

    Parameters
    ----------
    rows : pyarrow.Table
        With the columns ``path`` and ``path_bytes``.
    """
    pairs = zip(rows["path"].to_pylist(), rows["path_bytes"].to_pylist(), strict=True)
    return [path.encode() if other is None else other for path, other in pairs]
