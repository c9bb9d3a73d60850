"""The server as a process: a full house, an address that is taken, an open door, a missing package."""

from __future__ import annotations

import io
import re
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

from genrescope.errors import MissingDependencyError
from genrescope.web import server
from genrescope.web.settings import Settings
from helpers.server import serving
from helpers.small_data import RATE, hiss

CLASSIFY = "/v1/classify"


def test_a_full_house_refuses_at_once_and_recovers(tmp_path: Path) -> None:
    content = sound()
    with serving("--queue", "0", "--rate", "0", TMPDIR=str(tmp_path), HOME=str(tmp_path)) as (
        address,
        process,
    ):
        host, port = address.removeprefix("http://").split(":")
        head = f"POST {CLASSIFY} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(head + content[:1000])
            refused = until(lambda: post(address, b"x"), 503)
            assert refused == "overloaded"
            assert list(tmp_path.iterdir()) == []  # the upload has no name that could be left behind
            slow.sendall(content[1000:])
            assert slow.recv(15) == b"HTTP/1.1 200 OK"
        with socket.create_connection((host, int(port))) as leaver:
            leaver.sendall(head + content[:1000])
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
    """Ask until the status comes, and return the error's code; `post` bounds how long each may take."""
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


@pytest.mark.parametrize(("options", "statuses"), [((), [415, 429]), (("--behind-proxy",), [415, 415])])
def test_whose_rate_it_is_behind_a_proxy(options: tuple[str, ...], statuses: list[int]) -> None:
    with serving("--rate", "0.001", "--burst", "1", *options) as (address, _):
        clients = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(2)]
        asked = [httpx2.post(address + CLASSIFY, content=b"x", headers=one, timeout=30) for one in clients]
    assert [response.status_code for response in asked] == statuses


def test_an_address_that_is_taken() -> None:
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
def test_an_open_door_is_warned_of(
    host: str, token: str | None, warned: bool, little_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    said: list[str] = []
    server.serve(Settings((str(little_model),), token), host=host, port=0, say=said.append)
    assert said[0].startswith("warning: 0.0.0.0 can be reached by others") is warned
    assert re.search(r"http://[\d.]+:\d+ ", said[-1])


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingDependencyError) as caught:
        server.serve(Settings(), host="127.0.0.1", port=0, say=print)
    assert caught.value.code == "missing_dependency"
    assert "genrescope[web]" in caught.value.hint
