"""An order's whole way after it is placed, top to bottom: authorise, pick, capture, ship, complete.

Before it came `reserve`: the stock was taken in the commit that placed the order, or there is no order.
Beside it goes `confirm`: the mail (`jobs`), so that no mail server holds up a parcel.

What only touches records goes as far as it can in one commit; what calls the payment provider is a
job of its own, whose key at the provider makes twice as good as once. A step that runs again finds the
order further on and does nothing: the stage is the mark.

The undo of every step that was taken is one: `service.fail`, or `service.call_off`. The pieces are back
in the stock, and what has come of money goes back (`refunds`) in the same commit; what may be held at
the provider is let go by a job, and looked after until it is (`paying.let_go`, `deadlines`). The buyer
hears of it by the fact.

| step      | outside call      | a call takes | tried               | when it fails for good                |
|-----------|-------------------|--------------|---------------------|---------------------------------------|
| authorise | begin, look       | 10 s, job 20 | two hours, then     | FAILED: refused; CANCELLED: nobody    |
|           |                   |              | each minute, 3 days | paid, or the provider is still away   |
| pick      |                   |              | two hours           | FAILED                                |
| capture   | capture           | 10 s, job 20 | two hours           | FAILED: refused, or still away        |
| ship      |                   |              | by who ships        | the order stays CAPTURED              |
| complete  |                   |              | with `ship`         |                                       |
| refund    | refund            | 10 s, job 20 | two hours           | refused: for the office; still away:  |
|           |                   |              |                     | a dead letter, redriven with its key  |
"""

from __future__ import annotations

from datetime import timedelta

from ecokart.core.events import on
from ecokart.core.money import Money
from ecokart.core.payments import PaymentRefused, PaymentState
from ecokart.core.ports import Ports
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction, transact
from ecokart.features.orders import service
from ecokart.features.orders.events import (
    CaptureNeeded,
    OrderAuthorised,
    OrderCaptured,
    OrderCompleted,
    OrderPicked,
    OrderPlaced,
    OrderShipped,
    PaymentNeeded,
    PaymentSecured,
)
from ecokart.features.orders.history import record
from ecokart.features.orders.model import (
    ORDERS,
    PATIENCE,
    Method,
    NoSuchOrder,
    Order,
    Reason,
    Stage,
)

# 1. Authorise. Undo: what is held is let go.


async def give_up_beginning(ports: Ports, event: OrderPlaced, why: str) -> None:
    """The order can't be begun."""
    await transact(ports, _fail, event.order_id, Reason.STEP, why)


@on(OrderPlaced, attempts=PATIENCE, give_up=give_up_beginning)
async def begin(ports: Ports, event: OrderPlaced) -> None:
    """PLACED → AUTHORISED at once for an invoice; a transfer is waited for; the rest is asked of the provider."""
    await transact(ports, _begin, event.order_id, ports.terms)


async def _begin(tx: Transaction, order_id: str, terms: Terms) -> None:
    order = await _in(tx, order_id, Stage.PLACED)
    if order is None:
        return
    if order.payment.method.online:
        tx.emit(PaymentNeeded(order_id=order_id))
    elif order.payment.method is Method.INVOICE:
        authorised(tx, order, terms)


def authorised(tx: Transaction, order: Order, terms: Terms, captured: Money | None = None) -> Order:
    """The money is sure: on with the order. `captured` of it is ours already."""
    fact = OrderAuthorised(order_id=order.id, source=order.source, captured=captured)
    order = record(tx, order, fact)
    if order.payment.method.online:
        tx.emit(PaymentSecured(order_id=order.id))
    return picked(tx, order, terms) if terms.fulfilment == "automatic" else order


# 2. Pick. Undo: the pieces go back to the stock.


def picked(tx: Transaction, order: Order, terms: Terms) -> Order:
    """AUTHORISED → PICKED: the goods are packed, and the money that is held is taken."""
    order = record(tx, order, OrderPicked(order_id=order.id, source=order.source))
    if order.payment.state is PaymentState.AUTHORISED:
        tx.emit(CaptureNeeded(order_id=order.id))
        return order
    return captured(tx, order, terms)


# 3. Capture, when the parcel is ready. Undo: a refund.


async def give_up_capture(ports: Ports, event: CaptureNeeded, why: str) -> None:
    """The provider doesn't answer: the parcel stays here. Should it have taken the money, that goes back."""
    await transact(ports, _fail, event.order_id, Reason.PROVIDER_AWAY, why)


@on(CaptureNeeded, lane="payments", attempts=PATIENCE, timeout_seconds=20, give_up=give_up_capture)
async def capture(ports: Ports, event: CaptureNeeded) -> None:
    """PICKED → CAPTURED at the provider, under a key that every attempt shares."""
    order = await service.any_one(ports.records, event.order_id)
    if order.stage is not Stage.PICKED:
        return
    try:
        payment = await ports.payments.capture(
            order.payment.reference, order.total, key=f"{order.id}.capture"
        )
    except PaymentRefused as refused:
        await transact(ports, _fail, order.id, Reason.CAPTURE_REFUSED, refused.detail)
    else:
        await transact(ports, _captured, order.id, payment.captured, ports.terms)


async def _captured(tx: Transaction, order_id: str, came: Money, terms: Terms) -> None:
    if order := await _in(tx, order_id, Stage.PICKED):
        captured(tx, order, terms, came)


def captured(tx: Transaction, order: Order, terms: Terms, came: Money | None = None) -> Order:
    """PICKED → CAPTURED: the money came, or had come before, or the invoice goes with the parcel."""
    order = record(tx, order, OrderCaptured(order_id=order.id, source=order.source, captured=came))
    return shipped(tx, order, terms) if terms.fulfilment == "automatic" else order


# 4. Ship. Undo: there is none; goods come back by the customer's right to withdraw.


def shipped(
    tx: Transaction,
    order: Order,
    terms: Terms,
    *,
    carrier: str = "",
    tracking: str = "",
    url: str = "",
) -> Order:
    """CAPTURED → SHIPPED, and so it is done. An invoice that isn't paid goes with the parcel."""
    pay_by = tx.now + timedelta(days=terms.invoice_days) if order.owed.minor else None
    fact = OrderShipped(
        order_id=order.id,
        source=order.source,
        carrier=carrier,
        tracking=tracking,
        url=url,
        pay_by=pay_by,
    )
    return completed(tx, record(tx, order, fact))


# 5. Complete.


def completed(tx: Transaction, order: Order) -> Order:
    """SHIPPED → COMPLETED."""
    return record(tx, order, OrderCompleted(order_id=order.id, source=order.source))


async def carry_on(tx: Transaction, order_id: str, terms: Terms) -> None:
    """Bring on an order that stands where nobody has to do anything: `terms` were others, or a release was."""
    order = await tx.get(ORDERS, order_id)
    if order is None or terms.fulfilment != "automatic":
        return
    if order.stage is Stage.AUTHORISED:
        picked(tx, order, terms)
    elif order.stage is Stage.CAPTURED:
        shipped(tx, order, terms)


async def _fail(tx: Transaction, order_id: str, reason: Reason, why: str) -> None:
    order = await tx.get(ORDERS, order_id)
    if order and order.allows(Stage.FAILED):
        service.fail(tx, order, reason, why)


async def _in(tx: Transaction, order_id: str, stage: Stage) -> Order | None:
    """The order if it is where the step begins; else the step was taken already."""
    order = await tx.get(ORDERS, order_id)
    if order is None:
        raise NoSuchOrder(order_id)
    return order if order.stage is stage else None
