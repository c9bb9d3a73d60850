"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from genrescope.errors import ConfigError, WriteError, write_failed

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_COPY_NAME: Final = re.compile(r"\.genrescope-[0-9a-f]{12}\.part")
# Where a copy in use cannot be told by its lock: how old one is that no program writes any more.
_STALE_SECONDS: Final = 3600
# Windows replaces no file that a program has open. Virus scanners and search indexes open what is new for a
# moment: so long is waited between attempts, in seconds.
_REPLACE_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()


def check_output(path: Path, *suffixes: str) -> None:
    """Refuse to write a result over a file of another kind, such as music or a library.

    Parameters
    ----------
    path : Path
        Where the result is to go.
    *suffixes : str
        Endings of the names of files that may be replaced, lower case, with the dot.

    Raises
    ------
    ConfigError
        ``invalid_argument``: a file is there, and its name does not end in one of ``suffixes``.
    """
    if path.is_file() and path.suffix.lower() not in suffixes:
        raise ConfigError(
            "invalid_argument",
            f"{path} is there already, and is no {' or '.join(suffixes)} file",
            "name another file, or remove it",
        )


def spreadsheet_cell(value: object) -> object:
    """Return the value of a CSV cell so that no spreadsheet takes it for a formula.

    Names of files and words of tags come from strangers. Text that begins with ``= + - @`` gets an apostrophe
    before it, which spreadsheets do not show (OWASP, "CSV Injection"); control characters and line separators
    are written as escapes. Numbers stay.

    Parameters
    ----------
    value : object
        Of a cell.
    """
    if not isinstance(value, str):
        return value
    # Nearly every text is printable and ASCII, and needs no look at each of its characters.
    text = value
    if not text.isprintable():
        text = "".join(
            repr(one)[1:-1] if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in value
        )
    # Spreadsheets skip blanks before a formula, and read the full-width signs as well.
    shown = text.lstrip()
    begins = (shown if shown.isascii() else unicodedata.normalize("NFKC", shown))[:1]
    return f"'{text}" if begins in ("=", "+", "-", "@") else text


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, a kill or a full disk never meets half of it.

    Missing folders are created. Pipes and devices are written to directly.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes or str
        All of it; a text is written in UTF-8.

    Raises
    ------
    WriteError
        ``write_failed``: the folder cannot be made, or the disk is full; an older file is left as it was.
    """
    with open_atomic(path) as stream:
        # File names that are not UTF-8 may stand in reports; they are shown by their bytes.
        stream.write(content.encode("utf8", "backslashreplace") if isinstance(content, str) else content)


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Yield a stream for the content of a file, as `write_atomic` writes it, which need not be in memory.

    The content goes to a temporary file beside ``path``, which takes its place when the ``with`` block ends
    without an exception: on POSIX, ``rename`` is atomic within a file system.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    WriteError
        ``write_failed``, as of `write_atomic`; failures to write within the block are raised so, too.
    """
    is_special = path.exists() and not path.is_file() and not path.is_dir()
    temporary = temporary_beside(path)
    try:
        if is_special:  # a pipe or a device is written to, not replaced
            with path.open("wb") as stream:
                yield stream
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
        replace_file(temporary, path)
    except OSError as reason:
        raise write_failed(path, reason) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """Return a new name for what is to become a file: in its folder, as renames stay within a file system.

    Parameters
    ----------
    path : Path
        The file.
    """
    # Short and not made of the file's name, which may have the 255 bytes that a name can have; Windows also
    # limits paths. Not a name of `_COPY_NAME`: those are removed where nobody has them locked.
    return path.with_name(f".{uuid.uuid4().hex[:16]}.part")


def replace_file(source: Path, target: Path, *, check: Callable[[], None] = lambda: None) -> None:
    """Give a file the name of another, which it replaces; on Windows, wait while a program has that open.

    Parameters
    ----------
    source, target : Path
        In the same folder.
    check : callable
        Called before each attempt; what it raises ends them.

    Raises
    ------
    OSError
        As of `Path.replace`.
    """
    for pause in _REPLACE_PAUSES:
        check()
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    check()
    source.replace(target)


