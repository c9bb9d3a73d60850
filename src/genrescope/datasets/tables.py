"""CSV files: rows with their line numbers, and tables of features."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from genrescope.errors import DataError
from genrescope.types import Float64Array
from genrescope.utils import did_you_mean

_MEANS = (
    "chroma_stft_mean",
    "spectral_centroid_mean",
    "spectral_bandwidth_mean",
    "rolloff_mean",
    "zero_crossing_rate_mean",
)
MAX_CSV_BYTES = 1 << 28
_AUDIO = (".wav", ".au", ".mp3", ".flac", ".ogg")
# Columns that say what a row is, and not how it sounds. GTZAN's table has the number of samples as length.
_NOT_FEATURES = frozenset({"filename", "label", "length", "group", "split", "fold", "not_judged"})
_MFCC_MEANS = tuple(f"mfcc{number}_mean" for number in range(1, 21))


class Row(NamedTuple):
    """A row of a CSV: the number of the ``line`` it ends on, and its ``values`` by column name."""

    line: int
    values: dict[str, str]


@dataclass(frozen=True, eq=False)
class Table:
    """Features of tracks.

    Attributes
    ----------
    tracks : tuple of str
        Ids: file names without their audio suffix.
    labels : tuple of str
        Genres; empty strings where absent.
    columns : tuple of str
        Names of the features: columns of numbers, but for ``length``, ``split`` and ``fold``.
    values : ndarray, shape (tracks, columns), float64
    """

    tracks: tuple[str, ...]
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float64Array


def read_rows(path: Path, required: Sequence[str]) -> list[Row]:
    """Read a CSV with a header line.

    Names of columns and values are stripped of surrounding space.

    Parameters
    ----------
    path : Path
        In UTF-8, with or without a byte order mark.
    required : sequence of str
        Columns that must be there; further ones are kept.

    Returns
    -------
    list of Row
        Blank lines left out.

    Raises
    ------
    DataError
        ``dataset_not_found``; ``dataset_invalid`` with the line number, also for text that is not UTF-8;
        ``dataset_empty`` without a row below the header.
    """
    # Strict, because the csv module otherwise reads a stray quote as text, and shifts all that follows.
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header, required)
        for fields in reader:
            if len(fields) not in (0, len(header)):
                raise _malformed(path, reader.line_num, f"{len(fields)} fields under {len(header)} columns")
            if fields:
                rows.append(Row(reader.line_num, dict(zip(header, map(str.strip, fields), strict=True))))
    except csv.Error as reason:
        raise _malformed(path, reader.line_num, str(reason)) from None
    if not rows:
        raise DataError("dataset_empty", f"{path}: no rows below the header", "list at least two genres")
    return rows


def read_table(path: Path) -> Table:
    """Read a table of features, such as GTZAN's widely used ``features_30_sec.csv``.

    Parameters
    ----------
    path : Path
        A CSV. The column ``filename`` names the track, ``label`` (optional) its genre; other columns are
        numbers, or texts throughout, which are no features.

    Returns
    -------
    Table

    Raises
    ------
    DataError
        As ``read_rows``; ``dataset_invalid`` also for a value that is not a finite number.
    """
    return table_from_rows(path, read_rows(path, required=("filename",)))


def table_from_rows(path: Path, rows: Sequence[Row]) -> Table:
    """Build a table of features from the rows of a CSV.

    Parameters
    ----------
    path : Path
        For messages.
    rows : sequence of Row
        At least one, with the column ``filename``.

    Raises
    ------
    DataError
        ``dataset_invalid`` for a value that is not a finite number.
    """
    columns = tuple(name for name in rows[0].values if name not in _NOT_FEATURES and not _is_text(name, rows))
    return Table(
        tracks=tuple(_track_id(row.values["filename"]) for row in rows),
        labels=tuple(row.values.get("label", "") for row in rows),
        columns=columns,
        values=np.array([_numbers(path, row, columns) for row in rows]).reshape(len(rows), len(columns)),
    )


def paper_means(table: Table) -> Float64Array:
    """Return the six means that the paper's SVM and logistic regression are fed.

    Parameters
    ----------
    table : Table
        With the columns of ``features_30_sec.csv``.

    Returns
    -------
    ndarray, shape (tracks, 6), float64
        Chroma, spectral centroid (Hz), spectral bandwidth (Hz), roll-off (Hz), zero-crossing rate, and the
        mean of MFCC 1 to 20, the columns of `genrescope.features.PAPER_MEANS`.

    Raises
    ------
    DataError
        ``dataset_invalid`` where the table lacks a column.
    """
    places = {name: place for place, name in enumerate(table.columns)}
    missing = [name for name in (*_MEANS, *_MFCC_MEANS) if name not in places]
    if missing:
        raise DataError(
            "dataset_invalid",
            f"the table has no column {', '.join(missing)}",
            "give a table with the columns of features_30_sec.csv",
        )
    means = table.values[:, [places[name] for name in _MEANS]]
    mfcc = table.values[:, [places[name] for name in _MFCC_MEANS]].mean(axis=1)
    return np.column_stack([means, mfcc])


def column_values(table: Table, columns: Sequence[str], path: Path) -> Float64Array:
    """Return columns of a table, in the order asked for.

    Parameters
    ----------
    table : Table
    columns : sequence of str
        Their names.
    path : Path
        Of the table, for messages.

    Returns
    -------
    ndarray, shape (tracks, columns), float64

    Raises
    ------
    DataError
        ``dataset_invalid`` where the table lacks a column, with the nearest name that it has.
    """
    places = {name: place for place, name in enumerate(table.columns)}
    missing = [name for name in columns if name not in places]
    if missing or not columns:
        hint = did_you_mean(missing[0], table.columns) if missing else "give a table with columns of numbers"
        what = f"no column of numbers is named {', '.join(missing)}" if missing else "no column of numbers"
        raise DataError("dataset_invalid", f"{path}: {what}", hint)
    return table.values[:, [places[name] for name in columns]]


def table_header(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of a CSV.

    Parameters
    ----------
    path : Path
        The file, whose first line has the names.

    Raises
    ------
    DataError
        As of `read_rows`.
    """
    first = next(iter(read_text(path).splitlines()), "")
    try:
        return tuple(name.strip() for name in next(csv.reader([first]), []))
    except csv.Error as reason:
        raise _malformed(path, 1, str(reason)) from None


