"""The API: the same answers as the command line's over HTTP, and limits that hold against hostile clients."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from httpx2 import Response
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from genrescope.errors import ConfigError
from genrescope.web import middleware, schemas, server, uploads
from genrescope.web.app import create_app
from genrescope.web.rate_limit import FairShare, TokenBucket
from genrescope.web.settings import Settings
from helpers.small_data import RATE, drone, hiss

STATIC = Path(server.__file__).parent / "static"
UNLIMITED: dict[str, Any] = {"rate_limit": 0, "workers": 1}
CLASSIFY = "/v1/classify"
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    soundfile.write(folder / "song.wav", drone(12.0, 1), RATE)
    soundfile.write(folder / "noise.flac", hiss(4.0, 1), RATE)
    soundfile.write(folder / "short.wav", drone(0.5, 1), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(2 * RATE, np.float32), RATE)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "words.mp3").write_text("no sound")
    (folder / "cut.wav").write_bytes((folder / "song.wav").read_bytes()[: 4 * RATE])
    (folder / "header.wav").write_bytes((folder / "song.wav").read_bytes()[:44])
    return folder


@pytest.fixture(scope="module")
def client(little_model: Path) -> Iterator[TestClient]:
    """Return a client of a server with two models, the packaged one first."""
    settings = Settings(("default", str(little_model)), max_upload_mb=1, max_audio_seconds=20, **UNLIMITED)
    with TestClient(create_app(settings), base_url=ADDRESS) as client:
        yield client


@pytest.fixture(scope="module")
def default_client() -> Iterator[TestClient]:
    """Return a client of a server with the default model and no limit of length that matters."""
    with TestClient(create_app(Settings(**UNLIMITED)), base_url=ADDRESS) as client:
        yield client


def client_of(little_model: Path, **settings: Any) -> TestClient:
    app = create_app(Settings((str(little_model),), **(UNLIMITED | settings)))
    return TestClient(app, base_url=ADDRESS)


def problem(response: Response) -> dict[str, Any]:
    """Return a failure's body after checking that it is a problem."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert all(body[name] for name in ("title", "detail", "code", "hint"))
    return body


# The answer


@pytest.mark.parametrize("file", ["song.wav", "noise.flac", "cut.wav"])
def test_answer_equals_the_command_lines(client: TestClient, sounds: Path, file: str) -> None:
    command = [sys.executable, "-m", "genrescope", "classify", file, "--timeline", "--threshold", "0.9"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=sounds, check=True)
    content = (sounds / file).read_bytes()
    options = {"timeline": "true", "threshold": "0.9"}
    form = client.post(CLASSIFY, files={"file": (file, content)}, params=options)
    raw = client.post(CLASSIFY, content=content, params=options | {"name": file})
    assert form.text == raw.text == done.stdout.rstrip("\n")


def test_a_model_by_name(client: TestClient, sounds: Path) -> None:
    content = (sounds / "song.wav").read_bytes()
    served = client.get("/v1/models").json()
    assert [model["name"] for model in served["models"]] == [served["default"], "model"]
    rows = [
        client.post(CLASSIFY, content=content, params={"model": name}).json() for name in ("default", "model")
    ]
    assert [row["model"] for row in rows] == [model["model"] for model in served["models"]]
    assert rows[1]["genre"] == "drone"
    assert rows[0]["path"] == "<upload>"
    body = problem(client.post(CLASSIFY, content=content, params={"model": "modle"}))
    assert (body["code"], body["status"], body["hint"]) == (
        "model_not_found",
        404,
        "did you mean 'model'?",
    )


def test_old_name_of_the_threshold(client: TestClient, sounds: Path) -> None:
    content = (sounds / "song.wav").read_bytes()
    for options in ({"min_score": "1"}, {"threshold": "1", "min_score": "0"}, {"threshold": "1"}):
        assert (
            client.post(CLASSIFY, content=content, params=options | {"model": "model"}).json()["unsure"]
            is True
        )
    for options in ({"min_score": "0"}, {"threshold": "0", "min_score": "1"}):
        assert (
            client.post(CLASSIFY, content=content, params=options | {"model": "model"}).json()["unsure"]
            is False
        )


@pytest.mark.parametrize("model", ["/etc/passwd", "../model.onnx", "student-gtzan-1"])
def test_only_served_models_answer(client: TestClient, model: str) -> None:
    assert problem(client.post(CLASSIFY, content=b"x", params={"model": model}))["code"] == "model_not_found"


