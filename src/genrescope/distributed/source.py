"""What is to be classified: folders, globs, files and manifests, as a dataset with a column ``path``."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
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
from genrescope.errors import ConfigError, DataError
from genrescope.types import AUDIO_SUFFIXES

if TYPE_CHECKING:
    import pyarrow
    import ray.data

ManifestKind = Literal["parquet", "csv", "json"]
_MANIFESTS: dict[str, ManifestKind] = {
    ".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip
# Names of the column that are looked for where none is given.
_COLUMNS = ("path", "uri", "url", "file")
# Paths in a block of a listing. The first task gets work early, and a block has far less than Ray's limit.
_BLOCK_ROWS = 5_000


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
        raise DataError(
            "dataset_invalid",
            f"{location.uri}: no {kind} manifest: {str(reason).splitlines()[0]}",
            "give CSV with a header, one JSON object per line, or Parquet",
        ) from None


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


def to_dataset(source: Manifest | Iterable[str]) -> ray.data.Dataset:
    """Return a dataset with a column ``path``, bytes, since a path need not be UTF-8.

    Parameters
    ----------
    source : Manifest or iterable of str
        As of `open_source`. A manifest is read by tasks of the cluster, and not into the driver's memory.
    """
    import pyarrow
    import ray.data

    if not isinstance(source, Manifest):
        paths = iter(source)
        blocks = [paths_table(part) for part in iter(lambda: list(islice(paths, _BLOCK_ROWS)), [])]
        return ray.data.from_arrow(blocks)
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    # A task that reads holds no core, so that actors which have all of them do not keep it waiting.
    common: dict[str, Any] = {
        "filesystem": PyFileSystem(FSSpecHandler(source.location.filesystem)),
        "ray_remote_args": {"num_cpus": 0},
        "file_extensions": None,
    }
    files, column = list(source.files), source.column
    if source.kind == "parquet":
        dataset = ray.data.read_parquet(files, columns=[column], **common)
    elif source.kind == "csv":
        from pyarrow import csv

        convert = csv.ConvertOptions(include_columns=[column], column_types={column: pyarrow.string()})
        dataset = ray.data.read_csv(files, convert_options=convert, **common)
    else:
        dataset = ray.data.read_json(files, lines=True, **common)
    folder = source.folder

    def resolve(batch: pyarrow.Table) -> pyarrow.Table:
        return paths_table(absolute(str(one), folder) for one in batch[column].to_pylist() if one)

    return dataset.map_batches(resolve, batch_format="pyarrow", num_cpus=0)


def paths_table(paths: Iterable[str]) -> pyarrow.Table:
    """Return a table with the column ``path``, bytes, without the paths that come a second time.

    Parameters
    ----------
    paths : iterable of str
    """
    import pyarrow

    return pyarrow.table({"path": pyarrow.array(map(os.fsencode, dict.fromkeys(paths)), pyarrow.binary())})
