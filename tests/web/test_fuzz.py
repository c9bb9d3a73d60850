"""The API against its OpenAPI document (schemathesis): every response is one that the document declares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from helpers.server import serving

OPERATIONS = [("/v1/classify", "POST"), ("/v1/models", "GET"), ("/metrics", "GET"), ("/healthz", "GET")]
TOKEN = {"Authorization": "Bearer secret"}
# The same examples each time: what fails here fails everywhere.
BOUNDED = settings(
    max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def document() -> Iterator[schemathesis.BaseSchema]:
    with serving("--rate-limit", "0", "--max-upload-mb", "1", "--token", "secret") as (address, _):
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


def test_document_declares_what_is_fuzzed(document: schemathesis.BaseSchema) -> None:
    held = [found.ok() for found in document.get_all_operations()]
    assert sorted((one.path, one.method.upper()) for one in held) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        *((path, method, GenerationMode.POSITIVE) for path, method in OPERATIONS),
        (*OPERATIONS[0], GenerationMode.NEGATIVE),
    ],
)
def test_responses_conform_to_the_document(
    document: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    statuses = set()

    @BOUNDED
    @given(document[path][method].as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        # Random bytes are well-formed and still no music: that they are refused is no fault of the server's.
        response = case.call_and_validate(headers=TOKEN, excluded_checks=[positive_data_acceptance])
        statuses.add(response.status_code)

    send()
    if method == "GET":
        assert statuses == {200}
    else:
        assert 415 in statuses if mode.is_positive else 200 not in statuses
