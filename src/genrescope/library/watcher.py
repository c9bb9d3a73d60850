"""Watching folders: a file that comes, changes, moves or goes is in the library within seconds.

watchdog (the extra ``watch``) tells what happens in folders: inotify on Linux, FSEvents on macOS,
ReadDirectoryChangesW on Windows, or comparing the folders again and again, which also works on network disks.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from genrescope import audio
from genrescope.errors import ConfigError, DataError, GenrescopeError, missing_extra
from genrescope.library.scanner import ScanOptions, ScanResult, is_missing
from genrescope.types import AUDIO_SUFFIXES
from genrescope.utils import stored_paths

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent

    from genrescope.library.library import Library

# How often files that change are looked at, in seconds.
_LOOK_SECONDS = 0.25
# How much longer a file must be at rest of which nobody said that it was closed: a download may pause.
_OPEN_FACTOR = 10.0
# On Windows Ctrl-C does not end a wait of the main thread: it is waited this long at a time.
_MAX_WAIT_SECONDS = 1.0 if os.name == "nt" else None
# Without these limits raised, Linux watches some thousand folders only.
_LIMIT_ERRORS = frozenset({errno.ENOSPC, errno.EMFILE})


@dataclass(frozen=True)
class WatchOptions:
    """How to watch.

    Attributes
    ----------
    settle_seconds : float
        How long a file must have kept its size and time before it is analyzed; ten times as long where its
        writer has not closed it.
    poll_seconds : float or None
        Compare the folders every so many seconds, in place of being told by the system, which does not know
        what other computers do on a network disk.
    rescan_seconds : float
        After how long all folders are scanned again, for changes that the system did not tell; 0: never.
    """

    settle_seconds: float = 2.0
    poll_seconds: float | None = None
    rescan_seconds: float = 6 * 3600.0


class _State(NamedTuple):
    """Size and time of a file as it was seen last, since when, and whether its writer has closed it."""

    signature: tuple[int, int] | None
    since: float
    closed: bool


class ChangedPaths:
    """Paths at which something happened, until they have come to rest. Used by several threads.

    Parameters
    ----------
    settle_seconds : float
        How long a file must have kept its size and time.
    clock : callable
        Returns seconds, as `time.monotonic`.
    """

    def __init__(self, settle_seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()
        self._noted = threading.Event()

    def note(self, path: str, *, closed: bool) -> None:
        """Record that something happened at a path.

        Parameters
        ----------
        path : str
        closed : bool
            Whether nobody writes there any more, as far as the system tells.
        """
        with self._lock:
            self._states[path] = _State(_signature(path), self._clock(), closed)
        self._noted.set()

    def take(self) -> list[str]:
        """Return the paths that have come to rest, sorted, and forget them; also those that are gone."""
        ready = []
        with self._lock:
            now = self._clock()
            for path, state in list(self._states.items()):
                signature = _signature(path)
                if signature != state.signature:
                    self._states[path] = state._replace(signature=signature, since=now)
                elif now - state.since >= self._settle_seconds * (1.0 if state.closed else _OPEN_FACTOR):
                    del self._states[path]
                    ready.append(path)
        return sorted(ready)

    def wait(self, seconds: float | None) -> None:
        """Return when there may be something to take, or after some time; on Windows, after a second at most.

        Parameters
        ----------
        seconds : float or None
            None: wait for as long as it takes.
        """
        if self._states:
            time.sleep(_LOOK_SECONDS)
        else:
            limits = [limit for limit in (seconds, _MAX_WAIT_SECONDS) if limit is not None]
            self._noted.wait(min(limits, default=None))
        self._noted.clear()


class Watcher:
    """Watches folders, and keeps a library up to date. For ``with``: within it, nothing is missed.

    Parameters
    ----------
    library : Library
        Open for writing.
    folders : iterable of path
        With all that is in them. Links to folders are followed by scans only, not watched.
    scan_options : ScanOptions, optional
        How to scan.
    options : WatchOptions, optional
        How to watch.

    Raises
    ------
    ConfigError
        ``invalid_argument``: a file in place of a folder; more folders than the system can watch.
    DataError
        ``dataset_not_found``: nothing is at one of the paths.
    MissingDependencyError
        ``missing_dependency`` without watchdog.

    Examples
    --------
    >>> with Library() as library, Watcher(library, ["~/Music"]) as watcher:
    ...     for scanned in watcher.scan():
    ...         print(scanned.status, scanned.path)
    ...     for scanned in watcher.changes():  # does not end
    ...         print(scanned.status, scanned.path)
    """

    def __init__(
        self,
        library: Library,
        folders: Iterable[str | os.PathLike[str]],
        scan_options: ScanOptions | None = None,
        options: WatchOptions | None = None,
    ) -> None:
        self._library = library
        self._scan_options = scan_options or ScanOptions()
        self._options = options or WatchOptions()
        self._folders = stored_paths(
            os.path.abspath(os.path.expanduser(folder))  # noqa: PTH100, PTH111
            for folder in folders
        )
        for folder in self._folders:
            if not os.path.lexists(folder):
                raise DataError(
                    "dataset_not_found", f"{folder}: nothing is there", "check the path, or mount the disk"
                )
            if not Path(folder).is_dir():
                raise ConfigError(
                    "invalid_argument", f"{folder}: not a folder", "name the folder that it is in"
                )
        self._changed = ChangedPaths(self._options.settle_seconds)
        # Only Linux tells when a file is closed that was open for writing.
        self._sees_closing = sys.platform == "linux" and self._options.poll_seconds is None
        self._exit = ExitStack()

    def scan(self) -> Iterator[ScanResult]:
        """Scan the folders for what happened while nobody watched; yields as of `Library.scan`."""
        return self._library.scan(self._folders, self._scan_options)

    def changes(self) -> Iterator[ScanResult]:
        """Yield what becomes of every file that comes, changes, moves or goes, for as long as one iterates.

        Yields
        ------
        ScanResult
            Also ``missing``, of files that are gone. Files that turn out to be unchanged are left out.
        """
        interval = self._options.rescan_seconds or None
        last_scan = time.monotonic()
        while True:
            self._changed.wait(interval)
            if ready := self._changed.take():
                yield from self._update(ready)
            if interval is not None and time.monotonic() - last_scan >= interval:
                # A disk that is not mounted now has not lost its files.
                with suppress(DataError):
                    yield from (one for one in self.scan() if one.status not in ("unchanged", "skipped"))
                last_scan = time.monotonic()

    def _update(self, paths: list[str]) -> Iterator[ScanResult]:
        """Bring the library up to date with paths that came to rest."""
        files, gone = [], []
        for path in paths:
            if is_missing(path) and not Path(path).is_dir():
                gone.append(path)
            elif Path(path).is_dir():
                # A folder that came with files in it: of these alone, nothing may have been told.
                for found in audio.discover([path]):
                    if found.kind == "audio":
                        self._changed.note(found.path, closed=True)
            else:
                files.append(path)
        # Files that came first: one that moved is recognized by its content, and its row follows.
        yield from self._scan_files(files)
        if gone and all(Path(folder).is_dir() for folder in self._folders):
            yield from self._mark_missing(gone)

    def _scan_files(self, files: list[str]) -> Iterator[ScanResult]:
        if not files:
            return
        try:
            scanned = self._library.scan(files, self._scan_options)
        except DataError:  # One of them is gone again.
            for path in files:
                self._changed.note(path, closed=True)
            return
        yield from (one for one in scanned if one.status != "unchanged")

    def _mark_missing(self, gone: list[str]) -> Iterator[ScanResult]:
        database = self._library.database
        known = {path for path in gone if (entry := database.find(path)) and not entry.missing}
        for path in gone:
            known.update(database.paths(Path(path)))
        missing = sorted(path for path in known if is_missing(path))
        database.mark_missing(missing)
        yield from (ScanResult(path, "missing", database.find(path)) for path in missing)

    def _handle(self, event: FileSystemEvent) -> None:
        """Note what the system tells; called in watchdog's thread."""
        is_folder = event.is_directory
        if is_folder and event.event_type == "modified":
            return  # What changed in it is told of itself.
        closed = is_folder or not self._sees_closing or event.event_type in ("closed", "moved", "deleted")
        for path in (event.src_path, event.dest_path):
            name = os.fsdecode(path)
            if name and self._concerns(name, is_folder=is_folder):
                self._changed.note(name, closed=closed)

    def _concerns(self, path: str, *, is_folder: bool) -> bool:
        """Whether a scan of the folders would look at a path: an audio file, nothing of it hidden."""
        if not is_folder and os.path.splitext(path)[1].lower() not in AUDIO_SUFFIXES:  # noqa: PTH122
            return False
        for folder in self._folders:
            with suppress(ValueError):
                return not any(part.startswith(".") for part in Path(path).relative_to(folder).parts)
        return False

    def __enter__(self) -> Watcher:
        try:
            from watchdog.events import FileSystemEventHandler
            from watchdog.observers import Observer
            from watchdog.observers.polling import PollingObserver
        except ImportError:
            raise missing_extra("watch", "watchdog") from None
        handle = self._handle

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                if event.event_type in ("created", "modified", "closed", "moved", "deleted"):
                    handle(event)

        poll = self._options.poll_seconds
        observer = Observer() if poll is None else PollingObserver(timeout=poll)
        try:
            for folder in self._folders:
                observer.schedule(Handler(), folder, recursive=True)
            observer.start()
        except OSError as reason:
            raise self._refusal(reason) from None
        self._exit.callback(observer.join)
        self._exit.callback(observer.stop)
        return self

    def _refusal(self, reason: OSError) -> GenrescopeError:
        names = ", ".join(self._folders)
        if reason.errno in _LIMIT_ERRORS:
            return ConfigError(
                "invalid_argument",
                f"{names}: more folders than the system watches at a time",
                "let it watch more (sysctl fs.inotify.max_user_watches=524288), or compare them: --poll 60",
            )
        return ConfigError(
            "invalid_argument",
            f"{names}: cannot be watched: {reason.strerror or reason}",
            "check that the folders may be read, or compare them: --poll 60",
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()


def _signature(path: str) -> tuple[int, int] | None:
    """Return size and time of a file; None where none is."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
