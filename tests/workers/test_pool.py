"""A pool does all jobs; a worker that dies, takes too long or too much memory costs only its own job."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import genrescope
from genrescope.errors import GenrescopeError, WorkerError
from genrescope.workers import WorkerPool, WorkerSpec
from genrescope.workers.jobs import JobQueue
from helpers.worker_handlers import (
    Handler,
    create_exiting_handler,
    create_failing_handler,
    create_test_handler,
    not_importable,
)

Job = dict[str, Any]


def do(pool: WorkerPool, jobs: Iterable[Job]) -> list[tuple[Job, Future[Job]]]:
    """Submit jobs as the queue allows; return them with their finished futures."""
    pairs = []
    for job in jobs:
        while pool.full:
            time.sleep(0.005)
        pairs.append((job, pool.submit(job)))
    wait([done for _, done in pairs])
    return pairs


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers import the handlers, and the package that is tested."""
    # Without the latter, workers import what is installed: possibly another checkout, which is being changed.
    folders = [Path(__file__).parents[1], Path(genrescope.__file__).parents[1]]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))


def test_a_process_that_cannot_start_is_reported_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "genrescope"
    package.mkdir()
    (package / "__init__.py").write_text("half = (\n")  # as while a checkout is being changed
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WorkerPool(WorkerSpec(create_test_handler), 1) as pool, pytest.raises(WorkerError) as caught:
        pool.submit({}).result()
    assert "ended with status 1: SyntaxError" in caught.value.message


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_all_jobs_are_done_once() -> None:
    with WorkerPool(WorkerSpec(create_test_handler, {"message": "hello"}), 2) as pool:
        answers = [done.result() for _, done in do(pool, [{"number": n, "print": True} for n in range(40)])]
    assert sorted(answer["number"] for answer in answers) == list(range(40))
    assert {answer["message"] for answer in answers} == {"hello"}
    assert len({answer["pid"] for answer in answers}) == 2


def test_names_that_are_not_utf8_pass() -> None:
    with WorkerPool(WorkerSpec(create_test_handler), 1) as pool:
        ((job, done),) = do(pool, [{"number": "caf\udce9"}])
    assert done.result()["number"] == job["number"] == "caf\udce9"


@pytest.mark.parametrize("number", [6, 9, 11])
def test_a_worker_that_dies_is_replaced(number: int) -> None:
    jobs = [{"number": 0}, {"die": number}, {"number": 1}, {"number": 2}]
    with WorkerPool(WorkerSpec(create_test_handler), 1) as pool:
        ends = [done.exception() or done.result()["number"] for _, done in do(pool, jobs)]
    (failure,) = [end for end in ends if isinstance(end, GenrescopeError)]
    assert isinstance(failure, WorkerError)
    assert failure.code == "worker_crashed"
    assert [end for end in ends if end is not failure] == [0, 1, 2]


def test_a_worker_past_its_time_is_killed() -> None:
    with WorkerPool(WorkerSpec(create_test_handler, timeout=1), 1) as pool:
        ends = [done.exception() for _, done in do(pool, [{"sleep": 3600}, {"number": 1}])]
    assert [getattr(end, "code", None) for end in ends] == ["timeout", None]


def test_a_worker_that_died_between_jobs_fails_no_job() -> None:
    with WorkerPool(WorkerSpec(create_test_handler), 1) as pool:
        pid = pool.submit({}).result()["pid"]
        os.kill(pid, 9)
        assert pool.submit({"number": 1}).result()["number"] == 1


# Workers ignore SIGTERM, which systemd sends to every process of a service; the pool ends them otherwise.
@pytest.mark.parametrize("number", [getattr(signal, "SIGKILL", signal.SIGTERM), signal.SIGSEGV])
def test_a_worker_that_died_before_it_read_its_job_fails_no_job(number: int) -> None:
    """The worker is killed while the job is sent to it: another worker does the job."""
    with WorkerPool(WorkerSpec(create_test_handler), 1) as pool:
        pids = []
        for n in range(12):
            answer = pool.submit({"number": n}).result()
            assert answer["number"] == n
            pids.append(answer["pid"])
            os.kill(answer["pid"], number)
    assert len(set(pids)) == 12


