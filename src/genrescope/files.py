"""Bytes to disk, whole or not at all; and where caches lie."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from genrescope.errors import cannot_write


def cache_folder(kind: str) -> Path:
    """Return the user's folder for what can be made or fetched again: ``features``, ``weights``.

    ``GENRESCOPE_CACHE`` names its parent; otherwise it is where the XDG base directory specification says.
    """
    cache = os.environ.get("GENRESCOPE_CACHE")
    if cache:
        return Path(cache) / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "genrescope" / kind


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, a kill or a full disk never meets half of it.

    The content goes to a temporary file beside ``path``, which then takes its place.

    Raises
    ------
    EnvironmentFailure
        ``cannot_write``: the folder cannot be made, or the disk is full; an older file is left as it was.
    """
    data = content.encode("utf8") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        # mkstemp makes files for their owner alone; a result is an ordinary file.
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as reason:
        raise cannot_write(path, reason) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
