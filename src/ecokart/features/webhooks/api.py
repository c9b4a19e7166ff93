"""A partner's webhook endpoints over HTTP, by its API key."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.errors import FieldError
from ecokart.core.targets import Failure, TargetRefused
from ecokart.core.transaction import transact
from ecokart.features.partners.api import partner_of
from ecokart.features.partners.model import Scope
from ecokart.features.webhooks import deliveries, messages, service
from ecokart.features.webhooks.model import (
    Delivery,
    Endpoint,
    EndpointOff,
    NoSuchDelivery,
    NoSuchEndpoint,
    Off,
    State,
    TooManyEndpoints,
    Topic,
)
from ecokart.web import paging
from ecokart.web.paging import BadCursor, CursorText, Limit
from ecokart.web.requests import Request
from ecokart.web.responses import Moment, json
from ecokart.web.routing import Access, Routes

routes = Routes("Webhooks", access=Access.PARTNER)

Topics = Annotated[list[Topic], Meta(min_length=1, max_length=20)]


class NewEndpoint(msgspec.Struct):
    """Where to, over HTTPS, and what it is told of."""

    url: Annotated[str, Meta(max_length=500)]
    topics: Topics


class ReplayWanted(msgspec.Struct):
    """From when on. Without `everything` only what failed is sent again."""

    since: Moment
    everything: bool = False


class DeliveryQuery(msgspec.Struct):
    limit: Limit = 20
    cursor: CursorText = ""


class EndpointView(msgspec.Struct, rename="camel"):
    """`failingSince` is when the first of all attempts failed that have failed since it last took something."""

    id: str
    url: str
    topics: list[Topic]
    created_at: Moment
    disabled_at: Moment | None
    disabled_because: Off | None
    failing_since: Moment | None
    previous_secret_until: Moment | None


class EndpointWithSecret(msgspec.Struct, rename="camel"):
    """`secret` signs the messages. It is shown now and not again."""

    endpoint: EndpointView
    secret: str


class EndpointList(msgspec.Struct):
    endpoints: list[EndpointView]


class AttemptView(msgspec.Struct):
    """`status` is 0 where no answer came; `excerpt` is how the answer begins."""

    at: Moment
    status: int
    failure: Failure | None
    seconds: float
    excerpt: str


class DeliveryView(msgspec.Struct, rename="camel"):
    """A message. `id` is its `webhook-id`; `about` is the order's number, or the SKU."""

    id: str
    endpoint_id: str
    topic: str
    about: str
    state: State
    attempts: list[AttemptView]
    next_at: Moment | None
    created_at: Moment


class DeliveryList(msgspec.Struct, rename="camel"):
    deliveries: list[DeliveryView]
    next_cursor: str | None


class Accepted(msgspec.Struct, rename="camel"):
    """It is on its way."""

    delivery_id: str


@routes(
    "POST",
    "/webhooks/endpoints",
    takes=NewEndpoint,
    gives={201: EndpointWithSecret},
    problems=(TargetRefused, TooManyEndpoints),
    scope=Scope.WEBHOOKS,
)
async def add_endpoint(request: Request, body: NewEndpoint) -> Response:
    """Have an address told of what happens."""
    _check(request, body.url)
    endpoint = await transact(
        request.ports, service.add, partner_of(request).id, body.url, body.topics
    )
    return json(_with_secret(request, endpoint), 201)


@routes("GET", "/webhooks/endpoints", gives={200: EndpointList}, scope=Scope.WEBHOOKS)
async def list_endpoints(request: Request) -> Response:
    """One's own endpoints, the oldest first."""
    found = await service.of_partner(request.ports.records, partner_of(request).id)
    return json(EndpointList([_view(request, endpoint) for endpoint in found]))


