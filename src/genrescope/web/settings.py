"""What one client, one upload and one job may cost."""

from __future__ import annotations

import ipaddress
import math
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

from genrescope.errors import ConfigError

_MOST_CLIENTS = 10_000
_MAY_BE_ZERO = {"queue_length", "requests_per_minute"}


@dataclass(frozen=True)
class Settings:
    """How a server behaves; every limit can be changed.

    Attributes
    ----------
    models : tuple of str
        Names or ``.onnx`` files; the first answers where a request names none.
    token : str, optional
        A secret that requests must show; None: anyone may ask.
    max_megabytes : float
        Of a request's body (a megabyte is 2^20 bytes), counted while it is read.
    max_seconds : float
        Of sound, counted while it is decoded.
    upload_seconds : float
        How long a body may take to arrive.
    job_seconds : float
        How long a worker may take for one file; past it, it is killed and replaced.
    job_megabytes : int
        How much memory a worker may use for one file.
    workers : int
        Files that are worked on at the same time.
    queue_length : int
        Further requests that may upload or wait; the next is refused at once.
    requests_per_minute : float
        Of one client, on average; 0: no limit.
    burst : int
        How many of them may come at once.
    """

    models: tuple[str, ...] = ("default",)
    token: str | None = None
    max_megabytes: float = 64
    max_seconds: float = 1800
    upload_seconds: float = 60
    job_seconds: float = 60
    job_megabytes: int = 512
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    queue_length: int = 16
    requests_per_minute: float = 60
    burst: int = 30

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("invalid_argument", "no model to serve", "name at least one")
        if self.token is not None and not self.token.strip():
            raise ConfigError(
                "invalid_argument", "the token is empty", "give a secret, or leave the token away"
            )
        for limit in fields(self)[2:]:
            value, lowest = getattr(self, limit.name), 0 if limit.name in _MAY_BE_ZERO else 1e-3
            if not (math.isfinite(value) and value >= lowest):
                what = f"{limit.name} = {value:g} is no limit to work with"
                raise ConfigError("invalid_argument", what, "give a positive, finite number")

    @property
    def max_bytes(self) -> int:
        """The longest body."""
        return int(self.max_megabytes * 2**20)

    @property
    def capacity(self) -> int:
        """How many requests may be inside: uploading, waiting or worked on."""
        return self.workers + self.queue_length


class TokenBucket:
    """A token bucket for each client: `burst` at once, refilled evenly; the longest unseen is forgotten."""

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one token; return 0, or how many seconds the client has to wait for the next."""
        if not self._per_second:
            return 0.0
        key, now = _network(client), self._clock()
        level, then = self._levels.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - then) * self._per_second)
        wait = 0.0 if level >= 1 else (1 - level) / self._per_second
        self._levels[key] = (level if wait else level - 1, now)
        if len(self._levels) > _MOST_CLIENTS:
            self._levels.popitem(last=False)
        return wait


class FairShare:
    """How many places each client holds: half of them at most, so that one cannot keep all others out."""

    def __init__(self, places: int, *, limited: bool) -> None:
        self._most = max(1, places // 2) if limited else places
        self._held: Counter[str] = Counter()

    @contextmanager
    def acquire(self, client: str) -> Iterator[bool]:
        """Hold a place; yields whether the client has one to hold."""
        key = _network(client)
        if self._held[key] >= self._most:
            yield False
            return
        self._held[key] += 1
        try:
            yield True
        finally:
            self._held[key] -= 1
            self._held += Counter()  # forgets who holds none


def _network(client: str) -> str:
    """Return who a client is: of an IPv6 address the /64, since a household has all of it."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    mapped = getattr(address, "ipv4_mapped", None)  # IPv4, seen through a socket of both
    if address.version == 4 or mapped is not None:
        return str(mapped or address)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
