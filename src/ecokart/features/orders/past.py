"""Orders of the past: fulfilled elsewhere, taken over as they were."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ecokart.core.errors import Conflict
from ecokart.core.money import Money
from ecokart.core.payments import PaymentState
from ecokart.core.transaction import Transaction
from ecokart.features.catalog import service as catalog
from ecokart.features.orders import history
from ecokart.features.orders.model import ORDERS, Order, OrderLine, OrderPayment, Stage, Step
from ecokart.features.orders.taxes import tax_lines


class OtherOrderHere(Conflict):
    """There is another order with this id."""


class PastOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was fulfilled elsewhere. `id` is given, so that it is known when it comes again.

    `owner` is a customer's id, or None where nobody knows; `country` is as the source writes it.
    """

    id: str
    owner: str | None
    country: str
    lines: tuple[OrderLine, ...]
    placed_at: datetime
    source: str
    reference: str


async def take_over(tx: Transaction, past: PastOrder) -> bool:
    """Write down a past order, complete as it comes; False if it is here already, just so.

    Its pieces come into the stock and leave it in this one commit, so that the stock is what it
    was. Nobody is charged, written to or sent anything. Raises `OtherOrderHere`.
    """
    if found := await tx.get(ORDERS, past.id):
        if not _is_same(found, past):
            raise OtherOrderHere(orderId=past.id)
        return False
    for line in past.lines:
        catalog.restock(tx, line.sku, line.quantity)
        catalog.sell(tx, line.sku, line.quantity, reserved=False)
    history.take_over(tx, _completed(past))
    return True


def _is_same(order: Order, past: PastOrder) -> bool:
    same = ("owner", "country", "lines", "placed_at", "source", "reference")
    return all(getattr(order, field) == getattr(past, field) for field in same)


def _completed(past: PastOrder) -> Order:
    goods = sum([line.total for line in past.lines[1:]], past.lines[0].total)
    free = Money(0, goods.currency)
    return Order(
        id=past.id,
        owner=past.owner,
        email="",
        address=None,
        country=past.country,
        lines=past.lines,
        goods=goods,
        shipping=free,
        total=goods,
        taxes=tax_lines("", [(line.tax, line.total) for line in past.lines], free),
        stage=Stage.COMPLETED,
        steps=(Step(Stage.COMPLETED, past.placed_at),),
        payment=OrderPayment(state=PaymentState.CAPTURED, captured=goods, refunded=free),
        placed_at=past.placed_at,
        source=past.source,
        reference=past.reference,
    )
