"""Failures as HTTP says them: application/problem+json (RFC 9457), from the one error table."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from genrescope.errors import GenrescopeError
from genrescope.web.middleware import HEADERS

PROBLEM = "application/problem+json"
# nginx's word for a client that left before it got an answer; nobody reads it but the metrics.
CLIENT_GONE = 499
_log = logging.getLogger(__name__)


class ProblemError(GenrescopeError):
    """A request that is turned away, with what its client should know beside the error."""

    def __init__(self, code: str, message: str, hint: str, headers: Mapping[str, str]) -> None:
        super().__init__(code, message, hint)
        self.headers = dict(headers)


def refused(code: str, message: str, hint: str, *, wait: float) -> ProblemError:
    """Build the refusal of a request that may come again after ``wait`` seconds."""
    return ProblemError(code, message, hint, {"Retry-After": str(max(1, math.ceil(wait)))})


def problem_response(failure: GenrescopeError) -> Response:
    """Return a failure as a response."""
    status = failure.outcome.http_status
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": failure.message,
        "code": failure.code,
        "hint": failure.hint,
    }
    headers = failure.headers if isinstance(failure, ProblemError) else {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", "1")
    text = json.dumps(body, ensure_ascii=False).encode("utf8", "replace")
    return Response(text, status, headers, PROBLEM)


def add_handlers(app: FastAPI, count: Callable[[str], None]) -> None:
    """Let an app answer every failure as a problem, and ``count`` its code."""

    async def known(_: Request, failure: Exception) -> Response:
        assert isinstance(failure, GenrescopeError)
        count(failure.code)
        return problem_response(failure)

    async def invalid(request: Request, failure: Exception) -> Response:
        assert isinstance(failure, RequestValidationError)
        return await known(request, _bad_query(failure.errors()))

    async def http(request: Request, failure: Exception) -> Response:
        assert isinstance(failure, HTTPException)
        return await known(request, _by_status(request, failure))

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=CLIENT_GONE)

    async def unforeseen(request: Request, _: Exception) -> Response:
        response = await known(request, server_failed())
        response.headers.update(HEADERS)  # this handler stands outside the guard
        return response

    app.add_exception_handler(GenrescopeError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unforeseen)


def server_failed(detail: str = "") -> GenrescopeError:
    """Build the error for a fault of the server; the detail goes to its log, not to the client."""
    if detail:
        _log.error("%s", detail)
    return GenrescopeError(
        "worker_failed",
        "the server met an unforeseen failure; its log has the details",
        "try again; if it fails again, tell whoever runs the server",
    )


def _bad_query(errors: Sequence[Any]) -> GenrescopeError:
    """Name the first parameter that makes no sense."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    if first["type"] == "extra_forbidden":
        return GenrescopeError(
            "invalid_argument", f"no option is named {place[:80]!r}", "see /docs for the options"
        )
    return GenrescopeError(
        "invalid_argument", f"{place}: {first['msg']}", "see /docs for the options and their values"
    )


def _by_status(request: Request, failure: HTTPException) -> GenrescopeError:
    """Translate the router's own failures: no such path, or a path without such a method."""
    if failure.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        what = f"{request.url.path} does not take {request.method}"
        return ProblemError("method_not_allowed", what, "see /docs for what there is", failure.headers or {})
    if failure.status_code == HTTPStatus.NOT_FOUND:
        return GenrescopeError("not_found", "nothing is at this address", "see /docs for what there is")
    return GenrescopeError("invalid_argument", str(failure.detail), "see /docs for how to ask")
