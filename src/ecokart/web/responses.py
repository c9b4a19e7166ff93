"""What a route gives back."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from ecokart.core.errors import Problem
from ecokart.web.requests import Request

# A time in an answer: RFC 3339, always with its zone.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


def _hook(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} has no JSON form")


encode_json = msgspec.json.Encoder(decimal_format="number", enc_hook=_hook).encode


def json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A struct as JSON."""
    return Response(encode_json(value), status, headers, "application/json")


class Ready:
    """An answer made beforehand: its bytes, its ETag, its headers. Sent without further work.

    `encoding` is how the body is packed (RFC 9110, 8.4), "" for not at all.
    """

    __slots__ = ("_headers", "_not_modified", "body", "etag")

    def __init__(
        self,
        body: bytes,
        media_type: str,
        *,
        cache_control: str = "no-cache",
        vary: str = "accept-language",
        encoding: str = "",
    ) -> None:
        self.body = body
        self.etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
        common = [
            (b"etag", self.etag.encode()),
            (b"cache-control", cache_control.encode()),
            (b"vary", vary.encode()),
        ]
        if encoding:
            common.append((b"content-encoding", encoding.encode()))
        self._not_modified = common
        self._headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            *common,
        ]

    def answer(self, request: Request) -> Response:
        """This answer, or 304 where the asker has it already."""
        asked = request.header(b"if-none-match")
        known = asked == "*" or self.etag in asked
        return _Prepared(
            b"" if known else self.body,
            304 if known else 200,
            list(self._not_modified if known else self._headers),
        )


class _Prepared(Response):
    """A response whose headers are ready-made."""

    def __init__(self, body: bytes, status: int, raw_headers: list[tuple[bytes, bytes]]) -> None:
        self.body = body
        self.status_code = status
        self.raw_headers = raw_headers
        self.background = None


def problem(error: Problem, request_id: str) -> Response:
    """An RFC 9457 problem document, with a stable `code`, field errors and the request's id."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "code": error.code,
    }
    if error.detail:
        document["detail"] = error.detail
    if error.errors:
        document["errors"] = [{"field": e.field, "message": e.message} for e in error.errors]
    document |= error.extra | {"requestId": request_id}
    return Response(encode_json(document), error.status, media_type="application/problem+json")
