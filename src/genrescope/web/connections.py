"""Connections: how many a client may have, how long a header may take, and how long a response.

uvicorn bounds none of these. `limited_protocol` makes a subclass of its h11 protocol that does::

    connected ---- header complete ----> answering ---- response complete ----> waiting (keep-alive)
        |               ^                    |                                      |
        | header_timeout|                    | response_timeout while               | keep_alive_timeout;
        v               |                    v the client does not read             v header_timeout from the
      closed            |                  closed                                 closed  first byte on
                        +-----------------------------------------------------------+
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from typing import cast

import h11
from starlette.responses import Response
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol
from uvicorn.server import ServerState

from genrescope.errors import GenrescopeError
from genrescope.web.errors import problem_response, retry_later
from genrescope.web.headers import HEADERS
from genrescope.web.rate_limit import client_key

# uvicorn warns of each request that is not HTTP: a client could fill a disk with that. Errors pass.
_logger = logging.getLogger("uvicorn.error.requests")
# Where a request's scope holds an `asyncio.Event` that is set when the client has sent all that it will send.
HALF_CLOSED = "genrescope.half_closed"


class ConnectionTable:
    """The open connections of a server, and their limits.

    Where there are as many connections as allowed, a new one takes the place of the one that has waited for a
    request longest: clients that open connections and send nothing cannot keep out those that do.

    Parameters
    ----------
    max_connections : int
        Connections of all clients.
    max_per_client : int
        Connections of one client (of IPv6: of one /64); 0: no limit.
    header_timeout : float
        Seconds from the first byte of a request, or from the connection, to the end of the header.
    response_timeout : float
        Seconds for which a client may leave bytes unread.
    """

    def __init__(
        self, *, max_connections: int, max_per_client: int, header_timeout: float, response_timeout: float
    ) -> None:
        self.header_timeout = header_timeout
        self.response_timeout = response_timeout
        self._max_connections = max_connections
        self._max_per_client = max_per_client
        self._clients: dict[LimitedProtocol, str] = {}
        self._per_client: Counter[str] = Counter()
        # Connections without a request, the one that has waited for longest first.
        self._waiting: OrderedDict[LimitedProtocol, None] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of open connections."""
        return len(self._clients)

    def admit(self, connection: LimitedProtocol, client: str) -> GenrescopeError | None:
        """Enter a new connection.

        Parameters
        ----------
        connection : LimitedProtocol
            Has just been made.
        client : str
            IP address of the client.

        Returns
        -------
        GenrescopeError or None
            Why the connection is refused, ``too_many_requests`` or ``overloaded``; None: it is entered.
        """
        key = client_key(client)
        if self._max_per_client and self._per_client[key] >= self._max_per_client:
            message = f"more than {self._max_per_client} connections of one client"
            return retry_later("too_many_requests", message, "close some of them", wait=1)
        if len(self._clients) >= self._max_connections:
            if not self._waiting:
                return GenrescopeError("overloaded", "too many connections", "try again in a moment")
            oldest = next(iter(self._waiting))
            self.remove(oldest)
            oldest.transport.abort()
        self._clients[connection] = key
        self._per_client[key] += 1
        self._waiting[connection] = None
        return None

    def set_waiting(self, connection: LimitedProtocol, waiting: bool) -> None:
        """Note whether a connection waits for a request; it keeps its place in the order while it does.

        Parameters
        ----------
        connection : LimitedProtocol
            Not noted where it has been removed.
        waiting : bool
            False from the end of a request's header to the end of the response.
        """
        if not waiting:
            self._waiting.pop(connection, None)
        elif connection in self._clients:
            self._waiting.setdefault(connection, None)

    def remove(self, connection: LimitedProtocol) -> None:
        """Forget a connection, which may have been forgotten before.

        Parameters
        ----------
        connection : LimitedProtocol
            Is closed, or about to be.
        """
        key = self._clients.pop(connection, None)
        self._waiting.pop(connection, None)
        if key is not None:
            self._per_client[key] -= 1
            if not self._per_client[key]:
                del self._per_client[key]


class LimitedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with the limits of a `ConnectionTable`.

    Parameters
    ----------
    config, server_state, app_state
        As uvicorn gives them to `H11Protocol`.

    Attributes
    ----------
    table : ConnectionTable
        Shared by all connections of a server; set by `limited_protocol`.
    """

    table: ConnectionTable

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # Here, because uvicorn resets the levels of loggers below its own when it starts.
        _logger.setLevel(logging.ERROR)
        self.logger = _logger
        self._is_half_closed = False
        self._half_closed_event = asyncio.Event()
        self._header_timer: asyncio.TimerHandle | None = None
        self._response_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection of ``transport``, or answer why not and close it (called by asyncio)."""
        super().connection_made(transport)
        # With 0, `pause_writing` is called whenever the client leaves bytes unread, however few.
        transport.set_write_buffer_limits(high=0)
        refusal = self.table.admit(self, self.client[0] if self.client else "")
        if refusal is not None:
            self._close_with(refusal)
            return
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, whatever ``exc`` ended it (called by asyncio)."""
        self.table.remove(self)
        self._stop_header_timer()
        self._stop_response_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take ``data`` of a request, whose header must be complete in time (called by asyncio)."""
        # Also bytes of a body that nobody waits for any more, since its request was answered early: a client
        # has as much time to end it as for a header.
        if self._header_timer is None and not self._is_answering:
            self._start_header_timer()
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection until the response is sent, if the request was complete (called by asyncio).

        A client that has closed the connection altogether looks the same until something is sent to it.
        Therefore the application is told: it drops what has not begun yet.
        """
        self._is_half_closed = self._is_answering and self.conn.their_state in {h11.DONE, h11.MUST_CLOSE}
        if self._is_half_closed:
            self._half_closed_event.set()
        return self._is_half_closed

    def handle_events(self) -> None:
        """Begin to answer the next request if its header is complete (called by uvicorn)."""
        previous = self.cycle
        super().handle_events()
        if self.cycle is not previous:
            self._stop_header_timer()
            self.table.set_waiting(self, False)
            # The application starts after this method has returned.
            if not self._is_half_closed:
                self._half_closed_event = asyncio.Event()
            cast(dict[str, object], self.cycle.scope)[HALF_CLOSED] = self._half_closed_event

    def on_response_complete(self) -> None:
        """Wait for the next request (called by uvicorn)."""
        self.table.set_waiting(self, True)
        super().on_response_complete()
        if self._is_half_closed and not self._is_answering:
            self.transport.close()  # No further request can come.

    def pause_writing(self) -> None:
        """Give the client its time to read what was sent (called by asyncio)."""
        super().pause_writing()
        if self._response_timer is None:
            self._response_timer = self.loop.call_later(self.table.response_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop counting: the client has read all (called by asyncio)."""
        self._stop_response_timer()
        super().resume_writing()

    def shutdown(self) -> None:
        """Close the connection, after the response if one is due (called by uvicorn when it ends)."""
        if not self.transport.is_closing():  # h11 refuses to end twice, which would stop the others' end
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, with ``msg`` (called by uvicorn)."""
        self._close_with(
            GenrescopeError("request_malformed", msg, "check the client: what it sends is not HTTP/1.1")
        )

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(self.table.header_timeout, self._header_timed_out)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_response_timer(self) -> None:
        if self._response_timer is not None:
            self._response_timer.cancel()
            self._response_timer = None

    def _header_timed_out(self) -> None:
        self._header_timer = None
        if self.transport.is_closing():
            return
        if not self.conn.trailing_data[0]:
            self.transport.close()  # No request has begun: there is nothing to answer.
        else:
            message = f"the request was not complete after {self.table.header_timeout:g} s"
            self._close_with(GenrescopeError("request_timeout", message, "send the header at once"))

    def _close_with(self, failure: GenrescopeError) -> None:
        """Answer with a problem, unless an answer has begun, and close the connection."""
        self._stop_header_timer()
        has_begun = self.cycle is not None and self.cycle.response_started
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE} and not (self._is_answering and has_begun):
            self.transport.write(_serialized(self.conn, problem_response(failure)))
        self.transport.close()


def limited_protocol(connections: ConnectionTable) -> type[LimitedProtocol]:
    """Return a protocol class for ``uvicorn.Config``, which makes one instance for each connection.

    Parameters
    ----------
    connections : ConnectionTable
        Counts the connections, and has their limits.
    """

    class Protocol(LimitedProtocol):
        table = connections

    return Protocol


def _serialized(connection: h11.Connection, response: Response) -> bytes:
    """Return the bytes of a response after which the connection is closed."""
    headers = [*response.raw_headers, *((name.encode(), value.encode()) for name, value in HEADERS.items())]
    headers.append((b"connection", b"close"))
    status = response.status_code
    events = (
        h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status]),
        h11.Data(data=bytes(response.body)),
        h11.EndOfMessage(),
    )
    return b"".join(connection.send(event) or b"" for event in events)
