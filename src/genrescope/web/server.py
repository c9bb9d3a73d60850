"""A server of our own around the service: one process that listens, and its workers."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from genrescope.errors import ServerError, missing_extra
from genrescope.web.settings import Settings

_MOST_CONNECTIONS = 1000
_SECONDS_TO_END = 10
_BACKLOG = 1024


def serve(
    settings: Settings, *, host: str, port: int, behind_proxy: bool = False, say: Callable[[str], None]
) -> None:
    """Answer requests until the process is told to end.

    Parameters
    ----------
    host, port :
        Where to listen; port 0 lets the system choose.
    behind_proxy : bool
        Take a client's address from X-Forwarded-For, which only a proxy on this machine may set.
    say : callable
        Called with what whoever starts the server should read.

    Raises
    ------
    ServerError
        ``missing_dependency``, ``bind_failed``.
    """
    try:
        import uvicorn

        from genrescope.web.app import create_app
    except ModuleNotFoundError as missing:
        raise missing_extra("web", str(missing.name)) from None
    app = create_app(settings)
    with _listening(host, port) as listener:
        if not _only_this_machine(host) and settings.token is None:
            say(
                f"warning: {host} can be reached by others, and no --token is set: anyone may use this server"
            )
        shown = f"[{host}]" if ":" in host else host
        say(f"genrescope answers at http://{shown}:{listener.getsockname()[1]} (Ctrl-C ends it)")
        config = uvicorn.Config(
            app,
            log_level="warning",
            proxy_headers=behind_proxy,
            ws="none",
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With its protocol named, asyncio turns off Nagle's algorithm, which costs each answer 40 ms.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener
    except OSError as reason:
        raise ServerError(
            "bind_failed",
            f"cannot listen at {host}, port {port}: {reason.strerror}",
            "choose another --port, or end the program that has this one",
        ) from None


def _only_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
