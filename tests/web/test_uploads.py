"""Uploads: counted while they are read, refused early, and canceled when their client disconnects."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect

from genrescope.errors import GenrescopeError
from genrescope.inference import ClassifyJob
from genrescope.web import uploads
from genrescope.web.app import Service
from genrescope.web.connections import HALF_CLOSED
from genrescope.web.schemas import ClassifyOptions
from genrescope.web.settings import Settings
from genrescope.web.uploads import Upload, receive_upload

PART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


def arriving(chunks: Callable[[], Any], headers: dict[bytes, bytes] | None = None) -> Request:
    """Return a request whose body is what ``chunks()`` gives, one at a time."""

    async def receive() -> dict[str, Any]:
        chunk = chunks()
        if chunk is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": chunk, "more_body": True}

    return Request({"type": "http", "method": "POST", "headers": list((headers or {}).items())}, receive)


async def refusal(request: Request, settings: Settings) -> str:
    with pytest.raises(GenrescopeError) as caught:
        async with receive_upload(request, settings):
            pass
    return caught.value.code


@pytest.mark.parametrize("kind", [b"audio/wav", b"multipart/form-data; boundary=b"])
def test_bytes_are_counted_while_reading(kind: bytes) -> None:
    sent = [PART]

    def endless() -> bytes:
        sent.append(bytes(2**16))
        return sent[-2]

    request = arriving(endless, {b"content-type": kind})
    assert asyncio.run(refusal(request, Settings(max_upload_mb=1))) == "upload_too_large"
    assert sum(map(len, sent)) < 1.2 * 2**20


def test_a_declared_length_over_the_limit_is_not_read() -> None:
    request = arriving(lambda: 1 / 0, {b"content-length": str(2**21).encode()})
    assert asyncio.run(refusal(request, Settings(max_upload_mb=1))) == "upload_too_large"


def test_an_upload_that_does_not_arrive() -> None:
    request = arriving(lambda: None)
    assert asyncio.run(refusal(request, Settings(upload_timeout=0.05))) == "upload_timeout"


async def timed_out(chunks: list[bytes | None], settings: Settings) -> str:
    """Return the message with which an upload that stops after these chunks is refused."""
    request = arriving(lambda: chunks.pop(0))
    with pytest.raises(GenrescopeError) as caught:
        async with receive_upload(request, settings):
            pass
    assert caught.value.code == "upload_timeout"
    return caught.value.message


def test_an_upload_slower_than_the_least_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_UPLOAD_GRACE_SECONDS", 0.05)
    slow = Settings(upload_timeout=600, min_upload_rate=4)
    assert "slower than 4 KiB a second" in asyncio.run(timed_out([b"x", None], slow))
    assert "longer than 0.05 s" in asyncio.run(timed_out([b"x", None], Settings(upload_timeout=0.05)))
    unlimited = Settings(upload_timeout=0.1, min_upload_rate=0)
    assert "longer than 0.1 s" in asyncio.run(timed_out([b"x", None], unlimited))


def test_each_byte_gives_an_upload_more_time() -> None:
    settings = Settings(upload_timeout=60, min_upload_rate=4)
    deadlines = [uploads._deadline(100, size, settings) for size in (0, 2**12, 2**14, 2**30)]
    assert deadlines == [105, 106, 109, 160]


@pytest.mark.skipif(os.name != "posix", reason="limits of files are of POSIX")
def test_a_full_disk() -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({2**18}, {2**18}))"
    code = f"import signal, asyncio, test_uploads; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); {limit}\n"
    code += "request = test_uploads.arriving(lambda: bytes(2**16))\n"
    code += "print(asyncio.run(test_uploads.refusal(request, test_uploads.Settings())))"
    variables = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(uploads.__file__).parents[2])])
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables)
    assert done.stdout.strip() == "write_failed", done.stderr


@pytest.mark.parametrize("begun", [False, True])
def test_job_of_a_disconnected_client_is_canceled_unless_begun(
    begun: bool, little_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job: Future[Any] = Future()

    def submit(submitted: ClassifyJob) -> Future[Any]:
        if begun:
            job.set_running_or_notify_cancel()
            threading.Timer(0.2, job.set_result, [{"path": submitted.name}]).start()
        return job

    async def disconnect() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    service = Service(Settings((str(little_model),), workers=1))
    monkeypatch.setattr(Service, "workers", SimpleNamespace(submit=submit))
    request = Request({"type": "http", "method": "POST", "headers": []}, disconnect)
    answer = service._classify_upload(request, Upload("song.wav", "/proc/0/fd/0", 1), ClassifyOptions())
    if begun:  # its file must not be closed under the worker, nor its slot be given to another
        assert asyncio.run(answer) == {"path": "song.wav"}
    else:
        with pytest.raises(ClientDisconnect):
            asyncio.run(answer)
        assert job.cancelled()


@pytest.mark.parametrize("state", ["waits", "has a free worker", "has begun"])
def test_a_job_whose_client_ended_its_side_is_dropped_only_while_it_waits(
    state: str, little_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job: Future[Any] = Future()

    async def classify() -> dict[str, object]:
        ended = asyncio.Event()
        ended.set()
        request = Request({"type": "http", "method": "POST", "headers": [], HALF_CLOSED: ended}, pending)
        answer = asyncio.ensure_future(
            service._classify_upload(request, Upload("song.wav", "/proc/0/fd/0", 1), ClassifyOptions())
        )
        for _ in range(20):  # turns of the event loop
            await asyncio.sleep(0)
        if state == "waits":
            assert job.cancelled()
        else:
            assert not answer.done()
            if state == "has a free worker":
                assert job.set_running_or_notify_cancel()
            job.set_result({"path": "song.wav"})
        return await answer

    async def pending() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    if state == "has begun":
        job.set_running_or_notify_cancel()
    service = Service(Settings((str(little_model),), workers=1))
    workers = SimpleNamespace(submit=lambda _: job, is_saturated=state != "has a free worker")
    monkeypatch.setattr(Service, "workers", workers)
    if state == "waits":
        with pytest.raises(GenrescopeError) as refused:
            asyncio.run(classify())
        assert refused.value.code == "overloaded"
    else:
        assert asyncio.run(classify()) == {"path": "song.wav"}
