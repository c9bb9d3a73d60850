"""ASGI middleware: security headers, counts of requests, the check of hosts, responses at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genrescope.errors import GenrescopeError
from genrescope.web.errors import problem_response
from genrescope.web.headers import HEADERS
from genrescope.web.hosts import HostPolicy, parse_absolute_target

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class SecurityHeaders:
    """Adds the security headers that a response does not set itself.

    Parameters
    ----------
    app : ASGI application
        The application that makes the response.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its response back with the headers (arguments as ASGI defines them)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class RequestMetrics:
    """Counts responses by method, route and status.

    Parameters
    ----------
    app : ASGI application
        The application that makes the response.
    count : callable
        Called with method, route and status of each response.
    """

    def __init__(self, app: ASGIApp, count: Callable[[str, str, int], None]) -> None:
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its response (arguments as ASGI defines them)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The path as the code has it, never as it was sent: a client must not be able to make labels.
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._count(method, route, message["status"])
            await send(message)

        await self._app(scope, receive, counting_send)


class HostCheck:
    """Refuses requests for a host that is not this server's, so that DNS rebinding cannot read responses.

    A request line that names a host itself must name an allowed one, and is passed on without it (RFC 9112,
    section 3.2.2).

    Parameters
    ----------
    app : ASGI application
        The application that makes the response.
    policy : HostPolicy
        Which hosts are allowed.
    count : callable
        Called with the error code of each refusal.
    """

    def __init__(self, app: ASGIApp, policy: HostPolicy, count: Callable[[str], None]) -> None:
        self._app = app
        self._policy = policy
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it (arguments as ASGI defines them)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = [Headers(scope=scope).get("host", "")]
        target = parse_absolute_target(scope.get("raw_path") or b"")
        if target is not None:
            hosts.append(target.authority)
            scope = {**scope, "path": target.path, "raw_path": target.raw_path}
        refused = [host for host in hosts if not self._policy.allows_host(host)]
        if refused:
            failure = _host_not_allowed(refused[0])
            self._count(failure.code)
            await problem_response(failure)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class ShutdownResponses:
    """Answers 503 to the requests that uvicorn cancels when the server ends; uvicorn itself would answer 500.

    Parameters
    ----------
    app : ASGI application
        The application that makes the response.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on (arguments as ASGI defines them)."""
        has_begun = False

        async def watched_send(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except asyncio.CancelledError:
            if scope["type"] != "http" or has_begun:
                raise
            failure = GenrescopeError("overloaded", "the server is shutting down", "try again in a moment")
            await problem_response(failure)(scope, receive, send)


def _host_not_allowed(host: str) -> GenrescopeError:
    return GenrescopeError(
        "host_not_allowed",
        f"this server does not answer for the host {host[:80]!r}" if host else "the request names no host",
        "use the address that the server shows when it starts, or start it with --allowed-host NAME",
    )
