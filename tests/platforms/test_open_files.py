"""Files that are open: Windows neither replaces nor removes them, and has no locks and users of POSIX."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from genrescope.audio import discovery, read_playlist
from genrescope.errors import AudioError, WriteError
from genrescope.utils import files, write_atomic


class Busy:
    """A file that another program has open: replacing it fails a number of times, as on Windows."""

    def __init__(self, times: int) -> None:
        self.left = times
        self._replace = Path.replace

    def replace(self, source: Path, target: Path) -> Path:
        if self.left:
            self.left -= 1
            raise PermissionError(errno.EACCES, "Access is denied", str(source), 5, str(target))
        return self._replace(source, target)


def refused(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "The process cannot access the file")


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Busy:
    """Return how often replacing fails from now on: every time."""
    one = Busy(sys.maxsize)
    monkeypatch.setattr(files, "_REPLACE_PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(Path, "replace", lambda source, target: one.replace(source, target))
    return one


def test_a_file_that_a_virus_scanner_looks_at_is_replaced_a_little_later(tmp_path: Path, busy: Busy) -> None:
    busy.left = 3
    write_atomic(tmp_path / "a.csv", "new")
    assert (tmp_path / "a.csv").read_text() == "new"
    assert busy.left == 0


def test_a_file_that_stays_open_is_left_as_it_was_and_the_error_says_why(tmp_path: Path, busy: Busy) -> None:
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(WriteError) as caught:
        write_atomic(tmp_path / "a.csv", "new")
    assert "close the program that has it open" in caught.value.hint
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_tags_that_another_program_writes_while_it_is_waited_for_stay(
    tmp_path: Path, busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy.left = 1
    song = tmp_path / "a.mp3"
    song.write_bytes(b"old")
    monkeypatch.setattr(files.time, "sleep", lambda _: song.write_bytes(b"by another program"))
    with pytest.raises(WriteError) as caught, files.replacing(song) as temporary:
        temporary.write_bytes(b"new")
    assert caught.value.code == "file_changed"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"by another program"]


def test_elsewhere_a_refusal_is_not_waited_for(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("there it is")
    assert files._REPLACE_PAUSES == ()


def test_a_file_is_brought_to_the_disk_by_a_handle_that_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="tells how a file was opened")
    brought = []

    def fsync(handle: int) -> None:
        # FlushFileBuffers: "The handle must have the GENERIC_WRITE access right."
        if not os.path.isdir(handle) and fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:  # noqa: PTH112
            raise OSError(errno.EBADF, "Bad file descriptor")
        brought.append(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    song = tmp_path / "a.mp3"
    song.write_bytes(b"old")
    with files.replacing(song) as temporary:
        temporary.write_bytes(b"new")
    assert song.read_bytes() == b"new"
    assert brought


def test_names_and_folders_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    # What is written first has a shorter name beside it.
    name = f"{'a' * 251}.csv"
    write_atomic(tmp_path / name, "new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_upload_can_be_opened_by_its_name_while_it_is_open_and_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploads = pytest.importorskip("genrescope.web.uploads", reason="the extra web is not installed")
    monkeypatch.setattr(uploads, "_supports_unnamed_files", lambda: False)
    asked: list[dict[str, Any]] = []
    make = tempfile.NamedTemporaryFile

    def named(**options: Any) -> Any:
        asked.append(options)
        return make(**options)

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", named)
    with uploads._temporary_file() as file:
        file.write(b"music")
        file.flush()
        path = Path(uploads._readable_path(file))
        assert path.read_bytes() == b"music"
    assert not path.exists()
    # Windows opens no file a second time that is to vanish when it is closed.
    assert asked[0]["delete"] is False


def test_an_upload_that_a_worker_still_reads_is_removed_when_the_server_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploads = pytest.importorskip("genrescope.web.uploads", reason="the extra web is not installed")
    monkeypatch.setattr(uploads, "_supports_unnamed_files", lambda: False)
    later: list[Any] = []
    monkeypatch.setattr(uploads.atexit, "register", later.append)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        with uploads._temporary_file() as file:
            path = Path(uploads._readable_path(file))
    assert path.exists()
    (at_exit,) = later
    at_exit()
    assert not path.exists()


def test_a_folder_in_place_of_a_playlist_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows answers with a refusal of permission to whoever opens a folder as a file."""
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(AudioError, match="not a playlist: a folder"):
        read_playlist(tmp_path)


