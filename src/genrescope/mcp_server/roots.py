"""The folders that an agent may name files of."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from genrescope.errors import ConfigError


class Roots:
    """Folders; a path is accepted where it leads into one of them, all links followed.

    Parameters
    ----------
    folders : iterable of Path
        At least one; each must be a folder.

    Attributes
    ----------
    folders : tuple of Path
        Absolute, without links.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no folder, or not a folder.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        found = []
        for folder in folders:
            if not folder.expanduser().is_dir():
                raise ConfigError("invalid_argument", f"{folder} is not a folder", "name folders of music")
            found.append(folder.expanduser().resolve())
        if not found:
            raise ConfigError("invalid_argument", "no folder was given", "name at least one folder of music")
        self.folders = tuple(dict.fromkeys(found))

    def resolve(self, path: str) -> Path:
        """Return where a path that an agent named leads to.

        Parameters
        ----------
        path : str
            Absolute, or relative to one of the folders: the first in which it exists.

        Returns
        -------
        Path
            Absolute, without links; there may be nothing.

        Raises
        ------
        ConfigError
            ``invalid_argument``: it is empty, holds a zero byte, or leads out of the folders.
        """
        if not path or "\0" in path:
            raise ConfigError("invalid_argument", f"{path!r} is not a path", "give the path of a file")
        given = Path(path)
        places = [given] if given.is_absolute() else [folder / given for folder in self.folders]
        inside = [place for place in map(_without_links, places) if self.contains(place)]
        if not inside:
            raise ConfigError(
                "invalid_argument",
                f"{path} is outside of the folders of this server",
                "use a path in one of: " + ", ".join(map(str, self.folders)),
            )
        return next((place for place in inside if place.exists()), inside[0])

    def contains(self, path: str | os.PathLike[str]) -> bool:
        """Return whether a path leads into one of the folders, all links followed.

        Parameters
        ----------
        path : path
            Absolute.
        """
        place = _without_links(Path(path))
        return any(place == folder or folder in place.parents for folder in self.folders)


def _without_links(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop of links, in some versions of Python
        return Path("/")
