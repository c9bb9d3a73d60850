"""Locations of files: the user's cache and data folders, and the files that come with the package."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

_APPLICATION = "genrescope"


def cache_folder(kind: str) -> Path:
    """Return the user's folder for what can be computed or downloaded again; it need not exist yet.

    Parameters
    ----------
    kind : {"features", "models", "weights"}
        Name of the folder in the cache.

    Returns
    -------
    Path
        Below ``GENRESCOPE_CACHE`` where that is set, else below the platform's cache folder (platformdirs:
        ``~/.cache/genrescope`` on Linux, or as ``XDG_CACHE_HOME`` says).
    """
    if cache := os.environ.get("GENRESCOPE_CACHE"):
        return Path(cache) / kind
    import platformdirs

    return platformdirs.user_cache_path(_APPLICATION, appauthor=False) / kind


def data_folder() -> Path:
    """Return the user's folder for what cannot be computed again at once, such as the library database.

    Returns
    -------
    Path
        ``GENRESCOPE_DATA`` where that is set, else the platform's data folder (platformdirs:
        ``~/.local/share/genrescope`` on Linux, or as ``XDG_DATA_HOME`` says).
    """
    if data := os.environ.get("GENRESCOPE_DATA"):
        return Path(data)
    import platformdirs

    return platformdirs.user_data_path(_APPLICATION, appauthor=False)


def package_data(package: str, file: str = "") -> Path:
    """Return where a data file of a package, such as ``models``, is in the installation.

    Parameters
    ----------
    package : str
        Name of a package below ``genrescope``; its files are in its folder ``data``.
    file : str
        Name of the file; empty: the folder itself.

    Returns
    -------
    Path
    """
    return Path(str(resources.files("genrescope") / package / "data" / file))
