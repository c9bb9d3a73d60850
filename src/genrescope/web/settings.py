"""Settings of the server: the one place for its defaults, which the command line reads from here."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

from genrescope.errors import ConfigError
from genrescope.web.hosts import ANY_HOST, parse_authority

_POSITIVE = (
    "max_upload_mb",
    "max_audio_seconds",
    "upload_timeout",
    "job_timeout",
    "job_memory_mb",
    "workers",
    "burst",
    "header_timeout",
    "keep_alive_timeout",
    "response_timeout",
    "shutdown_timeout",
)
_NON_NEGATIVE = ("max_queue", "rate_limit", "min_upload_rate", "max_connections_per_client")
# Smaller values are not limits but mistakes, such as seconds where milliseconds were meant.
_SMALLEST_LIMIT = 1e-3


def default_workers() -> int:
    """Return the number of workers that a server has by default: one for each core."""
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """Settings of a server; each is the option of ``genrescope serve`` of the same name.

    Attributes
    ----------
    models : tuple of str
        Names or ``.onnx`` files; the first is used where a request names none.
    token : str, optional
        A secret that requests must send; None: no request needs one.
    host : str
        Address to listen at.
    port : int
        Port to listen at; 0: the system chooses one.
    proxy_headers : bool
        Take a client's address from ``X-Forwarded-For``, which only a proxy on this machine may set.
    workers : int
        Files that are classified at the same time, each in a process of its own.
    max_queue : int
        Further requests that may upload or wait; the next is refused at once.
    max_upload_mb : float
        Largest body of a request in MiB, counted while it is read.
    max_audio_seconds : float
        Longest audio, counted while it is decoded.
    upload_timeout : float
        Seconds that a body may take to arrive.
    job_timeout : float
        Seconds that a worker may take for one file; after that it is killed and replaced.
    job_memory_mb : int
        Memory in MiB that a worker may use for one file.
    rate_limit : float
        Requests a minute of one client, on average; 0: no limit.
    burst : int
        Requests of one client that may come at once.
    allowed_hosts : tuple of str
        Further names under which the server is reached, as of a reverse proxy; ``*``: any.
    header_timeout : float
        Seconds that the header of a request may take to arrive.
    keep_alive_timeout : float
        Seconds after which a connection without a request is closed.
    min_upload_rate : float
        KiB a second at which a body must arrive, on average after its first 5 s; 0: no such limit.
    response_timeout : float
        Seconds that a client may take to receive a response.
    max_connections_per_client : int
        Open connections of one client; 0: no limit. Not used with ``proxy_headers``.
    shutdown_timeout : float
        Seconds that requests in flight are given to end when the server is told to end.

    Raises
    ------
    ConfigError
        ``invalid_argument``: no model, an empty token, a host that is no name, or a limit that is not a
        positive, finite number.
    """

    models: tuple[str, ...] = ("default",)
    token: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    proxy_headers: bool = False
    workers: int = field(default_factory=default_workers)
    max_queue: int = 16
    max_upload_mb: float = 64
    max_audio_seconds: float = 1800
    upload_timeout: float = 60
    job_timeout: float = 60
    job_memory_mb: int = 512
    rate_limit: float = 60
    burst: int = 30
    allowed_hosts: tuple[str, ...] = ()
    header_timeout: float = 10
    keep_alive_timeout: float = 5
    min_upload_rate: float = 4
    response_timeout: float = 30
    max_connections_per_client: int = 100
    shutdown_timeout: float = 10

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("invalid_argument", "no model to serve", "name at least one")
        if self.token is not None and not self.token.strip():
            raise ConfigError("invalid_argument", "the token is empty", "give a secret, or omit the token")
        for name in self.allowed_hosts:
            authority = parse_authority(name)
            if name != ANY_HOST and (authority is None or authority.port is not None):
                raise ConfigError(
                    "invalid_argument",
                    f"{name!r} is not the name of a host",
                    "give a name or an address without scheme and port, such as music.example.org",
                )
        for names, smallest in ((_POSITIVE, _SMALLEST_LIMIT), (_NON_NEGATIVE, 0)):
            for name in names:
                value = getattr(self, name)
                if not (math.isfinite(value) and value >= smallest):
                    message = f"{name} = {value:g} cannot be used as a limit"
                    raise ConfigError("invalid_argument", message, "give a positive, finite number")

    @property
    def max_upload_bytes(self) -> int:
        """Largest body of a request, in bytes."""
        return int(self.max_upload_mb * 2**20)

    @property
    def min_upload_bytes(self) -> float:
        """Bytes a second at which a body must arrive."""
        return self.min_upload_rate * 2**10

    @property
    def capacity(self) -> int:
        """Number of requests that may be in flight: uploading, waiting or being classified."""
        return self.workers + self.max_queue
