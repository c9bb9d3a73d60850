"""Hosts and origins: DNS rebinding cannot read responses, and a page of another origin cannot use the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from genrescope.errors import ConfigError
from genrescope.web.app import create_app
from genrescope.web.hosts import HostPolicy, parse_absolute_target, parse_authority
from genrescope.web.settings import Settings

CLASSIFY = "/v1/classify"


@pytest.fixture(scope="module")
def client(little_model: Path) -> Iterator[TestClient]:
    settings = Settings((str(little_model),), workers=1, rate_limit=0, allowed_hosts=("music.example.org",))
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.8.9.10:1",
        "localhost",
        "LocalHost:8000",
        "localhost.",
        "localhost.:8000",
        "genrescope.localhost",
        "[::1]",
        "[::1]:8000",
        "[0:0:0:0:0:0:0:1]:8000",
        "[::ffff:127.0.0.1]",
        "localhost:",
        " localhost ",
        "music.example.org",
        "MUSIC.example.org.:443",
    ],
)
def test_hosts_of_this_server(host: str) -> None:
    assert HostPolicy("127.0.0.1", ["music.example.org"]).allows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "localhost..",
        "localhost:99999",
        "localhost:80:80",
        "localhost:eighty",
        "localhost/",
        "localhost, evil.example",
        "192.168.1.5",
        "[2001:db8::1]",
        "[::1",
        "::1",
        "[]",
        "[localhost]",
        "2130706433",
        "0x7f.1",
        "sub.music.example.org",
        "ｌocalhost",
        "*",
    ],
)
def test_hosts_of_other_servers(host: str) -> None:
    assert not HostPolicy("127.0.0.1", ["music.example.org"]).allows_host(host)


@pytest.mark.parametrize(
    ("bound", "host", "allowed"),
    [
        ("0.0.0.0", "192.168.1.5:8000", True),
        ("::", "[2001:db8::1]:8000", True),
        ("0.0.0.0", "evil.example", False),
        ("::", "evil.example", False),
        ("192.168.1.5", "192.168.1.5", True),
        ("192.168.1.5", "192.168.1.6", False),
        ("2001:DB8:0::1", "[2001:db8::1]", True),
        ("Music-Box", "music-box:8000", True),
    ],
)
def test_the_bound_address_is_allowed(bound: str, host: str, allowed: bool) -> None:
    assert HostPolicy(bound).allows_host(host) is allowed


def test_any_host_still_checks_origins() -> None:
    policy = HostPolicy("127.0.0.1", ["*"])
    assert policy.allows_host("evil.example")
    assert policy.allows_host("")
    assert not policy.allows_origin("https://evil.example", "music.example.org")
    assert policy.allows_origin("https://music.example.org", "music.example.org")


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("HTTP://LOCALHOST:8000", "localhost.:8000", True),
        ("http://[::1]:8000", "[0:0:0:0:0:0:0:1]:8000", True),
        ("http://localhost", "localhost:80", True),
        ("https://music.example.org", "127.0.0.1:8000", True),
        ("https://music.example.org:8443", "music.example.org", True),
        ("http://localhost:3000", "localhost:8000", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("https://evil.example", "127.0.0.1:8000", False),
        ("https://music.example.org.evil.example", "music.example.org", False),
        ("null", "127.0.0.1:8000", False),
        ("", "127.0.0.1:8000", False),
        ("127.0.0.1:8000", "127.0.0.1:8000", False),
        ("file://", "127.0.0.1:8000", False),
        ("chrome-extension://abc", "abc", False),
    ],
)
def test_origins(origin: str, host: str, allowed: bool) -> None:
    assert HostPolicy("127.0.0.1", ["music.example.org"]).allows_origin(origin, host) is allowed


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/v1/models", "/metrics", "/docs", "/openapi.json", "/none"]
)
def test_a_foreign_host_reads_nothing(client: TestClient, path: str) -> None:
    response = client.get(path, headers={"Host": "evil.example:8000"})
    assert response.status_code == 421
    assert response.json()["code"] == "host_not_allowed"
    assert "evil.example" in response.json()["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_foreign_host_classifies_nothing(client: TestClient) -> None:
    refused = client.post(CLASSIFY, content=b"x", headers={"Host": "evil.example"})
    assert refused.json()["code"] == "host_not_allowed"
    assert client.post(CLASSIFY, content=b"x").json()["code"] == "audio_unreadable"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "Cross-Site", "Origin": "http://127.0.0.1:8000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_origins_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    for response in (
        client.post(CLASSIFY, content=b"x", headers=headers),
        client.get("/v1/models", headers=headers),
        client.get("/metrics", headers=headers),
    ):
        assert response.status_code == 403
        assert response.json()["code"] == "cross_site_request"
    # A link on another page may lead to the page itself.
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8000"},
        {"Origin": "https://music.example.org", "Host": "music.example.org"},
    ],
)
def test_own_pages_and_programs_are_served(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post(CLASSIFY, content=b"x", headers=headers).status_code == 415
    assert client.get("/v1/models", headers=headers).status_code == 200


def test_authorities_and_targets() -> None:
    assert parse_authority("[::FFFF:10.0.0.1]:80") == ("10.0.0.1", 80)
    assert parse_authority("Example.ORG.") == ("example.org", None)
    assert parse_absolute_target(b"/healthz") is None
    assert parse_absolute_target(b"HTTP://LocalHost:80/a%20b") == ("LocalHost:80", b"/a%20b", "/a b")
    assert parse_absolute_target(b"http://localhost") == ("localhost", b"/", "/")


@pytest.mark.parametrize(
    "name", ["", "https://music.example.org", "music.example.org:443", "*.example.org", "a b"]
)
def test_names_that_cannot_be_allowed(name: str) -> None:
    with pytest.raises(ConfigError, match="not the name of a host"):
        Settings(allowed_hosts=(name,))
