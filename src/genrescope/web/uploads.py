"""Uploads: a request's body in a temporary file, bounded while it is read, and removed in any case."""

from __future__ import annotations

import asyncio
import atexit
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from genrescope.errors import GenrescopeError, WriteError
from genrescope.web.settings import Settings

UPLOAD_FIELD = "file"
UNNAMED = "<upload>"
_MAX_NAME_LENGTH = 255
# Before the rate of an upload is judged: connections begin slowly, above all those of phones.
_UPLOAD_GRACE_SECONDS = 5.0
_FORM_HINT = "send the file as the body, or as the multipart field 'file': curl -F file=@song.mp3 ..."


@dataclass(frozen=True)
class Upload:
    """A file that has arrived.

    Attributes
    ----------
    name : str
        What the client calls it; it is displayed and never used as a path.
    path : str
        Where this process and its workers can read it.
    size : int
        Size of the request's body in bytes.
    """

    name: str
    path: str
    size: int


@asynccontextmanager
async def receive_upload(
    request: Request, settings: Settings, name: str | None = None
) -> AsyncIterator[Upload]:
    """Read a request's body into a temporary file, which is removed after the block.

    Parameters
    ----------
    request : Request
        Its body is the file itself, or a multipart form with the file.
    settings : Settings
        ``max_upload_mb``, ``upload_timeout`` and ``min_upload_rate`` are used.
    name : str, optional
        Name of the file, in place of the form's.

    Yields
    ------
    Upload
        The file.

    Raises
    ------
    GenrescopeError
        ``upload_too_large``, ``upload_timeout``, ``upload_malformed``, ``write_failed``.
    """
    declared = request.headers.get("content-length", "")
    # Cut to 20 digits, since int() takes time that grows with the square of the length.
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > settings.max_upload_bytes:
        raise _too_large(settings)
    try:
        with _temporary_file() as file:
            body = _body_parser(request, file)
            size = await _read(request, body, settings)
            body.finish()
            file.flush()
            yield Upload(_display_name(name or body.name), _readable_path(file), size)
    except OSError as reason:
        raise _write_failed(reason) from None


async def _read(request: Request, body: _RawBody | _FormBody, settings: Settings) -> int:
    """Pass the body on as it arrives, within the limits, and return its size in bytes."""
    size = 0
    begin = asyncio.get_running_loop().time()
    last = begin + settings.upload_timeout
    try:
        async with asyncio.timeout_at(_deadline(begin, 0, settings)) as limit:
            async for chunk in request.stream():
                size += len(chunk)
                if size > settings.max_upload_bytes:
                    raise _too_large(settings)
                limit.reschedule(_deadline(begin, size, settings))
                body.write(chunk)
    except TimeoutError:
        if _deadline(begin, size, settings) < last:
            message = f"the upload came slower than {settings.min_upload_rate:g} KiB a second"
        else:
            message = f"the upload took longer than {settings.upload_timeout:g} s"
        hint = "send a smaller file, or use a faster connection"
        raise GenrescopeError("upload_timeout", message, hint) from None
    return size


def _deadline(begin: float, size: int, settings: Settings) -> float:
    """Return by when the next bytes must be there, if ``size`` are: each byte that comes moves it on."""
    last = begin + settings.upload_timeout
    if not settings.min_upload_rate:
        return last
    return min(last, begin + _UPLOAD_GRACE_SECONDS + size / settings.min_upload_bytes)


class _RawBody:
    """A body that is the file itself."""

    def __init__(self, file: IO[bytes]) -> None:
        self.name = ""
        self._file = file

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def finish(self) -> None:
        """Accept the body: the HTTP server has checked already that all of it arrived."""


class _FormBody:
    """A multipart body with one field, the file.

    The parser of python-multipart is driven directly, and not through starlette's ``request.form()``, which
    would read the whole body into a file of its own before any limit of ours applies.
    """

    def __init__(self, boundary: bytes, file: IO[bytes]) -> None:
        self.name = ""
        self._file = file
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._files = 0
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_end": self._on_end,
            },
        )

    def write(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as reason:
            raise _malformed(f"the form cannot be read: {reason}") from None

    def finish(self) -> None:
        if not self._complete:
            raise _malformed("the form ends too early")
        if not self._files:
            raise _malformed(f"the form has no field '{UPLOAD_FIELD}'")

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        field = options.get(b"name", b"").decode("utf8", "replace")
        if field != UPLOAD_FIELD:
            raise _malformed(
                f"the form has a field {field[:40]!r}; options belong in the address: ?timeline=true"
            )
        self._files += 1
        if self._files > 1:
            raise _malformed("the form has more than one file; send one request for each")
        self.name = options.get(b"filename", b"").decode("utf8", "replace")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._file.write(data[start:end])

    def _on_end(self) -> None:
        self._complete = True


def _body_parser(request: Request, file: IO[bytes]) -> _RawBody | _FormBody:
    """Choose how to read a body by its content type; any that is not a form is the file itself."""
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    if content_type != b"multipart/form-data":
        return _RawBody(file)
    try:
        return _FormBody(options[b"boundary"], file)
    except (KeyError, FormParserError):
        raise _malformed("the form's boundary is missing or invalid") from None


@contextmanager
def _temporary_file() -> Iterator[IO[bytes]]:
    """Open a temporary file.

    It has no name where the system allows that: then even a server that is killed leaves no file behind.
    """
    if _supports_unnamed_files():
        with tempfile.TemporaryFile(prefix="genrescope-") as file:
            yield file
        return
    # Windows lets no worker open a file that vanishes when it is closed: this one is removed here.
    named = tempfile.NamedTemporaryFile(prefix="genrescope-", delete=False)  # noqa: SIM115
    try:
        with named:
            yield named
    finally:
        _remove(named.name)


def _remove(name: str, *, again: bool = True) -> None:
    try:
        Path(name).unlink(missing_ok=True)
    except OSError:
        # Windows removes no file that a worker has open; when this process ends, they have ended.
        if again:
            atexit.register(partial(_remove, name, again=False))


def _readable_path(file: IO[bytes]) -> str:
    """Return a path by which this process and its workers can open a file, also one without a name."""
    return f"/proc/{os.getpid()}/fd/{file.fileno()}" if _supports_unnamed_files() else str(file.name)


def _supports_unnamed_files() -> bool:
    return Path("/proc/self/fd").is_dir()


def _display_name(name: str) -> str:
    """Return a name that can be displayed anywhere: one line, of bounded length, never empty."""
    printable = (letter if letter.isprintable() else "\ufffd" for letter in name[:_MAX_NAME_LENGTH])
    return "".join(printable) or UNNAMED


def _too_large(settings: Settings) -> GenrescopeError:
    return GenrescopeError(
        "upload_too_large",
        f"the upload is larger than the {settings.max_upload_mb:g} MiB that are allowed",
        "send a shorter excerpt, or a compressed format such as mp3, ogg or flac",
    )


def _malformed(message: str) -> GenrescopeError:
    return GenrescopeError("upload_malformed", message, _FORM_HINT)


def _write_failed(reason: OSError) -> WriteError:
    return WriteError(
        "write_failed",
        f"the server cannot store the upload: {os.strerror(reason.errno or 0)}",
        "try again later; if it fails again, tell the operator of the server",
    )
