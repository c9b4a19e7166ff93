"""Files that don't change: styles, scripts, pictures. Read once, sent from memory, cached for a year."""

from __future__ import annotations

from collections.abc import Mapping
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


class Assets:
    """Files by address: `/static/…` from the toolkit, other roots from the features that own them."""

    def __init__(self, roots: Mapping[str, Traversable]) -> None:
        self._roots = roots
        self._ready: dict[str, Ready] = {}

    def find(self, root: str, name: str, *, forever: bool) -> Ready:
        """Raises `NotFound`, also for names that would lead out of the folder."""
        key = f"{root}/{name}/{forever}"
        if known := self._ready.get(key):
            return known
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/"):
            raise NotFound
        file = self._roots[root].joinpath(*parts)
        if not file.is_file():
            raise NotFound
        media_type = guess_type(name)[0] or "application/octet-stream"
        if media_type.startswith("text/") or media_type == "image/svg+xml":
            media_type += "; charset=utf-8"
        ready = Ready(file.read_bytes(), media_type, cache_control=YEAR if forever else DAY)
        self._ready[key] = ready
        return ready


@routes("GET", "/static/{name:path}")
async def static(request: Request, name: str) -> Response:
    """A style, script or picture of the shop's own."""
    forever = "v" in request.query()
    return request.use(Assets).find("static", name, forever=forever).answer(request)


@routes("GET", "/pictures/{name}")
async def picture(request: Request, name: str) -> Response:
    """A product's picture."""
    return request.use(Assets).find("pictures", name, forever=False).answer(request)
