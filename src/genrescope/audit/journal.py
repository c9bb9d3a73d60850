"""The journal of an audit: what is known of each file, so that an interrupted audit is resumed.

One JSON object a line, appended as soon as a file is done. A kill loses at most the line that was being
written; lines that cannot be read are skipped. A file counts as known while its size and its time of
modification are those of its line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from genrescope.audit.records import FileResult
from genrescope.errors import write_failed
from genrescope.utils import parse_json

# Raised whenever measurements or thresholds change.
_VERSION = 1


class Journal:
    """Results by path, in a file that grows.

    Parameters
    ----------
    path : Path or None
        None keeps nothing.
    settings : mapping of str to str
        What the results depend on besides the files, such as the extractors; a journal with other settings is
        begun anew.

    Raises
    ------
    WriteError
        ``write_failed``.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, str]) -> None:
        self._path = path
        self._head = {"journal": _VERSION, "settings": dict(settings)}
        # Where the line of each path begins: 20,000 results would take some hundred megabytes.
        self._known: dict[str, tuple[int, int, int]] = {}
        self._file: IO[bytes] | None = None
        if path is not None:
            try:
                self._open(path)
            except OSError as reason:
                raise write_failed(path, reason) from None

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and self._read(path):
            # Behind a line that was cut, a new one would be lost, too.
            self._file = path.open("r+b")
            self._file.seek(0, os.SEEK_END)
            if self._file.tell():
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")
            return
        self._known.clear()
        self._file = path.open("w+b")
        self._write(self._head)

    def _read(self, path: Path) -> bool:
        """Index the lines of a journal; return whether it has the same settings."""
        position = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                values = _parsed(line)
                if number == 0 and values != self._head:
                    return False
                if number and "path" in values:
                    key = str(values["path"])
                    self._known[key] = position, _integer(values, "size"), _integer(values, "mtime_ns")
                position += len(line)
        return position > 0

    def find(self, path: str, size: int, mtime_ns: int) -> FileResult | None:
        """Return the result of a file, or None where it is not known, or has changed.

        Parameters
        ----------
        path : str
        size : int
            In bytes.
        mtime_ns : int
            In nanoseconds since 1970.
        """
        known = self._known.get(path)
        if known is None or known[1:] != (size, mtime_ns) or self._file is None:
            return None
        self._file.flush()
        self._file.seek(known[0])
        try:
            return FileResult.from_dict(_parsed(self._file.readline())["result"])
        except (ValueError, KeyError):
            return None
        finally:
            self._file.seek(0, os.SEEK_END)

    def add(self, path: str, size: int, mtime_ns: int, result: FileResult) -> None:
        """Append the result of a file.

        Parameters
        ----------
        path : str
        size : int
            In bytes.
        mtime_ns : int
            In nanoseconds since 1970.
        result : FileResult

        Raises
        ------
        WriteError
            ``write_failed``.
        """
        self._write({"path": path, "size": size, "mtime_ns": mtime_ns, "result": result.to_dict()})

    def _write(self, values: dict[str, Any]) -> None:
        if self._file is None or self._path is None:
            return
        try:
            self._file.write(json.dumps(values).encode() + b"\n")
            self._file.flush()
        except OSError as reason:
            raise write_failed(self._path, reason) from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        values = parse_json(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _integer(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else -1
