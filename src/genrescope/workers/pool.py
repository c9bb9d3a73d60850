"""Worker processes that share out jobs: one that dies or dawdles is replaced, and only its job fails.

Each worker is a fresh interpreter (`genrescope.workers.process`), spoken to in JSON lines: nothing is
pickled, and a program that uses a crew needs no ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any

from genrescope.errors import OUTCOMES, GenrescopeError

Job = dict[str, Any]
_Order = tuple[Job, "Future[Job]"]
_START_TIMEOUT_SECONDS = 120.0
_EXIT_TIMEOUT_SECONDS = 5.0
_MAX_HAND_OVERS = 3


@dataclass(frozen=True)
class WorkerSpec:
    """What the workers of a crew can do.

    Attributes
    ----------
    skill : str
        ``room:function``: called in each worker with ``settings`` as keywords, returns what does a job.
    settings : mapping
        JSON-ready.
    seconds : float, optional
        The longest that a job may take; past it the worker is killed.
    megabytes : int, optional
        How much memory a job may use beyond what a worker needs when idle (where the system can tell).
    """

    target: str
    kwargs: Job = field(default_factory=dict)
    timeout: float | None = None
    memory_limit_mb: int | None = None


class WorkerPool:
    """A number of workers, and a queue of bounded length before them.

    Parameters
    ----------
    trade : Trade
    workers : int
    queue_length : int, optional
        How many jobs may wait; None: two for each worker.

    Examples
    --------
    >>> target = "genrescope.library.scan_worker:create_handler"
    >>> spec = WorkerSpec(target, {"model": "default", "excerpts": True})
    >>> with WorkerPool(spec, 2) as pool:
    ...     print(pool.submit({"path": "song.mp3", "known": []}).result())
    """

    def __init__(self, trade: WorkerSpec, workers: int, *, queue_length: int | None = None) -> None:
        self.workers = max(1, workers)
        self._orders: queue.Queue[_Order] = queue.Queue(queue_length or 2 * self.workers)
        self._closed = threading.Event()
        self._door = threading.Lock()
        self._desks = [_WorkerThread(trade, self._orders, self._closed) for _ in range(self.workers)]
        for desk in self._desks:
            desk.start()

    @property
    def full(self) -> bool:
        """Whether `submit` would refuse."""
        return self._orders.full()

    @property
    def queued(self) -> int:
        """How many jobs no worker has begun."""
        return self._orders.qsize()

    @property
    def active(self) -> int:
        """How many workers have a job in hand."""
        return sum(desk.active for desk in self._desks)

    def submit(self, job: Job) -> Future[Job]:
        """Hand in a job, a JSON object; the future holds the answer, or a `GenrescopeError`.

        Raises
        ------
        GenrescopeError
            ``overloaded``: the queue is full, or the crew is closed.
        """
        with self._door, contextlib.suppress(queue.Full):
            if not self._closed.is_set():
                done: Future[Job] = Future()
                self._orders.put_nowait((job, done))
                return done
        raise GenrescopeError(
            "overloaded", "all workers are busy and the queue is full", "try again in a moment"
        )

    def close(self) -> None:
        """Kill the workers, jobs in hand included; what waits is canceled."""
        with self._door:
            self._closed.set()
        for desk in self._desks:
            desk.terminate()
        for desk in self._desks:
            desk.join()
        with contextlib.suppress(queue.Empty):
            while True:
                self._orders.get_nowait()[1].cancel()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _WorkerThread(threading.Thread):
    """A thread that looks after one worker: hands it jobs, waits for answers, replaces it."""

    def __init__(self, trade: WorkerSpec, orders: queue.Queue[_Order], closed: threading.Event) -> None:
        super().__init__(daemon=True, name="genrescope crew")
        self.active = False
        self._trade = trade
        self._orders = orders
        self._closed = closed
        self._worker: _WorkerProcess | None = None
        self._lock = threading.Lock()

    def run(self) -> None:
        self._prestart()
        while not self._closed.is_set():
            try:
                order = self._orders.get(timeout=0.2)
            except queue.Empty:
                continue
            if not order[1].set_running_or_notify_cancel():
                continue
            self.active = True
            _settle(order[1], self._run_job(order[0]))
            self.active = False
        self.terminate()

    def terminate(self) -> None:
        """Kill the worker, if there is one."""
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
                self._worker = None

    def _prestart(self) -> None:
        """Have a worker ready before the first job; if that fails, the job will say why."""
        with contextlib.suppress(GenrescopeError, OSError):
            self._live_worker()

    def _live_worker(self) -> _WorkerProcess:
        with self._lock:
            if self._closed.is_set():
                raise _stopped()
            if self._worker is not None and not self._worker.is_alive:
                self._worker.kill()  # it died between jobs: none of them is to blame
                self._worker = None
            if self._worker is None:
                self._worker = _WorkerProcess(self._trade)
            return self._worker

    def _run_job(self, job: Job) -> Job:
        """Return the worker's line for a job; where there is none, the line says why."""
        try:
            return self._hand_over(job)
        except GenrescopeError as failure:
            self.terminate()
            return {"error": failure.to_dict()}
        except OSError as reason:  # no process, pipe or memory left for a worker
            self.terminate()
            return {"error": _not_started(str(reason)).to_dict()}

    def _hand_over(self, job: Job) -> Job:
        """Ask a worker; one that was dead before it read the job is replaced, and the job asked again."""
        why = ""
        for _ in range(_MAX_HAND_OVERS):
            try:
                return self._live_worker().run(job, self._trade.timeout)
            except _JobNotReadError as reason:
                why = str(reason)
                self.terminate()
        raise _not_started(why)


