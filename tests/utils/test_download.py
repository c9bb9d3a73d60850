"""Downloads are verified, and in place whole or not at all; against a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from genrescope.errors import ConfigError, DownloadError, GenrescopeError, ModelError
from genrescope.utils import download, download_file

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """A server of one file that can fail in several ways, and counts requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.states_length = True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.requests = 0
        self.redirect = ""
        self.url = f"http://127.0.0.1:{self.server_port}/weights.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        server = self.server
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        server.requests += 1
        self.send_response(302 if server.redirect else 200)
        if server.redirect:
            self.send_header("Location", server.redirect)
        if server.states_length:
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: server.cuts.pop(0) if server.cuts else None])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    # A certificate for 127.0.0.1 would have to be made; what is tested here does not depend on encryption.
    monkeypatch.setattr(download, "SCHEME", "http://127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pt"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_downloaded_once(server: Server, target: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert download_file(server.url, target, sha256=SHA256) == target
    assert download_file(server.url, target, sha256=SHA256.upper()).read_bytes() == CONTENT
    assert server.requests == 1
    assert names(target.parent) == {"weights.pt"}
    assert capfd.readouterr() == ("", "")


def test_a_broken_connection_is_retried(server: Server, target: Path) -> None:
    server.cuts = [70_000, 200_000]
    assert download_file(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.requests == 3


def test_a_connection_that_always_breaks_leaves_nothing(server: Server, target: Path) -> None:
    server.cuts = [100_000] * download.ATTEMPTS
    with pytest.raises(DownloadError) as caught:
        download_file(server.url, target, sha256=SHA256)
    assert caught.value.code == "download_failed"
    assert names(target.parent) == set()


def test_a_truncation_not_detected_by_length_is_detected_by_hash(server: Server, target: Path) -> None:
    server.states_length, server.cuts = False, [100_000]
    with pytest.raises(ModelError) as caught:
        download_file(server.url, target, sha256=SHA256)
    assert caught.value.code == "model_corrupt"
    assert names(target.parent) == set()


def test_a_transient_failure_is_retried(server: Server, target: Path) -> None:
    server.statuses = [503, 429]
    assert download_file(server.url, target, sha256=SHA256).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: Server, target: Path) -> None:
    with pytest.raises(ModelError) as caught:
        download_file(server.url, target, sha256="0" * 64)
    assert caught.value.code == "model_corrupt"
    assert server.url in caught.value.hint
    assert names(target.parent) == set()


def test_a_missing_file_is_requested_once(server: Server, target: Path) -> None:
    server.statuses = [404, 404]
    with pytest.raises(DownloadError, match="404") as caught:
        download_file(server.url, target, sha256=SHA256)
    assert caught.value.code == "download_failed"
    assert server.url in caught.value.message
    assert str(target) in caught.value.hint
    assert server.statuses == [404]


def test_offline_says_what_to_do(target: Path, server: Server) -> None:
    server.server_close()  # from here on nobody listens at this port
    with pytest.raises(DownloadError, match=server.url) as caught:
        download_file(server.url, target, sha256=SHA256)
    assert str(target) in caught.value.hint


def test_a_response_of_unknown_length_is_downloaded(server: Server, target: Path) -> None:
    server.states_length = False
    assert download_file(server.url, target, sha256=SHA256).read_bytes() == CONTENT


def test_addresses_other_than_https_are_refused(target: Path) -> None:
    with pytest.raises(ConfigError, match=r"http://example\.org/weights\.pt") as caught:
        download_file("http://example.org/weights.pt", target, sha256=SHA256)
    assert caught.value.code == "invalid_argument"


def test_a_redirect_that_leaves_https_is_refused(server: Server, target: Path) -> None:
    server.redirect = server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(DownloadError, match="not an https address") as caught:
        download_file(server.url, target, sha256=SHA256)
    assert caught.value.code == "download_failed"
    assert not target.exists()


@pytest.mark.parametrize("sha256", ["", SHA256[:8], SHA256 + "0", "x" * 64])
def test_a_complete_sha256_is_required(server: Server, target: Path, sha256: str) -> None:
    with pytest.raises(ConfigError, match="SHA-256") as caught:
        download_file(server.url, target, sha256=sha256)
    assert caught.value.code == "invalid_argument"
    assert server.requests == 0


def test_a_file_that_changed_on_disk_is_detected(server: Server, target: Path) -> None:
    download_file(server.url, target, sha256=SHA256)
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError) as caught:
        download_file(server.url, target, sha256=SHA256)
    assert caught.value.code == "model_corrupt"
    assert target.exists()  # it is the owner's to delete


def test_a_file_copied_into_the_cache_is_used(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert download_file("https://127.0.0.1:1/nobody", target, sha256=SHA256) == target


def test_two_at_once_download_once(server: Server, target: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(download_file, server.url, target, sha256=SHA256) for _ in range(4)]
    assert {call.result().read_bytes() for call in calls} == {CONTENT}
    assert server.requests == 1


def test_a_folder_that_cannot_be_made_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GenrescopeError) as caught:
        download_file(server.url, tmp_path / "file" / "weights.pt", sha256=SHA256)
    assert caught.value.code == "write_failed"
