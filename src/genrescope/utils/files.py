"""Bytes to disk, whole or not at all; where caches lie, and what comes with the package."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from genrescope.errors import ConfigError, EnvironmentFailure, write_failed


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


def package_data(package: str, file: str = "") -> Path:
    """Return where a data file of a package, such as ``models``, is in the installation.

    Parameters
    ----------
    package : str
        Name of a package below ``genrescope``; its files are in its folder ``data``.
    file : str
        Name of the file; empty: the folder itself.
    """
    return Path(str(resources.files("genrescope") / package / "data" / file))


def check_output(path: Path, *suffixes: str) -> None:
    """Refuse to write a result over a file of another kind, such as music or a library.

    Raises
    ------
    ConfigError
        ``invalid_argument``: a file is there, and its name does not end in one of ``suffixes``.
    """
    if path.is_file() and path.suffix.lower() not in suffixes:
        raise ConfigError(
            "invalid_argument",
            f"{path} is there already, and is no {' or '.join(suffixes)} file",
            "name another file; or remove it, if that is what you mean",
        )


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, a kill or a full disk never meets half of it.

    The content goes to a temporary file beside ``path``, which then takes its place.

    Raises
    ------
    EnvironmentFailure
        ``write_failed``: the folder cannot be made, or the disk is full; an older file is left as it was.
    """
    # File names that are not UTF-8 may stand in reports; they are shown by their bytes.
    data = content.encode("utf8", "backslashreplace") if isinstance(content, str) else content
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(data)  # a pipe or a device is written to, not replaced
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            stream.write(data)
        temporary.replace(path)
    except OSError as reason:
        raise write_failed(path, reason) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path, *, mtime_ns: int | None = None) -> Iterator[Path]:
    """Yield an empty file for the next version of a file that exists, and put it in its place.

    Symbolic links are followed, and stay. The new version has owner, permissions and extended attributes of
    the old one, and is on the disk before it takes its name. Other hard links keep the old version. A kill
    leaves the old version, and perhaps a ``.genrescope-*.part`` beside it.

    Parameters
    ----------
    path : Path
    mtime_ns : int, optional
        The time of modification that the new version shows; None: now.

    Raises
    ------
    EnvironmentFailure
        ``write_failed``: not a regular file, not ours to write, or the disk is full; ``file_changed``:
        another program has written it meanwhile. The old version is left as it was.
    """
    temporary = None
    try:
        target = path.resolve(strict=True)
        old = _writable(target)
        # Short, so that the longest file name leaves room, and hidden, so that players pass it over.
        temporary = target.with_name(f".genrescope-{uuid.uuid4().hex[:12]}.part")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield temporary
        _dress(temporary, target, old, mtime_ns)
        if _identity(target.stat()) != _identity(old):
            raise EnvironmentFailure(
                "file_changed",
                f"{path}: another program wrote it meanwhile; it is left as that program wants it",
                "let the other program finish, then repeat the command",
            )
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as reason:
        raise write_failed(path, reason) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _writable(target: Path) -> os.stat_result:
    status = target.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    # Replacing needs the folder's permission only; a file marked read-only is meant to stay as it is.
    if not os.access(target, os.W_OK):
        raise _kept(target, "it is read-only", "if its content may change, make it writable (chmod u+w)")
    return status


def _dress(temporary: Path, target: Path, old: os.stat_result, mtime_ns: int | None) -> None:
    """Give the new file what the old one has besides its bytes, and bring it to the disk."""
    new = temporary.stat()
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.chown(temporary, old.st_uid, old.st_gid)
        except OSError:
            raise _kept(target, "its owner could not be kept", "run as the owner of the file") from None
    # Not every file system has modes, flags and attributes; what counts is checked below.
    with contextlib.suppress(OSError):
        shutil.copystat(target, temporary)
    if stat.S_IMODE(temporary.stat().st_mode) != stat.S_IMODE(old.st_mode):
        raise _kept(target, "its permissions could not be kept", "run as the owner of the file")
    if mtime_ns is None:
        os.utime(temporary)
    else:
        os.utime(temporary, ns=(old.st_atime_ns, mtime_ns))
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())


def _kept(path: Path, why: str, hint: str) -> EnvironmentFailure:
    return EnvironmentFailure("write_failed", f"{path}: left as it was: {why}", hint)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sync_folder(folder: Path) -> None:
    """Bring a file's new place to the disk, where the system can; the file itself is there already."""
    if os.name != "nt":
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
