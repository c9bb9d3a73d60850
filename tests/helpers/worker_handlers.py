"""Handlers for the tests of the worker pool, in a module that worker processes can import."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from genrescope.errors import AudioError

Job = dict[str, Any]
Handler = Callable[[Job], Job]


def create_test_handler(message: str = "done") -> Callable[[Job], Job]:
    """Return a handler that can fail in every way."""

    def work(job: Job) -> Job:
        if job.get("die"):
            os.kill(os.getpid(), job["die"])
        if job.get("fail"):
            raise AudioError("audio_silent", "silent", "unmute it")
        if job.get("bug"):
            raise RuntimeError("a bug")
        time.sleep(job.get("sleep", 0))
        if job.get("print"):
            print("text printed by a library")
        held = bytearray(job.get("megabytes", 0) * 2**20)
        return {"message": message, "number": job.get("number"), "pid": os.getpid(), "held": len(held)}

    return work


def create_exiting_handler() -> Callable[[Job], Job]:
    """Return a handler, and end the process once it has reported that it is ready, before it reads a job."""
    program: Any = sys.modules["__main__"]  # the worker module, as it was started
    program._guarded = lambda work: os._exit(3)
    return lambda job: job


def create_crashing_handler() -> Callable[[Job], Job]:
    """Return a handler that ends its process with every job."""
    return lambda job: os._exit(3)


def create_failing_handler() -> Callable[[Job], Job]:
    raise AudioError("audio_missing", "no model", "get one")


def not_importable() -> Handler:
    raise NotImplementedError


not_importable.__module__ = "no_such_module"


def create_reading_handler() -> Handler:
    """Return a handler that reads standard input, as libraries may; so does this function."""
    at_start = os.read(0, 100).decode()
    return lambda job: {"number": job["number"], "at_start": at_start, "read": sys.stdin.read()}


def create_counting_handler() -> Handler:
    """Return a handler that says how many threads there were when it was made."""
    threads = threading.active_count()
    return lambda job: {"threads_at_start": threads}
