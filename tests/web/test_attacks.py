"""A hostile client, against a real process: it holds up and breaks nothing but its own requests.

Timeouts that the test waits for are short, those that must not be what helps are long; no test measures time.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
import soundfile

from genrescope.web import server
from genrescope.web.rate_limit import FairShare
from genrescope.web.settings import Settings
from helpers.server import serving
from helpers.small_data import RATE, hiss

CLASSIFY = "/v1/classify"
HOST = b"Host: localhost\r\n"
POST = b"POST /v1/classify HTTP/1.1\r\n" + HOST
HALF = b"GET /healthz HTTP/1.1\r\nHost: loc"
WAIT = 60.0


def flac(seconds: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, hiss(seconds, 1), RATE, format="FLAC")
    return file.getvalue()


def connect(address: str, content: bytes = b"", *, client: str = "127.0.0.1") -> socket.socket:
    host, _, port = address.removeprefix("http://").rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=WAIT, source_address=(client, 0))
    connection.sendall(content)
    return connection


def read(connection: socket.socket) -> bytes:
    """Return all that the server sends until it closes the connection; fail if it does not."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


def refused(send: Callable[[], None], *, times: int, pause: float = 0.0) -> bool:
    """Return whether the server closes the connection while ``send`` is repeated."""
    try:
        for _ in range(times):
            send()
            time.sleep(pause)
    except ConnectionError:
        return True
    return False


def status(received: bytes) -> int:
    return int(received.split(b" ", 2)[1])


@pytest.fixture(scope="module")
def patient() -> Iterator[str]:
    """Return the address of a server whose timeouts are so long that they cannot be what helps."""
    long = [f"--{name}=600" for name in ("header-timeout", "keep-alive-timeout", "upload-timeout")]
    with serving(*long, "--min-upload-rate=0", "--rate-limit=60000", "--burst=1000") as (address, _):
        yield address


@pytest.fixture(scope="module")
def impatient() -> Iterator[str]:
    short = [f"--{name}=0.3" for name in ("header-timeout", "keep-alive-timeout", "response-timeout")]
    with serving(*short, "--rate-limit=0", "--upload-timeout=0.3") as (address, _):
        yield address


def healthy(address: str) -> bool:
    return all(httpx2.get(f"{address}/healthz", timeout=WAIT).status_code == 200 for _ in range(3))


def test_half_sent_headers_of_one_client_keep_nobody_out(patient: str) -> None:
    with contextlib.ExitStack() as attack:
        held = [attack.enter_context(connect(patient, client="127.0.0.5")) for _ in range(1000)]
        for connection in held:
            with contextlib.suppress(ConnectionError):
                connection.sendall(HALF)
        assert healthy(patient)
        assert httpx2.post(patient + CLASSIFY, content=b"x", timeout=WAIT).status_code == 415
        # The first ones are still open: it was no timeout that helped.
        held[0].sendall(b"alhost\r\nConnection: close\r\n\r\n")
        assert status(read(held[0])) == 200
        # Depending on which side was faster, the refusal or only its end is seen.
        assert read(held[-1])[9:12] in {b"429", b""}


def test_half_sent_headers_of_many_clients_keep_nobody_out(patient: str) -> None:
    with contextlib.ExitStack() as attack:
        for number in range(1100):
            attack.enter_context(connect(patient, HALF, client=f"127.0.1.{number % 50 + 1}"))
        assert healthy(patient)
        assert httpx2.post(patient + CLASSIFY, content=b"x", timeout=WAIT).status_code == 415


def test_uploads_of_two_clients_that_do_not_end_keep_nobody_out(patient: str) -> None:
    head = POST + b"Content-Length: 1000000\r\n\r\n"
    with contextlib.ExitStack() as attack:
        held = [
            attack.enter_context(connect(patient, head + b"x", client=client))
            for client in ("127.0.0.21", "127.0.0.22")
            for _ in range(9)
        ]
        for connection in held:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"y")
        assert healthy(patient)
        assert httpx2.post(patient + CLASSIFY, content=flac(2.0), timeout=WAIT).status_code == 200
        metrics = httpx2.get(f"{patient}/metrics", timeout=WAIT).text
        places = [
            float(line.split()[1]) for line in metrics.splitlines() if line.startswith("genrescope_places")
        ]
        assert 9 <= places[0] < places[1]


def test_places_are_shared() -> None:
    shares = FairShare(18, limited=True)
    with contextlib.ExitStack() as held:
        taken = [
            sum(held.enter_context(shares.acquire(client)) for _ in range(18))
            for client in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "2001:db8::2")
        ]
    assert taken == [9, 5, 2, 1, 0]  # the last two are one IPv6 network