@routes(
    "GET",
    "/webhooks/endpoints/{id}",
    gives={200: EndpointView},
    problems=(NoSuchEndpoint,),
    scope=Scope.WEBHOOKS,
)
async def show_endpoint(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    """One of one's own endpoints."""
    endpoint = await transact(request.ports, service.one, partner_of(request).id, id)
    return json(_view(request, endpoint))


@routes(
    "PUT",
    "/webhooks/endpoints/{id}",
    takes=NewEndpoint,
    gives={200: EndpointView},
    problems=(NoSuchEndpoint, TargetRefused),
    scope=Scope.WEBHOOKS,
)
async def change_endpoint(request: Request, id: str, body: NewEndpoint) -> Response:  # noqa: A002
    """Another address, or other topics. The secret stays."""
    _check(request, body.url)
    endpoint = await transact(
        request.ports, service.change, partner_of(request).id, id, body.url, body.topics
    )
    return json(_view(request, endpoint))


@routes(
    "POST",
    "/webhooks/endpoints/{id}/rotate",
    gives={200: EndpointWithSecret},
    problems=(NoSuchEndpoint,),
    scope=Scope.WEBHOOKS,
)
async def rotate_secret(request: Request, id: str) -> Response:  # noqa: A002
    """A new secret. For a day the one before signs beside it."""
    endpoint = await transact(request.ports, service.rotate, partner_of(request).id, id)
    return json(_with_secret(request, endpoint))


@routes(
    "POST",
    "/webhooks/endpoints/{id}/disable",
    gives={200: EndpointView},
    problems=(NoSuchEndpoint,),
    scope=Scope.WEBHOOKS,
)
async def disable_endpoint(request: Request, id: str) -> Response:  # noqa: A002
    """Send it nothing until it is enabled; what happens meanwhile is kept for a replay."""
    endpoint = await transact(request.ports, service.disable, partner_of(request).id, id)
    return json(_view(request, endpoint))


@routes(
    "POST",
    "/webhooks/endpoints/{id}/enable",
    gives={200: EndpointView},
    problems=(NoSuchEndpoint,),
    scope=Scope.WEBHOOKS,
)
async def enable_endpoint(request: Request, id: str) -> Response:  # noqa: A002
    """Send it what happens from now on."""
    endpoint = await transact(request.ports, service.enable, partner_of(request).id, id)
    return json(_view(request, endpoint))


@routes(
    "POST",
    "/webhooks/endpoints/{id}/ping",
    gives={202: Accepted},
    problems=(NoSuchEndpoint, EndpointOff),
    scope=Scope.WEBHOOKS,
)
async def ping_endpoint(request: Request, id: str) -> Response:  # noqa: A002
    """Send it an `endpoint.ping`, to see that it arrives."""
    ports = request.ports
    body = messages.ping(id, ports.clock.now())
    delivery_id = await transact(
        ports, deliveries.ping, partner_of(request).id, id, body, ports.terms.webhooks_kept
    )
    return json(Accepted(delivery_id), 202)


@routes(
    "POST",
    "/webhooks/endpoints/{id}/replay",
    takes=ReplayWanted,
    gives={202: EndpointView},
    problems=(NoSuchEndpoint, EndpointOff),
    scope=Scope.WEBHOOKS,
)
async def replay_endpoint(request: Request, id: str, body: ReplayWanted) -> Response:  # noqa: A002
    """Send once more what it was told since a time, under the old ids."""
    endpoint = await transact(
        request.ports,
        service.ask_replay,
        partner_of(request).id,
        id,
        body.since,
        everything=body.everything,
    )
    return json(_view(request, endpoint), 202)


@routes(
    "GET",
    "/webhooks/endpoints/{id}/deliveries",
    query=DeliveryQuery,
    gives={200: DeliveryList},
    problems=(NoSuchEndpoint, BadCursor),
    scope=Scope.WEBHOOKS,
)
async def list_deliveries(request: Request, id: str, query: DeliveryQuery) -> Response:  # noqa: A002
    """What it was told, the newest first, with every attempt."""
    endpoint = await transact(request.ports, service.one, partner_of(request).id, id)
    page = await deliveries.to_endpoint(
        request.ports.records, endpoint.id, after=paging.read(query.cursor), limit=query.limit
    )
    return json(DeliveryList([_told(one) for one in page.values], paging.write(page.after)))


@routes(
    "POST",
    "/webhooks/deliveries/{id}/replay",
    gives={202: DeliveryView},
    problems=(NoSuchDelivery, EndpointOff),
    scope=Scope.WEBHOOKS,
)
async def replay_delivery(request: Request, id: str) -> Response:  # noqa: A002
    """Send one message once more, now, under its old id."""
    delivery = await transact(request.ports, deliveries.replay, partner_of(request).id, id)
    return json(_told(delivery), 202)


@routes(
    "DELETE",
    "/webhooks/endpoints/{id}",
    gives={204: None},
    problems=(NoSuchEndpoint,),
    scope=Scope.WEBHOOKS,
)
async def remove_endpoint(request: Request, id: str) -> Response:  # noqa: A002
    """Tell it nothing any more. What waits for it isn't sent."""
    await transact(request.ports, service.remove, partner_of(request).id, id)
    return Response(status_code=204)


def _check(request: Request, url: str) -> None:
    """Raises `TargetRefused`, which names the field."""
    try:
        request.ports.targets.check(url)
    except TargetRefused as refused:
        error = FieldError("url", refused.detail)
        raise TargetRefused(refused.detail, errors=(error,)) from None


def _with_secret(request: Request, endpoint: Endpoint) -> EndpointWithSecret:
    return EndpointWithSecret(_view(request, endpoint), endpoint.secret)


def _view(request: Request, endpoint: Endpoint) -> EndpointView:
    overlap = len(endpoint.secrets(request.ports.clock.now())) > 1
    return EndpointView(
        id=endpoint.id,
        url=endpoint.url,
        topics=sorted(endpoint.topics),
        created_at=endpoint.created_at,
        disabled_at=endpoint.disabled_at,
        disabled_because=endpoint.disabled_because,
        failing_since=endpoint.failing_since,
        previous_secret_until=endpoint.previous_until if overlap else None,
    )


def _told(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        topic=delivery.topic,
        about=delivery.about,
        state=delivery.state,
        attempts=[
            AttemptView(one.at, one.status, one.failure, one.seconds, one.excerpt)
            for one in delivery.attempts
        ],
        next_at=delivery.next_at,
        created_at=delivery.created_at,
    )
