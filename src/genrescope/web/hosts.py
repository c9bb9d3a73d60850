"""Under which names the server may be reached, and from which origins a page may use it.

A browser lets a page of any origin send requests to this server, and DNS rebinding lets a page read the
responses: the name of the page's own server then resolves to this machine, so that the browser takes both for
one origin. The name stands in ``Host``, which a page cannot set. A page of another origin is known by
``Origin`` and ``Sec-Fetch-Site``, which pages cannot set either.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

ANY_HOST = "*"
_LOCALHOST = "localhost"
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{0,5}))?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """Host and port of an address.

    Attributes
    ----------
    host : str
        In lower case, without brackets or a final dot; IP addresses in their shortest form.
    port : int or None
    """

    host: str
    port: int | None


class Target(NamedTuple):
    """What the request line of an absolute-form request names (RFC 9112, section 3.2.2).

    Attributes
    ----------
    authority : str
        Host and port as sent.
    raw_path : bytes
        Path as sent.
    path : str
        Path, decoded.
    """

    authority: str
    raw_path: bytes
    path: str


def parse_authority(text: str) -> Authority | None:
    """Split the value of a ``Host`` header.

    Parameters
    ----------
    text : str
        A name, an IPv4 address or an IPv6 address in brackets, and a port if there is one.

    Returns
    -------
    Authority or None
        None if the text is anything else.
    """
    match = _AUTHORITY.fullmatch(text.strip().lower())
    if match is None:
        return None
    port = int(match[2]) if match[2] else None
    if port is not None and port > 65535:
        return None
    # "localhost." and "localhost" are one name: the final dot says that it is complete.
    if not match[1].startswith("["):
        return Authority(_canonical(match[1].removesuffix(".")), port)
    try:
        ipaddress.IPv6Address(match[1][1:-1])
    except ValueError:
        return None
    return Authority(_canonical(match[1][1:-1]), port)


def parse_absolute_target(raw_path: bytes) -> Target | None:
    """Split the target of a request that names scheme and host, as clients send it to proxies.

    Parameters
    ----------
    raw_path : bytes
        Target of the request without the query.

    Returns
    -------
    Target or None
        None if it is in another form.
    """
    match = re.fullmatch(rb"https?://([^/]*)(.*)", raw_path, re.IGNORECASE)
    if match is None:
        return None
    path = match[2] or b"/"
    return Target(match[1].decode("latin-1"), path, unquote(path.decode("latin-1")))


class HostPolicy:
    """Which hosts and origins a request may name.

    Allowed are the address that the server is bound to, ``localhost`` and what ends with ``.localhost``,
    loopback addresses, and ``allowed``. A server that is bound to all addresses (``0.0.0.0``, ``::``) may be
    reached at any IP address: rebinding needs a name.

    Parameters
    ----------
    bound : str
        Address or name that the server listens at.
    allowed : iterable of str
        Further names or addresses; ``*``: every host (origins are still checked).
    """

    def __init__(self, bound: str, allowed: Iterable[str] = ()) -> None:
        names = set(allowed)
        self._any_host = ANY_HOST in names
        parsed = (parse_authority(name) for name in names - {ANY_HOST})
        self._allowed = {authority.host for authority in parsed if authority is not None}
        self._bound = _canonical(bound.lower())
        address = _ip_address(self._bound)
        # 0.0.0.0 and :: are no addresses that a client names: any address of this machine may be meant.
        self._any_address = address is not None and address.is_unspecified

    def allows_host(self, header: str) -> bool:
        """Return whether a request may name this host.

        Parameters
        ----------
        header : str
            Value of ``Host``; empty where the request has none.
        """
        if self._any_host:
            return True
        authority = parse_authority(header)
        if authority is None:
            return False
        host = authority.host
        if host in {self._bound, _LOCALHOST, *self._allowed} or host.endswith(f".{_LOCALHOST}"):
            return True
        address = _ip_address(host)
        return address is not None and (address.is_loopback or self._any_address)

    def allows_origin(self, origin: str, host_header: str) -> bool:
        """Return whether a page of an origin may use the API.

        Parameters
        ----------
        origin : str
            Value of ``Origin``: scheme, host and port, or ``null``.
        host_header : str
            Value of ``Host``: an origin of the same host and port is this server's own page. So is one whose
            host is in ``allowed``, since a reverse proxy may have replaced ``Host``.
        """
        scheme, _, rest = origin.strip().lower().partition("://")
        page = parse_authority(rest)
        if page is None or scheme not in _DEFAULT_PORTS:
            return False
        if page.host in self._allowed:
            return True
        server = parse_authority(host_header)
        default = _DEFAULT_PORTS[scheme]
        return server is not None and (page.host, page.port or default) == (
            server.host,
            server.port or default,
        )


def _canonical(host: str) -> str:
    """Return an IP address in its shortest form, IPv4 in IPv6 as IPv4; other names unchanged."""
    address = _ip_address(host)
    if address is None:
        return host
    return str(getattr(address, "ipv4_mapped", None) or address)


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
