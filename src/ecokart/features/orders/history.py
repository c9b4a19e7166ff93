"""An order's facts, and what each makes of the order.

Nothing else changes an order. What is stored is only the sum of its facts, so `rebuilt` gives the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Union

import msgspec
from msgspec.structs import replace

from ecokart.core.log import LogEntry
from ecokart.core.money import Money
from ecokart.core.payments import PaymentState
from ecokart.core.transaction import Transaction
from ecokart.features.orders.events import (
    OrderAuthorised,
    OrderCancelled,
    OrderCaptured,
    OrderCompleted,
    OrderFact,
    OrderFailed,
    OrderImported,
    OrderPicked,
    OrderPlaced,
    OrderRefunded,
    OrderShipped,
    PaymentBegun,
    PaymentReceived,
    PaymentReminded,
    PaymentReversed,
    PaymentWaits,
    RefundFailed,
    RefundRequested,
)
from ecokart.features.orders.model import ORDERS, Awaited, Order, Refund, Shipment, Stage

INVOICE_DUE = timedelta(days=14)
REMINDER_PAUSE = timedelta(days=7)


def place(tx: Transaction, order: Order) -> Order:
    """The first fact of a new order."""
    tx.add(ORDERS, order)
    tx.emit(OrderPlaced(order_id=order.id, source=order.source), number=1, detail=order)
    return order


def take_over(tx: Transaction, order: Order) -> Order:
    """The first fact of an order of the past."""
    tx.add(ORDERS, order)
    tx.emit(OrderImported(order_id=order.id, source=order.source), number=1, detail=order)
    return order


def record(tx: Transaction, order: Order, fact: OrderFact) -> Order:
    """Let something happen to an order that this transaction has read. Gives the order as it is then."""
    order = evolve(order, fact, tx.now)
    tx.put(ORDERS, order)
    tx.emit(fact, number=order.facts)
    return order


def rebuilt(entries: Sequence[LogEntry]) -> Order:
    """The order that these facts make: all of its stream, the first one first."""
    first, *others = entries
    order = msgspec.json.decode(first.detail, type=Order)
    for entry in others:
        order = evolve(order, _decode(entry.event), entry.at)
    return order


def evolve(order: Order, fact: OrderFact, at: datetime) -> Order:
    """What the fact makes of the order. Raises `ValueError` where an order can't go that way."""
    return replace(_EFFECTS[type(fact)](order, fact, at), facts=order.facts + 1)


def _begun(order: Order, fact: PaymentBegun, at: datetime) -> Order:
    payment = replace(
        order.payment, state=PaymentState.OPEN, reference=fact.reference, url=fact.url
    )
    return replace(order, payment=payment)


def _waits(order: Order, fact: PaymentWaits, at: datetime) -> Order:
    return replace(_paid(order, PaymentState.WAITING), awaits=None, due_at=None)


def _authorised(order: Order, fact: OrderAuthorised, at: datetime) -> Order:
    if order.payment.method.online:
        order = _paid(order, PaymentState.AUTHORISED, fact.captured)
    return replace(order.to(Stage.AUTHORISED, at), awaits=None, due_at=None)


def _picked(order: Order, fact: OrderPicked, at: datetime) -> Order:
    return order.to(Stage.PICKED, at)


def _captured(order: Order, fact: OrderCaptured, at: datetime) -> Order:
    return _paid(order.to(Stage.CAPTURED, at), order.payment.state, fact.captured)


def _shipped(order: Order, fact: OrderShipped, at: datetime) -> Order:
    parcel = Shipment(carrier=fact.carrier, tracking=fact.tracking, url=fact.url)
    order = replace(order.to(Stage.SHIPPED, at), shipment=parcel)
    if order.payment.captured < order.total:
        return replace(order, awaits=Awaited.INVOICE, due_at=at + INVOICE_DUE)
    return order


def _completed(order: Order, fact: OrderCompleted, at: datetime) -> Order:
    return order.to(Stage.COMPLETED, at)


def _cancelled(order: Order, fact: OrderCancelled, at: datetime) -> Order:
    return _ended(order.to(Stage.CANCELLED, at))


def _failed(order: Order, fact: OrderFailed, at: datetime) -> Order:
    return _ended(order.to(Stage.FAILED, at))


def _received(order: Order, fact: PaymentReceived, at: datetime) -> Order:
    order = _paid(order, order.payment.state, fact.captured)
    if order.payment.captured < order.total:
        return order
    return replace(order, awaits=None, due_at=None)


def _reminded(order: Order, fact: PaymentReminded, at: datetime) -> Order:
    payment = replace(order.payment, reminders=fact.reminder)
    return replace(order, payment=payment, due_at=at + REMINDER_PAUSE)


def _reversed(order: Order, fact: PaymentReversed, at: datetime) -> Order:
    """What had come is owed again."""
    payment = replace(
        order.payment, state=PaymentState.FAILED, captured=Money(0, order.total.currency)
    )
    if order.stage in (Stage.SHIPPED, Stage.COMPLETED):
        return replace(order, payment=payment, awaits=Awaited.INVOICE, due_at=at + REMINDER_PAUSE)
    return replace(order, payment=payment)


def _asked_back(order: Order, fact: RefundRequested, at: datetime) -> Order:
    asked = Refund(id=fact.refund_id, amount=fact.amount, reason=fact.reason, asked_at=at)
    return replace(order, refunds=(*order.refunds, asked))


def _refunded(order: Order, fact: OrderRefunded, at: datetime) -> Order:
    payment = replace(order.payment, refunded=order.payment.refunded + fact.amount)
    order = replace(_with_refund(order, fact.refund_id, given_at=at), payment=payment)
    if payment.refunded == payment.captured and order.allows(Stage.REFUNDED):
        return replace(order.to(Stage.REFUNDED, at), awaits=None, due_at=None)
    return order


def _not_refunded(order: Order, fact: RefundFailed, at: datetime) -> Order:
    return _with_refund(order, fact.refund_id, failed=fact.reason)


def _with_refund(order: Order, refund_id: str, **changes: Any) -> Order:
    refunds = [replace(one, **changes) if one.id == refund_id else one for one in order.refunds]
    return replace(order, refunds=tuple(refunds))


def _paid(order: Order, state: PaymentState, came: Money | None = None) -> Order:
    """The order with its payment in that state, or CAPTURED if money came."""
    payment = order.payment
    if came and came.minor:
        state, payment = PaymentState.CAPTURED, replace(payment, captured=payment.captured + came)
    return replace(order, payment=replace(payment, state=state))


def _ended(order: Order) -> Order:
    """Nothing is awaited any more. Money that has come stays to be given back."""
    if order.payment.state is not PaymentState.CAPTURED:
        order = _paid(order, PaymentState.CANCELLED)
    return replace(order, awaits=None, due_at=None)


Effect = Callable[[Order, Any, datetime], Order]
_EFFECTS: dict[type[OrderFact], Effect] = {
    PaymentBegun: _begun,
    PaymentWaits: _waits,
    OrderAuthorised: _authorised,
    OrderPicked: _picked,
    OrderCaptured: _captured,
    OrderShipped: _shipped,
    OrderCompleted: _completed,
    OrderCancelled: _cancelled,
    OrderFailed: _failed,
    PaymentReceived: _received,
    PaymentReminded: _reminded,
    PaymentReversed: _reversed,
    RefundRequested: _asked_back,
    OrderRefunded: _refunded,
    RefundFailed: _not_refunded,
}
_decode = msgspec.json.Decoder(Union[tuple(_EFFECTS)]).decode  # noqa: UP007
