"""Failures as HTTP responses: application/problem+json (RFC 9457), by the table in `genrescope.errors`."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from genrescope.errors import GenrescopeError
from genrescope.web.headers import HEADERS
from genrescope.web.schemas import PROBLEM_MEDIA_TYPE, Problem

# nginx's status for a client that left before its answer; it is seen in the metrics only.
_CLIENT_CLOSED_REQUEST = 499
_log = logging.getLogger(__name__)


class ProblemError(GenrescopeError):
    """A failure whose response carries further headers.

    Parameters
    ----------
    code, message, hint : str
        As in `GenrescopeError`.
    headers : mapping of str to str
        Headers of the response.
    """

    def __init__(self, code: str, message: str, hint: str, headers: Mapping[str, str]) -> None:
        super().__init__(code, message, hint)
        self.headers = dict(headers)


def retry_later(code: str, message: str, hint: str, *, wait: float) -> ProblemError:
    """Build the refusal of a request that may be sent again.

    Parameters
    ----------
    code, message, hint : str
        As in `GenrescopeError`.
    wait : float
        Seconds after which it may be sent again; rounded up, at least 1, as the header ``Retry-After``.

    Returns
    -------
    ProblemError
        To be raised.
    """
    return ProblemError(code, message, hint, {"Retry-After": str(max(1, math.ceil(wait)))})


def internal_error(detail: str = "") -> GenrescopeError:
    """Build the error for a fault of the server.

    Parameters
    ----------
    detail : str
        Written to the server's log and not sent to the client.

    Returns
    -------
    GenrescopeError
        With the code ``worker_failed``.
    """
    if detail:
        _log.error("%s", detail)
    return GenrescopeError(
        "worker_failed",
        "the server met an unexpected error; its log has the details",
        "try again; if it fails again, tell the operator of the server",
    )


def problem_response(failure: GenrescopeError) -> Response:
    """Return a failure as a response.

    Parameters
    ----------
    failure : GenrescopeError
        Its code determines the status.

    Returns
    -------
    Response
        A `Problem`.
    """
    status = failure.outcome.http_status
    problem = Problem.model_construct(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=failure.message,
        code=failure.code,
        hint=failure.hint,
    )
    headers = failure.headers if isinstance(failure, ProblemError) else {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", "1")
    # Not by pydantic, which refuses text that is not UTF-8, such as the undecodable name of a model file.
    content = json.dumps(problem.model_dump(warnings=False), ensure_ascii=False).encode("utf8", "replace")
    return Response(content, status, headers, PROBLEM_MEDIA_TYPE)


def add_handlers(app: FastAPI, count: Callable[[str], None]) -> None:
    """Make an app answer every failure with a problem.

    Parameters
    ----------
    app : FastAPI
        Changed in place.
    count : callable
        Called with the code of each failure.
    """

    async def known(_: Request, failure: Exception) -> Response:
        assert isinstance(failure, GenrescopeError)
        count(failure.code)
        return problem_response(failure)

    async def invalid(request: Request, failure: Exception) -> Response:
        assert isinstance(failure, RequestValidationError)
        return await known(request, _invalid_option(failure))

    async def http(request: Request, failure: Exception) -> Response:
        assert isinstance(failure, HTTPException)
        return await known(request, _routing_error(request, failure))

    async def disconnected(_: Request, __: Exception) -> Response:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)

    async def unexpected(request: Request, _: Exception) -> Response:
        response = await known(request, internal_error())
        response.headers.update(HEADERS)  # starlette calls this handler outside of all middleware
        return response

    app.add_exception_handler(GenrescopeError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientDisconnect, disconnected)
    app.add_exception_handler(Exception, unexpected)


def _invalid_option(failure: RequestValidationError) -> GenrescopeError:
    """Name the first option that is invalid."""
    first = failure.errors()[0]
    option = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    if first["type"] == "extra_forbidden":
        return GenrescopeError(
            "invalid_argument", f"no option is named {option[:80]!r}", "see /docs for the options"
        )
    return GenrescopeError(
        "invalid_argument", f"{option}: {first['msg']}", "see /docs for the options and their values"
    )


def _routing_error(request: Request, failure: HTTPException) -> GenrescopeError:
    """Translate the router's own failures: no such path, or a path without such a method."""
    if failure.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        message = f"{request.url.path} does not take {request.method}"
        return ProblemError("method_not_allowed", message, "see /docs for the API", failure.headers or {})
    if failure.status_code == HTTPStatus.NOT_FOUND:
        return GenrescopeError("not_found", "nothing is at this address", "see /docs for the API")
    return GenrescopeError("invalid_argument", str(failure.detail), "see /docs for the API")
