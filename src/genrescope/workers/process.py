"""The other side of a crew: a process that does jobs one by one, as JSON lines, until its master leaves.

Run as ``python -m genrescope.workers.process ROOM:FUNCTION SETTINGS``. The function gets the settings (a
JSON object) and returns what does the jobs: one JSON object in, one out.
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

from genrescope.errors import GenrescopeError

Job = dict[str, Any]
Handler = Callable[[Job], Job]


def run(skill: Callable[[], Handler], jobs: BinaryIO, answers: TextIO, *, megabytes: int | None) -> None:
    """Learn the skill, say so, and answer every job; ``megabytes`` bound what may be asked for on top.

    Every line out is an object with one key: ``ready``, ``begun`` (a job was read), ``answer`` or ``error``.
    """
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs, waiting), daemon=True).start()
    able: list[Handler] = []

    def learn() -> Job:
        able.append(skill())
        return {"ready": os.getpid()}

    def work() -> Job:
        job = json.loads(waiting.get())
        # Before this line, a dead worker is no fault of the job: the crew hands the job to another one.
        _send(answers, {"begun": os.getpid()})
        return {"answer": able[0](job)}

    _send(answers, _guarded(learn))
    if able and megabytes is not None:
        _limit_memory(megabytes)
    while able:
        _send(answers, _guarded(work))


def _listen(jobs: BinaryIO, waiting: queue.SimpleQueue[bytes]) -> None:
    """Pass jobs on; when the master is gone, leave at once, also in the middle of a job."""
    for line in jobs:
        waiting.put(line)
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


def _too_large() -> GenrescopeError:
    return GenrescopeError(
        "memory_limit",
        "needs more memory than one job may use",
        "give a shorter or smaller file, or allow more memory",
    )


def _unforeseen(bug: Exception) -> GenrescopeError:
    return GenrescopeError(
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
    """Take orders from standard input, answer on what was standard output; anything printed goes nowhere."""
    # Ctrl-C in a terminal reaches the whole group; the master decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    room, function = sys.argv[1].split(":")
    order = json.loads(sys.argv[2])

    def learn() -> Handler:
        skill: Handler = getattr(importlib.import_module(room), function)(**order["settings"])
        return skill

    run(learn, sys.stdin.buffer, answers, megabytes=order["megabytes"])


if __name__ == "__main__":
    main()
