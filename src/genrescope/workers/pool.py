"""A pool of worker processes: one that crashes or takes too long is replaced, and only its job fails.

::

    caller's process                                        worker processes
                                                            (python -m genrescope.workers.process)
    submit() --> bounded queue --+--> _WorkerThread 1  --job, stdin----->  _read_jobs (thread) --> run
      |                          |      _WorkerProcess <--lines, stdout---  ready | begun, answer or error
      |                          |
      |                          +--> _WorkerThread 2  --job, stdin------>  _read_jobs (thread) --> run
      v                                 _WorkerProcess <--lines, stdout---  ...
    Future  <-- answer or GenrescopeError, set by the thread

Why processes and not threads: a decoder that crashes on a damaged file ends its process, and only a process
can be killed when its time is over, or be given a limit of memory. Why not `concurrent.futures` or
`multiprocessing`: the death of one worker breaks the executor of the former with all pending jobs, it has no
time limit that ends the work, and both import the program's main module again in each worker.

Why JSON lines and not pickles: nothing that a worker sends can run code in the caller's process, and a worker
that was killed in the middle of a line leaves no message that can be mistaken for a whole one.

One thread looks after one process, because waiting for a line of a pipe blocks. The line ``begun`` says that
the job was read. A process that ends before it has sent that line cannot have failed because of the job, so
the job is handed to another process; after that line the job is taken to be the cause, and fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any

from genrescope.errors import OUTCOMES, GenrescopeError, WorkerError
from genrescope.workers.jobs import Job, JobQueue

Handler = Callable[[Job], Job]
# A start imports ONNX Runtime and loads a model: a second on an idle machine, far more on a busy one.
_START_TIMEOUT_SECONDS = 120.0
_EXIT_TIMEOUT_SECONDS = 5.0
# A worker may be killed from outside just before it reads a job. Three times in a row is no coincidence: then
# the job fails, instead of processes being started for ever.
_MAX_HAND_OVERS = 3
# Codes of `WorkerError`, which names them.
_WORKER_CODES = frozenset({"worker_failed", "overloaded", "worker_crashed", "timeout", "memory_limit"})


@dataclass(frozen=True)
class WorkerSpec:
    """What the workers of a pool do, and what a job may take.

    Attributes
    ----------
    target : callable
        A function at the top level of a module, which each worker imports by name and calls once with
        ``kwargs``; it returns the handler: a function from a job to its answer, both JSON objects.
    kwargs : dict
        Arguments for ``target``, JSON-ready.
    timeout : float, optional
        The longest that a job may take, in seconds; a worker that takes longer is killed.
    memory_limit_mb : int, optional
        Megabytes that a job may use beyond what a worker needs when idle (on systems that can limit it).

    Raises
    ------
    TypeError
        ``target`` cannot be imported by name: it is a lambda, a function within another, or of ``__main__``.
    """

    target: Callable[..., Handler]
    kwargs: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    memory_limit_mb: int | None = None

    def __post_init__(self) -> None:
        module = getattr(self.target, "__module__", None)
        name = getattr(self.target, "__qualname__", "")
        if not module or module == "__main__" or not name or "<" in name:
            raise TypeError(
                f"{self.target!r} cannot be a worker's target: a worker imports it by name, so it must be a"
                " function at the top level of a module that can be imported"
            )

    @property
    def address(self) -> str:
        """``module:qualname`` of the target."""
        return f"{self.target.__module__}:{self.target.__qualname__}"


class WorkerPool:
    """A number of workers, and a queue of bounded length before them.

    Parameters
    ----------
    spec : WorkerSpec
        What the workers do.
    workers : int
        How many processes.
    queue_length : int, optional
        How many jobs may wait; None: two for each worker.

    Examples
    --------
    >>> spec = WorkerSpec(my_module.create_handler, {"model": "default"}, timeout=60)
    >>> with WorkerPool(spec, 2) as pool:
    ...     print(pool.submit({"path": "song.mp3"}).result())
    """

    def __init__(self, spec: WorkerSpec, workers: int, *, queue_length: int | None = None) -> None:
        self.workers = max(1, workers)
        # Bounded, so that a caller with a million files holds no million jobs, and a server can refuse.
        self._queue = JobQueue(queue_length or 2 * self.workers)
        self._closed = threading.Event()
        # Without it a job could enter the queue after close() has emptied it, and its future never end.
        self._submit_lock = threading.Lock()
        self._threads = [_WorkerThread(spec, self._queue, self._closed) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()

    @property
    def full(self) -> bool:
        """Whether `submit` would refuse."""
        return self._queue.is_full

    @property
    def queued(self) -> int:
        """How many jobs no worker has begun."""
        return len(self._queue)

    @property
    def is_saturated(self) -> bool:
        """Whether there are more jobs than workers: the last of them has to wait."""
        return self._queue.unfinished > self.workers

    @property
    def active(self) -> int:
        """How many workers are at work on a job."""
        return sum(thread.active for thread in self._threads)

    def submit(self, job: Job) -> Future[Job]:
        """Queue a job; the future holds its answer, or the error: a `WorkerError`, or that of the handler.

        A future that is canceled before a worker has begun leaves its place in the queue at once.

        Parameters
        ----------
        job : dict
            JSON-ready.

        Raises
        ------
        WorkerError
            ``overloaded``: the queue is full, or the pool is closed.
        """
        with self._submit_lock:
            done = None if self._closed.is_set() else self._queue.put(job)
        if done is not None:
            return done
        raise WorkerError("overloaded", "all workers are busy and the queue is full", "try again in a moment")

    def close(self) -> None:
        """Kill the workers, also those at work on a job; jobs that wait are canceled."""
        with self._submit_lock:
            self._closed.set()
        # First all are killed, then all are waited for: a thread that reads a pipe goes on only when its
        # process has ended.
        for thread in self._threads:
            thread.terminate()
        for thread in self._threads:
            thread.join()
        self._queue.cancel_all()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _WorkerThread(threading.Thread):
    """A thread that looks after one worker: hands it jobs, waits for answers, replaces it."""

    def __init__(self, spec: WorkerSpec, jobs: JobQueue, closed: threading.Event) -> None:
        super().__init__(daemon=True, name="genrescope worker")
        self.active = False
        self._spec = spec
        self._queue = jobs
        self._closed = closed
        self._worker: _WorkerProcess | None = None
        # close() runs in another thread, and must not miss a process that is being started.
        self._lock = threading.Lock()

    def run(self) -> None:
        self._prestart()
        while not self._closed.is_set():
            # With a timeout, because closing the pool does not wake a thread that waits for a job.
            queued = self._queue.take(timeout=0.2)
            if queued is None:
                continue
            self.active = True
            line = self._run_job(queued[0])
            # Before the answer is out, so that who has it sees a worker that is free.
            self.active = False
            self._queue.count_finished()
            _settle(queued[1], line)
        self.terminate()

    def terminate(self) -> None:
        """Kill the worker, if there is one."""
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
                self._worker = None

    def _prestart(self) -> None:
        """Start a worker before the first job comes; if that fails, the job will report it."""
        with contextlib.suppress(GenrescopeError, OSError):
            self._live_worker()

    def _live_worker(self) -> _WorkerProcess:
        with self._lock:
            if self._closed.is_set():
                raise _stopped()
            if self._worker is not None and not self._worker.is_alive:
                self._worker.kill()  # It died between jobs: no job is the cause.
                self._worker = None
            if self._worker is None:
                self._worker = _WorkerProcess(self._spec)
            return self._worker

    def _run_job(self, job: Job) -> Job:
        """Return the worker's line for a job, or a line with the error where there is none."""
        try:
            return self._hand_over(job)
        except GenrescopeError as failure:
            # After a crash or a timeout there is no usable process left; the next job starts a new one.
            self.terminate()
            return {"error": failure.to_dict()}
        except OSError as reason:  # no process, pipe or memory available for a worker
            self.terminate()
            return {"error": _not_started(str(reason)).to_dict()}

    def _hand_over(self, job: Job) -> Job:
        """Give a worker the job; if it ended before it read the job, its successor gets it."""
        why = ""
        for _ in range(_MAX_HAND_OVERS):
            try:
                return self._live_worker().run(job, self._spec.timeout)
            except _JobNotReadError as reason:
                why = str(reason)
                self.terminate()
        raise _not_started(why)


