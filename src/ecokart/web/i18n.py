"""Which language a request is answered in: the visitor's choice, then the browser's, then German."""

from __future__ import annotations

from ecokart.core.i18n import LANGUAGES, preferred
from ecokart.web.requests import LANGUAGE_COOKIE, Request


def language_of(request: Request) -> str:
    headers: dict[bytes, bytes] = request.scope["header_map"]
    if b"cookie" in headers:
        chosen = request.cookies.get(LANGUAGE_COOKIE)
        if chosen in LANGUAGES:
            return chosen
    return _preferred(headers.get(b"accept-language", b""))


def _preferred(header: bytes) -> str:
    known = _KNOWN.get(header)
    if known is None:
        if len(_KNOWN) > 1000:
            _KNOWN.clear()
        known = _KNOWN[header] = preferred(header.decode("latin-1"))
    return known


# Browsers send few different headers; what each prefers is found out once.
_KNOWN: dict[bytes, str] = {}