def test_tags_are_added_where_they_are_asked_for(default_client: TestClient) -> None:
    client = default_client
    content = (STATIC.parent / "example" / "example.mp3").read_bytes()
    plain = client.post(CLASSIFY, content=content, params={"timeline": "true"}).json()
    row = client.post(CLASSIFY, content=content, params={"timeline": "true", "tags": "true"}).json()
    schemas.Classification.model_validate_json(json.dumps(row), strict=True)
    tags = row.pop("tags")
    assert row == plain
    cover = tags.pop("cover")
    assert tags == {"title": "Ambient (excerpt)", "artist": "Nikola Whallon", "album": "Naev"}
    assert cover["media_type"] == "image/png"
    picture = base64.b64decode(cover["data"], validate=True)
    assert picture in content
    assert picture.startswith(b"\x89PNG")


def test_a_file_without_tags_has_empty_ones(client: TestClient, sounds: Path) -> None:
    content = (sounds / "song.wav").read_bytes()
    row = client.post(CLASSIFY, content=content, params={"tags": "true"}).json()
    assert row["tags"] == {"title": "", "artist": "", "album": "", "cover": None}


# Audio that cannot be used


@pytest.mark.parametrize(
    ("file", "options", "code", "status"),
    [
        ("words.mp3", {}, "audio_unreadable", 415),
        ("empty.wav", {}, "audio_empty", 422),
        ("header.wav", {}, "audio_no_samples", 422),
        ("short.wav", {}, "audio_too_short", 422),
        ("silent.wav", {}, "audio_silent", 422),
        ("cut.wav", {"strict": "true"}, "audio_truncated", 422),
    ],
)
def test_unusable_audio(
    client: TestClient, sounds: Path, file: str, options: dict[str, str], code: str, status: int
) -> None:
    body = problem(
        client.post(CLASSIFY, files={"file": (file, (sounds / file).read_bytes())}, params=options)
    )
    assert (body["code"], body["status"]) == (code, status)
    assert body["detail"].startswith(f"{file}: ")
    assert "/proc" not in body["detail"]


def test_seconds_are_counted_while_decoding(client: TestClient, sounds: Path) -> None:
    long = sounds / "long.ogg"
    soundfile.write(long, np.tile(drone(5.0, 1), 5), RATE)
    assert problem(client.post(CLASSIFY, content=long.read_bytes()))["code"] == "audio_too_long"
    header = bytearray((sounds / "song.wav").read_bytes())
    header[40:44] = (2**31 - 2**16).to_bytes(4, "little")  # its header claims 13 hours
    assert client.post(CLASSIFY, content=bytes(header)).json()["flags"] == ["truncated"]


def test_a_job_past_its_time_or_memory(little_model: Path, sounds: Path) -> None:
    content = (sounds / "song.wav").read_bytes()
    with client_of(little_model, job_timeout=0.001) as slow:
        assert problem(slow.post(CLASSIFY, content=content))["code"] == "timeout"
    with client_of(little_model, job_memory_mb=1) as small:
        body = problem(small.post(CLASSIFY, content=content))
        assert (body["code"], body["status"]) == ("memory_limit", 413)
        assert small.get("/healthz").json() == {"status": "ok"}


def test_internal_error_does_not_reveal_details(
    little_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Path(shutil.copy(little_model, tmp_path / "secret.onnx"))
    app = create_app(Settings((str(model),), **UNLIMITED))
    model.unlink()
    with TestClient(app, base_url=ADDRESS) as broken:
        response = broken.post(CLASSIFY, content=b"x")
    assert problem(response)["code"] == "worker_failed"
    assert "secret" not in response.text
    assert "secret" in caplog.text


def test_unexpected_failure_is_a_problem_too(little_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenBucket, "take", lambda *_: 1 / 0)
    app = create_app(Settings((str(little_model),), **UNLIMITED))
    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False) as broken:
        response = broken.post(CLASSIFY, content=b"x")
    assert problem(response)["status"] == 500
    assert response.headers["x-content-type-options"] == "nosniff"


# Uploads


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "../../etc/passwd"),
        ("C:\\con", "C:\\con"),
        ("<script>", "<script>"),
        ("a\tb\x1b[31m", "a\ufffdb\ufffd[31m"),
        ("x" * 255, "x" * 255),
        ("näme ☃.ogg", "näme ☃.ogg"),
    ],
)
def test_name_is_displayed_and_never_used_as_path(client: TestClient, name: str, shown: str) -> None:
    body = problem(client.post(CLASSIFY, content=b"no sound", params={"name": name}))
    assert body["code"] == "audio_unreadable"
    assert body["detail"].startswith(f"{shown}: ")


