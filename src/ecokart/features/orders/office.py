"""What the office does with an order. Each is refused if the order has moved since it was looked at.

`facts` is how many facts the order had on the page from which somebody acts. Every function raises
`NoSuchOrder` and `OrderMoved`.
"""

from __future__ import annotations

from ecokart.core.money import Money
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction
from ecokart.features.orders import pipeline, refunds, service
from ecokart.features.orders.events import PaymentReceived
from ecokart.features.orders.history import record
from ecokart.features.orders.model import (
    ENDED,
    ORDERS,
    NoMoneyExpected,
    NoSuchOrder,
    Order,
    OrderMoved,
    Reason,
    Shipment,
    Stage,
)


async def pack(tx: Transaction, order_id: str, facts: int, terms: Terms) -> Order:
    """The goods are packed: the money that is held is taken."""
    order = await _as_seen(tx, order_id, facts)
    if order.stage is not Stage.AUTHORISED:
        raise OrderMoved
    return pipeline.picked(tx, order, terms)


async def ship(tx: Transaction, order_id: str, facts: int, parcel: Shipment, terms: Terms) -> Order:
    """The parcel is on its way."""
    order = await _as_seen(tx, order_id, facts)
    if order.stage is not Stage.CAPTURED:
        raise OrderMoved
    return pipeline.shipped(
        tx, order, terms, carrier=parcel.carrier, tracking=parcel.tracking, url=parcel.url
    )


async def call_off(tx: Transaction, order_id: str, facts: int, note: str) -> Order:
    """The order is cancelled; what was held or has come goes back."""
    order = await _as_seen(tx, order_id, facts)
    if not order.allows(Stage.CANCELLED):
        raise OrderMoved
    return service.call_off(tx, order, Reason.OFFICE, note)


async def receive(tx: Transaction, order_id: str, facts: int, amount: Money, terms: Terms) -> Order:
    """A transfer has come: a part, all, or more. Raises `NoMoneyExpected` where the provider takes the money.

    What comes for an order that has ended is to go back.
    """
    order = await _as_seen(tx, order_id, facts)
    if not order.by_transfer or amount.minor <= 0 or amount.currency != order.total.currency:
        raise NoMoneyExpected
    fact = PaymentReceived(order_id=order.id, source=order.source, captured=amount)
    order = record(tx, order, fact)
    if order.stage in ENDED:
        return refunds.ask_back(tx, order, amount, "ended")
    if order.stage is Stage.PLACED and not order.owed.minor:
        return pipeline.authorised(tx, order, terms)
    return order


async def refund(
    tx: Transaction,
    order_id: str,
    facts: int,
    amount: Money,
    reason: str,
    *,
    restock: bool,
    replaces: str,
) -> Order:
    """Give back a part of what has come. Raises `NothingToRefund`."""
    order = await _as_seen(tx, order_id, facts)
    return refunds.ask_back(tx, order, amount, reason, restock=restock, replaces=replaces)


async def confirm_refund(tx: Transaction, order_id: str, facts: int, refund_id: str) -> Order:
    """Somebody has sent that refund's money. Raises `NothingToRefund`."""
    return refunds.confirm(tx, await _as_seen(tx, order_id, facts), refund_id)


async def _as_seen(tx: Transaction, order_id: str, facts: int) -> Order:
    order = await tx.get(ORDERS, order_id)
    if order is None:
        raise NoSuchOrder
    if order.facts != facts:
        raise OrderMoved
    return order
