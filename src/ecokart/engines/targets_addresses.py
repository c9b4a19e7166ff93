"""Which addresses on the internet may be called, and which URLs may name one (OWASP: SSRF)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import urlsplit

from ecokart.core.targets import TargetRefused

LONGEST_URL = 500
# What is left to a program's own reading is refused: blanks, control characters, backslashes, no ASCII.
PRINTABLE = re.compile(r"[!-\[\]-~]+")
NAME = re.compile(r"(?=.{1,253}\.?$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_-]{1,63}\.?")
DEFAULT_PORTS = {"https": 443, "http": 80}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Python's `is_global` knows IANA's registries. These beside it lead elsewhere by way of a gateway.
GATEWAYS = [
    ipaddress.ip_network(text)
    for text in (
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b::/96",  # NAT64: an IPv4 address in an IPv6 one
        "64:ff9b:1::/48",
        "2001::/23",  # Teredo among them
        "2002::/16",  # 6to4
    )
]
# The only part of IPv6 that is given out for the internet.
UNICAST = ipaddress.ip_network("2000::/3")


class Target(NamedTuple):
    """A URL taken apart once, so that no second reading of it can differ."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the Host header: the name, with the port where it isn't the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def target(url: str, *, ports: Collection[int], private: bool) -> Target:
    """The URL's parts. `private` lets through plain HTTP, any port and private addresses.

    Raises `TargetRefused`.
    """
    if len(url) > LONGEST_URL:
        raise TargetRefused(f"It is longer than {LONGEST_URL} characters.")
    if not PRINTABLE.fullmatch(url):
        raise TargetRefused("It has characters that no URL has; write them with percent signs.")
    try:
        parts = urlsplit(url)
        named, port = parts.hostname or "", parts.port
    except ValueError:
        raise TargetRefused("It is no URL.") from None
    if parts.scheme not in (("https", "http") if private else ("https",)):
        raise TargetRefused("It takes https://.")
    if "@" in parts.netloc:
        raise TargetRefused("It takes no user name and no password.")
    if parts.fragment or "#" in url:
        raise TargetRefused("It takes no fragment.")
    _check_host(named, private=private)
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    if not private and port not in ports:
        allowed = ", ".join(map(str, sorted(ports)))
        raise TargetRefused(f"Its port is {port}, and {allowed} may be called.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, named, port, path)


def callable_address(text: str) -> bool:
    """Whether it is an address on the internet, and not one of our own network or of none.

    Private, loopback, link-local, shared, multicast, reserved, unspecified and documentation's
    addresses aren't, nor those that hide an IPv4 address in an IPv6 one.
    """
    address = ipaddress.ip_address(text)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if address.version == 6 and address not in UNICAST:
        return False
    return not any(address in network for network in GATEWAYS)


def _check_host(host: str, *, private: bool) -> None:
    try:
        address: Address | None = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None:
        # A last label of digits alone is no name: it is an address in a spelling of old.
        last = host.rstrip(".").rpartition(".")[2]
        if not NAME.fullmatch(host) or re.fullmatch(r"\d+|0x[0-9a-f]*", last):
            raise TargetRefused("It names no host.")
    elif not private and not callable_address(host):
        raise TargetRefused("Its address is private or reserved.")
