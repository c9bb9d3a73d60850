"""The server as a process: one process that listens (uvicorn), and its workers."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from genrescope.errors import ServerError, missing_extra
from genrescope.web.settings import Settings

_MAX_CONNECTIONS = 1000
# Modules, models, logs, the listening socket, and connections that are refused.
_RESERVED_FILES = 64
_BACKLOG = 1024


def serve(settings: Settings, *, echo: Callable[[str], None]) -> None:
    """Answer requests until the process is told to end.

    Parameters
    ----------
    settings : Settings
        Where to listen, what to serve, and the limits.
    echo : callable
        Called with each line for the person who starts the server: a warning, and the address.

    Raises
    ------
    ServerError
        ``missing_dependency``, ``bind_failed``.
    ModelError
        A model cannot be found or opened.
    """
    try:
        import uvicorn

        from genrescope.web.app import create_app
        from genrescope.web.connections import ConnectionTable, limited_protocol
    except ModuleNotFoundError as missing:
        raise missing_extra("web", str(missing.name)) from None
    app = create_app(settings)
    host = settings.host
    with _listen(host, settings.port) as listener:
        if not _is_loopback(host) and settings.token is None:
            echo(
                f"warning: {host} can be reached by others, and no --token is set: anyone may use this server"
            )
        shown_host = f"[{host}]" if ":" in host else host
        echo(f"genrescope answers at http://{shown_host}:{listener.getsockname()[1]} (Ctrl-C ends it)")
        connections = ConnectionTable(
            max_connections=_max_connections(settings),
            # All connections of a proxy have its address.
            max_per_client=0 if settings.proxy_headers else settings.max_connections_per_client,
            header_timeout=settings.header_timeout,
            response_timeout=settings.response_timeout,
        )
        config = uvicorn.Config(
            app,
            http=limited_protocol(connections),
            log_level="warning",
            proxy_headers=settings.proxy_headers,
            ws="none",
            server_header=False,
            timeout_keep_alive=settings.keep_alive_timeout,  # type: ignore[arg-type]  # of call_later: any number
            timeout_graceful_shutdown=settings.shutdown_timeout,  # type: ignore[arg-type]  # of wait_for
        )
        uvicorn.Server(config).run(sockets=[listener])


def _max_connections(settings: Settings) -> int:
    """Return how many connections there may be, so that open files are left for uploads and workers."""
    try:
        import resource
    except ImportError:  # Windows
        return _MAX_CONNECTIONS
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if open_files == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    # A file for each place; two pipes for each worker, and as many again while it is replaced.
    needed = _RESERVED_FILES + settings.capacity + 4 * settings.workers
    return max(1, min(_MAX_CONNECTIONS, open_files - needed))


def _listen(host: str, port: int) -> socket.socket:
    """Open the listening socket before uvicorn starts, so that a port in use is an error of our own."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Nagle's algorithm would cost each answer 40 ms; asyncio turns it off if the protocol is named.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            # On Windows the option of POSIX lets two servers have one port, and another one keeps others off.
            option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
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
            "choose another --port, or end the program that uses this one",
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
