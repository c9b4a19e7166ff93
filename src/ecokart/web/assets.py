"""Files that don't change: styles, scripts, pictures. Read once, sent from memory, cached for a year."""

from __future__ import annotations

import re
from collections.abc import Mapping
from gzip import compress
from importlib.resources.abc import Traversable
from mimetypes import guess_type
from pathlib import PurePosixPath

from starlette.responses import Response

from ecokart.core.errors import NotFound
from ecokart.web.requests import Request
from ecokart.web.responses import Ready
from ecokart.web.routing import Routes

routes = Routes("Assets")

YEAR = "public, max-age=31536000, immutable"
DAY = "public, max-age=86400"
# Whoever names it takes it, unless by a weight of 0 (RFC 9110, 12.5.3).
GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")


class Assets:
    """Files by address: `/static/…` from the toolkit, other roots from the features that own them."""

    def __init__(self, roots: Mapping[str, Traversable]) -> None:
        self._roots = roots
        self._ready: dict[str, Ready] = {}

    def find(self, root: str, name: str, *, forever: bool, packed: bool) -> Ready:
        """The file, by gzip where the asker takes that and it helps.

        Raises `NotFound`, also for names that would lead out of the folder.
        """
        key = f"{root}/{name}/{forever}/{packed}"
        if known := self._ready.get(key):
            return known
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/"):
            raise NotFound
        file = self._roots[root].joinpath(*parts)
        if not file.is_file():
            raise NotFound
        media_type = guess_type(name)[0] or "application/octet-stream"
        is_text = media_type.startswith("text/") or media_type == "image/svg+xml"
        body = file.read_bytes()
        ready = self._ready[key] = Ready(
            compress(body, mtime=0) if packed and is_text else body,
            f"{media_type}; charset=utf-8" if is_text else media_type,
            cache_control=YEAR if forever else DAY,
            vary="accept-encoding",
            encoding="gzip" if packed and is_text else "",
        )
        return ready


@routes("GET", "/static/{name:path}")
async def static(request: Request, name: str) -> Response:
    """A style, script or picture of the shop's own."""
    return _found(request, "static", name, forever="v" in request.query())


@routes("GET", "/pictures/{name}")
async def picture(request: Request, name: str) -> Response:
    """A product's picture."""
    return _found(request, "pictures", name, forever=False)


def _found(request: Request, root: str, name: str, *, forever: bool) -> Response:
    packed = GZIP.search(request.header(b"accept-encoding")) is not None
    return request.use(Assets).find(root, name, forever=forever, packed=packed).answer(request)