def read_text(path: Path) -> str:
    """Return the text of a CSV or TSV file, as `read_rows` takes it.

    Parameters
    ----------
    path : Path
        In UTF-8, with or without a byte order mark.

    Raises
    ------
    DataError
        ``dataset_not_found``; ``dataset_invalid`` for what is too large or is not text.
    """
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise _malformed(path, 1, f"the file is larger than {MAX_CSV_BYTES >> 20} MB")
        # "-sig": spreadsheets begin UTF-8 with a byte order mark, which would be part of the first name.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise DataError(
            "dataset_invalid",
            f"{path}: byte {reason.start} is not UTF-8 text",
            "save the CSV as UTF-8; for audio give the folder, or a CSV that lists the files",
        ) from None
    except OSError as reason:
        raise DataError(
            "dataset_not_found", f"{path}: cannot be read: {reason.strerror or reason}", "check the path"
        ) from None
    if "\0" in text:
        raise _malformed(path, text[: text.index("\0")].count("\n") + 1, "a NUL byte")
    return text


def _check_header(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in names]
    if missing:
        found = ", ".join(names) or "nothing"
        raise _malformed(path, 1, f"no column {' and no column '.join(missing)}; found {found}")
    if len(set(names)) < len(names):
        raise _malformed(path, 1, "a column name occurs twice")


def _malformed(path: Path, line: int, what: str) -> DataError:
    return DataError(
        "dataset_invalid",
        f"{path}, line {line}: {what}",
        "write a comma-separated file with a header line and one row per track",
    )


def _track_id(filename: str) -> str:
    name = PurePosixPath(filename)
    return name.stem if name.suffix.lower() in _AUDIO else filename


def _is_text(column: str, rows: Sequence[Row]) -> bool:
    """Return whether a column has a text in every row; with one number or gap it is a damaged one."""
    return all(row.values[column] and not _is_number(row.values[column]) for row in rows)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(path: Path, row: Row, columns: Sequence[str]) -> list[float]:
    try:
        numbers = [float(row.values[name]) for name in columns]
    except ValueError as reason:
        raise _malformed(path, row.line, str(reason)) from None
    if not np.isfinite(numbers).all():
        raise _malformed(path, row.line, "a value that is not finite")
    return numbers
