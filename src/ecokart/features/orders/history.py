"""An order's facts, and what each makes of the order.

Nothing else changes an order. What is stored is only the sum of its facts, so `rebuilt` gives the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
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
    PaymentOverdue,
    PaymentReceived,
    PaymentReleased,
    PaymentReminded,
    PaymentReversed,
    PaymentWaits,
    RefundFailed,
    RefundRequested,
)
from ecokart.features.orders.model import (
    ENDED,
    ORDERS,
    Awaited,
    Order,
    Refund,
    Refunding,
    Shipment,
    Stage,
)


class Beginning(msgspec.Struct, frozen=True):
    """What the log has beside the first fact: the order as it was stored then, and in which shape."""

    shape: int
    order: msgspec.Raw


def place(tx: Transaction, order: Order) -> Order:
    """The first fact of a new order."""
    return _begin(tx, order, OrderPlaced(order_id=order.id, source=order.source))


def take_over(tx: Transaction, order: Order) -> Order:
    """The first fact of an order of the past."""
    return _begin(tx, order, OrderImported(order_id=order.id, source=order.source))


def _begin(tx: Transaction, order: Order, fact: OrderFact) -> Order:
    tx.add(ORDERS, order)
    detail = Beginning(ORDERS.shape, msgspec.Raw(_encode(order)))
    tx.emit(fact, number=order.facts, detail=detail)
    return order


def record(tx: Transaction, order: Order, fact: OrderFact) -> Order:
    """Let something happen to an order that this transaction has read. Gives the order as it is then."""
    order = evolve(order, fact, tx.now)
    tx.put(ORDERS, order)
    tx.emit(fact, number=order.facts)
    return order


def rebuilt(entries: Sequence[LogEntry]) -> Order:
    """The order that these facts make: all of its stream, the first one first.

    What else the stream tells isn't numbered, and makes no difference to the order. Raises
    `ValueError` if the first is missing: orders from before there was a log can't be rebuilt.
    """
    facts = [entry for entry in entries if entry.number]
    if not facts or facts[0].detail is None:
        raise ValueError("The first fact is missing.")
    beginning = msgspec.json.decode(facts[0].detail, type=Beginning)
    order = ORDERS.load_body(beginning.shape, bytes(beginning.order))
    for entry in facts[1:]:
        order = evolve(order, _decode(entry.event), entry.at)
    return order


def fact_of(entry: LogEntry) -> OrderFact | None:
    """The fact that the log has here; None for what is told beside, and isn't a fact of an order."""
    fact: OrderFact | None = _decode(entry.event) if entry.name in _NAMES else None
    return fact


def evolve(order: Order, fact: OrderFact, at: datetime) -> Order:
    """What the fact makes of the order. Raises `ValueError` where an order can't go that way."""
    return replace(_EFFECTS[type(fact)](order, fact, at), facts=order.facts + 1)


def _begun(order: Order, fact: PaymentBegun, at: datetime) -> Order:
    payment = replace(
        order.payment, state=PaymentState.OPEN, reference=fact.reference, url=fact.url
    )
    order = replace(order, payment=payment)
    return order if order.stage in ENDED else _awaiting(order, Awaited.PAYMENT, fact.pay_by)


def _waits(order: Order, fact: PaymentWaits, at: datetime) -> Order:
    awaited = Awaited.RELEASE if order.stage in ENDED else Awaited.BANK
    return _awaiting(_in_state(order, PaymentState.WAITING), awaited, fact.look_at)


def _authorised(order: Order, fact: OrderAuthorised, at: datetime) -> Order:
    if order.payment.method.online:
        order = _came(_in_state(order, PaymentState.AUTHORISED), fact.captured)
    return _awaiting(order.to(Stage.AUTHORISED, at), None)


def _picked(order: Order, fact: OrderPicked, at: datetime) -> Order:
    return order.to(Stage.PICKED, at)


def _captured(order: Order, fact: OrderCaptured, at: datetime) -> Order:
    return _came(order.to(Stage.CAPTURED, at), fact.captured)


def _shipped(order: Order, fact: OrderShipped, at: datetime) -> Order:
    parcel = Shipment(carrier=fact.carrier, tracking=fact.tracking, url=fact.url)
    order = replace(order.to(Stage.SHIPPED, at), shipment=parcel)
    return _awaiting(order, Awaited.INVOICE if fact.pay_by else None, fact.pay_by)


def _completed(order: Order, fact: OrderCompleted, at: datetime) -> Order:
    return order.to(Stage.COMPLETED, at)


