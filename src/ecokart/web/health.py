"""Whether the process lives, whether it can serve, and what it counts."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from ecokart.core.errors import Unavailable
from ecokart.core.events import Reactions
from ecokart.core.worker import TIMERS
from ecokart.web.metrics import Metrics
from ecokart.web.requests import Request
from ecokart.web.responses import json
from ecokart.web.routing import Routes

routes = Routes("Operations")


class Health(msgspec.Struct):
    """`ok`."""

    status: str


class NotReady(Unavailable):
    """A part that requests need doesn't answer."""


@routes("GET", "/health/live", gives={200: Health})
async def show_live(request: Request) -> Response:
    """The process runs. Restart it when this fails."""
    return json(Health("ok"))


@routes("GET", "/health/ready", gives={200: Health}, problems=(NotReady,))
async def show_ready(request: Request) -> Response:
    """The process can serve: its records answer. Send it no requests while this fails."""
    try:
        await request.ports.records.scan(TIMERS, limit=1)
    except Unavailable as error:
        raise NotReady(f"records: {error.detail}") from error
    return json(Health("ok"))


@routes("GET", "/metrics")
async def metrics(request: Request) -> Response:
    """What this process counts, for Prometheus."""
    lanes = request.use(Reactions).lanes
    body, content_type = await request.use(Metrics).exposition(request.ports, lanes)
    return Response(body, media_type=content_type)
