"""An S3 server on loopback (moto), run as a program, and a proxy before it that is slow or fails."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FaultyServer:
    """Passes requests on to a server, but for some that the name of their object tells it to answer badly."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.port = int(next(line for line in self.process.stdout if line.startswith("port")).split()[1])
        self.requests: Counter[str] = Counter()
        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End both servers."""
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.process.communicate()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        faulty = self

        class Handler(_FaultyHandler):
            server_state = faulty

        return Handler


class _FaultyHandler(BaseHTTPRequestHandler):
    """A request: counted, answered badly or passed on."""

    protocol_version = "HTTP/1.1"
    server_state: FaultyServer

    def handle_any(self) -> None:
        """Answer a request of any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key, requests = self.path.partition("?")[0], self.server_state.requests
        if "WRONG" in self.headers.get("Authorization", ""):
            self.reply(403, {}, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
            return
        if self.command == "GET" and "Range" in self.headers:
            requests[key] += 1
            if "hang" in key:
                self.server_state.released.wait()
                self.close_connection = True
                return
            if "flaky" in key and requests[key] % 2:
                self.reply(503, {}, b"<Error><Code>SlowDown</Code></Error>")
                return
        status, headers, data = self.pass_on(body)
        if "cut" in key and requests[key] == 1:
            # The headers promise more than comes.
            self.reply(status, headers, data[: len(data) // 2])
            self.close_connection = True
            return
        self.reply(status, headers, data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return the answer of the server behind this one."""
        upstream = http.client.HTTPConnection("127.0.0.1", self.server_state.port)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            data = answer.read()
            left_out = ("transfer-encoding", "connection", "server", "date")
            headers = {key: value for key, value in answer.getheaders() if key.lower() not in left_out}
            return answer.status, headers, data
        finally:
            upstream.close()

    def reply(self, status: int, headers: dict[str, str], data: bytes) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in headers):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


def main() -> None:
    """Serve until the end of the input."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(f"port {server.get_host_and_port()[1]}", flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
