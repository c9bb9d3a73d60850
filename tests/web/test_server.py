"""The server as a process: full queue, address in use, unprotected host, missing package, renamed options."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import soundfile
from httpx2 import Response
from typer.testing import CliRunner

from genrescope.cli import app
from genrescope.errors import MissingDependencyError
from genrescope.web import server
from genrescope.web.settings import Settings
from helpers.server import serving
from helpers.small_data import RATE, hiss

CLASSIFY = "/v1/classify"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc tells which processes there are")
def test_full_queue_refuses_at_once_and_recovers(tmp_path: Path) -> None:
    content = sound()
    with serving("--max-queue", "0", "--rate-limit", "0", TMPDIR=str(tmp_path), HOME=str(tmp_path)) as (
        address,
        process,
    ):
        host, port = address.removeprefix("http://").split(":")
        head = (
            f"POST {CLASSIFY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        )
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(head + content[:1000])
            refused = until(lambda: post(address, b"x"), 503)
            assert refused == "overloaded"
            assert list(tmp_path.iterdir()) == []  # the upload has no name that could be left behind
            slow.sendall(content[1000:])
            assert slow.recv(15) == b"HTTP/1.1 200 OK"
        with socket.create_connection((host, int(port))) as disconnecting:
            disconnecting.sendall(head + content[:1000])
            until(lambda: post(address, b"x"), 503)
        assert until(lambda: post(address, b"x"), 415) == "audio_unreadable"
        workers = children(process.pid)
        process.kill()
        process.wait()
        assert workers
        for _ in range(1200):
            if not any(map(alive, workers)):
                break
            time.sleep(0.05)
        assert not any(map(alive, workers))
    assert list(tmp_path.iterdir()) == []


def sound() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, hiss(4.0, 1), RATE, format="FLAC")
    return file.getvalue()


def post(address: str, content: bytes) -> Response:
    return httpx2.post(address + CLASSIFY, content=content, timeout=30)


def until(ask: Callable[[], Response], status: int) -> str:
    """Send requests until the status comes, and return the error's code; `post` bounds the time of each."""
    for _ in range(100):
        response = ask()
        if response.status_code == status:
            assert status != 503 or response.headers["retry-after"] == "1"
            return str(response.json()["code"])
        time.sleep(0.05)
    raise AssertionError(f"never answered {status}, but {response.status_code}")


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(("options", "statuses"), [((), [415, 429]), (("--proxy-headers",), [415, 415])])
def test_rate_limit_behind_a_proxy(options: tuple[str, ...], statuses: list[int]) -> None:
    with serving("--rate-limit", "0.001", "--burst", "1", *options) as (address, _):
        clients = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(2)]
        asked = [httpx2.post(address + CLASSIFY, content=b"x", headers=one, timeout=30) for one in clients]
    assert [response.status_code for response in asked] == statuses


def test_address_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "genrescope", "serve", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"cannot listen at 127.0.0.1, port {port}" in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [("127.0.0.1", None, False), ("0.0.0.0", None, True), ("0.0.0.0", "secret", False)],
)
def test_unprotected_host_is_warned_of(
    host: str, token: str | None, warned: bool, little_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    lines: list[str] = []
    server.serve(Settings((str(little_model),), token, host=host, port=0), echo=lines.append)
    assert lines[0].startswith("warning: 0.0.0.0 can be reached by others") is warned
    assert re.search(r"http://[\d.]+:\d+ ", lines[-1])


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingDependencyError) as caught:
        server.serve(Settings(port=0), echo=print)
    assert caught.value.code == "missing_dependency"
    assert "genrescope[web]" in caught.value.hint


OLD_OPTIONS = {
    "--queue": ("--max-queue", "max_queue", 3),
    "--max-megabytes": ("--max-upload-mb", "max_upload_mb", 4.0),
    "--max-seconds": ("--max-audio-seconds", "max_audio_seconds", 5.0),
    "--upload-seconds": ("--upload-timeout", "upload_timeout", 6.0),
    "--job-seconds": ("--job-timeout", "job_timeout", 7.0),
    "--job-megabytes": ("--job-memory-mb", "job_memory_mb", 8),
    "--rate": ("--rate-limit", "rate_limit", 9.0),
}


def served_settings(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, str]:
    """Return the settings that ``genrescope serve`` makes of its arguments, and what it prints."""
    served: list[Settings] = []
    monkeypatch.setattr("genrescope.web.serve", lambda settings, **_: served.append(settings), raising=False)
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code == 0, result.output
    return served[0], result.output


