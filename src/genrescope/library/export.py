"""A library's rows for other programs: CSV, JSON lines, Parquet, and playlists."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

from genrescope.errors import missing_extra
from genrescope.types import STYLE_THRESHOLD
from genrescope.utils import write_atomic

Row = dict[str, Any]
By = Literal["genre", "style"]

COLUMNS = (
    "path", "genre", "score", "unsure", "scores", "styles", "seconds", "format", "codec", "sample_rate",
    "channels", "size", "mtime_ns", "hash", "model_name", "model", "excerpts", "flags", "timeline", "error",
    "message", "hint", "scanned", "gone",
)  # fmt: skip
_NESTED = ("scores", "styles", "flags", "timeline")


def write_jsonl(rows: Iterable[Row], stream: TextIO) -> None:
    """Write one JSON object per line, all columns."""
    for row in rows:
        stream.write(json.dumps({name: row[name] for name in COLUMNS}, ensure_ascii=False) + "\n")


def write_csv(rows: Iterable[Row], stream: TextIO) -> None:
    """Write a header and one line per row; what has parts of its own stands as JSON in its cell."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row, name) for name in COLUMNS] for row in rows)


def write_parquet(rows: Iterable[Row], path: Path) -> None:
    """Write a Parquet file: scores and styles as maps from name to number, flags as a list.

    Raises
    ------
    MissingDependencyError, WriteError
        ``missing_dependency`` without pyarrow; ``write_failed``.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise missing_extra("parquet", "pyarrow") from None
    number, text = pyarrow.float64(), pyarrow.string()
    span = pyarrow.struct([("start", number), ("end", number), ("genre", text), ("score", number)])
    kinds = {
        "score": number, "seconds": number, "scanned": number, "unsure": pyarrow.bool_(),
        "excerpts": pyarrow.bool_(), "gone": pyarrow.bool_(), "sample_rate": pyarrow.int32(),
        "channels": pyarrow.int32(), "size": pyarrow.int64(), "mtime_ns": pyarrow.int64(),
        "scores": pyarrow.map_(text, number), "styles": pyarrow.map_(text, number),
        "flags": pyarrow.list_(text), "timeline": pyarrow.list_(span),
    }  # fmt: skip
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in COLUMNS])
    listed = [{name: _arrow(row[name]) for name in COLUMNS} for row in rows]
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(listed, schema=schema), sink)
    write_atomic(path, sink.getvalue().to_pybytes())


def write_playlists(rows: Iterable[Row], folder: Path, *, by: By = "genre") -> list[Path]:
    """Write one M3U8 playlist for each genre, or for each style, of which a track may have several.

    Paths are absolute. Files without an answer, and those whose names no playlist can hold, are left out.
    """
    lists: dict[str, list[str]] = {}
    for row in rows:
        if row["error"] is not None or not _fits_a_line(row["path"]):
            continue
        for name in _labels(row, by):
            lists.setdefault(name, []).append(_entry(row))
    written = []
    for name, entries in sorted(lists.items()):
        path = folder / f"{name.replace('/', '-')}.m3u8"
        write_atomic(path, "#EXTM3U\n" + "".join(entries))
        written.append(path)
    return written


def _labels(row: Row, by: By) -> Sequence[str]:
    if by == "genre":
        return [row["genre"]]
    return [name for name, chance in row["styles"].items() if chance >= STYLE_THRESHOLD]


def _entry(row: Row) -> str:
    title = Path(row["path"]).stem
    return f"#EXTINF:{round(row['seconds'])},{title}\n{row['path']}\n"


def _fits_a_line(path: str) -> bool:
    """Whether a path is UTF-8 and of one line, as a playlist needs it."""
    try:
        path.encode("utf8")
    except UnicodeEncodeError:
        return False
    return "\n" not in path and "\r" not in path


def _cell(row: Row, name: str) -> Any:
    value = row[name]
    if value is None:
        return ""
    if name in _NESTED:
        return json.dumps(value, ensure_ascii=False)
    return int(value) if isinstance(value, bool) else value


def _arrow(value: Any) -> Any:
    if isinstance(value, dict):
        return list(value.items())
    # Parquet's text is UTF-8: other bytes of a file name are shown as such.
    return os.fsencode(value).decode("utf8", "backslashreplace") if isinstance(value, str) else value
