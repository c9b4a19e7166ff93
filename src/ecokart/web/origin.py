"""Forged requests from other sites: a browser says where a request comes from, and we believe it.

Every browser of the last years sends `Sec-Fetch-Site`, and `Origin` with every POST; a page of
another site can't change either. So no form needs a token of its own, and pages stay the same for
everybody. See docs/decisions/0004-csrf-by-origin.md.
"""

from __future__ import annotations

from ecokart.core.errors import Forbidden

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class ForeignOrigin(Forbidden):
    """This request came from another site."""


class OriginRule:
    """Lets changes through that come from our own pages, from allowed origins, or from no browser."""

    def __init__(self, allowed: list[str], public_url: str) -> None:
        self._allowed = {*(origin.encode() for origin in allowed), public_url.encode()}

    def check(self, method: str, headers: dict[bytes, bytes]) -> None:
        """Raises `ForeignOrigin`."""
        if method in SAFE_METHODS:
            return
        if b"x-api-key" in headers:
            return  # a page can't send it to another site unless a preflight (Fetch) let it
        site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
        if origin in self._allowed or site in (b"same-origin", b"none"):
            return
        if site is None and (origin is None or origin.partition(b"://")[2] == headers.get(b"host")):
            return
        raise ForeignOrigin
