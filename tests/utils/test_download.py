"""Fetching: resumed, checked, whole or not at all; against a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from genrescope.errors import EnvironmentFailure, GenrescopeError, ModelError
from genrescope.utils import download as fetching

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """A server of one file that can misbehave; it remembers which byte each request started from."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag: str | None = '"first"'
        self.ranges = True
        self.says_length = True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.starts: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}/weights.pt"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        server, content = self.server, self.server.content
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start = self.asked_from()
        server.starts.append(start)
        if start >= len(content) and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : server.cuts.pop(0) if server.cuts else None])

    def asked_from(self) -> int:
        wanted, validator = self.headers.get("Range"), self.headers.get("If-Range")
        if not self.server.ranges or wanted is None or validator not in (None, self.server.etag):
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.0)
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


def interrupted(server: Server, target: Path, sha256: str | None = SHA256) -> Path:
    """Leave the first 100,000 bytes of a file behind, as an attempt does that was cut for good."""
    server.ranges, server.cuts = False, [100_000] * fetching.ATTEMPTS
    with pytest.raises(EnvironmentFailure) as caught:
        fetching.download_file(server.url, target, sha256=sha256)
    assert caught.value.code == "download_failed"
    server.ranges, server.starts = True, []
    part = target.with_name("weights.pt.part")
    assert part.read_bytes() == CONTENT[:100_000]
    assert not target.exists()
    return part


def test_a_file_is_fetched_once(server: Server, target: Path) -> None:
    assert fetching.download_file(server.url, target, sha256=SHA256) == target
    assert fetching.download_file(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert len(server.starts) == 1
    assert names(target.parent) == {"weights.pt"}


def test_a_cut_connection_goes_on_where_it_was_cut(server: Server, target: Path) -> None:
    server.cuts = [70_000, 200_000]
    assert fetching.download_file(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.starts == [0, 70_000, 200_000]


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_later_call_goes_on_where_an_earlier_one_gave_up(
    server: Server, target: Path, sha256: str | None
) -> None:
    interrupted(server, target, sha256)
    assert fetching.download_file(server.url, target, sha256=sha256).read_bytes() == CONTENT
    assert server.starts == [100_000]


def test_a_server_without_ranges_starts_anew(server: Server, target: Path) -> None:
    server.ranges = False
    server.cuts = [70_000]
    assert fetching.download_file(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.starts == [0, 0]


def test_halves_of_two_versions_are_never_joined(server: Server, target: Path) -> None:
    interrupted(server, target, None)
    server.content, server.etag = CONTENT[::-1], '"second"'
    assert fetching.download_file(server.url, target).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_checksum_and_version_nothing_is_resumed(
    server: Server, target: Path, etag: str | None
) -> None:
    server.etag = etag
    server.cuts = [70_000]
    assert fetching.download_file(server.url, target).read_bytes() == CONTENT
    assert server.starts == [0, 0]


def test_a_partial_file_beyond_the_end_is_thrown_away(server: Server, target: Path) -> None:
    interrupted(server, target).write_bytes(bytes(400_000))
    assert fetching.download_file(server.url, target, sha256=SHA256).read_bytes() == CONTENT
    assert server.starts == [400_000, 0]


def test_a_passing_failure_is_tried_again(server: Server, target: Path) -> None:
    server.statuses = [503, 429]
    assert fetching.download_file(server.url, target, sha256=SHA256).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: Server, target: Path) -> None:
    with pytest.raises(ModelError) as caught:
        fetching.download_file(server.url, target, sha256="0" * 64)
    assert caught.value.code == "model_corrupt"
    assert server.url in caught.value.hint
    assert names(target.parent) == set()


def test_a_file_that_is_not_there_is_asked_for_once(server: Server, target: Path) -> None:
    server.statuses = [404, 404]
    with pytest.raises(EnvironmentFailure, match="404") as caught:
        fetching.download_file(server.url, target)
    assert caught.value.code == "download_failed"
    assert server.url in caught.value.message
    assert str(target) in caught.value.hint
    assert server.statuses == [404]


def test_offline_says_what_to_do(target: Path, server: Server) -> None:
    server.server_close()  # from here on nobody listens at this port
    with pytest.raises(EnvironmentFailure, match=server.url) as caught:
        fetching.download_file(server.url, target)
    assert str(target) in caught.value.hint


def test_an_unknown_length_is_not_trusted_without_checksum(server: Server, target: Path) -> None:
    server.says_length = False
    with pytest.raises(EnvironmentFailure, match="how long"):
        fetching.download_file(server.url, target)
    assert fetching.download_file(server.url, target, sha256=SHA256).read_bytes() == CONTENT


def test_the_first_download_is_trusted_and_remembered(server: Server, target: Path) -> None:
    fetching.download_file(server.url, target)
    record = target.with_name("weights.pt.sha256")
    assert record.read_text() == f"{SHA256}  weights.pt\n"
    target.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(ModelError) as caught:
        fetching.download_file(server.url, target)
    assert caught.value.code == "model_corrupt"
    assert not target.exists()


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8], None])
def test_a_file_that_changes_on_disk_is_noticed(server: Server, target: Path, sha256: str | None) -> None:
    fetching.download_file(server.url, target, sha256=sha256)
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError) as caught:
        fetching.download_file(server.url, target, sha256=sha256)
    assert caught.value.code == "model_corrupt"
    assert target.exists()  # it is the owner's to delete


def test_a_file_put_there_by_hand_is_used(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert fetching.download_file("http://127.0.0.1:1/nobody", target, sha256=SHA256) == target


def test_two_at_once_fetch_once(server: Server, target: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(fetching.download_file, server.url, target, sha256=SHA256) for _ in range(4)]
    assert {call.result().read_bytes() for call in calls} == {CONTENT}
    assert server.starts == [0]


def test_a_folder_that_cannot_be_made_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GenrescopeError) as caught:
        fetching.download_file(server.url, tmp_path / "file" / "weights.pt", sha256=SHA256)
    assert caught.value.code == "write_failed"