def _cancelled(order: Order, fact: OrderCancelled, at: datetime) -> Order:
    return _ended(order.to(Stage.CANCELLED, at), fact.release_by)


def _failed(order: Order, fact: OrderFailed, at: datetime) -> Order:
    return _ended(order.to(Stage.FAILED, at), fact.release_by)


def _ended(order: Order, release_by: datetime | None) -> Order:
    order = replace(order, restocked=True)
    if release_by:
        return _awaiting(order, Awaited.RELEASE, release_by)
    if order.payment.state is not PaymentState.CAPTURED:
        order = _in_state(order, PaymentState.CANCELLED)
    return _awaiting(order, None)


def _released(order: Order, fact: PaymentReleased, at: datetime) -> Order:
    return _awaiting(_in_state(order, PaymentState.CANCELLED), None)


def _received(order: Order, fact: PaymentReceived, at: datetime) -> Order:
    order = _came(order, fact.captured)
    return order if order.owed.minor and order.stage not in ENDED else _awaiting(order, None)


def _reminded(order: Order, fact: PaymentReminded, at: datetime) -> Order:
    payment = replace(order.payment, reminders=fact.reminder)
    return _awaiting(replace(order, payment=payment), order.awaits, fact.pay_by)


def _overdue(order: Order, fact: PaymentOverdue, at: datetime) -> Order:
    return _awaiting(order, Awaited.OVERDUE, at)


def _reversed(order: Order, fact: PaymentReversed, at: datetime) -> Order:
    """What had come and not gone back is owed again."""
    payment = order.payment
    payment = replace(payment, state=PaymentState.FAILED, captured=payment.refunded, reversed=True)
    order = replace(order, payment=payment)
    return _awaiting(order, Awaited.INVOICE if fact.pay_by else None, fact.pay_by)


def _asked_back(order: Order, fact: RefundRequested, at: datetime) -> Order:
    asked = Refund(id=fact.refund_id, amount=fact.amount, reason=fact.reason, asked_at=at)
    others = [refund for refund in order.refunds if refund.id != fact.replaces]
    restocked = order.restocked or fact.restock
    return _with_refunds(replace(order, restocked=restocked), (*others, asked))


def _refunded(order: Order, fact: OrderRefunded, at: datetime) -> Order:
    payment = replace(order.payment, refunded=order.payment.refunded + fact.amount)
    order = _with_refund(replace(order, payment=payment), fact.refund_id, given_at=at, failed="")
    everything = payment.refunded >= payment.captured and not order.owed.minor
    if everything and order.allows(Stage.REFUNDED):
        return _awaiting(order.to(Stage.REFUNDED, at), None)
    return order


def _not_refunded(order: Order, fact: RefundFailed, at: datetime) -> Order:
    return _with_refund(order, fact.refund_id, failed=fact.reason)


def _with_refund(order: Order, refund_id: str, **changes: Any) -> Order:
    refunds = [replace(one, **changes) if one.id == refund_id else one for one in order.refunds]
    return _with_refunds(order, tuple(refunds))


def _with_refunds(order: Order, refunds: tuple[Refund, ...]) -> Order:
    refunding = None
    if any(refund.open for refund in refunds):
        refunding = Refunding.ASKED
    if any(refund.failed for refund in refunds):
        refunding = Refunding.FAILED
    return replace(order, refunds=refunds, refunding=refunding)


def _in_state(order: Order, state: PaymentState) -> Order:
    """The order with its payment in that state, unless money has come: that is the state then."""
    if order.payment.state is PaymentState.CAPTURED:
        return order
    return replace(order, payment=replace(order.payment, state=state))


def _came(order: Order, money: Money | None) -> Order:
    """The order with the money that came for it."""
    if money is None or not money.minor:
        return order
    payment = order.payment
    payment = replace(payment, state=PaymentState.CAPTURED, captured=payment.captured + money)
    return replace(order, payment=payment)


def _awaiting(order: Order, awaited: Awaited | None, until: datetime | None = None) -> Order:
    if awaited is order.awaits and until == order.due_at:
        return order
    return replace(order, awaits=awaited, due_at=until)


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
    PaymentReleased: _released,
    PaymentReminded: _reminded,
    PaymentOverdue: _overdue,
    PaymentReversed: _reversed,
    RefundRequested: _asked_back,
    OrderRefunded: _refunded,
    RefundFailed: _not_refunded,
}
_KINDS: tuple[type[OrderFact], ...] = (OrderPlaced, OrderImported, *_EFFECTS)
_NAMES = {kind.named() for kind in _KINDS}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Union[_KINDS]).decode  # noqa: UP007 (made of a tuple)
