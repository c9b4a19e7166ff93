"""Paying at the provider: opening the payment, following what becomes of it, letting it go.

The provider says that something has changed, the buyer's browser comes back, the clock has come round:
all of them only lead to `follow`, which looks at the payment and lets the order follow. So it doesn't
matter which comes first, how often, or in which order; `_settle` alone decides.

An order's payment is opened under a key of its own, so whoever asks for it by that key gets the one
there is. A payment of which no answer was kept is found so, and never opened twice.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from ecokart.core.events import on
from ecokart.core.payments import Charge, Payment, PaymentRefused, PaymentState
from ecokart.core.ports import Ports
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction, transact
from ecokart.features.orders import pipeline, service
from ecokart.features.orders.events import (
    PaymentBegun,
    PaymentNeeded,
    PaymentReceived,
    PaymentReleased,
    PaymentReversed,
    PaymentUnwanted,
    PaymentWaits,
)
from ecokart.features.orders.history import record
from ecokart.features.orders.model import (
    ENDED,
    ORDERS,
    PATIENCE,
    Awaited,
    Method,
    NoSuchOrder,
    Order,
    Reason,
    Stage,
)
from ecokart.features.orders.refunds import ask_back
from ecokart.features.payments.events import PaymentNoticed

NOTHING_HELD = frozenset({PaymentState.FAILED, PaymentState.CANCELLED})
# A bank takes days, and its notice may be lost.
LOOK_AGAIN = timedelta(days=1)
REVERSED_DUE = timedelta(days=7)

log = logging.getLogger("ecokart.orders")


def offered(ports: Ports) -> tuple[Method, ...]:
    """The ways of paying that can be chosen: ours, and then the provider's, the most usual first."""
    ours = (Method.INVOICE, Method.PREPAYMENT) if ports.terms.bank else (Method.INVOICE,)
    return (*ours, *map(Method, ports.payments.methods))


async def leave_to_the_clock(
    ports: Ports, event: PaymentNeeded | PaymentUnwanted, why: str
) -> None:
    """The provider was away for too long for a job: `deadlines` asks it again when the order is due."""


@on(
    PaymentNeeded,
    lane="payments",
    attempts=PATIENCE,
    timeout_seconds=20,
    give_up=leave_to_the_clock,
)
async def open_payment(ports: Ports, event: PaymentNeeded) -> None:
    """Open the order's payment, so that its buyer can be told where to pay."""
    await begin(ports, event.order_id)


@on(
    PaymentUnwanted,
    lane="payments",
    attempts=PATIENCE,
    timeout_seconds=20,
    give_up=leave_to_the_clock,
)
async def let_go(ports: Ports, event: PaymentUnwanted) -> None:
    """Nobody wants the order any more: what is held for it is let go, what came goes back."""
    await follow(ports, event.order_id)


@on(PaymentNoticed, lane="payments", attempts=PATIENCE, timeout_seconds=20)
async def hear(ports: Ports, event: PaymentNoticed) -> None:
    """The provider says that something has changed."""
    try:
        await follow(ports, event.order_id)
    except NoSuchOrder:
        log.warning("a notice about an order that isn't ours", extra={"order": event.order_id})


async def begin(ports: Ports, order_id: str) -> Order:
    """The order with its payment open, whoever asks first. Raises `Unavailable` while the provider is away."""
    order = await service.any_one(ports.records, order_id)
    if order.stage is not Stage.PLACED or order.payment.reference:
        return order
    return await follow(ports, order_id)


async def follow(ports: Ports, order_id: str) -> Order:
    """Look at the order's payment and let the order follow. Harmless at any time, any number of times."""
    order = await service.any_one(ports.records, order_id)
    unwanted = order.awaits is Awaited.RELEASE
    known = order.payment.reference or order.stage is Stage.PLACED or unwanted
    if not order.payment.method.online or not known:
        return order
    try:
        payment = await _payment(ports, order)
        if unwanted and payment.state in (PaymentState.OPEN, PaymentState.AUTHORISED):
            payment = await ports.payments.cancel(payment.reference, key=f"{order.id}.cancel")
    except PaymentRefused as refused:
        return await transact(ports, _refused, order_id, refused.detail)
    return await transact(ports, _follow, order_id, payment, ports.terms)


async def _payment(ports: Ports, order: Order) -> Payment:
    """The order's payment at the provider as it is now; opened if there is none."""
    if order.payment.reference:
        return await ports.payments.look(order.payment.reference)
    charge = Charge(
        order_id=order.id,
        amount=order.total,
        method=order.payment.method.value,
        email=order.email,
        language=order.language,
        return_url=f"{ports.terms.public_url}/account/orders/{order.id}/returned",
    )
    return await ports.payments.begin(charge, key=f"{order.id}.begin")


