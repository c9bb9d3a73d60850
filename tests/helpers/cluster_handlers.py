"""Stubs of what a worker process of an actor does, which a worker process can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genrescope.errors import AudioError
from genrescope.library import LibraryEntry

Job = dict[str, Any]


def entry_of(path: str) -> LibraryEntry:
    """Return the row that a stub gives a path."""
    score = (sum(os.fsencode(path)) % 1000) / 1000
    return LibraryEntry(
        path=path, size=len(path), mtime_ns=1, model="0" * 64, model_name="stub", scanned=1.0,
        genre="rock", score=score, scores={"rock": score}, answer="rock", genre_set=("rock",), seconds=1.0,
    )  # fmt: skip


def create_stub(model: str, *, storage_options: dict[str, Any], **options: Any) -> Callable[[Job], Job]:
    """Return a handler that reads no file; what it does besides, the name of the file and options say."""
    log = storage_options.get("log")
    pause = storage_options.get("pause", 0.0)

    def classify(job: Job) -> Job:
        if not job:
            return {}
        path = job["path"]
        if log:
            # One write of a short line is whole, whoever else writes.
            with open(log, "a", encoding="utf8") as stream:  # noqa: PTH123
                stream.write(f"{path}\n")
        if "crash-always" in path:
            os.kill(os.getpid(), signal.SIGKILL)
        if "crash-once" in path:
            flag = Path(storage_options["flags"], path.replace("/", "_"))
            if not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in path:
            time.sleep(3600)
        if "fail" in path:
            raise AudioError("audio_silent", "silent", "unmute it")
        time.sleep(pause)
        return {"entry": entry_of(path).to_columns()}

    return classify


def create_broken(model: str, **options: Any) -> Callable[[Job], Job]:
    """Fail to start, as where a library is missing on one machine."""
    raise ImportError("libmissing.so")


def create_fragile(model: str, **options: Any) -> Callable[[Job], Job]:
    """Return the real handler, which dies on a file whose name says so after its segments were scored."""
    from genrescope.distributed.worker import create_handler

    handler = create_handler(model, **options)

    def classify(job: Job) -> Job:
        answer = handler(job)
        if "crash" in job.get("path", ""):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return classify
