"""Names of files, where systems differ: reserved names, accents, capitals, separators, addresses."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import PureWindowsPath
from urllib.parse import unquote_to_bytes, urlsplit

# Windows and macOS find ``music`` where a folder lists ``Music``; macOS also finds names whose accents are
# written in another of Unicode's forms.
FOLDS_NAMES = sys.platform in ("win32", "darwin")
# Of a file's name, most systems allow 255 bytes; what is added to a label must fit as well.
_MAX_BYTES = 200
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
# Devices of Windows, whatever their ending: ``con.txt`` is one. Microsoft, "Naming Files, Paths, and
# Namespaces".
_DEVICE = re.compile(
    r"^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(?=\s*(\.|$))", re.IGNORECASE
)


def safe_file_name(text: str) -> str:
    """Return a name for a file that Linux, macOS and Windows can have, made of any text.

    Parameters
    ----------
    text : str
        Such as the name of a genre; without an ending, which is added to what is returned.

    Returns
    -------
    str
        Characters that a name cannot have are hyphens, and there are no blanks or periods at its end; a name
        of a device, such as ``aux``, ends in ``_``. Accents are in Unicode's form NFC.
    """
    whole = text.encode("utf8", "replace").decode("utf8")
    name = _FORBIDDEN.sub("-", unicodedata.normalize("NFC", whole))
    name = name.encode("utf8")[:_MAX_BYTES].decode("utf8", "ignore")
    name = name.strip().rstrip(". ") or "untitled"
    return _DEVICE.sub(r"\1_", name, count=1)


def stored_paths(paths: Iterable[str]) -> list[str]:
    """Return absolute paths with the capitals and accents that folders list.

    A library knows files by the names that folders list. Who types another spelling of one on Windows or
    macOS means the same file.

    Parameters
    ----------
    paths : iterable of str
        Absolute. What is not there, and all paths on other systems, are returned as they are.
    """
    if not FOLDS_NAMES:
        return list(paths)
    listed = NameLists(lambda name: unicodedata.normalize("NFC", name).casefold())
    return [listed.spelled(path[0].upper() + path[1:] if path[1:2] == ":" else path) for path in paths]


def file_url_path(url: str, *, windows: bool = os.name == "nt") -> str:
    """Return the path in a ``file:`` address (RFC 8089).

    Parameters
    ----------
    url : str
        Such as ``file:///music/a%20b.mp3``, ``file:///C:/Music/a.mp3`` or ``file://server/share/a.mp3``.
    windows : bool
        Whether drives and servers are to be understood as on Windows.
    """
    address = urlsplit(url)
    path = os.fsdecode(unquote_to_bytes(address.path))
    if not windows:
        return path
    if address.netloc and address.netloc != "localhost":
        path = f"//{address.netloc}{path}"
    elif re.match("/[A-Za-z]:", path):
        path = path[1:]
    return str(PureWindowsPath(path))


class ListedPaths:
    """What paths in a list, such as a playlist or a manifest, lead to on this system.

    Lists are written on one system and read on another: with separators of Windows, or with accents as macOS
    once stored them, letter and accent apart.

    Parameters
    ----------
    folder : path
        Relative paths count from it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = os.fspath(folder)
        self._listed = NameLists(lambda name: unicodedata.normalize("NFC", name))

    def find(self, text: str) -> str:
        """Return the path of a file that is there, under another spelling if need be.

        Parameters
        ----------
        text : str
            A path as the list has it.

        Returns
        -------
        str
            Where no spelling leads to a file, the path with separators of this system.
        """
        place = os.path.join(self._folder, text)  # noqa: PTH118 - of an absolute path, the path
        if os.path.lexists(place):
            return place
        # A backslash may be part of a name elsewhere.
        if os.sep == "/" and "\\" in text:
            place = os.path.join(self._folder, text.replace("\\", "/"))  # noqa: PTH118
            if os.path.lexists(place):
                return place
        return place if place.isascii() else self._listed.spelled(place)


class NameLists:
    """The names in folders, listed once each, to look up names that are spelled otherwise.

    Parameters
    ----------
    key : callable
        Returns of a name what its spellings have in common.
    """

    def __init__(self, key: Callable[[str], str]) -> None:
        self._key = key
        self._names: dict[str, dict[str, str]] = {}

    def spelled(self, path: str) -> str:
        """Return a path with its parts as the folders list them; parts that are not there stay.

        Parameters
        ----------
        path : str
        """
        folder, name = os.path.split(path)
        if not name:
            return path
        folder = self.spelled(folder) if folder else folder
        return os.path.join(folder, self._listed(folder, name))  # noqa: PTH118

    def _listed(self, folder: str, name: str) -> str:
        if folder not in self._names:
            try:
                names = os.listdir(folder or ".")  # noqa: PTH208 - of any bytes
            except OSError:
                names = []
            # The name itself comes before others with its key, of which the first counts.
            self._names[folder] = {self._key(one): one for one in sorted(names, reverse=True)}
            self._names[folder] |= {one: one for one in names}
        names_here = self._names[folder]
        return names_here.get(name) or names_here.get(self._key(name), name)
