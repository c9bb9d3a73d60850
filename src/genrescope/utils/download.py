"""Files from the network: resumed where they were cut, checked, and in place whole or not at all.

A file that arrives is checked against its published SHA-256. Where none was published, the one of the first
download is kept beside the file and holds from then on: trust on first use, which guards against damage and
later changes, not against a first download that was already wrong.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from genrescope.errors import EnvironmentFailure, ModelError, write_failed
from genrescope.utils.files import write_atomic

if sys.platform != "win32":
    import fcntl

ATTEMPTS = 4
PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
PIECE_BYTES = 1 << 18
PASSING_STATUSES = (408, 429, 500, 502, 503, 504)


class TransferInterruptedError(Exception):
    """An attempt that brought less than the whole file; ``final`` where another one would not help."""

    def __init__(self, reason: object, *, final: bool = False) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.final = final


class Reply(NamedTuple):
    """What a server sends: the body from byte ``start`` on, of ``total`` bytes where it says so."""

    body: http.client.HTTPResponse
    start: int
    total: int | None


def download_file(url: str, target: Path, *, sha256: str | None = None) -> Path:
    """Return ``target``, fetched from ``url`` unless it is there already, and checked either way.

    What arrives is kept in ``target.part`` until it is complete; the next call goes on from there.

    Parameters
    ----------
    url : str
    target : Path
    sha256 : str, optional
        Of the file, in hexadecimal, or the first digits of it. None: as recorded in ``target.sha256`` by the
        first call.

    Raises
    ------
    EnvironmentFailure
        ``download_failed``: no network, or the server has no such file; ``write_failed``.
    ModelError
        ``model_corrupt``: the file is not the one that was published, or not the one fetched first.
    """
    try:
        if not target.exists():
            _bring(url, target, sha256)
        checksum = _checksum(target)
    except OSError as reason:
        raise write_failed(target, reason) from None
    if not _fits(checksum, sha256 or _recorded(target)):
        raise _damaged(target, checksum, f"delete it and {target.name}.sha256, and fetch it again from {url}")
    if sha256 is None and _recorded(target) is None:
        write_atomic(_beside(target, ".sha256"), f"{checksum}  {target.name}\n")
    return target


def _bring(url: str, target: Path, sha256: str | None) -> None:
    part = _beside(target, ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(target.parent):
        if target.exists():  # another process was faster
            return
        _complete(part, url, target, trusted=sha256 is not None)
        checksum = _checksum(part)
        if not _fits(checksum, sha256 or _recorded(target)):
            part.unlink()
            raise _damaged(target, checksum, f"try again; if it stays so, {url} holds another file now")
        part.replace(target)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Let one process at a time fetch into ``folder``, where the system can lock folders."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _recorded(target: Path) -> str | None:
    """Return the checksum that an earlier call left beside ``target``, as sha256sum would have."""
    record = _beside(target, ".sha256")
    words = record.read_text(encoding="ascii", errors="replace").split() if record.exists() else []
    return words[0] if words else None


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fits(checksum: str, expected: str | None) -> bool:
    return expected is None or checksum.startswith(expected.lower())


def _damaged(target: Path, checksum: str, hint: str) -> ModelError:
    return ModelError(
        "model_corrupt", f"{target}: its SHA-256 is not the one expected but {checksum[:16]}...", hint
    )


def _complete(part: Path, url: str, target: Path, *, trusted: bool) -> None:
    """Fetch what ``part`` lacks, in a few attempts, each going on where the last was cut."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _attempt(part, url, trusted=trusted)
            break
        except TransferInterruptedError as cut:
            if cut.final or attempt == ATTEMPTS:
                raise EnvironmentFailure(
                    "download_failed",
                    f"{url}: cannot be fetched: {cut}",
                    f"go online and try again (what arrived is kept), or put the file at {target} by hand",
                ) from None
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
    _beside(part, ".etag").unlink(missing_ok=True)


def _attempt(part: Path, url: str, *, trusted: bool) -> None:
    reply = _ask(part, url, trusted=trusted)
    with reply.body, part.open("ab") as stream:
        if reply.start < stream.tell():
            stream.truncate(reply.start)
        for piece in _pieces(reply.body):
            stream.write(piece)
    size = part.stat().st_size
    if reply.total is not None and size != reply.total:
        raise TransferInterruptedError(f"{size} of {reply.total} bytes have arrived")


def _ask(part: Path, url: str, *, trusted: bool) -> Reply:
    """Ask for what ``part`` lacks; for all of it where the rest might be that of another file."""
    note = _beside(part, ".etag")
    etag = note.read_text(encoding="latin1") if note.exists() else None
    have = part.stat().st_size if part.exists() and (etag or trusted) else 0
    headers = {"User-Agent": "genrescope", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        headers |= {"If-Range": etag} if etag else {}
    body = _open(Request(url, headers=headers), part)
    _note(note, body.headers.get("ETag"))
    if body.status != 206:
        length = body.headers.get("Content-Length")
        if length is None and not trusted:
            raise TransferInterruptedError(
                "the server does not say how long the file is, so a cut would go unnoticed", final=True
            )
        return Reply(body, 0, int(length) if length else None)
    span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", body.headers.get("Content-Range", ""))
    if span is None or int(span[1]) != have:
        part.unlink()
        raise TransferInterruptedError("the server sent another part of the file than the one asked for")
    return Reply(body, have, int(span[2]))


def _open(request: Request, part: Path) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urlopen(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # what is there goes beyond the file's end
            part.unlink(missing_ok=True)
        passing = error.code in PASSING_STATUSES or error.code == 416
        raise TransferInterruptedError(
            f"HTTP status {error.code} ({error.reason})", final=not passing
        ) from None
    except (OSError, http.client.HTTPException) as reason:
        cause = getattr(reason, "reason", reason)
        raise TransferInterruptedError(
            cause, final=isinstance(cause, socket.gaierror)
        ) from None  # no such host: offline
    return response


def _note(note: Path, etag: str | None) -> None:
    """Keep the version's name for the next attempt; weak ones do not promise the same bytes."""
    if etag and not etag.startswith("W/"):
        write_atomic(note, etag.encode("latin1"))
    else:
        note.unlink(missing_ok=True)


def _pieces(body: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := body.read(PIECE_BYTES):
            yield piece
    except (OSError, http.client.HTTPException) as reason:
        raise TransferInterruptedError(reason) from None