FORM = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        ({"content-type": "multipart/form-data"}, PART, "boundary"),
        ({"content-type": f"multipart/form-data; boundary={'b' * 300}"}, PART, "boundary"),
        (FORM, b"", "too early"),
        (FORM, PART, "too early"),
        (FORM, b"junk", "cannot be read"),
        (FORM, b"--b--\r\n", ""),
        (FORM, PART + PART + b"--b--\r\n", "more than one file"),
        (FORM, PART.replace(b'"file"', b'"sound"') + b"--b--\r\n", "field 'sound'"),
        (FORM, PART.replace(b"form-data;", b"x" * 9000) + b"--b--\r\n", "cannot be read"),
        (FORM, b"--b\r\n" + b"x: y\r\n" * 1000, "cannot be read"),
        (FORM, b"--b\r\n\r\nx\r\n--b--\r\n", "field ''"),
    ],
)
def test_broken_forms(client: TestClient, headers: dict[str, str], body: bytes, message: str) -> None:
    answer = problem(client.post(CLASSIFY, content=body, headers=headers))
    assert (answer["code"], answer["status"]) == ("upload_malformed", 400)
    assert message in answer["detail"]
    assert "curl -F file=@" in answer["hint"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("timline=true", "no option is named 'timline'"),
        ("timeline=perhaps", "timeline: "),
        ("threshold=2", "threshold: "),
        ("threshold=nan", "threshold: "),
        ("min_score=2", "min_score: "),
        ("min_score=nan", "min_score: "),
        (f"name={'x' * 256}", "name: "),
    ],
)
def test_invalid_options(client: TestClient, query: str, message: str) -> None:
    answer = problem(client.post(f"{CLASSIFY}?{query}", content=b"x"))
    assert (answer["code"], answer["status"]) == ("invalid_argument", 400)
    assert message in answer["detail"]