@contextlib.contextmanager
def replacing(path: Path, *, mtime_ns: int | None = None) -> Iterator[Path]:
    """Yield an empty file for the next version of a file that exists, and put it in its place.

    Symbolic links are followed, and stay. The new version has owner, permissions and extended attributes of
    the old one, and is on the disk before it takes its name. Other hard links keep the old version. A kill
    leaves the old version, and perhaps a ``.genrescope-*.part`` beside it: see `remove_stale_copies`.

    Parameters
    ----------
    path : Path
        The file, which must exist.
    mtime_ns : int, optional
        The time of modification that the new version shows, in nanoseconds since 1970; None: now.

    Yields
    ------
    Path
        A new, empty file in the same folder; it replaces the old one when the ``with`` block ends without an
        exception.

    Raises
    ------
    WriteError
        ``write_failed``: not a regular file, not ours to write, or the disk is full; ``file_changed``:
        another program has written it meanwhile. The old version is left as it was.
    """
    temporary = lock = None
    try:
        target = path.resolve(strict=True)
        old = _writable(target)
        temporary, lock = _create_copy(target.parent)
        yield temporary
        _copy_attributes(temporary, target, old, mtime_ns)
        # Between this comparison and the rename another program may still write: POSIX has no rename that
        # depends on the content. The interval is as short as can be.
        replace_file(temporary, target, check=lambda: _check_unchanged(target, old, path))
        _sync_folder(target.parent)
    except OSError as reason:
        raise write_failed(path, reason) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def remove_stale_copies(folders: Iterable[Path]) -> list[Path]:
    """Remove the copies that `replacing` left behind when it was killed; those in use stay.

    Parameters
    ----------
    folders : iterable of Path
        Where to look, sub-folders not included. What cannot be read or removed is left out.

    Returns
    -------
    list of Path
        The files that were removed.
    """
    removed = []
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                path = Path(folder, entry.name)
                if _COPY_NAME.fullmatch(entry.name) and _removed_if_stale(path):
                    removed.append(path)
    return removed


def _create_copy(folder: Path) -> tuple[Path, int | None]:
    """Create an empty file, and lock it where locks exist: they end with the process, however it ends."""
    while True:
        # Short, because the name of a file is limited to 255 bytes, and hidden, so that players ignore it.
        path = folder / f".genrescope-{uuid.uuid4().hex[:12]}.part"
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        if fcntl is None:
            os.close(handle)
            return path, None
        # Some network file systems have no locks.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)  # Another program removed it as stale before it was locked.


def _removed_if_stale(path: Path) -> bool:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        handle = os.open(path, os.O_RDONLY)
        try:
            if _is_in_use(handle):
                return False
        finally:
            os.close(handle)  # Windows removes no file that is open.
        path.unlink()
    except OSError:
        return False
    return True


def _is_in_use(handle: int) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass  # no locks here: its age tells
        else:
            return False
    return time.time() - os.fstat(handle).st_mtime < _STALE_SECONDS


def _writable(target: Path) -> os.stat_result:
    status = target.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    # Replacing needs the folder's permission only; a file marked read-only is meant to stay as it is.
    if not os.access(target, os.W_OK):
        raise _not_replaced(
            target, "it is read-only", "if its content may change, make it writable (chmod u+w)"
        )
    return status


def _copy_attributes(temporary: Path, target: Path, old: os.stat_result, mtime_ns: int | None) -> None:
    """Give the new file what the old one has besides its bytes, and bring it to the disk."""
    new = temporary.stat()
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.chown(temporary, old.st_uid, old.st_gid)
        except OSError:
            raise _not_replaced(
                target, "its owner could not be kept", "run as the owner of the file"
            ) from None
    # Not every file system has modes, flags and attributes; what counts is checked below.
    with contextlib.suppress(OSError):
        shutil.copystat(target, temporary)
    if stat.S_IMODE(temporary.stat().st_mode) != stat.S_IMODE(old.st_mode):
        raise _not_replaced(target, "its permissions could not be kept", "run as the owner of the file")
    if mtime_ns is None:
        os.utime(temporary)
    else:
        os.utime(temporary, ns=(old.st_atime_ns, mtime_ns))
    # Open for writing, without which Windows refuses to bring a file to the disk.
    with temporary.open("r+b") as stream:
        os.fsync(stream.fileno())


def _not_replaced(path: Path, why: str, hint: str) -> WriteError:
    return WriteError("write_failed", f"{path}: left as it was: {why}", hint)


def _check_unchanged(target: Path, old: os.stat_result, path: Path) -> None:
    if _identity(target.stat()) != _identity(old):
        raise WriteError(
            "file_changed",
            f"{path}: another program wrote it in the meantime; it is left as that program wrote it",
            "let the other program finish, then repeat the command",
        )


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