class _JobNotReadError(Exception):
    """A worker ended before it read its job."""


class _WorkerProcess:
    """One worker process, and the pipes to it."""

    def __init__(self, spec: WorkerSpec) -> None:
        settings = json.dumps({"kwargs": spec.kwargs, "memory_limit_mb": spec.memory_limit_mb})
        # -P: no module is taken from the working directory, which may be a folder of music from anywhere.
        command = [sys.executable, "-P", "-m", "genrescope.workers.process", spec.address, settings]
        # One thread each, whatever NumPy or ONNX Runtime would take: the pool itself runs in parallel.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._start_output = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the worker is ready, or killed
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Not a pipe: nobody would read it, and a library that prints much would block when it is
                # full. Once it is ready, a worker prints to nowhere.
                stderr=self._start_output,
                env=os.environ | threads,
            )
        except BaseException:
            self._start_output.close()
            raise
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
            # A worker answers a line that it cannot parse without "begun"; that is an answer too.
            begun = True
            return self._read_line() if "begun" in line else line
        # A broken pipe is an OSError; the end of the stream, an empty or torn line, is no JSON: a ValueError.
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
            status = self._wait()
            if status is not None and status < 0:  # Someone killed it: its successor may start.
                raise _JobNotReadError(f"it was ended by signal {-status}") from None
            raise _not_started(f"it ended with status {status}{self._last_line()}") from None
        finally:
            clock.cancel()
        if "error" in first:
            raise _received(first["error"])
        self._ready = True
        self._start_output.close()

    def _last_line(self) -> str:
        """Return the last line that the process printed while it started: of a traceback, the error."""
        size = self._start_output.seek(0, os.SEEK_END)
        self._start_output.seek(max(0, size - 4096))
        lines = self._start_output.read().decode("utf8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last[:300]}" if last else ""

    def _read_line(self) -> Job:
        line: Job = json.loads(self._out.readline())
        return line

    def _crashed(self) -> WorkerError:
        return WorkerError(
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
        # Waited for, so that no zombie is left and `is_alive` is right from here on.
        self._wait()
        for pipe in (self._in, self._out, self._start_output):
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
    done.set_exception(_received(line["error"]))


def _received(error: dict[str, str]) -> GenrescopeError:
    """Return the error of a worker's line; the class of an error of the handler's own is not known here."""
    # The line came from a process that decoded a foreign file: an unknown code is not taken over.
    code = error["code"] if error["code"] in OUTCOMES else "worker_failed"
    kind = WorkerError if code in _WORKER_CODES else GenrescopeError
    return kind(code, error["message"], error["hint"])


def _timed_out(seconds: float | None) -> WorkerError:
    return WorkerError(
        "timeout",
        f"took longer than the {seconds:g} s that a file may take",
        "give a shorter file, or allow more time",
    )


def _not_started(why: str) -> WorkerError:
    return WorkerError(
        "worker_failed",
        f"a worker process could not start: {why}",
        "try 'genrescope classify' on one file: it shows what is wrong; or use fewer workers",
    )


def _stopped() -> WorkerError:
    return WorkerError("overloaded", "the workers were stopped", "start the work again")