def test_named_temporary_files_are_removed(
    client: TestClient, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_supports_unnamed_files", lambda: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for file, status in (("song.wav", 200), ("words.mp3", 415)):
        response = client.post(CLASSIFY, content=(sounds / file).read_bytes())
        assert response.status_code == status
        assert str(tmp_path) not in response.text
    assert list(tmp_path.iterdir()) == []


# Token and rate limit


def test_token(little_model: Path) -> None:
    with client_of(little_model, token="söme secret") as client:
        for path in ("/v1/models", "/metrics"):
            refused = client.get(path)
            assert problem(refused)["code"] == "unauthorized"
            assert refused.headers["www-authenticate"] == "Bearer"
        assert problem(client.post(CLASSIFY, content=b"x"))["status"] == 401
        right = {"Authorization": b"Bearer " + "söme secret".encode()}
        wrong = {"Authorization": b"Bearer " + b"some secret"}
        assert client.get("/v1/models", headers=right).status_code == 200
        assert client.get("/v1/models", headers=wrong).status_code == 401
        assert problem(client.post(CLASSIFY, content=b"x", headers=right))["code"] == "audio_unreadable"
        assert [client.get(path).status_code for path in ("/", "/healthz", "/docs")] == [200] * 3


def test_rate_limit_per_client(little_model: Path) -> None:
    with client_of(little_model, rate_limit=1, burst=2) as client:
        codes = [client.post(CLASSIFY, content=b"x").status_code for _ in range(2)]
        refused = client.post(CLASSIFY, content=b"x")
    assert codes == [415, 415]
    assert problem(refused)["code"] == "too_many_requests"
    assert 50 < int(refused.headers["retry-after"]) <= 60


def test_wrong_tokens_count_towards_the_rate_limit(little_model: Path) -> None:
    with client_of(little_model, token="secret", rate_limit=1, burst=3) as client:
        assert [client.get("/v1/models").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_one_client_takes_half_of_the_capacity_at_most() -> None:
    shares = FairShare(6, limited=True)
    with contextlib.ExitStack() as held:
        had = [held.enter_context(shares.acquire("::ffff:10.0.0.1")) for _ in range(4)]
        assert had == [True, True, True, False]
        assert held.enter_context(shares.acquire("::ffff:10.0.0.2"))
        assert not held.enter_context(shares.acquire("10.0.0.1"))
    with shares.acquire("10.0.0.1") as again:
        assert again
    with contextlib.ExitStack() as held:
        assert all(held.enter_context(FairShare(6, limited=False).acquire("a")) for _ in range(20))


def test_buckets_refill_and_forget() -> None:
    now = [0.0]
    buckets = TokenBucket(60, 2, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]
    assert buckets.take("b") == 0
    now[0] = 0.5
    assert buckets.take("a") == pytest.approx(0.5)
    now[0] = 1.0
    assert [buckets.take("a"), buckets.take("a")] == [0, 1]
    assert [buckets.take(f"2001:db8::{number}") for number in range(3)] == [0, 0, 1]
    assert buckets.take("2001:db8:0:1::1") == 0
    for number in range(20_000):
        buckets.take(f"10.0.{number // 256}.{number % 256}")
    assert len(buckets._buckets) == 10_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": ()},
        {"token": " "},
        {"max_upload_mb": 0},
        {"job_timeout": float("nan")},
        {"max_queue": -1},
    ],
)
def test_invalid_limits(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Settings(**wrong)


def test_two_models_of_one_name(little_model: Path) -> None:
    with pytest.raises(ConfigError, match="two models"):
        create_app(Settings((str(little_model), str(little_model))))


# Pages, headers, metrics


def test_every_response_has_the_security_headers(client: TestClient) -> None:
    paths = ("/", "/static/app.js", "/static/base.css", "/docs", "/v1/models", "/healthz", "/nothing")
    for path in paths:
        headers = client.get(path).headers
        assert all(name in headers for name in middleware.HEADERS)
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_the_example_of_the_page_is_small_and_names_its_author(default_client: TestClient) -> None:
    """An installed package has it: it lies in the package, with its license."""
    response = default_client.get("/static/example.mp3")
    assert response.headers["content-type"] == "audio/mpeg"
    content = response.content
    assert len(content) < 100_000
    credit = (STATIC.parent / "example" / "README.md").read_text(encoding="utf8")
    for word in ("Nikola Whallon", "https://creativecommons.org/licenses/by/3.0/"):
        assert word in credit
        assert word.encode() in content
    row = default_client.post(CLASSIFY, content=content).json()
    assert (row["answer"], row["flags"]) == ("electronic", [])


def test_page_loads_nothing_from_other_origins(client: TestClient) -> None:
    for file in STATIC.iterdir():
        text = file.read_text(encoding="utf8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"^\s*//.*$|\s// .*$", "", text, flags=re.MULTILINE), file.name
    page = client.get("/").text
    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(link).status_code == 200, link
    assert client.get("/").headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/"]
)
def test_no_path_leads_into_the_file_system(client: TestClient, path: str) -> None:
    assert problem(client.get(path))["code"] == "not_found"


def test_other_methods(client: TestClient) -> None:
    response = client.get(CLASSIFY)
    assert problem(response)["code"] == "method_not_allowed"
    assert response.headers["allow"] == "POST"


def test_metrics(little_model: Path, sounds: Path) -> None:
    with client_of(little_model) as client:
        client.post(CLASSIFY, content=(sounds / "song.wav").read_bytes())
        client.post(CLASSIFY, content=b"x")
        client.request('X"EVIL', CLASSIFY)
        client.get("/nothing/here")
        response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name.removeprefix("genrescope_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert samples["requests_total", "POST", CLASSIFY, "200"] == 1
    assert samples["requests_total", "POST", CLASSIFY, "415"] == 1
    assert samples["requests_total", "other", CLASSIFY, "405"] == 1
    assert samples["requests_total", "GET", "other", "404"] == 1
    assert samples["failures_total", "audio_unreadable"] == 1
    assert samples["classify_seconds_count",] == samples["classify_seconds_bucket", "+Inf"] == 1
    assert samples["music_seconds_total",] == 12
    assert samples["upload_bytes_total",] == (sounds / "song.wav").stat().st_size + 1
    assert (samples["workers",], samples["places_taken",], samples["places",]) == (1, 0, 17)


def test_openapi_document_describes_the_api(client: TestClient) -> None:
    spec = client.get("/openapi.json").json()
    assert set(spec["paths"]) == {CLASSIFY, "/v1/models", "/healthz", "/metrics"}
    operation = spec["paths"][CLASSIFY]["post"]
    assert set(operation["requestBody"]["content"]) == {"multipart/form-data", "application/octet-stream"}
    options = {one["name"]: one["schema"] for one in operation["parameters"]}
    assert options["model"]["enum"] == ["default", "model"]
    assert operation["description"].endswith("as `genrescope classify --format jsonl` does.")
    page = client.get("/docs").text
    assert all(name in page for name in (*options, "audio_too_long", "timeline"))
    assert json.dumps(spec) == json.dumps(client.get("/openapi.json").json())
    assert {one["name"] for one in operation["parameters"] if one.get("deprecated")} == {"min_score"}
    assert set(operation["responses"]["503"]["content"]) == {"application/problem+json"}
    assert "security" not in operation


def test_answers_are_of_the_declared_models(client: TestClient, sounds: Path) -> None:
    content = (sounds / "song.wav").read_bytes()
    for timeline in ("true", "false"):
        response = client.post(CLASSIFY, content=content, params={"timeline": timeline})
        row = schemas.Classification.model_validate_json(response.text, strict=True)
        assert row.model_dump(exclude_unset=True) == response.json()
    served = schemas.ModelList.model_validate_json(client.get("/v1/models").text, strict=True)
    assert served.limits.max_bytes == 2**20
    schemas.Problem.model_validate_json(client.get("/nothing").text, strict=True)