async def _refused(tx: Transaction, order_id: str, why: str) -> Order:
    """The provider won't have the payment, so there is none."""
    order = await _get(tx, order_id)
    if order.stage is Stage.PLACED:
        return service.fail(tx, order, Reason.REFUSED, why, nothing_held=True)
    return _released(tx, order)


async def _follow(tx: Transaction, order_id: str, payment: Payment, terms: Terms) -> Order:
    order = await _get(tx, order_id)
    if not order.payment.reference:
        order = _begun(tx, order, payment)
    return _settle(tx, order, payment, terms)


def _settle(tx: Transaction, order: Order, payment: Payment, terms: Terms) -> Order:
    """What the payment's state means for the order. The one place that decides it."""
    if order.stage is Stage.PLACED:
        return _decided(tx, order, payment, terms)
    if order.stage in ENDED:
        return _undone(tx, order, payment)
    return _watched(tx, order, payment, terms)


def _decided(tx: Transaction, order: Order, payment: Payment, terms: Terms) -> Order:
    """The order waits for its payment."""
    match payment.state:
        case PaymentState.FAILED | PaymentState.CANCELLED:
            return service.fail(tx, order, Reason.REFUSED, payment.reason, nothing_held=True)
        case PaymentState.OPEN if order.payment.state is PaymentState.WAITING:
            return _begun(tx, order, payment)  # the bank wouldn't, and the buyer may try again
        case PaymentState.WAITING:
            return _waits(tx, order)
        case PaymentState.AUTHORISED | PaymentState.CAPTURED if payment.amount != order.total:
            return service.fail(tx, order, Reason.OTHER_AMOUNT, str(payment.amount.amount))
        case PaymentState.AUTHORISED | PaymentState.CAPTURED:
            return pipeline.authorised(tx, order, terms, payment.captured)
    return order


def _watched(tx: Transaction, order: Order, payment: Payment, terms: Terms) -> Order:
    """The order is being worked on, or done: its money may come before our own step hears, or be lost."""
    if order.payment.reversed:
        return order
    late = payment.captured - order.payment.captured
    if payment.state in NOTHING_HELD:
        return _lost(tx, order, payment.reason)
    if late.minor > 0 and order.stage is Stage.PICKED:
        return pipeline.captured(tx, order, terms, late)
    if late.minor > 0:
        fact = PaymentReceived(order_id=order.id, source=order.source, captured=late)
        return record(tx, order, fact)
    return order


def _lost(tx: Transaction, order: Order, why: str) -> Order:
    """What was held, or had come, is gone. The parcel stays here, or the money is owed again."""
    gone = order.allows(Stage.FAILED)
    if order.payment.captured > order.payment.refunded:
        fact = PaymentReversed(
            order_id=order.id,
            source=order.source,
            reason=why,
            pay_by=None if gone else tx.now + REVERSED_DUE,
        )
        order = record(tx, order, fact)
    if gone:
        return service.fail(tx, order, Reason.REVERSED, why, nothing_held=True)
    return order


def _undone(tx: Transaction, order: Order, payment: Payment) -> Order:
    """The order has ended: what came for it all the same goes back."""
    late = payment.captured - order.payment.captured
    if late.minor > 0:
        fact = PaymentReceived(order_id=order.id, source=order.source, captured=late)
        return ask_back(tx, record(tx, order, fact), late, "ended")
    if payment.state in NOTHING_HELD:
        return _released(tx, order)
    if payment.state is PaymentState.WAITING:
        return _waits(tx, order)
    return order


def _begun(tx: Transaction, order: Order, payment: Payment) -> Order:
    fact = PaymentBegun(
        order_id=order.id,
        source=order.source,
        reference=payment.reference,
        url=payment.url,
        pay_by=tx.now + service.PAYMENT_DUE,
    )
    return record(tx, order, fact)


def _waits(tx: Transaction, order: Order) -> Order:
    """The bank is at it: noted once, and again when it has been looked at in vain."""
    told = order.payment.state is PaymentState.WAITING
    if told and order.due_at and order.due_at > tx.now:
        return order
    fact = PaymentWaits(order_id=order.id, source=order.source, look_at=tx.now + LOOK_AGAIN)
    return record(tx, order, fact)


def _released(tx: Transaction, order: Order) -> Order:
    if order.awaits is not Awaited.RELEASE:
        return order
    return record(tx, order, PaymentReleased(order_id=order.id, source=order.source))


async def _get(tx: Transaction, order_id: str) -> Order:
    order = await tx.get(ORDERS, order_id)
    if order is None:
        raise NoSuchOrder(order_id)
    return order
