"""Downloads over https, in place whole and with the expected SHA-256, or not at all.

The transfer is pooch's (Uieda et al., "Pooch: a friend to fetch your data files", JOSS 2020): it writes to a
temporary file in the target's folder, compares the hash, and moves the file to its place.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genrescope.errors import ConfigError, DownloadError, ModelError, write_failed
from genrescope.utils.hashing import sha256_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ATTEMPTS = 4
PAUSE_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
SCHEME = "https://"
_CHUNK_BYTES = 1 << 18
# Timeouts, rate limits and overload: another attempt a little later may succeed (RFC 9110, section 15).
_TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)


def download_file(url: str, target: Path, *, sha256: str) -> Path:
    """Return ``target``, downloaded from ``url`` unless it is there already, and verified either way.

    Parameters
    ----------
    url : str
        An https address.
    target : Path
        Where the file is to be; missing folders are created.
    sha256 : str
        Of the whole file: 64 hexadecimal digits.

    Returns
    -------
    Path
        ``target``.

    Raises
    ------
    ConfigError
        ``invalid_argument``: not an https address, or not a whole SHA-256.
    DownloadError
        ``download_failed``: no network, or the server has no such file.
    WriteError
        ``write_failed``.
    ModelError
        ``model_corrupt``: the file that is there or that arrived does not have this SHA-256.
    """
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ConfigError(
            "invalid_argument",
            f"{url}: {sha256!r} is not a whole SHA-256",
            "give all 64 hexadecimal digits: a file is not downloaded without verification",
        )
    try:
        if not target.exists():
            _fetch(url, target, sha256.lower())
        elif sha256_file(target) != sha256.lower():
            raise ModelError(
                "model_corrupt",
                f"{target}: its SHA-256 is not the expected {sha256[:16]}...",
                f"delete it, and it is downloaded again from {url}",
            )
    except OSError as reason:
        raise write_failed(target, reason) from None
    return target


def _fetch(url: str, target: Path, sha256: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _folder_lock(target.parent):
        if not target.exists():  # unless another process has downloaded it while this one waited
            _retrieve(url, target, sha256)


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Let one process at a time download into ``folder``, where the system can lock folders."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot lock
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _retrieve(url: str, target: Path, sha256: str) -> None:
    """Download in a few attempts; pooch and requests take 0.1 s to import, and are imported here only."""
    import pooch
    from requests.exceptions import ChunkedEncodingError, RequestException

    if not url.startswith(SCHEME):
        raise ConfigError("invalid_argument", f"{url}: not an https address", "give one that begins https://")
    # pooch announces every download on stderr, which belongs to the command line here.
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(
        chunk_size=_CHUNK_BYTES,
        timeout=TIMEOUT_SECONDS,
        headers={"User-Agent": "genrescope", "Accept-Encoding": "identity"},
        hooks={"response": _refuse_plain_http},
    )
    for attempt in range(1, ATTEMPTS + 1):
        try:
            pooch.retrieve(
                url,
                known_hash=f"sha256:{sha256}",
                fname=target.name,
                path=target.parent,
                downloader=downloader,
            )
            return
        # RequestException is an OSError, and some of its subclasses are ValueErrors: it comes first.
        except RequestException as reason:
            status = getattr(reason.response, "status_code", None)
            if reason.response is not None:
                reason.response.close()  # its body, which was not read, holds a connection
            transient = status in _TRANSIENT_STATUSES or isinstance(reason, ChunkedEncodingError)
            if attempt == ATTEMPTS or not transient:
                raise DownloadError(
                    "download_failed",
                    f"{url}: cannot be downloaded: {reason}",
                    f"go online and try again, or put the file at {target} by hand",
                ) from None
        except ValueError:  # pooch's error for another hash
            raise ModelError(
                "model_corrupt",
                f"{url}: what was downloaded does not have the expected SHA-256 {sha256[:16]}...",
                f"try again; if it stays so, {url} holds another file now",
            ) from None
        # Twice as long after each attempt, so that an overloaded server is given time (exponential backoff).
        time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))


def _refuse_plain_http(response: Any, **_: object) -> None:
    """Stop at a redirect that leaves https; requests calls this for every response on the way."""
    from requests.exceptions import InvalidURL

    if not response.url.startswith(SCHEME):
        response.close()
        raise InvalidURL(f"redirected to {response.url}, which is not an https address")
