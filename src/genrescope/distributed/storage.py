"""Files on any storage that fsspec knows: object stores, web servers, and the local disk.

Audio in an object store is read by range requests. A decoder that seeks reads few places of a long track, so
that only the bytes around these are fetched.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from genrescope.errors import (
    AudioError,
    ConfigError,
    DataError,
    GenrescopeError,
    MissingDependencyError,
    StorageError,
    missing_extra,
)
from genrescope.utils import file_url_path

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

StorageOptions = Mapping[str, Any]
# A request to an object store takes tens of milliseconds, in which some hundred KiB could be read.
BLOCK_BYTES = 2**17
# Reading on without a seek, a request asks for half of what was read on so far, up to 2 MiB: at most that
# share of what an excerpt needs is fetched in vain. With a quarter, 5 % less of FLAC files is fetched, but
# MP3 files, which are read from end to end, take half as many requests more.
_MAX_BLOCKS = 16
_AHEAD = 2
# What an open file keeps in memory, 32 MiB: nearly every track, so that none of it is fetched twice.
_KEPT_BLOCKS = 256
# Tries of a request that fails for a reason that may pass, and the pause after the first; it doubles.
_TRIES = 4
_PAUSE_SECONDS = 0.25


class Location(NamedTuple):
    """A place on some storage.

    Attributes
    ----------
    filesystem : fsspec.AbstractFileSystem
    path : str
        Within the file system.
    uri : str
        What the place is called in rows and errors: a local path, or an address.
    """

    filesystem: AbstractFileSystem
    path: str
    uri: str

    def child(self, name: str) -> Location:
        """Return the place of ``name`` in this folder.

        Parameters
        ----------
        name : str
            Of a file.
        """
        return Location(self.filesystem, f"{self.path.rstrip('/')}/{name}", f"{self.uri.rstrip('/')}/{name}")


def is_remote(path: str) -> bool:
    """Return whether a path is an address such as ``s3://bucket/key``; ``file://`` is local.

    Parameters
    ----------
    path : str
        Of a file or folder.
    """
    return "://" in path and not path.startswith("file://")


def local_path(path: str) -> str:
    """Return the path of a local file that may be given as an address, ``file:///music/a%20b.mp3``.

    Parameters
    ----------
    path : str
        A path, or an address of the scheme ``file``.
    """
    return file_url_path(path) if path.startswith("file://") else path


def locate(uri: str, options: StorageOptions | None = None) -> Location:
    """Return the place that an address or a local path leads to; nothing is opened.

    Parameters
    ----------
    uri : str
        ``s3://``, ``gs://``, ``http://`` and whatever else fsspec has a file system for; or a local path.
    options : mapping, optional
        For the file system, such as credentials.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: fsspec, or the package of this kind of storage.
    ConfigError
        ``invalid_argument``: no such kind of storage, or options that it does not have.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise missing_extra("ray", "fsspec") from None
    if not is_remote(uri):
        uri = os.path.abspath(local_path(uri))  # noqa: PTH100  # a Path would drop what is not UTF-8
        filesystem, path = url_to_fs(f"file://{uri}", auto_mkdir=True)
        return Location(filesystem, uri, uri)
    try:
        filesystem, path = url_to_fs(uri, **dict(options or {}))
    except ImportError as reason:
        raise MissingDependencyError(
            "missing_dependency", f"{uri}: {reason}", "install it on every machine of the cluster"
        ) from None
    except (TypeError, ValueError) as reason:
        raise ConfigError(
            "invalid_argument", f"{uri}: {reason}", "give a path, or an address of s3://, gs:// or https://"
        ) from None
    return Location(filesystem, path, uri)


@contextlib.contextmanager
def storage_errors(uri: str) -> Iterator[None]:
    """Raise what a client of some storage raises as errors of this package.

    Parameters
    ----------
    uri : str
        Of the place that is used.

    Raises
    ------
    DataError
        ``dataset_not_found``: no such bucket or folder.
    StorageError
        ``storage_permission_denied``, ``storage_unreachable``.
    """
    try:
        yield
    except GenrescopeError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            "dataset_not_found", f"{uri}: not there", "check the spelling, and that the bucket or disk exists"
        ) from None
    except Exception as reason:  # clients of object stores raise errors of their own
        raise _translated(uri, reason) from None


def _translated(uri: str, reason: Exception) -> StorageError:
    kind = type(reason).__name__
    said = str(reason).splitlines()[0] if str(reason) else kind
    if isinstance(reason, PermissionError) or "Credential" in kind:
        return StorageError(
            "storage_permission_denied",
            f"{uri}: access denied: {said}",
            "check the credentials (such as AWS_ACCESS_KEY_ID), and the rights that they give",
        )
    return StorageError(
        "storage_unreachable",
        f"{uri}: cannot be used: {said}",
        "check the address, the network, and the endpoint (such as AWS_ENDPOINT_URL)",
    )


