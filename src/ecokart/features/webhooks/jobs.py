"""What partners are told of, and how it comes to them: at least once, in no promised order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ecokart.core.events import every, on
from ecokart.core.ports import Ports
from ecokart.core.targets import TargetBusy
from ecokart.core.transaction import transact
from ecokart.features.catalog.events import StockLow
from ecokart.features.orders.events import (
    OrderAuthorised,
    OrderCancelled,
    OrderCompleted,
    OrderFact,
    OrderFailed,
    OrderPlaced,
    OrderRefunded,
    OrderShipped,
)
from ecokart.features.partners import service as partners
from ecokart.features.webhooks import deliveries, messages
from ecokart.features.webhooks.deliveries import BATCH
from ecokart.features.webhooks.events import DeliveryDue, EndpointDisabled, ReplayAsked
from ecokart.features.webhooks.mails import disabled_endpoint
from ecokart.features.webhooks.model import Topic

PARTNER = "partner"
# Most orders are the shop's own: their facts don't even come here. No text of a buyer's can look like
# this, since JSON writes its quotation marks otherwise.
OF_PARTNERS = f'"source":"{PARTNER}:'


def _telling(event: type[OrderFact], topic: Topic) -> Callable[[Ports, OrderFact], Awaitable[None]]:
    """The reaction that tells the partner whose order it is, named by the topic: `tell_placed`."""

    async def tell(ports: Ports, fact: OrderFact) -> None:
        await _tell(ports, fact, topic)

    tell.__name__ = f"tell_{topic.value.removeprefix('order.')}"
    return on(event, having=OF_PARTNERS)(tell)


tell_placed = _telling(OrderPlaced, Topic.ORDER_PLACED)
tell_processing = _telling(OrderAuthorised, Topic.ORDER_PROCESSING)
tell_shipped = _telling(OrderShipped, Topic.ORDER_SHIPPED)
tell_completed = _telling(OrderCompleted, Topic.ORDER_COMPLETED)
tell_cancelled = _telling(OrderCancelled, Topic.ORDER_CANCELLED)
tell_failed = _telling(OrderFailed, Topic.ORDER_FAILED)
tell_refunded = _telling(OrderRefunded, Topic.ORDER_REFUNDED)


@on(StockLow)
async def tell_stock_low(ports: Ports, event: StockLow) -> None:
    """Every partner who asked for it hears of every article."""
    endpoints = await deliveries.subscribed(ports.records, Topic.STOCK_LOW)
    message, keep = messages.about_stock(event), ports.terms.webhooks_kept
    for start in range(0, len(endpoints), BATCH):
        part = endpoints[start : start + BATCH]
        await transact(ports, deliveries.announce, part, message, keep)


async def _tell(ports: Ports, event: OrderFact, topic: Topic) -> None:
    """Tell the partner whose order it is, if he wants to know."""
    partner_id = event.source.removeprefix(f"{PARTNER}:")
    endpoints = await deliveries.subscribed(ports.records, topic, partner_id)
    if endpoints:
        message = await messages.about_order(ports.records, event, topic)
        await transact(ports, deliveries.announce, endpoints, message, ports.terms.webhooks_kept)


@on(DeliveryDue, lane="webhooks", timeout_seconds=30)
async def deliver(ports: Ports, event: DeliveryDue) -> None:
    """Attempt a delivery, and note what came of it.

    If this process ends between the two, the message is sent again, under the same id.
    """
    taken = await transact(ports, deliveries.claim, event.delivery_id, event.tries)
    if taken is None:
        return
    delivery, endpoint = taken
    headers = messages.signed(delivery, endpoint, ports.clock.now())
    try:
        answer = await ports.targets.post(
            endpoint.url, headers, delivery.body.encode(), party=endpoint.id
        )
    except TargetBusy:
        await transact(ports, deliveries.postpone, delivery.id, delivery.tries)
        return
    await transact(ports, deliveries.note, delivery.id, delivery.tries, answer)


@every(seconds=10)
async def bring_up_due(ports: Ports) -> None:
    """Have all deliveries attempted whose time has come. Hours of waiting are too long for a queue."""
    while True:
        due = await deliveries.due(ports.records, ports.clock.now())
        if due:
            await transact(ports, deliveries.bring_up, due)
        if len(due) < BATCH:
            return


@on(ReplayAsked, lane="webhooks")
async def send_again(ports: Ports, event: ReplayAsked) -> None:
    """Go back through what was told the endpoint, as far as was asked."""
    asked_at = event.at or ports.clock.now()
    after = None
    while True:
        page = await deliveries.to_endpoint(
            ports.records, event.endpoint_id, after=after, limit=BATCH
        )
        wanted = [delivery.id for delivery in page.values if delivery.created_at >= event.since]
        await transact(ports, deliveries.replay_page, wanted, asked_at, everything=event.everything)
        after = page.after
        if after is None or len(wanted) < len(page.values):
            return


@on(EndpointDisabled, lane="mail")
async def tell_of_disabling(ports: Ports, event: EndpointDisabled) -> None:
    """The partner hears by mail why nothing comes any more, unless somebody did it by hand."""
    partner = await transact(ports, partners.one, event.partner_id)
    if letter := disabled_endpoint(event, partner, ports.terms):
        await ports.mail.send(letter, message_id=f"{event.id}.disabled")