def test_defaults_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert served_settings([], monkeypatch) == (Settings(), "")


def test_old_option_names_are_taken_with_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    old = [f"{option}={value}" for option, (_, _, value) in OLD_OPTIONS.items()] + ["--behind-proxy"]
    new = [part for name, _, value in OLD_OPTIONS.values() for part in (name, str(value))] + [
        "--proxy-headers"
    ]
    settings, notices = served_settings(old, monkeypatch)
    expected = Settings(proxy_headers=True, **{field: value for _, field, value in OLD_OPTIONS.values()})
    assert settings == expected
    assert served_settings(new, monkeypatch) == (expected, "")
    names = {option: name for option, (name, _, _) in OLD_OPTIONS.items()} | {
        "--behind-proxy": "--proxy-headers"
    }
    assert [line.split("; ")[0] for line in notices.splitlines()] == [
        f"genrescope: {option!r} is now {name!r}" for option, name in names.items()
    ]
    assert not any(
        option in CliRunner().invoke(app, ["serve", "--help"]).output for option in ("--queue", "--rate ")
    )


def test_a_client_that_shuts_its_sending_side_gets_the_response() -> None:
    content = sound()
    with serving() as (address, _):
        host, port = address.removeprefix("http://").split(":")
        head = f"POST {CLASSIFY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(head.encode() + content)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 200 OK")  # read to the end: the server closes


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc tells which processes there are")
def test_the_job_of_a_client_that_ended_its_side_is_dropped_while_it_waits_and_kept_once_begun() -> None:
    content = sound()
    head = f"POST {CLASSIFY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"

    def send(number: int) -> socket.socket:
        # Each from an address of its own, since a client may have half of the places only.
        host, port = address.removeprefix("http://").split(":")
        source = (f"127.0.0.{number}", 0)
        client = socket.create_connection((host, int(port)), timeout=60, source_address=source)
        client.sendall(head.encode() + content)
        return client

    def gauges() -> tuple[int, int, int]:
        lines = httpx2.get(f"{address}/metrics").text.splitlines()
        found = dict(
            line.split() for line in lines if line.startswith(("genrescope_jobs", "genrescope_places"))
        )
        names = ("jobs_running", "jobs_waiting", "places_taken")
        return tuple(int(float(found[f"genrescope_{name}"])) for name in names)  # type: ignore[return-value]

    def await_gauges(*expected: int) -> None:
        for _ in range(1200):
            if gauges() == expected:
                return
            time.sleep(0.05)
        raise AssertionError(f"{gauges()} instead of {expected}")

    with serving("--max-queue", "1", "--rate-limit", "0") as (address, process):
        assert post(address, content).status_code == 200  # the worker is ready
        (worker,) = children(process.pid)
        os.kill(worker, signal.SIGSTOP)  # its job does not end before it may
        try:
            with send(2) as begun, send(3) as waiting:
                await_gauges(1, 1, 2)
                waiting.shutdown(socket.SHUT_WR)
                begun.shutdown(socket.SHUT_WR)
                with waiting.makefile("rb") as refusal:
                    answer = refusal.read()  # to the end: the server closes
                assert answer.startswith(b"HTTP/1.1 503")
                assert b'"overloaded"' in answer
                await_gauges(1, 0, 1)
                with send(4) as gone:
                    await_gauges(1, 1, 2)
                    gone.close()  # altogether: looks the same, until something is sent to it
                    await_gauges(1, 0, 1)
                with send(5) as next_one:  # takes the place that was given free
                    await_gauges(1, 1, 2)
                    os.kill(worker, signal.SIGCONT)
                    with begun.makefile("rb") as response:
                        assert response.read().startswith(b"HTTP/1.1 200 OK")
                    assert next_one.recv(15) == b"HTTP/1.1 200 OK"
        finally:
            os.kill(worker, signal.SIGCONT)


def test_malformed_requests_leave_no_line_in_the_log() -> None:
    with serving() as (address, process):
        host, port = address.removeprefix("http://").split(":")
        for _ in range(3):
            with socket.create_connection((host, int(port)), timeout=60) as client:
                client.sendall(b"this is not HTTP\r\n\r\n")
                assert client.recv(12) == b"HTTP/1.1 400"
        process.terminate()
        assert process.stderr is not None
        assert "Invalid HTTP" not in process.stderr.read()
