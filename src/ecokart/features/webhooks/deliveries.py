"""Messages to endpoints: written when something happens, attempted, noted, and sent again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from ecokart.core.ports import Records
from ecokart.core.records import Cursor, Page
from ecokart.core.targets import Answer
from ecokart.core.transaction import Transaction
from ecokart.features.webhooks import service
from ecokart.features.webhooks.events import DeliveryDue
from ecokart.features.webhooks.model import (
    DELIVERIES,
    ENDPOINTS,
    OVERDUE,
    PING,
    Delivery,
    Endpoint,
    EndpointOff,
    NoSuchDelivery,
    State,
    Topic,
)

BATCH = 40  # deliveries in a commit, each with its signal


class Message(NamedTuple):
    """What endpoints are told. `event_id` is the fact's own, so that telling it twice is telling it once."""

    event_id: str
    topic: str
    about: str
    body: str


async def announce(
    tx: Transaction, endpoints: Iterable[Endpoint], message: Message, keep: timedelta
) -> None:
    """Write what is to be sent to each of these endpoints. For one that is disabled it is kept for a replay."""
    for endpoint in endpoints:
        delivery_id = f"msg_{message.event_id}_{endpoint.id}"
        if await tx.get(DELIVERIES, delivery_id):
            continue  # the handler runs again
        delivery = Delivery(
            id=delivery_id,
            endpoint_id=endpoint.id,
            partner_id=endpoint.partner_id,
            topic=message.topic,
            about=message.about,
            body=message.body,
            created_at=tx.now,
            asked_at=tx.now,
            next_at=tx.now + OVERDUE,
            expires_at=tx.now + keep,
        )
        if endpoint.disabled_at:
            tx.put(DELIVERIES, delivery.ended(State.DEAD))
        else:
            tx.put(DELIVERIES, delivery)
            tx.emit(_due(delivery))


async def claim(tx: Transaction, delivery_id: str, tries: int) -> tuple[Delivery, Endpoint] | None:
    """Take a delivery in hand. None if it is somebody else's, was attempted meanwhile, or has no endpoint.

    Whoever took it before and didn't note an outcome within the claim's time is taken for dead.
    """
    delivery = await tx.get(DELIVERIES, delivery_id)
    if delivery is None or delivery.state is not State.WAITING or delivery.tries != tries:
        return None
    if delivery.claimed_until and delivery.claimed_until > tx.now:
        return None
    endpoint = await tx.get(ENDPOINTS, delivery.endpoint_id)
    if endpoint is None or endpoint.disabled_at:
        tx.put(DELIVERIES, delivery.ended(State.DEAD))
        return None
    delivery = delivery.claimed(tx.now)
    tx.put(DELIVERIES, delivery)
    return delivery, endpoint


async def note(tx: Transaction, delivery_id: str, tries: int, answer: Answer) -> Delivery | None:
    """Keep an attempt's outcome, and what it means for the endpoint. None if another one was noted first."""
    delivery = await tx.get(DELIVERIES, delivery_id)
    if delivery is None or delivery.state is not State.WAITING or delivery.tries != tries:
        return None
    delivery = delivery.after(answer, tx.now)
    tx.put(DELIVERIES, delivery)
    endpoint = await tx.get(ENDPOINTS, delivery.endpoint_id)
    if endpoint and endpoint.disabled_at is None:
        changed = endpoint.after(answer, tx.now)
        if changed != endpoint:
            tx.put(ENDPOINTS, changed)
        if changed.disabled_at:
            tx.emit(service.was_disabled(changed))
    return delivery


async def postpone(tx: Transaction, delivery_id: str, tries: int) -> None:
    """Put a delivery back that wasn't sent, because its target is busy with others."""
    delivery = await tx.get(DELIVERIES, delivery_id)
    if delivery and delivery.state is State.WAITING and delivery.tries == tries:
        tx.put(DELIVERIES, delivery.postponed_from(tx.now))


