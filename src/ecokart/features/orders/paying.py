"""Paying at the provider: opening the payment, following what becomes of it, letting it go.

The provider says that something has changed, or the buyer's browser comes back: both only lead to
`follow`, which looks at the payment and lets the order follow. So it doesn't matter which comes
first, how often, or in which order.
"""

from __future__ import annotations

from ecokart.core.events import on
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Payment, PaymentRefused, PaymentState
from ecokart.core.ports import Ports
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction, transact
from ecokart.features.orders import pipeline, service
from ecokart.features.orders.events import (
    PaymentBegun,
    PaymentNeeded,
    PaymentReceived,
    PaymentUnwanted,
    PaymentWaits,
    RefundRequested,
)
from ecokart.features.orders.history import record
from ecokart.features.orders.model import FINAL, ORDERS, NoSuchOrder, Order, Stage

ENDED = FINAL - {Stage.COMPLETED}
NOTHING_HELD = frozenset({PaymentState.FAILED, PaymentState.CANCELLED})


@on(PaymentNeeded, lane="payments", timeout_seconds=20)
async def open_payment(ports: Ports, event: PaymentNeeded) -> None:
    """Open the order's payment, so that its buyer can be told where to pay."""
    await begin(ports, event.order_id)


async def begin(ports: Ports, order_id: str) -> Order:
    """The order with its payment open, whoever asks first. Raises `Unavailable` while the provider is away."""
    order = await service.any_one(ports.records, order_id)
    if (
        order.stage is not Stage.PLACED
        or order.payment.reference
        or not order.payment.method.online
    ):
        return order
    charge = Charge(
        order_id=order.id,
        amount=order.total,
        method=order.payment.method.value,
        email=order.email,
        language=order.language,
        return_url=f"{ports.terms.public_url}/account/orders/{order.id}/returned",
    )
    try:
        payment = await ports.payments.begin(charge, key=f"{order.id}.begin")
    except PaymentRefused as refused:
        return await transact(ports, _refused, order_id, refused.detail)
    return await transact(ports, _begun, order_id, payment, ports.terms)


async def follow(ports: Ports, order_id: str) -> Order:
    """Look at the order's payment and let the order follow. Harmless at any time, any number of times."""
    order = await service.any_one(ports.records, order_id)
    if not order.payment.reference:
        return order
    payment = await ports.payments.look(order.payment.reference)
    order = await transact(ports, _follow, order_id, payment, ports.terms)
    if order.stage in ENDED and payment.state not in (*NOTHING_HELD, PaymentState.CAPTURED):
        await _let_go(ports, order)
    return order


@on(PaymentUnwanted, lane="payments", timeout_seconds=20)
async def let_go(ports: Ports, event: PaymentUnwanted) -> None:
    """Nobody wants the order any more: what is held for it is let go, what came goes back."""
    order = await service.any_one(ports.records, event.order_id)
    if not order.payment.reference:
        return
    await _let_go(ports, order)


async def _let_go(ports: Ports, order: Order) -> None:
    payment = await ports.payments.cancel(order.payment.reference, key=f"{order.id}.cancel")
    await transact(ports, _follow, order.id, payment, ports.terms)


async def _begun(tx: Transaction, order_id: str, payment: Payment, terms: Terms) -> Order:
    order = await _get(tx, order_id)
    if not order.payment.reference:
        fact = PaymentBegun(
            order_id=order.id, source=order.source, reference=payment.reference, url=payment.url
        )
        order = record(tx, order, fact)
        if order.stage in ENDED:  # it was called off meanwhile
            tx.emit(PaymentUnwanted(order_id=order.id))
            return order
    return _followed(tx, order, payment, terms)


async def _refused(tx: Transaction, order_id: str, why: str) -> Order:
    order = await _get(tx, order_id)
    return service.fail(tx, order, why) if order.allows(Stage.FAILED) else order


async def _follow(tx: Transaction, order_id: str, payment: Payment, terms: Terms) -> Order:
    return _followed(tx, await _get(tx, order_id), payment, terms)


def _followed(tx: Transaction, order: Order, payment: Payment, terms: Terms) -> Order:
    """What the payment's state means for the order. The one place that decides it."""
    if order.stage in ENDED:
        return _give_back(tx, order, payment)
    if order.stage is not Stage.PLACED:
        return order
    match payment.state:
        case PaymentState.FAILED | PaymentState.CANCELLED:
            order = service.fail(tx, order, payment.reason or "payment")
        case PaymentState.WAITING if order.payment.state is PaymentState.OPEN:
            order = record(tx, order, PaymentWaits(order_id=order.id, source=order.source))
        case PaymentState.AUTHORISED | PaymentState.CAPTURED if payment.amount != order.total:
            order = service.fail(tx, order, "another amount was paid")
        case PaymentState.AUTHORISED | PaymentState.CAPTURED:
            order = pipeline.authorised(tx, order, terms, payment.captured)
    return order


def _give_back(tx: Transaction, order: Order, payment: Payment) -> Order:
    """Money that came for an order that has ended goes back."""
    late = payment.captured - order.payment.captured
    if late.minor > 0:
        fact = PaymentReceived(order_id=order.id, source=order.source, captured=late)
        order = record(tx, order, fact)
    if order.refundable.minor > 0:
        order = ask_back(tx, order, order.refundable, "ended")
    return order


def ask_back(tx: Transaction, order: Order, amount: Money, reason: str) -> Order:
    """Let a part of what came go back to the buyer, at most what is left of it."""
    fact = RefundRequested(
        order_id=order.id, source=order.source, refund_id=tx.new_id(), amount=amount, reason=reason
    )
    return record(tx, order, fact)


async def _get(tx: Transaction, order_id: str) -> Order:
    order = await tx.get(ORDERS, order_id)
    if order is None:
        raise NoSuchOrder(order_id)
    return order
