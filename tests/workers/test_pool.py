"""A crew does all jobs; a worker that dies, dawdles or eats memory costs its own job and nothing else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest

from genrescope.errors import AudioError, GenrescopeError
from genrescope.workers.pool import WorkerPool, WorkerSpec

Job = dict[str, Any]
SKILL = "test_pool:odd_jobs"


def odd_jobs(greeting: str = "done") -> Callable[[Job], Job]:
    """Return a skill with all the ways to go wrong."""

    def work(job: Job) -> Job:
        if job.get("die"):
            os.kill(os.getpid(), job["die"])
        if job.get("fail"):
            raise AudioError("audio_silent", "silent", "unmute it")
        if job.get("bug"):
            raise RuntimeError("a bug")
        time.sleep(job.get("sleep", 0))
        if job.get("chatter"):
            print("libraries print")
        held = bytearray(job.get("megabytes", 0) * 2**20)
        return {"said": greeting, "number": job.get("number"), "pid": os.getpid(), "held": len(held)}

    return work


def leaves_at_once() -> Callable[[Job], Job]:
    """Return a skill, and end the process once it has said that it is ready, before it reads a job."""
    program: Any = sys.modules["__main__"]  # the worker module, as it was started
    program._guarded = lambda work: os._exit(3)
    return lambda job: job


def unable() -> Callable[[Job], Job]:
    raise AudioError("audio_missing", "no model", "get one")


def do(crew: WorkerPool, jobs: Iterable[Job]) -> list[tuple[Job, Future[Job]]]:
    """Hand in jobs as there is room; return them with their finished futures."""
    pairs = []
    for job in jobs:
        while crew.full:
            time.sleep(0.005)
        pairs.append((job, crew.submit(job)))
    wait([done for _, done in pairs])
    return pairs


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers import this file."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_all_jobs_are_done_once() -> None:
    with WorkerPool(WorkerSpec(SKILL, {"greeting": "hello"}), 2) as crew:
        answers = [done.result() for _, done in do(crew, [{"number": n, "chatter": True} for n in range(40)])]
    assert sorted(answer["number"] for answer in answers) == list(range(40))
    assert {answer["said"] for answer in answers} == {"hello"}
    assert len({answer["pid"] for answer in answers}) == 2


def test_names_that_are_not_utf8_pass() -> None:
    with WorkerPool(WorkerSpec(SKILL), 1) as crew:
        ((job, done),) = do(crew, [{"number": "caf\udce9"}])
    assert done.result()["number"] == job["number"] == "caf\udce9"


@pytest.mark.parametrize("number", [6, 9, 11])
def test_a_worker_that_dies_is_replaced(number: int) -> None:
    jobs = [{"number": 0}, {"die": number}, {"number": 1}, {"number": 2}]
    with WorkerPool(WorkerSpec(SKILL), 1) as crew:
        ends = [done.exception() or done.result()["number"] for _, done in do(crew, jobs)]
    (failure,) = [end for end in ends if isinstance(end, GenrescopeError)]
    assert failure.code == "worker_crashed"
    assert [end for end in ends if end is not failure] == [0, 1, 2]


def test_a_worker_past_its_time_is_killed() -> None:
    with WorkerPool(WorkerSpec(SKILL, timeout=1), 1) as crew:
        ends = [done.exception() for _, done in do(crew, [{"sleep": 3600}, {"number": 1}])]
    assert [getattr(end, "code", None) for end in ends] == ["timeout", None]


def test_a_worker_that_died_between_jobs_blames_no_job() -> None:
    with WorkerPool(WorkerSpec(SKILL), 1) as crew:
        pid = crew.submit({}).result()["pid"]
        os.kill(pid, 9)
        assert crew.submit({"number": 1}).result()["number"] == 1


@pytest.mark.parametrize("number", [9, 15])
def test_a_worker_that_died_before_it_read_its_job_blames_no_job(number: int) -> None:
    """A kill that arrives while the job is on its way: another worker does the job."""
    with WorkerPool(WorkerSpec(SKILL), 1) as crew:
        pids = []
        for n in range(12):
            answer = crew.submit({"number": n}).result()
            assert answer["number"] == n
            pids.append(answer["pid"])
            os.kill(answer["pid"], number)
    assert len(set(pids)) == 12


def test_workers_that_never_read_a_job_are_not_tried_for_ever() -> None:
    with WorkerPool(WorkerSpec("test_pool:leaves_at_once"), 1) as crew:
        failure = crew.submit({}).exception(timeout=120)
    assert getattr(failure, "code", None) == "worker_failed"


def test_a_machine_that_can_start_no_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    with WorkerPool(WorkerSpec(SKILL), 1) as crew:
        os.kill(crew.submit({}).result()["pid"], 9)
        with monkeypatch.context() as patch:
            patch.setattr("genrescope.workers.pool.subprocess.Popen", refuse)
            time.sleep(0.2)
            failure = crew.submit({}).exception(timeout=10)
        assert getattr(failure, "code", None) == "worker_failed"
        assert crew.submit({"number": 2}).result(timeout=30)["number"] == 2


def test_nothing_is_imported_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    with WorkerPool(WorkerSpec(SKILL), 1) as crew:
        assert crew.submit({"number": 3}).result()["number"] == 3


def test_memory_is_bounded() -> None:
    with WorkerPool(WorkerSpec(SKILL, memory_limit_mb=200), 1) as crew:
        ends = [done.exception() for _, done in do(crew, [{"megabytes": 100}, {"megabytes": 400}, {}])]
    assert [getattr(end, "code", None) for end in ends] == [None, "memory_limit", None]


def test_failures_keep_their_codes() -> None:
    with WorkerPool(WorkerSpec(SKILL), 1) as crew:
        ends = [done.exception() for _, done in do(crew, [{"fail": 1}, {"bug": 1}, {}])]
    assert [getattr(end, "code", None) for end in ends] == ["audio_silent", "worker_failed", None]
    assert "RuntimeError: a bug" in str(ends[1])


def test_a_crew_that_cannot_start_says_why() -> None:
    with WorkerPool(WorkerSpec("test_pool:unable"), 1) as crew:
        ends = [done.exception() for _, done in do(crew, [{}, {}])]
    assert [getattr(end, "code", None) for end in ends] == ["audio_missing"] * 2
    with WorkerPool(WorkerSpec("no_such_room:x"), 1) as crew:
        ((_, done),) = do(crew, [{}])
    assert getattr(done.exception(), "code", None) == "worker_failed"


def test_a_full_queue_refuses() -> None:
    with WorkerPool(WorkerSpec(SKILL), 1, queue_length=1) as crew:
        crew.submit({}).result()
        first = crew.submit({"sleep": 0.5})
        while crew.queued:
            time.sleep(0.01)
        second = crew.submit({})
        with pytest.raises(GenrescopeError, match="queue is full"):
            crew.submit({})
        assert (first.result()["held"], second.result()["held"]) == (0, 0)
    with pytest.raises(GenrescopeError):
        crew.submit({})


def test_closing_kills_at_once_and_leaves_no_process() -> None:
    crew = WorkerPool(WorkerSpec(SKILL), 2)
    pids = {done.result()["pid"] for _, done in do(crew, [{"sleep": 0.05}] * 8)}
    hanging = [crew.submit({"sleep": 600}) for _ in range(4)]
    time.sleep(0.3)
    start = time.monotonic()
    crew.close()  # a job in hand would take ten minutes
    assert time.monotonic() - start < 300
    assert not any(map(alive, pids))
    assert all(done.done() for done in hanging)