async def bring_up(tx: Transaction, delivery_ids: Sequence[str]) -> None:
    """Have those of these deliveries attempted that are due by now."""
    for delivery_id in delivery_ids:
        delivery = await tx.get(DELIVERIES, delivery_id)
        if delivery and delivery.next_at and delivery.next_at <= tx.now:
            tx.put(DELIVERIES, replace(delivery, next_at=tx.now + OVERDUE))
            tx.emit(_due(delivery))


async def replay(tx: Transaction, partner_id: str, delivery_id: str) -> Delivery:
    """Send a delivery once more, now, under its old id. One that waits is sent now instead of later.

    Raises `NoSuchDelivery` and `EndpointOff`.
    """
    delivery = await one(tx, partner_id, delivery_id)
    endpoint = await tx.get(ENDPOINTS, delivery.endpoint_id)
    if endpoint is None or endpoint.disabled_at:
        raise EndpointOff
    if delivery.claimed_until and delivery.claimed_until > tx.now:
        return delivery  # it is being sent this very moment
    delivery = delivery.again(tx.now)
    tx.put(DELIVERIES, replace(delivery, next_at=tx.now + OVERDUE))
    tx.emit(_due(delivery))
    return delivery


async def replay_page(
    tx: Transaction, delivery_ids: Sequence[str], asked_at: datetime, *, everything: bool
) -> None:
    """Send those of these deliveries once more that failed, or all that aren't waiting anyhow.

    One that was asked for since `asked_at` is left alone: this runs again after it was cut off.
    """
    for delivery_id in delivery_ids:
        delivery = await tx.get(DELIVERIES, delivery_id)
        if delivery is None or delivery.state is State.WAITING or delivery.asked_at >= asked_at:
            continue
        if everything or delivery.state is State.DEAD:
            tx.put(DELIVERIES, replace(delivery.again(tx.now), next_at=tx.now + OVERDUE))
            tx.emit(_due(delivery.again(tx.now)))


async def ping(
    tx: Transaction, partner_id: str, endpoint_id: str, body: str, keep: timedelta
) -> str:
    """Send a message that means nothing, to see whether it arrives; gives its id.

    Raises `NoSuchEndpoint` and `EndpointOff`.
    """
    endpoint = await service.one(tx, partner_id, endpoint_id)
    if endpoint.disabled_at:
        raise EndpointOff
    message = Message(tx.new_id(), PING, endpoint_id, body)
    await announce(tx, [endpoint], message, keep)
    return f"msg_{message.event_id}_{endpoint_id}"


async def one(tx: Transaction, partner_id: str, delivery_id: str) -> Delivery:
    """Raises `NoSuchDelivery`."""
    delivery = await tx.get(DELIVERIES, delivery_id)
    if delivery is None or delivery.partner_id != partner_id:
        raise NoSuchDelivery
    return delivery


async def to_endpoint(
    records: Records, endpoint_id: str, *, after: Cursor | None = None, limit: int = 50
) -> Page[Delivery]:
    """What was told an endpoint, the newest first."""
    return await records.query(DELIVERIES, "by_endpoint", endpoint_id, after=after, limit=limit)


async def due(records: Records, now: datetime, limit: int = BATCH) -> list[str]:
    """The deliveries that are due by now and nobody attempts, as far as the index knows."""
    page = await records.query(DELIVERIES, "by_due", "yes", limit=limit)
    return [one.id for one in page.values if one.next_at and one.next_at <= now]


async def subscribed(
    records: Records, topic: Topic, partner_id: str | None = None
) -> list[Endpoint]:
    """The endpoints that are told of this topic: a partner's, or everybody's."""
    if partner_id is not None:
        found = await service.of_partner(records, partner_id)
        return [endpoint for endpoint in found if topic in endpoint.topics]
    endpoints: list[Endpoint] = []
    after: Cursor | None = None
    while True:
        page = await service.every(records, after=after, limit=100)
        endpoints += [endpoint for endpoint in page.values if topic in endpoint.topics]
        if (after := page.after) is None:
            return endpoints


def _due(delivery: Delivery) -> DeliveryDue:
    return DeliveryDue(delivery_id=delivery.id, tries=delivery.tries)
