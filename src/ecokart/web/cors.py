"""Which other origins' pages may read our answers: the headers of CORS, and the answer to a preflight.

By the Fetch standard. A page of another origin proves itself with a token; cookies aren't for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

METHODS = "GET, POST, PUT, DELETE"
TAKES = "Authorization, Content-Type, Idempotency-Key, If-None-Match"
SHOWS = "ETag, Idempotent-Replayed, Retry-After, X-Request-ID"
PREFLIGHT_SECONDS = 600


class Cors:
    """The rule for these origins; with none of them it says nothing at all."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._allowed = {origin.encode() for origin in origins}

    def headers(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """What an answer carries. The origin is in it, so caches must keep the answers apart."""
        if not self._allowed:
            return []
        vary = (b"vary", b"Origin")
        if origin is None or origin not in self._allowed:
            return [vary]
        return [
            vary,
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", SHOWS.encode()),
        ]

    def preflight(self, method: str, headers: dict[bytes, bytes]) -> Response | None:
        """The answer to a browser that asks before it sends; None where this is no such question."""
        asks = method == "OPTIONS" and b"access-control-request-method" in headers
        if not asks or headers.get(b"origin") not in self._allowed:
            return None
        return Response(
            status_code=204,
            headers={
                "access-control-allow-methods": METHODS,
                "access-control-allow-headers": TAKES,
                "access-control-max-age": str(PREFLIGHT_SECONDS),
            },
        )