def test_workers_that_never_read_a_job_are_not_tried_for_ever() -> None:
    with WorkerPool(WorkerSpec(create_exiting_handler), 1) as pool:
        failure = pool.submit({}).exception(timeout=120)
    assert getattr(failure, "code", None) == "worker_failed"


def test_a_machine_that_can_start_no_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    with WorkerPool(WorkerSpec(create_test_handler), 1) as pool:
        os.kill(pool.submit({}).result()["pid"], 9)
        with monkeypatch.context() as patch:
            patch.setattr("genrescope.workers.pool.subprocess.Popen", refuse)
            time.sleep(0.2)
            failure = pool.submit({}).exception(timeout=10)
        assert getattr(failure, "code", None) == "worker_failed"
        assert pool.submit({"number": 2}).result(timeout=30)["number"] == 2


def test_nothing_is_imported_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    with WorkerPool(WorkerSpec(create_test_handler), 1) as pool:
        assert pool.submit({"number": 3}).result()["number"] == 3


def test_memory_is_bounded() -> None:
    with WorkerPool(WorkerSpec(create_test_handler, memory_limit_mb=200), 1) as pool:
        ends = [done.exception() for _, done in do(pool, [{"megabytes": 100}, {"megabytes": 400}, {}])]
    assert [getattr(end, "code", None) for end in ends] == [None, "memory_limit", None]


def test_failures_keep_their_codes() -> None:
    with WorkerPool(WorkerSpec(create_test_handler), 1) as pool:
        ends = [done.exception() for _, done in do(pool, [{"fail": 1}, {"bug": 1}, {}])]
    assert [getattr(end, "code", None) for end in ends] == ["audio_silent", "worker_failed", None]
    assert [isinstance(end, WorkerError) for end in ends] == [False, True, False]
    assert "RuntimeError: a bug" in str(ends[1])


def test_a_pool_that_cannot_start_says_why() -> None:
    with WorkerPool(WorkerSpec(create_failing_handler), 1) as pool:
        ends = [done.exception() for _, done in do(pool, [{}, {}])]
    assert [getattr(end, "code", None) for end in ends] == ["audio_missing"] * 2
    with WorkerPool(WorkerSpec(not_importable), 1) as pool:
        ((_, done),) = do(pool, [{}])
    assert getattr(done.exception(), "code", None) == "worker_failed"


def test_a_full_queue_refuses() -> None:
    with WorkerPool(WorkerSpec(create_test_handler), 1, queue_length=1) as pool:
        pool.submit({}).result()
        first = pool.submit({"sleep": 0.5})
        while pool.queued:
            time.sleep(0.01)
        second = pool.submit({})
        with pytest.raises(WorkerError, match="queue is full"):
            pool.submit({})
        assert (first.result()["held"], second.result()["held"]) == (0, 0)
    with pytest.raises(WorkerError):
        pool.submit({})


def test_closing_kills_at_once_and_leaves_no_process() -> None:
    pool = WorkerPool(WorkerSpec(create_test_handler), 2)
    pids = {done.result()["pid"] for _, done in do(pool, [{"sleep": 0.05}] * 8)}
    hanging = [pool.submit({"sleep": 600}) for _ in range(4)]
    time.sleep(0.3)
    start = time.monotonic()
    pool.close()  # a job in hand would take ten minutes
    assert time.monotonic() - start < 300
    assert not any(map(alive, pids))
    assert all(done.done() for done in hanging)


def test_a_target_that_cannot_be_imported_by_name_is_refused() -> None:
    def within() -> Handler:
        return lambda job: job

    for target in (within, lambda: within(), partial(create_test_handler)):
        with pytest.raises(TypeError, match="top level of a module"):
            WorkerSpec(target)


def test_a_canceled_job_leaves_the_queue_at_once() -> None:
    queue = JobQueue(2)
    first, second = queue.put({"number": 1}), queue.put({"number": 2})
    assert first is not None
    assert second is not None
    assert queue.put({"number": 3}) is None
    assert second.cancel()
    assert (len(queue), queue.is_full, queue.unfinished) == (1, False, 1)
    taken = queue.take(timeout=0)
    assert taken == ({"number": 1}, first)
    assert not first.cancel()
    assert (len(queue), queue.unfinished) == (0, 1)
    queue.count_finished()
    assert (queue.unfinished, queue.take(timeout=0)) == (0, None)
