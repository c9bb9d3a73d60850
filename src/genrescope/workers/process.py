"""The worker's side of a pool: a process that does jobs one by one, as JSON lines, until its parent is gone.

Run as ``python -m genrescope.workers.process MODULE:FUNCTION SETTINGS``. The function gets the keyword
arguments in the settings and returns the handler: one JSON object in, one out. See `genrescope.workers.pool`
for a diagram, and for the reasons.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, TextIO

from genrescope.errors import GenrescopeError, WorkerError

Job = dict[str, Any]
Handler = Callable[[Job], Job]


def run(
    create_handler: Callable[[], Handler], jobs: BinaryIO, answers: TextIO, *, memory_limit_mb: int | None
) -> None:
    """Create the handler, report that, and answer every job.

    Parameters
    ----------
    create_handler : callable
        Returns the handler; where it raises a `GenrescopeError`, that is reported and the process ends.
    jobs : binary stream
        One JSON object per line.
    answers : text stream
        Every line written is an object with one key: ``ready``, ``begun`` (a job was read), ``answer`` or
        ``error``.
    memory_limit_mb : int or None
        What jobs may allocate beyond what is in use when the handler is there.
    """
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    handlers: list[Handler] = []

    def start() -> Job:
        handlers.append(create_handler())
        return {"ready": os.getpid()}

    def work() -> Job:
        job = json.loads(waiting.get())
        # A worker that dies before this line has not read the job: the pool hands the job to another one.
        _send(answers, {"begun": os.getpid()})
        return {"answer": handlers[0](job)}

    _send(answers, _guarded(start))
    # A thread reads the pipe even while a job runs, because that is how the end of the parent is noticed. Not
    # earlier: on Windows, libraries may wait while they are loaded until a thread has read what it waits for.
    threading.Thread(target=_read_jobs, args=(jobs, waiting), daemon=True).start()
    # The limit is set after the start, because the model and the libraries are not part of a job's memory.
    if handlers and memory_limit_mb is not None:
        _limit_memory(memory_limit_mb)
    while handlers:
        _send(answers, _guarded(work))


def _read_jobs(jobs: BinaryIO, waiting: queue.SimpleQueue[bytes]) -> None:
    """Queue jobs; when the parent is gone, its end of the pipe closes: exit, also in the middle of a job."""
    for line in jobs:
        waiting.put(line)
    # Not sys.exit, which would end this thread only; nothing is to be cleaned up or flushed.
    os._exit(0)


def _guarded(work: Callable[[], Job]) -> Job:
    """Return what ``work`` returns, or why it failed: whatever happens, the next job can come."""
    try:
        return work()
    except GenrescopeError as failure:
        return {"error": failure.to_dict()}
    except MemoryError:
        return {"error": _too_large().to_dict()}
    except Exception as bug:  # an unforeseen failure costs one file, and is reported with it
        return {"error": _unforeseen(bug).to_dict()}


def _too_large() -> WorkerError:
    return WorkerError(
        "memory_limit",
        "needs more memory than one job may use",
        "give a shorter or smaller file, or allow more memory",
    )


def _unforeseen(bug: Exception) -> WorkerError:
    return WorkerError(
        "worker_failed",
        f"an unforeseen failure: {type(bug).__name__}: {bug}",
        "please report it, with the file if you may share it",
    )


def _send(answers: TextIO, line: Job) -> None:
    answers.write(json.dumps(line) + "\n")
    answers.flush()


def _limit_memory(megabytes: int) -> None:
    """Bound the data segment, private mappings included, at what is used now and ``megabytes`` more."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # Not the address space (RLIMIT_AS), which libraries reserve far beyond what they use, nor the resident
    # memory (RLIMIT_RSS), a limit that Linux does not enforce. See getrlimit(2), proc(5).
    with contextlib.suppress(OSError, ValueError):
        used = _data_bytes() + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (used, used))


def _data_bytes() -> int:
    """Return the size of this process's data (``VmData``); raises OSError where it is not to be had."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
        for line in status:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    raise OSError("no VmData")


def main() -> None:
    """Read jobs from standard input, and write answers to what was standard output when the process started.

    Standard output itself goes where standard error goes: a library that prints cannot break a line. Standard
    input is empty.
    """
    # Ctrl-C in a terminal reaches the whole process group, and systemd sends SIGTERM to every process of a
    # service; the parent decides when its workers end, and they end in any case when it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    # Nor can a library that reads standard input take a job. And on Windows libraries look at standard input
    # when they are loaded, and wait there while a thread reads it (numpy/numpy#24290).
    jobs = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    module, function = sys.argv[1].split(":")
    settings = json.loads(sys.argv[2])

    def create_handler() -> Handler:
        handler: Handler = getattr(importlib.import_module(module), function)(**settings["kwargs"])
        # Until here the pool keeps what is printed, to say why a start failed; jobs may print without end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)
        return handler

    run(create_handler, jobs, answers, memory_limit_mb=settings["memory_limit_mb"])


if __name__ == "__main__":
    main()
