"""The rows of Parquet files: their schema and its version, and entries from and to Arrow tables.

A library's export and the parts that a cluster writes have the same columns, so that either can be read by
the same program, and imported into a library.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrescope.errors import DataError, missing_extra
from genrescope.library.records import COLUMNS, LibraryEntry

if TYPE_CHECKING:
    import pyarrow

# Grows where the meaning or type of a column changes, or one goes; a new column alone does not change it.
SCHEMA_VERSION = 1
# The key of the version in the metadata of a file.
SCHEMA_KEY = b"genrescope.schema"
# Rows that are in memory at a time while a file is read.
_BATCH_ROWS = 5_000


@dataclass(frozen=True)
class Traffic:
    """What reading a file over the network took.

    Attributes
    ----------
    bytes_read : int
        Bytes that were fetched.
    requests : int
        Requests that were made for them.
    """

    bytes_read: int
    requests: int


def parquet_schema() -> pyarrow.Schema:
    """Return the schema of the rows, with its version in the metadata; docs/scale.md lists the columns.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise missing_extra("parquet", "pyarrow") from None
    number, text = pyarrow.float64(), pyarrow.string()
    span = pyarrow.struct([("start", number), ("end", number), ("genre", text), ("score", number)])
    kinds = {
        "score": number, "seconds": number, "scanned": number, "unsure": pyarrow.bool_(),
        "music": number, "not_music": pyarrow.bool_(), "genre_set": pyarrow.list_(text),
        "excerpts": pyarrow.bool_(), "missing": pyarrow.bool_(), "sample_rate": pyarrow.int32(),
        "channels": pyarrow.int32(), "size": pyarrow.int64(), "mtime_ns": pyarrow.int64(),
        "scores": pyarrow.map_(text, number), "styles": pyarrow.map_(text, number),
        "flags": pyarrow.list_(text), "timeline": pyarrow.list_(span),
    }  # fmt: skip
    columns = [(name, kinds.get(name, text)) for name in COLUMNS]
    columns += [
        ("path_bytes", pyarrow.binary()),
        ("bytes_read", pyarrow.int64()),
        ("requests", pyarrow.int64()),
    ]
    return pyarrow.schema(columns, metadata={SCHEMA_KEY: str(SCHEMA_VERSION).encode()})


def entries_to_table(
    entries: Iterable[LibraryEntry], traffic: Sequence[Traffic | None] = ()
) -> pyarrow.Table:
    """Return entries as a table of `parquet_schema`.

    Parameters
    ----------
    entries : iterable of LibraryEntry
    traffic : sequence of Traffic or None
        What was fetched for each of them; none, of files that were not read over the network.
    """
    import pyarrow

    listed = [_row(entry) for entry in entries]
    for row, fetched in zip(listed, traffic, strict=False):
        if fetched is not None:
            row |= {"bytes_read": fetched.bytes_read, "requests": fetched.requests}
    return pyarrow.Table.from_pylist(listed, schema=parquet_schema())


def table_to_entries(table: pyarrow.Table) -> list[LibraryEntry]:
    """Return the entries that `entries_to_table` made a table of, equal to these.

    Parameters
    ----------
    table : pyarrow.Table
        Further columns are ignored.

    Raises
    ------
    DataError
        ``dataset_invalid``: a column is missing, or a value of another kind.
    """
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise _foreign("a table", f"it has no column {missing[0]!r}")
    try:
        return [_entry(row) for row in table.to_pylist(maps_as_pydicts="strict")]
    except (AttributeError, KeyError, TypeError, ValueError) as reason:
        raise _foreign("a table", f"{type(reason).__name__}: {reason}") from None


def read_parquet(path: Path) -> Iterator[list[LibraryEntry]]:
    """Read a Parquet file of this schema, some thousand rows at a time.

    Parameters
    ----------
    path : Path
        Of the file.

    Yields
    ------
    list of LibraryEntry

    Raises
    ------
    DataError
        ``dataset_not_found``; ``dataset_invalid``: no Parquet file, or none with these rows.
    MissingDependencyError
        ``missing_dependency``: pyarrow is not installed.
    """
    parquet_schema()
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            check_schema(file.schema_arrow, str(path))
            for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
                yield table_to_entries(pyarrow.Table.from_batches([batch]))
    except FileNotFoundError:
        raise DataError("dataset_not_found", f"{path}: no such file", "check the spelling") from None
    except (OSError, pyarrow.ArrowInvalid) as reason:
        raise _foreign(str(path), str(reason).splitlines()[0]) from None


def check_schema(schema: pyarrow.Schema, name: str) -> None:
    """Check that a file has rows that this version of the package understands.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the file.
    name : str
        What the file is called in errors.

    Raises
    ------
    DataError
        ``dataset_invalid``: another kind of file, or of a later version.
    """
    missing = [column for column in COLUMNS if column not in schema.names]
    if missing:
        raise _foreign(name, f"it has no column {missing[0]!r}")
    version = int((schema.metadata or {}).get(SCHEMA_KEY, b"1"))
    if version > SCHEMA_VERSION:
        raise _foreign(name, f"its schema is version {version}, this genrescope reads {SCHEMA_VERSION}")


def _foreign(name: str, why: str) -> DataError:
    return DataError(
        "dataset_invalid",
        f"{name}: not rows of genrescope: {why}",
        "give Parquet files that 'cluster classify' or 'library export' wrote",
    )


def _row(entry: LibraryEntry) -> dict[str, Any]:
    row = {name: _arrow(value) for name, value in entry.to_columns().items()}
    if row["path"] != entry.path:
        row["path_bytes"] = os.fsencode(entry.path)
    return row


def _arrow(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.items())
    # Parquet's text is UTF-8: other bytes of a file name are shown as such.
    return os.fsencode(value).decode("utf8", "backslashreplace") if isinstance(value, str) else value


def _entry(row: dict[str, Any]) -> LibraryEntry:
    if row.get("path_bytes") is not None:
        shown, row["path"] = row["path"], os.fsdecode(row["path_bytes"])
        for name in ("message", "hint"):
            row[name] = row[name] and row[name].replace(shown, row["path"])
    return LibraryEntry.from_columns(row)
