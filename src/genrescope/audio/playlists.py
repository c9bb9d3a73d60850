"""Reading lists of files: M3U playlists, and lists of paths as other programs print them."""

from __future__ import annotations

import os
from pathlib import Path

from genrescope.audio.sources import is_url
from genrescope.errors import AudioError
from genrescope.utils import ListedPaths, file_url_path

# A hundred thousand entries are some megabytes; what is larger is another kind of file.
_MAX_BYTES = 2**26


def read_playlist(path: Path) -> list[str]:
    """Return the entries of an M3U playlist, in their order: paths, and addresses as they stand there.

    Comments and the directives of extended M3U (``#EXTINF``) are left out. Relative paths count from the
    folder of the playlist. ``file://`` addresses are paths. ``.m3u8`` is UTF-8; so is ``.m3u``, where it is
    valid, and otherwise the bytes of the names of files, or cp1252, whichever leads to a file. Separators and
    accents may be those of another system.

    Parameters
    ----------
    path : Path
        Of the playlist.

    Returns
    -------
    list of str
        What they lead to need not exist.

    Raises
    ------
    AudioError
        ``audio_missing``, ``audio_permission_denied``, ``audio_unreadable``: no playlist.
    """
    content = read_text_file(path, _MAX_BYTES, "playlist")
    lines = (line.strip() for line in content.removeprefix(b"\xef\xbb\xbf").splitlines())
    listed = ListedPaths(path.parent)
    return [_entry(line, path.parent, listed) for line in lines if line and not line.startswith(b"#")]


def read_path_list(content: bytes) -> list[str]:
    """Return the paths in a list with one on each line, or with NUL bytes behind them (``find -print0``).

    Parameters
    ----------
    content : bytes
        The list. Nothing is a comment, because a path may begin with any character; empty lines are ignored.

    Returns
    -------
    list of str
        Names of any bytes, as `os.fsdecode` gives them.
    """
    lines = content.split(b"\0") if b"\0" in content else content.removeprefix(b"\xef\xbb\xbf").splitlines()
    return [os.fsdecode(line) for line in lines if line]


def read_text_file(path: Path, max_bytes: int, kind: str) -> bytes:
    """Return the content of a small text file.

    Parameters
    ----------
    path : Path
    max_bytes : int
        More than any file of this kind has.
    kind : str
        What to call it in an error, such as ``playlist``.

    Raises
    ------
    AudioError
        ``audio_missing``, ``audio_permission_denied``; ``audio_unreadable``: too large, or with NUL bytes.
    """
    try:
        # Windows would say that a folder may not be read.
        if path.is_dir():
            raise _refusal(path, kind, "a folder")
        if path.stat().st_size > max_bytes:
            raise _refusal(path, kind, f"larger than {max_bytes >> 20} MiB")
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise AudioError("audio_missing", f"{path}: no such file", "check the spelling") from None
    except PermissionError:
        raise AudioError(
            "audio_permission_denied", f"{path}: may not be read", "ask for the right to read it (chmod u+r)"
        ) from None
    except (OSError, ValueError) as reason:
        raise _refusal(path, kind, f"cannot be read: {reason}") from None
    # UTF-16 has NUL bytes, too, and begins with a mark.
    if b"\0" in content and content[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise _refusal(path, kind, "it holds binary data")
    return content


def _refusal(path: Path, kind: str, why: str) -> AudioError:
    return AudioError("audio_unreadable", f"{path}: not a {kind}: {why}", f"name a {kind}, or an audio file")


def _entry(line: bytes, folder: Path, listed: ListedPaths) -> str:
    """Return what an entry leads to: an absolute or relative path, or an address."""
    text = _decoded(line, folder)
    if text.casefold().startswith("file:"):
        return file_url_path(text)
    return text if is_url(text) else listed.find(text)


def _decoded(line: bytes, folder: Path) -> str:
    try:
        return line.decode("utf8")
    except UnicodeDecodeError:
        pass
    as_named = os.fsdecode(line)
    if os.path.lexists(os.path.join(folder, as_named)):  # noqa: PTH118
        return as_named
    return line.decode("cp1252", "replace")
