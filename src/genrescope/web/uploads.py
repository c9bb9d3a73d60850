"""What a client sends, into a temporary file: counted while it is read, and gone whatever happens."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from genrescope.errors import GenrescopeError, WriteError
from genrescope.web.settings import Settings

FIELD = "file"
NAMELESS = "<upload>"
_LONGEST_NAME = 255
_AS_FORM = f"send the file as the body, or as the multipart field '{FIELD}': curl -F {FIELD}=@song.mp3 ..."


@dataclass(frozen=True)
class Upload:
    """A file that has arrived.

    Attributes
    ----------
    name : str
        What the client calls it; only ever shown.
    path : str
        Where this process and its workers can read it.
    size : int
        Of the request's body, in bytes.
    """

    name: str
    path: str
    size: int


@asynccontextmanager
async def received(request: Request, settings: Settings, name: str | None = None) -> AsyncIterator[Upload]:
    """Read a request's body into a temporary file, which is gone after the block.

    Raises
    ------
    GenrescopeError
        ``upload_too_large``, ``upload_timeout``, ``upload_malformed``, ``write_failed``.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > settings.max_bytes:
        raise _too_large(settings)
    try:
        with _temporary() as file:
            body = _body(request, file)
            size = await _read(request, body, settings)
            body.finish()
            file.flush()
            yield Upload(_shown(name or body.name), _path(file), size)
    except OSError as reason:
        raise _cannot_keep(reason) from None


async def _read(request: Request, body: _Raw | _Form, settings: Settings) -> int:
    """Pass the body on as it arrives, within the limits, and return its size."""
    size = 0
    try:
        async with asyncio.timeout(settings.upload_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > settings.max_bytes:
                    raise _too_large(settings)
                body.write(chunk)
    except TimeoutError:
        raise GenrescopeError(
            "upload_timeout",
            f"the upload took longer than {settings.upload_seconds:g} s",
            "send a smaller file, or use a faster connection",
        ) from None
    return size


class _Raw:
    """A body that is the file itself."""

    def __init__(self, file: IO[bytes]) -> None:
        self.name = ""
        self._file = file

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def finish(self) -> None:
        """A raw body is whole when the connection says so."""


class _Form:
    """A multipart body with one field, the file."""

    def __init__(self, boundary: bytes, file: IO[bytes]) -> None:
        self.name = ""
        self._file = file
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._parts = 0
        self._whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._open,
                "on_part_data": self._on_data,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as reason:
            raise _broken(f"the form cannot be read: {reason}") from None

    def finish(self) -> None:
        if not self._whole:
            raise _broken("the form ends too early")
        if not self._parts:
            raise _broken(f"the form has no field '{FIELD}'")

    def _begin(self) -> None:
        self._headers = {}

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        field = options.get(b"name", b"").decode("utf8", "replace")
        if field != FIELD:
            raise _broken(
                f"the form has a field {field[:40]!r}; options belong in the address: ?timeline=true"
            )
        self._parts += 1
        if self._parts > 1:
            raise _broken("the form has more than one file; send one request for each")
        self.name = options.get(b"filename", b"").decode("utf8", "replace")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._file.write(data[start:end])

    def _end(self) -> None:
        self._whole = True


def _body(request: Request, file: IO[bytes]) -> _Raw | _Form:
    """Choose how to read a body by its content type; what is no form is the file itself."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        return _Raw(file)
    try:
        return _Form(options[b"boundary"], file)
    except (KeyError, FormParserError):
        raise _broken("the form's boundary is missing or makes no sense") from None


def _temporary() -> IO[bytes]:
    """Open a file that has no name where the system allows it: then even a killed server leaves nothing."""
    kind: Any = tempfile.TemporaryFile if _nameless_is_enough() else tempfile.NamedTemporaryFile
    file: IO[bytes] = kind(prefix="genrescope-")
    return file


def _path(file: IO[bytes]) -> str:
    return f"/proc/{os.getpid()}/fd/{file.fileno()}" if _nameless_is_enough() else str(file.name)


def _nameless_is_enough() -> bool:
    return Path("/proc/self/fd").is_dir()


def _shown(name: str) -> str:
    """Return a name that can be shown anywhere: one line, not too long, never empty."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in name[:_LONGEST_NAME]) or NAMELESS


def _too_large(settings: Settings) -> GenrescopeError:
    return GenrescopeError(
        "upload_too_large",
        f"the upload is larger than the {settings.max_megabytes:g} MiB that are allowed",
        "send a shorter piece, or a compressed format such as mp3, ogg or flac",
    )


def _broken(what: str) -> GenrescopeError:
    return GenrescopeError("upload_malformed", what, _AS_FORM)


def _cannot_keep(reason: OSError) -> WriteError:
    return WriteError(
        "write_failed",
        f"the server cannot keep the upload: {os.strerror(reason.errno or 0)}",
        "try again later; if it fails again, tell whoever runs the server",
    )
