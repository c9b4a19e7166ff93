"""Whether the process lives, whether it can serve, and what it counts."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from ecokart.core.errors import Unavailable
from ecokart.core.events import Reactions
from ecokart.web.metrics import Metrics
from ecokart.web.pulse import look
from ecokart.web.requests import Request
from ecokart.web.responses import json
from ecokart.web.routing import Routes

routes = Routes("Operations")


class Alive(msgspec.Struct):
    """`ok`."""

    status: str


class Readiness(msgspec.Struct, omit_defaults=True):
    """`ok`, or `degraded`: the shop goes on without some of its parts, and says what is the matter."""

    status: str
    degraded: dict[str, str] = {}


class NotReady(Unavailable):
    """A part that requests need doesn't answer."""


@routes("GET", "/health/live", gives={200: Alive})
async def show_live(request: Request) -> Response:
    """The process runs. Restart it when this fails."""
    return json(Alive("ok"))


@routes("GET", "/health/ready", gives={200: Readiness}, problems=(NotReady,))
async def show_ready(request: Request) -> Response:
    """The process can serve: its records answer. Send it no requests while this fails."""
    matters = await look(request.ports)
    if matters["records"]:
        raise NotReady(f"records: {matters['records']}")
    degraded = {port: matter for port, matter in matters.items() if matter}
    return json(Readiness("degraded" if degraded else "ok", degraded))


@routes("GET", "/metrics")
async def metrics(request: Request) -> Response:
    """What this process counts, for Prometheus."""
    lanes = request.use(Reactions).lanes
    body, content_type = await request.use(Metrics).exposition(request.ports, lanes)
    return Response(body, media_type=content_type)