class _JobNotReadError(Exception):
    """A worker ended before it read its job."""


class _WorkerProcess:
    """One worker process, and the pipes to it."""

    def __init__(self, trade: WorkerSpec) -> None:
        order = json.dumps({"settings": trade.kwargs, "megabytes": trade.memory_limit_mb})
        # -P: no module is taken from the working directory, which may be a stranger's folder of music.
        command = [sys.executable, "-P", "-m", "genrescope.workers.process", trade.target, order]
        # One thread each, whatever library wants more: the crew itself is the parallel part.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | threads,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout
        self._ready = False

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def run(self, job: Job, seconds: float | None) -> Job:
        """Hand over a job and return the worker's line; a worker past its time is killed."""
        if not self._ready:
            self._await_ready()
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        clock = _start_timer(seconds, end)
        begun = False
        try:
            self._in.write(json.dumps(job).encode("ascii") + b"\n")
            self._in.flush()
            line = self._read_line()
            begun = True
            return self._read_line() if "begun" in line else line
        except (OSError, ValueError):
            if late.is_set():
                raise _timed_out(seconds) from None
            if not begun:
                raise _JobNotReadError(f"it ended with status {self._wait()} before it read a job") from None
            raise self._crashed() from None
        finally:
            clock.cancel()

    def _await_ready(self) -> None:
        clock = _start_timer(_START_TIMEOUT_SECONDS, self._process.kill)
        try:
            first = json.loads(self._out.readline())
        except ValueError:
            raise _not_started(f"it ended with status {self._wait()}") from None
        finally:
            clock.cancel()
        if "error" in first:
            raise GenrescopeError(**first["error"])
        self._ready = True

    def _read_line(self) -> Job:
        line: Job = json.loads(self._out.readline())
        return line

    def _crashed(self) -> GenrescopeError:
        return GenrescopeError(
            "worker_crashed",
            f"the worker process died on this file (exit status {self._wait()})",
            "the file is likely damaged: convert it (ffmpeg -i FILE out.flac), and please report it",
        )

    def _wait(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_EXIT_TIMEOUT_SECONDS)
        return None

    def kill(self) -> None:
        """End the process and close the pipes."""
        self._process.kill()
        self._wait()
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):
                pipe.close()


def _start_timer(seconds: float | None, action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds or 0, action)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    return timer


def _settle(done: Future[Job], line: Job) -> None:
    if "error" not in line:
        done.set_result(line["answer"])
        return
    error = line["error"]
    code = error["code"] if error["code"] in OUTCOMES else "worker_failed"
    done.set_exception(GenrescopeError(code, error["message"], error["hint"]))


def _timed_out(seconds: float | None) -> GenrescopeError:
    return GenrescopeError(
        "timeout",
        f"took longer than the {seconds:g} s that a file may take",
        "give a shorter file, or allow more time",
    )


def _not_started(why: str) -> GenrescopeError:
    return GenrescopeError(
        "worker_failed",
        f"a worker process could not start: {why}",
        "try 'genrescope classify' on one file: it shows what is wrong; or use fewer workers",
    )


def _stopped() -> GenrescopeError:
    return GenrescopeError("overloaded", "the workers were stopped", "start the work again")
