"""What endpoints are told: the bodies, and the headers that sign them (Standard Webhooks 1.0)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from standardwebhooks.webhooks import Webhook

from ecokart.core.log import stream
from ecokart.core.ports import Records
from ecokart.features.catalog.events import StockLow
from ecokart.features.orders.events import OrderFact
from ecokart.features.orders.history import rebuilt
from ecokart.features.partners.view import view
from ecokart.features.webhooks.deliveries import Message
from ecokart.features.webhooks.model import PING, Delivery, Endpoint, Topic

_encode = msgspec.json.Encoder(decimal_format="number").encode


class StockLowData(msgspec.Struct, rename="camel"):
    """An article that runs out: how many pieces can still be bought."""

    sku: str
    product_id: str
    available: int


class PingData(msgspec.Struct, rename="camel"):
    """Nothing but whom it is for."""

    endpoint_id: str


async def about_order(records: Records, fact: OrderFact, topic: Topic) -> Message:
    """The order as it was when that happened, however far it has gone since."""
    entries = await stream(records, fact.about())
    place = [entry.id for entry in entries].index(fact.id)
    order = rebuilt(entries[: place + 1])
    return Message(fact.id, topic, order.id, body(topic, fact.at, view(order, order.language)))


def about_stock(fact: StockLow) -> Message:
    data = StockLowData(fact.sku, fact.product_id, fact.available)
    return Message(fact.id, Topic.STOCK_LOW, fact.sku, body(Topic.STOCK_LOW, fact.at, data))


def ping(endpoint_id: str, at: datetime) -> str:
    return body(PING, at, PingData(endpoint_id))


def body(topic: str, at: datetime | None, data: Any) -> str:
    """The message as it is sent, byte for byte, however often."""
    return _encode({"type": topic, "timestamp": at, "data": data}).decode()


def signed(delivery: Delivery, endpoint: Endpoint, now: datetime) -> dict[str, str]:
    """The headers of an attempt: the id stays, the time is the attempt's, every secret that holds signs."""
    signatures = [
        Webhook(secret).sign(delivery.id, now, delivery.body) for secret in endpoint.secrets(now)
    ]
    return {
        "content-type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
