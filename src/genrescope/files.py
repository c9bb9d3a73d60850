"""Bytes to disk, whole or not at all; where caches lie, and what comes with the package."""

from __future__ import annotations

import contextlib
import os
import uuid
from importlib import resources
from pathlib import Path

from genrescope.errors import cannot_write


def cache_folder(kind: str) -> Path:
    """Return the user's folder for what can be made or fetched again: ``features``, ``models``, ``weights``.

    ``GENRESCOPE_CACHE`` names its parent; otherwise it is where the XDG base directory specification says.
    """
    cache = os.environ.get("GENRESCOPE_CACHE")
    if cache:
        return Path(cache) / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genrescope" / kind


def data_folder() -> Path:
    """Return the user's folder for what cannot be made again at once, such as the library.

    ``GENRESCOPE_DATA`` names it; otherwise it is where the XDG base directory specification says.
    """
    data = os.environ.get("GENRESCOPE_DATA")
    if data:
        return Path(data)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "genrescope"


def packaged(folder: str, file: str) -> Path:
    """Return where a file of ``data/<folder>`` lies in the installation."""
    return Path(str(resources.files("genrescope") / "data" / folder / file))


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, a kill or a full disk never meets half of it.

    The content goes to a temporary file beside ``path``, which then takes its place.

    Raises
    ------
    EnvironmentFailure
        ``cannot_write``: the folder cannot be made, or the disk is full; an older file is left as it was.
    """
    # File names that are not UTF-8 may stand in reports; they are shown by their bytes.
    data = content.encode("utf8", "backslashreplace") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            stream.write(data)
        temporary.replace(path)
    except OSError as reason:
        raise cannot_write(path, reason) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