class RangeReader:
    """A file on remote storage, for a decoder: read by range requests, in blocks of which some are kept.

    A request that fails, or returns less than was asked for, is tried again; what fails for good is an
    OSError, as of a local file.

    Parameters
    ----------
    location : Location
        Of the file.
    size : int
        In bytes.

    Attributes
    ----------
    name : str
        The address.
    bytes_read, requests : int
        What was fetched so far, and by how many requests, those that were tried again included.
    """

    # Tells `genrescope.audio.AudioFile` to read little of it.
    is_remote = True

    def __init__(self, location: Location, size: int) -> None:
        self.name = location.uri
        self.bytes_read = 0
        self.requests = 0
        self._location = location
        self._size = size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._after_last = -1
        self._read_on = 0

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, and return it.

        Parameters
        ----------
        offset, whence : int
            As of ``io.IOBase.seek``.

        Raises
        ------
        OSError
            A position before the start.
        """
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(f"{self.name}: no position {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, count: int = -1) -> bytes:
        """Return up to ``count`` bytes from the position on; none at the end.

        Parameters
        ----------
        count : int
            Negative: all.

        Raises
        ------
        OSError
            The storage failed, several times.
        """
        end = self._size if count < 0 else min(self._size, self._position + count)
        parts = []
        while self._position < end:
            number, offset = divmod(self._position, BLOCK_BYTES)
            part = self._block(number)[offset : offset + end - self._position]
            parts.append(part)
            self._position += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Drop what is kept in memory."""
        self._blocks.clear()

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        self._read_on = self._read_on + 1 if number == self._after_last else 0
        count = min(max(1, self._read_on // _AHEAD), _MAX_BLOCKS)
        end = next((one for one in range(number + 1, number + count) if one in self._blocks), number + count)
        self._read_on += end - number - 1
        start = number * BLOCK_BYTES
        data = self._fetch(start, min(self._size, end * BLOCK_BYTES))
        for index in range(0, len(data), BLOCK_BYTES):
            self._blocks[number + index // BLOCK_BYTES] = data[index : index + BLOCK_BYTES]
        self._after_last = end
        while len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return self._blocks[number]

    def _fetch(self, start: int, end: int) -> bytes:
        for remaining in reversed(range(_TRIES)):
            self.requests += 1
            try:
                data: bytes = self._location.filesystem.cat_file(self._location.path, start=start, end=end)
            except (FileNotFoundError, PermissionError) as reason:
                raise type(reason)(reason.errno, f"{type(reason).__name__}: {reason}") from None
            except Exception as reason:  # clients of object stores raise errors of their own
                failure = OSError(None, f"{type(reason).__name__}: {reason}")
            else:
                self.bytes_read += len(data)
                if len(data) == end - start:
                    return data
                failure = OSError(None, f"{len(data)} of {end - start} bytes came")
            if remaining:
                time.sleep(_PAUSE_SECONDS * 2 ** (_TRIES - 1 - remaining))
        raise failure


class RemoteFile(NamedTuple):
    """An open file on remote storage.

    Attributes
    ----------
    reader : RangeReader
    size : int
        In bytes.
    mtime_ns : int
        Time of modification in nanoseconds since 1970; 0 where the storage does not tell.
    """

    reader: RangeReader
    size: int
    mtime_ns: int


def open_remote(uri: str, options: StorageOptions | None = None) -> RemoteFile:
    """Open an audio file on remote storage.

    Parameters
    ----------
    uri : str
        Its address.
    options : mapping, optional
        For the file system, such as credentials.

    Raises
    ------
    AudioError
        ``audio_missing``, ``audio_permission_denied``, ``audio_empty``, ``audio_read_failed``.
    ConfigError, MissingDependencyError
        As `locate`.
    """
    location = locate(uri, options)
    try:
        info = location.filesystem.info(location.path)
    except Exception as reason:  # clients of object stores raise errors of their own
        raise _unreadable(uri, reason) from None
    if info.get("type") == "directory":
        raise AudioError(
            "audio_is_directory",
            f"{uri}: a folder, not a file",
            "name a file in it; the commands that take many files also walk folders",
        )
    size = info.get("size")
    if size is None:
        raise _unreadable(uri, OSError("the server does not state its size"))
    if not size:
        raise AudioError("audio_empty", f"{uri}: empty", "copy or download it again; it has 0 bytes")
    return RemoteFile(RangeReader(location, size), size, _mtime_ns(info))


def _unreadable(uri: str, reason: Exception) -> AudioError:
    if isinstance(reason, FileNotFoundError):
        return AudioError("audio_missing", f"{uri}: no such file", "check the address")
    if isinstance(reason, PermissionError):
        return AudioError(
            "audio_permission_denied", f"{uri}: may not be read", "check the credentials and their rights"
        )
    return AudioError(
        "audio_read_failed",
        f"{uri}: cannot be read: {type(reason).__name__}: {reason}",
        "check the disk or the network that it lies on, and try again",
    )


def _mtime_ns(info: Mapping[str, Any]) -> int:
    changed = info.get("LastModified", info.get("mtime", info.get("last_modified")))
    if isinstance(changed, datetime):
        return int(changed.timestamp()) * 10**9
    return int(changed * 1e9) if isinstance(changed, float) else 0


def write_whole(location: Location, content: bytes) -> None:
    """Write a file so that no reader meets half of it.

    An object store shows an object when all of it is there; on a disk the file is renamed into its place.

    Parameters
    ----------
    location : Location
        Of the file.
    content : bytes
        All of it.

    Raises
    ------
    WriteError
        ``write_failed``, on a disk.
    StorageError, DataError
        As `storage_errors`.
    """
    if is_remote(location.uri):
        with storage_errors(location.uri):
            location.filesystem.pipe_file(location.path, content)
        return
    from genrescope.utils import write_atomic

    write_atomic(Path(location.path), content)