def test_a_port_is_not_shared_where_the_system_can_keep_others_off(monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("genrescope.web.server", reason="the extra web is not installed")
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with server._listen("127.0.0.1", 0) as listener:
        assert not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_folders_without_numbers_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network disks of Windows may give every file the number 0."""
    for name in ("a", "b", "b/c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.mp3").touch()
    if os.name == "posix":
        (tmp_path / "b" / "c" / "back").symlink_to(tmp_path)
    stat = os.stat

    def unnumbered(path: Any, **options: Any) -> os.stat_result:
        status = stat(path, **options)
        return os.stat_result((status[0], 0, *status[2:]))

    monkeypatch.setattr(discovery.os, "stat", unnumbered)
    found = [one.path for one in discovery.discover([tmp_path]) if one.kind == "audio"]
    assert found == [str(tmp_path / name / "1.mp3") for name in ("a", "b", "b/c")]


# What CPython lacks on Windows, of what Python itself does not need here to start processes.
_AS_ON_WINDOWS = """
import os, signal, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline"):
    sys.modules[name] = None
for name in (
    "fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getpgid", "setsid", "chown", "lchown",
    "fchown", "fchmod", "posix_fadvise", "posix_fallocate", "sched_getaffinity", "mkfifo", "mknod", "killpg",
    "nice",
    "getloadavg", "statvfs", "fstatvfs", "confstr", "listxattr", "getxattr", "setxattr",
    "removexattr", "sendfile", "pread", "pwrite", "preadv", "sync", "fdatasync", "ctermid", "getpriority",
    "O_DIRECTORY", "O_NOFOLLOW", "O_DIRECT", "O_NOATIME", "O_SYNC", "O_NOCTTY",
):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM", "SIGPIPE", "setitimer", "alarm", "pthread_kill"):
    if hasattr(signal, name):
        delattr(signal, name)
"""


@pytest.fixture
def windows(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose Python processes lack what Windows lacks, workers included."""
    folder = tmp_path / "as on windows"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_AS_ON_WINDOWS)
    source = Path(files.__file__).parents[2]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), str(source)]),
        # Where folders are on Linux, platformdirs finds out with what Windows lacks.
        "GENRESCOPE_DATA": str(tmp_path / "data"),
        "GENRESCOPE_CACHE": str(tmp_path / "cache"),
    }


def run(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "genrescope", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf8", env=environment)


def test_the_simulation_lacks_what_windows_lacks(windows: dict[str, str]) -> None:
    code = "import os\nassert not hasattr(os, 'getuid')\nimport fcntl"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=windows)
    assert "import of fcntl halted" in done.stderr


def test_files_are_classified_kept_tagged_and_audited_without_what_windows_lacks(
    windows: dict[str, str], flac: Path, little_model: Path
) -> None:
    folder = flac.parent / "music"
    folder.mkdir()
    song = flac.rename(folder / flac.name)
    commands: list[list[str | Path]] = [
        ["classify", song, "-m", little_model],
        ["library", "scan", folder, "-m", little_model, "--workers", "1"],
        ["library", "tag", "--write", "--overwrite", "--uncertain", "all"],
        ["library", "untag"],
        ["library", "export", "-f", "m3u8", "-o", folder / "lists"],
        ["audit", folder, "-o", folder / "audit.json"],
    ]
    for arguments in commands:
        done = run(windows, *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
