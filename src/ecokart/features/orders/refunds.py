"""Giving money back: a part or all of what has come, and never more.

A refund is asked for in one commit, bounded by what is left, and given in another. The provider knows
it by its id, so however often it is tried the money goes back once. While the provider is away the job
is tried again; given up, it lies among the dead letters, and is redriven with the same id. Money that
came by transfer is sent by somebody of ours, who says so (`confirm`).
"""

from __future__ import annotations

from ecokart.core.events import on
from ecokart.core.money import Money
from ecokart.core.payments import PaymentRefused
from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact
from ecokart.features.catalog import service as catalog
from ecokart.features.orders.events import OrderRefunded, RefundFailed, RefundRequested
from ecokart.features.orders.history import record
from ecokart.features.orders.model import (
    ORDERS,
    PATIENCE,
    NoSuchOrder,
    NothingToRefund,
    Order,
    OrderMoved,
    Refund,
)


def ask_back(
    tx: Transaction,
    order: Order,
    amount: Money,
    reason: str,
    *,
    restock: bool = False,
    replaces: str = "",
) -> Order:
    """Let a part of what came go back to the buyer. Raises `NothingToRefund` for more than is left.

    `restock` puts all pieces into the stock, once for an order. `replaces` is the id of a refund that
    failed; raises `OrderMoved` if it hasn't.
    """
    replaced = _refund(order, replaces)
    if replaces and not (replaced and replaced.failed):
        raise OrderMoved
    left = order.refundable_beside(replaces)
    if amount.currency != left.currency or not 0 < amount.minor <= left.minor:
        raise NothingToRefund(left=str(left.amount))
    restock = restock and not order.restocked
    if restock:
        for line in order.lines:
            catalog.restock(tx, line.sku, line.quantity)
    fact = RefundRequested(
        order_id=order.id,
        source=order.source,
        refund_id=tx.new_id(),
        amount=amount,
        reason=reason,
        restock=restock,
        replaces=replaces,
    )
    return record(tx, order, fact)


def confirm(tx: Transaction, order: Order, refund_id: str) -> Order:
    """Somebody has sent the money of a refund, by transfer, or because the provider wouldn't.

    Raises `OrderMoved` if it isn't for people to send, and `NothingToRefund`.
    """
    refund = _refund(order, refund_id)
    if refund is None or not (refund.failed or (refund.open and order.by_transfer)):
        raise OrderMoved
    left = order.refundable_beside(refund_id)
    if refund.failed and refund.amount > left:
        raise NothingToRefund(left=str(left.amount))
    return _given(tx, order, refund)


@on(RefundRequested, lane="payments", attempts=PATIENCE, timeout_seconds=20)
async def give_back(ports: Ports, event: RefundRequested) -> None:
    """Have the provider give it back, under a key that every attempt shares."""
    found = await ports.records.get(ORDERS, event.order_id)
    if found is None:
        raise NoSuchOrder(event.order_id)
    order = found.value
    refund = _refund(order, event.refund_id)
    if refund is None or not refund.open or order.by_transfer:
        return
    try:
        await ports.payments.refund(order.payment.reference, refund.amount, key=refund.id)
    except PaymentRefused as refused:
        await transact(ports, _settle, order.id, refund.id, refused.detail or "refused")
    else:
        await transact(ports, _settle, order.id, refund.id, "")


async def _settle(tx: Transaction, order_id: str, refund_id: str, failed: str) -> None:
    order = await tx.get(ORDERS, order_id)
    refund = _refund(order, refund_id) if order else None
    if order is None or refund is None or not refund.open:
        return
    if failed:
        fact = RefundFailed(
            order_id=order.id, source=order.source, refund_id=refund_id, reason=failed
        )
        record(tx, order, fact)
    else:
        _given(tx, order, refund)


def _given(tx: Transaction, order: Order, refund: Refund) -> Order:
    fact = OrderRefunded(
        order_id=order.id, source=order.source, refund_id=refund.id, amount=refund.amount
    )
    return record(tx, order, fact)


def _refund(order: Order, refund_id: str) -> Refund | None:
    return next((refund for refund in order.refunds if refund.id == refund_id), None)