def test_headers_must_be_complete_in_time(impatient: str) -> None:
    with connect(impatient, HALF) as half:
        assert status(read(half)) == 408
    with connect(impatient) as mute:
        assert read(mute) == b""
    with connect(impatient, b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n") as idle:
        assert read(idle).count(b"HTTP/1.1 200") == 1


def test_a_rest_of_a_body_must_end_in_time(impatient: str) -> None:
    """A refused upload that is sent on, slowly, does not hold its connection."""
    with connect(impatient, POST + b"Content-Length: 99999999999\r\n\r\n") as upload:
        assert upload.recv(12) == b"HTTP/1.1 413"
        assert refused(lambda: upload.sendall(b"x"), times=600, pause=0.1)


def test_an_upload_must_arrive_in_time(impatient: str) -> None:
    with connect(impatient, POST + b"Content-Length: 9\r\n\r\nx") as upload:
        assert status(read(upload)) == 408


def test_a_client_that_does_not_read_is_dropped(impatient: str) -> None:
    with contextlib.closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        host, _, port = impatient.removeprefix("http://").rpartition(":")
        connection.settimeout(WAIT)
        connection.connect((host, int(port)))
        request = b"GET /docs HTTP/1.1\r\n" + HOST + b"\r\n"
        assert refused(lambda: connection.sendall(request), times=100_000)
    assert healthy(impatient)


ENDS = b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (POST + b"Transfer-Encoding: chunked\r\n" + ENDS + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n", 415),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\nzz\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + b"a: b\r\n" * 20000, 400),
        (POST + b"Content-Length: -1\r\n\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (POST + b"Content-Length: 0\r\n" + ENDS, 422),
        (b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n", 200),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 421),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: LOCALHOST.:8000\r\n" + ENDS, 200),
        (b"GET http://localhost/healthz HTTP/1.1\r\n" + HOST + ENDS, 200),
        (b"GET http://evil.example/healthz HTTP/1.1\r\n" + HOST + ENDS, 421),
        (b"GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\n" + ENDS, 421),
        (b"GET http://user@localhost/healthz HTTP/1.1\r\n" + HOST + ENDS, 421),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + ENDS, 404),
        (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + ENDS, 404),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 200000, 400),
        (b"GET /healthz?" + b"a=b&" * 12000 + b" HTTP/1.1\r\n" + HOST + ENDS, 200),
        (b"POST /v1/classify?" + b"a=b&" * 12000 + b" HTTP/1.1\r\n" + HOST + ENDS, 400),
        (b"\r\n" * 1000, 400),
        (b"GET /\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
)
def test_unusual_requests(patient: str, content: bytes, expected: int) -> None:
    with connect(patient) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(content)
        received = read(connection)
    if received or len(content) < 65536:  # a client that still sends may lose the response
        assert status(received) == expected
        assert expected == 200 or b"application/problem+json" in received
    assert healthy(patient)


def test_pipelined_requests_are_answered_in_order(patient: str) -> None:
    one = b"GET %s HTTP/1.1\r\n" + HOST
    content = b"".join(one % path + b"\r\n" for path in [b"/healthz", b"/none"] * 20)
    with connect(patient, content + one % b"/healthz" + ENDS) as connection:
        received = read(connection)
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 404] * 20 + [200]


def test_expect_continue(patient: str) -> None:
    head = POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n" + ENDS
    with connect(patient, head % 1) as connection:
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"x")
        assert status(read(connection)) == 415
    with connect(patient, head % 10**10) as connection:
        assert status(read(connection)) == 413


def test_a_client_that_leaves_in_mid_upload_frees_its_place(patient: str) -> None:
    for _ in range(40):
        connect(patient, POST + b"Content-Length: 1000\r\n\r\nx").close()
    # More than there are places: if they were not freed, this client would be refused for ever.
    until(lambda: httpx2.post(patient + CLASSIFY, content=b"x", timeout=WAIT).status_code == 415)


def test_a_length_that_the_header_states_is_enough_to_refuse(patient: str) -> None:
    content = bytearray(flac(2.0))
    # STREAMINFO: the low 36 bits of these 8 bytes are the number of samples (RFC 9639, section 8.2).
    fields = int.from_bytes(content[18:26], "big")
    content[18:26] = ((fields >> 36 << 36) | 24 * 3600 * RATE).to_bytes(8, "big")
    response = httpx2.post(f"{patient}{CLASSIFY}?name=day.flac", content=bytes(content), timeout=WAIT)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (413, "audio_too_long")
    assert problem["detail"] == "day.flac: its header states 86400 s; 1800 s are allowed"


@pytest.mark.parametrize("to_workers", [False, True])
def test_jobs_end_or_are_refused_when_the_server_is_told_to_end(to_workers: bool) -> None:
    content = flac(30.0)
    with serving("--rate-limit=0", "--shutdown-timeout=60") as (address, process):
        answers = terminated(address, process, content, to_workers=to_workers)
    assert set(answers) <= {200, 503}
    assert 200 in answers


def test_what_does_not_end_in_time_is_refused_when_the_server_is_told_to_end() -> None:
    with (
        serving("--rate-limit=0", "--shutdown-timeout=0.2") as (address, process),
        connect(address, POST + b"Content-Length: 1000\r\n\r\nx") as upload,
    ):
        until(lambda: places(address) == 1)
        process.send_signal(signal.SIGTERM)
        received = read(upload)
    assert status(received) == 503
    assert b'"the server is shutting down"' in received


def terminated(
    address: str, process: subprocess.Popen[str], content: bytes, *, to_workers: bool
) -> list[int]:
    """Send SIGTERM while requests are in progress, and return the statuses of their responses."""

    def post(_: int) -> int:
        return httpx2.post(address + CLASSIFY, content=content, timeout=WAIT).status_code

    with ThreadPoolExecutor(6) as clients:
        pending = [clients.submit(post, number) for number in range(6)]
        # All have been accepted before the server stops to accept.
        until(lambda: any(one.done() for one in pending) or places(address) == 6)
        pids = [process.pid, *(children(process.pid) if to_workers else ())]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        return [one.result() for one in pending]


def places(address: str) -> int:
    lines = httpx2.get(f"{address}/metrics", timeout=WAIT).text.splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("genrescope_places_taken "))


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for thread in threads for child in thread.read_text().split()]


def until(condition: object) -> None:
    assert callable(condition)
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never became so")


def test_connections_leave_files_for_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    for limit, expected in ((256, 256 - 64 - 18 - 8), (20000, 1000), (10, 1), (resource.RLIM_INFINITY, 1000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert server._max_connections(Settings(workers=2)) == expected
