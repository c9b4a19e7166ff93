"""Where the provider of payments sends its notices."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from ecokart.core.transaction import transact
from ecokart.features.payments import service
from ecokart.web.requests import Request
from ecokart.web.responses import json
from ecokart.web.routing import Routes

routes = Routes("Payments")


class Taken(msgspec.Struct):
    """`received` is always true: a notice that comes again has been received too."""

    received: bool = True


@routes("POST", "/payments/notices")
async def take_notice(request: Request) -> Response:
    """Take a notice of the provider, which signs it. Only that is done here: the rest follows from it."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    notice = request.ports.payments.read_notice(headers, await request.body())
    if notice:
        await transact(request.ports, service.take, notice)
    return json(Taken())
