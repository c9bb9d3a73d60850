"""Limits for each client: requests a minute (token bucket) and requests in flight (fair share)."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_MAX_CLIENTS = 10_000
# No IP address in text is longer; a longer name would only fill the memory.
_MAX_NAME_LENGTH = 64


class TokenBucket:
    """A token bucket for each client: ``burst`` requests at once, refilled evenly.

    At most 10,000 clients are remembered; the one that was not seen for longest is forgotten first, so that
    many addresses cannot fill the memory. A forgotten client starts again with a full bucket.

    Parameters
    ----------
    per_minute : float
        Tokens that a bucket gains in a minute; 0: no limit.
    burst : int
        Tokens that a full bucket holds.
    clock : callable
        Returns the time in seconds; it must not go backwards.
    """

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one token from a client's bucket.

        Parameters
        ----------
        client : str
            The client's IP address, or any other name.

        Returns
        -------
        float
            0, or the seconds until the bucket has a token again; then none was taken.
        """
        if not self._per_second:
            return 0.0
        key, now = client_key(client), self._clock()
        tokens, updated = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - updated) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._buckets[key] = (tokens if wait else tokens - 1, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait


class FairShare:
    """Bounds how many requests of one client are in flight, so that a few cannot keep out all others.

    A client may have another request in flight while it has fewer of them than there are free places: the
    dynamic thresholds of A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for shared-memory
    packet switches", IEEE/ACM Transactions on Networking 6(2), 1998, with a factor of 1. One client can take
    half of the places, a second one half of what is left, and so on.

    Parameters
    ----------
    capacity : int
        Requests of all clients that the server has in flight.
    limited : bool
        Whether a client is held to its share; otherwise it may have all places.
    """

    def __init__(self, capacity: int, *, limited: bool) -> None:
        self._capacity = capacity
        self._limited = limited
        self._in_flight: Counter[str] = Counter()

    @contextmanager
    def acquire(self, client: str) -> Iterator[bool]:
        """Count a request of a client as long as the block runs.

        Parameters
        ----------
        client : str
            The client's IP address, or any other name.

        Yields
        ------
        bool
            False if the client has its share already; the request is not counted then.
        """
        key = client_key(client)
        if self._limited and self._in_flight[key] >= self._capacity - self._in_flight.total():
            yield False
            return
        self._in_flight[key] += 1
        try:
            yield True
        finally:
            self._in_flight[key] -= 1
            self._in_flight += Counter()  # adding an empty counter drops the clients that have none


def client_key(client: str) -> str:
    """Return what identifies a client: the address, of IPv6 its /64 network.

    An IPv6 subscriber is given a /64 or more, so that single IPv6 addresses would be no limit at all.

    Parameters
    ----------
    client : str
        IP address, or what a proxy sent in place of one.

    Returns
    -------
    str
        An IPv4 address, an IPv6 network, or the first letters of any other name.
    """
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client[:_MAX_NAME_LENGTH]
    mapped = getattr(address, "ipv4_mapped", None)  # IPv4 through a socket that takes both
    if address.version == 4 or mapped is not None:
        return str(mapped or address)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
