"""Processes: started anew as on Windows and macOS, never copied, and waits that Ctrl-C ends."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import soundfile

import genrescope
from genrescope.library import watcher
from genrescope.workers import WorkerPool, WorkerSpec, batch, run_jobs
from helpers import worker_handlers
from helpers.small_data import RATE, drone

SOURCE = Path(genrescope.__file__).parent
# Of the modules os, signal and socket, what Windows lacks, as their documentation says.
NOT_ON_WINDOWS = frozenset({
    "fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getpgid", "getpgrp",
    "setsid", "setuid", "setgid", "killpg", "nice", "chown", "lchown", "fchown", "posix_fadvise",
    "posix_fallocate", "posix_spawn", "sched_getaffinity", "sched_setaffinity", "mkfifo", "mknod",
    "getloadavg", "statvfs", "fstatvfs", "uname", "sysconf", "confstr", "listxattr", "getxattr",
    "setxattr", "removexattr", "sendfile", "pread", "pwrite", "readv", "writev", "sync", "fdatasync",
    "wait", "waitid", "WIFSIGNALED", "WTERMSIG", "WEXITSTATUS", "O_DIRECTORY", "O_NOFOLLOW", "O_DIRECT",
    "O_CLOEXEC", "O_NONBLOCK", "O_SYNC", "SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2",
    "SIGALRM", "SIGPIPE", "SIGCHLD", "setitimer", "alarm", "pause", "sigwait", "pthread_kill",
    "pthread_sigmask", "AF_UNIX",
})  # fmt: skip
ALLOWED = {
    # Reached only where the owner of a file differs from that of its copy: on Windows both are 0.
    ("utils/files.py", "chown"),
    # Asked for before.
    ("training/distillation/targets.py", "nice"),
}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf8"))


def missing_names(tree: ast.AST) -> set[str]:
    """Return what a module uses of os, signal and socket that Windows lacks."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("os", "signal", "socket") and node.attr in NOT_ON_WINDOWS:
                found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "signal", "socket"):
            found |= {alias.name for alias in node.names} & NOT_ON_WINDOWS
    return found


def test_nothing_is_used_that_windows_lacks() -> None:
    assert missing_names(ast.parse("import os\nfrom signal import SIGHUP\nos.getuid(); os.getpid()")) == {
        "getuid",
        "SIGHUP",
    }
    found = {(file, name) for file, tree in trees() for name in missing_names(tree)}
    assert found - ALLOWED == set()


def test_modules_of_posix_are_imported_where_their_absence_is_foreseen() -> None:
    found = []
    for file, tree in trees():
        foreseen = [
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.Try)
            and any("ImportError" in ast.unparse(handler.type) for handler in node.handlers if handler.type)
            for inner in ast.walk(node)
        ]
        for node in ast.walk(tree):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom):
                names = {str(node.module)}
            if names & {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"} and node not in foreseen:
                found.append((file, ast.unparse(node)))
    assert found == []


def unstated_starts(tree: ast.AST) -> list[str]:
    """Return the calls that start processes of multiprocessing without saying that they start anew."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        text = ast.unparse(node)
        if name in ("get_context", "set_start_method") and not text.endswith("('spawn')"):
            found.append(text)
        if name in ("Process", "Pool", "ProcessPoolExecutor") and "context" not in text:
            found.append(text)
        if name == "DataLoader" and "num_workers" in text and "multiprocessing_context='spawn'" not in text:
            found.append(text)
        if "start_method=" in text and name.endswith("Strategy") and "start_method='spawn'" not in text:
            found.append(text)
    return found


def test_processes_start_anew_and_are_no_copies() -> None:
    wrong = "Pool(2)\nget_context('fork')\nDataLoader(x, num_workers=2)\nDDPStrategy(start_method='fork')"
    assert len(unstated_starts(ast.parse(wrong))) == 4
    assert [text for _, tree in trees() for text in unstated_starts(tree)] == []


def test_a_program_without_a_guard_for_its_main_module_runs_once(tmp_path: Path, little_model: Path) -> None:
    """multiprocessing would import it again in every process; workers do not."""
    music = tmp_path / "music"
    music.mkdir()
    for number in range(2):
        soundfile.write(music / f"{number}.wav", drone(2.0, number), RATE)
    program = tmp_path / "program.py"
    program.write_text(
        "print('begun')\n"
        "from genrescope.library import Library, ScanOptions\n"
        f"options = ScanOptions(model={str(little_model)!r}, workers=2)\n"
        f"with Library({str(tmp_path / 'library.db')!r}) as library:\n"
        f"    print(*(one.status for one in library.scan([{str(music)!r}], options)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(SOURCE.parent)}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == ["begun", "classified classified"], done.stderr


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers import the handlers of tests."""
    folders = [Path(__file__).parents[1], SOURCE.parent]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))


def test_a_worker_has_no_standard_input_that_a_library_could_wait_for(importable: None) -> None:
    """On Windows a library that is loaded waits for standard input, while a thread reads jobs from it."""
    with WorkerPool(WorkerSpec(worker_handlers.create_reading_handler), 1, queue_length=3) as pool:
        answers = [pool.submit({"number": number}) for number in range(3)]
        assert [answer.result() for answer in answers] == [
            {"number": number, "at_start": "", "read": ""} for number in range(3)
        ]


def test_nothing_reads_jobs_while_a_worker_loads_its_libraries(importable: None) -> None:
    with WorkerPool(WorkerSpec(worker_handlers.create_counting_handler), 1) as pool:
        assert pool.submit({}).result() == {"threads_at_start": 1}


def test_waits_for_workers_end_from_time_to_time_where_ctrl_c_does_not_end_them(
    importable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float | None] = []
    wait = batch.wait

    def noted(pending: Any, **options: Any) -> Any:
        waited.append(options["timeout"])
        return wait(pending, **options)

    monkeypatch.setattr(batch, "wait", noted)
    monkeypatch.setattr(batch, "_MAX_WAIT_SECONDS", 0.01)
    spec = WorkerSpec(worker_handlers.create_test_handler)
    found = dict(run_jobs(spec, [(number, {"number": number, "sleep": 0.2}) for number in range(3)], 1))
    assert sorted(found) == [0, 1, 2]
    assert set(waited) <= {0, 0.01}
    assert 0.01 in waited


def test_what_is_not_done_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pending: dict[Future[Any], int] = {Future(): 1}
    assert list(batch._done(pending, 0)) == []


def test_a_watcher_looks_up_from_time_to_time_where_ctrl_c_does_not_end_a_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watcher, "_MAX_WAIT_SECONDS", 0.01)
    changed = watcher.ChangedPaths(1.0)
    thread = threading.Thread(target=changed.wait, args=(None,), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
