"""The office's pages for webhooks: which endpoints there are, what they were told, and how that went."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.errors import NotFound, Problem
from ecokart.core.transaction import transact
from ecokart.features.partners import service as partners
from ecokart.features.partners.model import NoSuchPartner
from ecokart.features.webhooks import deliveries, messages, service
from ecokart.features.webhooks.model import Endpoint, EndpointOff
from ecokart.web import paging
from ecokart.web.pages import page, see_other
from ecokart.web.paging import CursorText
from ecokart.web.requests import Request, convert
from ecokart.web.routing import Access, Routes

routes = Routes(page=True, access=Access.ADMIN)

HERE = "/admin/webhooks"
PAGE_SIZE = 50
# How far back a replay may go, in hours.
HOURS = (1, 24, 72, 168, 720)


class Done(StrEnum):
    """What was done just now, and is told on the page that follows."""

    ON = "on"
    OFF = "off"
    PINGED = "pinged"
    REPLAYED = "replayed"
    SENT = "sent"


class ListQuery(msgspec.Struct, frozen=True):
    cursor: CursorText = ""


class ShowQuery(msgspec.Struct, frozen=True):
    cursor: CursorText = ""
    done: Done | None = None


class Replay(msgspec.Struct, frozen=True):
    """How far back, and whether also what arrived is sent again."""

    hours: Annotated[int, Meta(ge=1, le=HOURS[-1])] = HOURS[0]
    everything: str = ""


@routes("GET", HERE, query=ListQuery)
async def show_endpoints(request: Request, query: ListQuery) -> Response:
    """The endpoints of all partners, the newest first."""
    records = request.ports.records
    found = await service.every(records, after=paging.read(query.cursor), limit=PAGE_SIZE)
    names = {one.partner_id: await _partner_name(request, one) for one in found.values}
    return await page(
        request,
        "webhooks/list.html",
        endpoints=found.values,
        names=names,
        query=query,
        following=paging.write(found.after),
    )


@routes("GET", f"{HERE}/{{id}}", query=ShowQuery)
async def show_endpoint(request: Request, id: str, query: ShowQuery) -> Response:  # noqa: A002 (the path's own name)
    """An endpoint, and what it was told."""
    endpoint = await service.any_one(request.ports.records, id)
    return await _shown(request, endpoint, query)


@routes("POST", f"{HERE}/{{id}}/{{action}}")
async def change_endpoint(request: Request, id: str, action: str) -> Response:  # noqa: A002
    """Enable, disable or ping it, rotate its secret, or send again what it was told."""
    ports = request.ports
    endpoint = await service.any_one(ports.records, id)
    whose = endpoint.partner_id, endpoint.id
    try:
        match action:
            case "enable":
                await transact(ports, service.enable, *whose)
                return _to(endpoint, Done.ON)
            case "disable":
                await transact(ports, service.disable, *whose)
                return _to(endpoint, Done.OFF)
            case "ping":
                body = messages.ping(endpoint.id, ports.clock.now())
                keep = ports.terms.webhooks_kept
                await transact(ports, deliveries.ping, *whose, body, keep)
                return _to(endpoint, Done.PINGED)
            case "rotate":
                endpoint = await transact(ports, service.rotate, *whose)
                return await _shown(request, endpoint, ShowQuery(), secret=endpoint.secret)
            case "replay":
                asked = convert(await request.form_fields(), Replay)
                since = ports.clock.now() - timedelta(hours=asked.hours)
                everything = bool(asked.everything)
                await transact(ports, service.ask_replay, *whose, since, everything=everything)
                return _to(endpoint, Done.REPLAYED)
            case _:
                raise NotFound
    except EndpointOff as why:
        return await _shown(request, endpoint, ShowQuery(), why=why)


@routes("POST", f"{HERE}/{{id}}/deliveries/{{delivery_id}}")
async def send_again(request: Request, id: str, delivery_id: str) -> Response:  # noqa: A002
    """Send one message once more."""
    endpoint = await service.any_one(request.ports.records, id)
    try:
        await transact(request.ports, deliveries.replay, endpoint.partner_id, delivery_id)
    except EndpointOff as why:
        return await _shown(request, endpoint, ShowQuery(), why=why)
    return _to(endpoint, Done.SENT)


async def _shown(
    request: Request,
    endpoint: Endpoint,
    query: ShowQuery,
    *,
    secret: str = "",
    why: Problem | None = None,
) -> Response:
    found = await deliveries.to_endpoint(
        request.ports.records, endpoint.id, after=paging.read(query.cursor), limit=PAGE_SIZE
    )
    return await page(
        request,
        "webhooks/endpoint.html",
        why.status if why else 200,
        endpoint=endpoint,
        partner_name=await _partner_name(request, endpoint),
        deliveries=found.values,
        following=paging.write(found.after),
        query=query,
        secret=secret,
        why=why,
        hours=HOURS,
        now=request.ports.clock.now(),
        here=f"{HERE}/{endpoint.id}",
    )


async def _partner_name(request: Request, endpoint: Endpoint) -> str:
    try:
        return (await transact(request.ports, partners.one, endpoint.partner_id)).name
    except NoSuchPartner:
        return endpoint.partner_id


def _to(endpoint: Endpoint, done: Done) -> Response:
    return see_other(f"{HERE}/{endpoint.id}?done={done}")
