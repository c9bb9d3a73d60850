"""What is to be classified: folders, globs, files and manifests, as paths and addresses."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from genrescope import audio, utils
from genrescope.distributed.storage import (
    Location,
    StorageOptions,
    is_remote,
    local_path,
    locate,
    storage_errors,
)
from genrescope.errors import ConfigError, DataError, GenrescopeError
from genrescope.types import AUDIO_SUFFIXES

if TYPE_CHECKING:
    import pyarrow

ManifestKind = Literal["parquet", "csv", "json"]
_MANIFESTS: dict[str, ManifestKind] = {
    ".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip
# Names of the column that are looked for where none is given.
_COLUMNS = ("path", "uri", "url", "file")
_BATCH_ROWS = 5_000


@dataclass(frozen=True)
class Manifest:
    """A table with a column of paths.

    Attributes
    ----------
    location : Location
        Of the file, or of several of one kind in the form of a glob.
    files : tuple of str
        The files, as paths in the file system.
    kind : {"parquet", "csv", "json"}
    column : str
        Holds local paths or addresses; relative ones are those from the folder of the manifest.
    """

    location: Location
    files: tuple[str, ...]
    kind: ManifestKind
    column: str

    @property
    def folder(self) -> str:
        """The folder that relative paths start from."""
        return self.location.uri.rpartition("/")[0]


def open_source(
    source: str, column: str | None = None, options: StorageOptions | None = None
) -> Manifest | list[str]:
    """Return a manifest, its column checked, or the audio files that a folder, glob or name leads to.

    Parameters
    ----------
    source : str
        A local path or an address.
    column : str, optional
        Of a manifest; None: ``path``, ``uri``, ``url`` or ``file``, or its only column.
    options : mapping, optional
        For the file system.

    Raises
    ------
    DataError
        ``dataset_not_found``, ``dataset_empty``; ``dataset_invalid``: a manifest that cannot be read.
    ConfigError
        ``invalid_argument``: a manifest without the column, or a column for what is no manifest.
    StorageError, MissingDependencyError
        As `genrescope.distributed.storage.storage_errors`.
    """
    location = locate(source, options)
    kind = _MANIFESTS.get(os.path.splitext(location.path)[1].lower())  # noqa: PTH122
    if kind is not None:
        return _open_manifest(location, kind, column)
    if column is not None:
        raise ConfigError(
            "invalid_argument",
            f"--column for {source}, which is no manifest",
            f"name a file that ends in {', '.join(_MANIFESTS)}, or leave --column out",
        )
    with storage_errors(location.uri):
        files = list(_remote_files(location) if is_remote(source) else _local_files(location.path))
    if not files:
        raise DataError("dataset_empty", f"{source}: no audio files", "name another folder, or a manifest")
    return files


def _local_files(path: str) -> Iterator[str]:
    names = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else [path]  # noqa: PTH207
    if not names or not os.path.exists(names[0]):  # noqa: PTH110
        raise FileNotFoundError
    for found in audio.discover(names):
        if found.kind == "audio":
            yield found.path


def _remote_files(location: Location) -> Iterator[str]:
    filesystem, path = location.filesystem, location.path
    if location.uri.startswith(("http://", "https://")):
        # A web server has no listing; whether the file is there, its row will tell.
        yield location.uri
        return
    if glob.has_magic(path):
        found = filesystem.glob(path)
    elif filesystem.isfile(path):
        yield location.uri
        return
    else:
        found = filesystem.find(path)
        if not found and not filesystem.exists(path):
            raise FileNotFoundError
    for name in found:
        base = name.rpartition("/")[2]
        if os.path.splitext(base)[1].lower() in AUDIO_SUFFIXES and not base.startswith("."):  # noqa: PTH122
            yield filesystem.unstrip_protocol(name)


def _open_manifest(location: Location, kind: ManifestKind, column: str | None) -> Manifest:
    with storage_errors(location.uri):
        magic = glob.has_magic(location.path)
        files = sorted(location.filesystem.glob(location.path)) if magic else [location.path]
        if not files or not location.filesystem.exists(files[0]):
            raise FileNotFoundError
        columns = _columns(location, files[0], kind)
    return Manifest(location, tuple(files), kind, _chosen(columns, column, location.uri))


def _columns(location: Location, file: str, kind: ManifestKind) -> list[str]:
    """Return the columns of a manifest; of CSV and JSON, a few lines are read."""
    import pyarrow
    from pyarrow import csv, json, parquet

    try:
        with location.filesystem.open(file, "rb") as stream:
            if kind == "parquet":
                return list(parquet.ParquetFile(stream).schema_arrow.names)
            head = b"".join(islice(stream, 2))
        if not head:
            raise DataError("dataset_empty", f"{location.uri}: empty", "give a manifest with rows")
        reader = pyarrow.BufferReader(head)
        table = csv.read_csv(reader) if kind == "csv" else json.read_json(reader)
        return list(table.column_names)
    except pyarrow.ArrowInvalid as reason:
        raise _invalid(location.uri, kind, reason) from None


def _invalid(name: str, kind: ManifestKind, reason: Exception) -> DataError:
    return DataError(
        "dataset_invalid",
        f"{name}: no {kind} manifest: {str(reason).splitlines()[0]}",
        "give CSV with a header, one JSON object per line, or Parquet",
    )


def _chosen(columns: Sequence[str], column: str | None, name: str) -> str:
    if column is not None and column not in columns:
        raise ConfigError(
            "invalid_argument", f"{name} has no column {column!r}", utils.did_you_mean(column, columns)
        )
    known = [one for one in _COLUMNS if one in columns]
    chosen = column or next(iter(known), columns[0] if len(columns) == 1 else None)
    if chosen is None:
        raise ConfigError(
            "invalid_argument",
            f"{name}: none of its columns is known to hold paths",
            f"name one with --column: {', '.join(columns)}",
        )
    return chosen


def absolute(path: str, folder: str) -> str:
    """Return a path of a manifest as it is classified.

    Parameters
    ----------
    path : str
        An address, an absolute path, or one relative to ``folder``.
    folder : str
        A local path or an address.
    """
    if is_remote(path):
        return path
    path = local_path(path)
    return path if path.startswith("/") else f"{folder}/{path}"


def read_paths(source: Manifest | Sequence[str]) -> Iterator[list[str]]:
    """Yield what is to be classified, some thousand paths at a time, in order.

    Parameters
    ----------
    source : Manifest or sequence of str
        As of `open_source`. Of a manifest, only such a part is in memory.

    Raises
    ------
    DataError
        ``dataset_invalid``: a manifest that cannot be read to its end.
    StorageError
        As `genrescope.distributed.storage.storage_errors`.
    """
    if not isinstance(source, Manifest):
        for start in range(0, len(source), _BATCH_ROWS):
            yield list(source[start : start + _BATCH_ROWS])
        return
    import pyarrow

    try:
        with storage_errors(source.location.uri):
            for batch in _batches(source):
                paths = batch[source.column].to_pylist()
                yield [absolute(str(path), source.folder) for path in paths if path]
    except GenrescopeError as failure:
        if not isinstance(failure.__context__, pyarrow.ArrowInvalid):
            raise
        raise _invalid(source.location.uri, source.kind, failure.__context__) from None


def _batches(source: Manifest) -> Iterator[pyarrow.RecordBatch]:
    import pyarrow
    from pyarrow import csv, dataset
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    kind: Any = source.kind
    if kind == "csv":
        # Paths of digits are not numbers.
        convert = csv.ConvertOptions(column_types={source.column: pyarrow.string()})
        kind = dataset.CsvFileFormat(convert_options=convert)
    filesystem = PyFileSystem(FSSpecHandler(source.location.filesystem))
    table = dataset.dataset(list(source.files), filesystem=filesystem, format=kind)
    yield from table.to_batches(columns=[source.column], batch_size=_BATCH_ROWS, use_threads=False)
