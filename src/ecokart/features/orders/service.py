"""Commands and queries of orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from ecokart.core.money import Money
from ecokart.core.payments import PaymentState
from ecokart.core.ports import Records
from ecokart.core.records import Cursor, Page
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction
from ecokart.features.accounts.model import Address
from ecokart.features.cart import service as cart
from ecokart.features.catalog import service as catalog
from ecokart.features.orders import history, refunds
from ecokart.features.orders.events import OrderCancelled, OrderFailed, PaymentUnwanted
from ecokart.features.orders.model import (
    ORDERS,
    STATUS,
    Awaited,
    CartEmpty,
    Method,
    NoSuchOrder,
    Order,
    OrderLine,
    OrderPayment,
    Reason,
    Refunding,
    Stage,
    Status,
    Step,
    TooLateToCancel,
    new_order_id,
)
from ecokart.features.orders.taxes import SHIPPING, tax_lines

# How long a buyer has to pay at the provider.
PAYMENT_DUE = timedelta(hours=2)
# After this long an order that ended is looked at again: something may still be held for it.
RELEASE_DUE = timedelta(hours=3)
# A payment of which something may be held, or still come.
MAY_BE_HELD = frozenset({PaymentState.OPEN, PaymentState.WAITING, PaymentState.AUTHORISED})


class Buyer(msgspec.Struct, frozen=True):
    """Who buys, where it goes, and how it is paid. `owner` is a customer's id or `guest:…`."""

    owner: str
    email: str
    address: Address
    language: str
    method: Method = Method.INVOICE


async def place(tx: Transaction, buyer: Buyer, terms: Terms) -> Order:
    """Make an order of everything in the buyer's cart, in one commit.

    The stock goes down, the reservation and the cart go away, the order and the fact of it are
    written: all of it, or nothing. Raises `CartEmpty` and `OutOfStock`.
    """
    bought = await cart.check_out(tx, buyer.owner)
    if not bought:
        raise CartEmpty
    lines = tuple(
        OrderLine(
            sku=line.sku,
            product_id=line.product_id,
            name=line.title,
            picture=line.picture,
            price=line.price,
            tax=line.tax,
            quantity=line.quantity,
        )
        for line in bought
    )
    return history.place(tx, _due(new_order(tx, buyer, lines, shipping=SHIPPING), terms))


async def cancel(tx: Transaction, owner: str | None, order_id: str) -> Order:
    """Call off one's own order until it is packed; its stock is free again.

    Raises `NoSuchOrder` and `TooLateToCancel`.
    """
    order = await tx.get(ORDERS, order_id)
    if order is None or not owner or order.owner != owner:
        raise NoSuchOrder
    if not order.cancellable:
        raise TooLateToCancel
    return call_off(tx, order, Reason.CUSTOMER)


def call_off(tx: Transaction, order: Order, reason: Reason, note: str = "") -> Order:
    """Cancel an order that allows it: stock back, and what is held or has come of money too."""
    held = _may_be_held(order)
    fact = OrderCancelled(
        order_id=order.id,
        source=order.source,
        reason=reason,
        note=note,
        release_by=tx.now + RELEASE_DUE if held else None,
    )
    return _end(tx, order, fact)


def fail(
    tx: Transaction, order: Order, reason: Reason, note: str = "", *, nothing_held: bool = False
) -> Order:
    """End an order of which a step can't be done, and undo what went before."""
    held = _may_be_held(order) and not nothing_held
    fact = OrderFailed(
        order_id=order.id,
        source=order.source,
        reason=reason,
        note=note,
        release_by=tx.now + RELEASE_DUE if held else None,
    )
    return _end(tx, order, fact)


async def one(records: Records, owner: str | None, order_id: str) -> Order:
    """One's own order. Somebody else's is `NoSuchOrder`, as if it weren't there."""
    found = await records.get(ORDERS, order_id)
    if found is None or not owner or found.value.owner != owner:
        raise NoSuchOrder
    return found.value


async def mine(
    records: Records, owner: str | None, *, after: Cursor | None = None, limit: int = 20
) -> Page[Order]:
    """One's own orders, the newest first."""
    if not owner:
        return Page([], [], None)
    return await records.query(ORDERS, "by_owner", owner, after=after, limit=limit)


async def in_stage(
    records: Records, stage: Stage, *, after: Cursor | None = None, limit: int = 50
) -> Page[Order]:
    """Orders of one stage, the newest first: the office's view."""
    return await records.query(ORDERS, "by_stage", stage.value, after=after, limit=limit)


async def awaiting(
    records: Records, awaited: Awaited, *, after: Cursor | None = None, limit: int = 50
) -> Page[Order]:
    """Orders that wait for this, those that have the least time left first."""
    return await records.query(ORDERS, "by_due", awaited.value, after=after, limit=limit)


async def refunding(
    records: Records, state: Refunding, *, after: Cursor | None = None, limit: int = 50
) -> Page[Order]:
    """Orders with refunds on their way, or that failed, the newest first."""
    return await records.query(ORDERS, "by_refunding", state.value, after=after, limit=limit)


async def any_one(records: Records, order_id: str) -> Order:
    """Any order, for the office. Raises `NoSuchOrder`."""
    found = await records.get(ORDERS, order_id)
    if found is None:
        raise NoSuchOrder
    return found.value


def statuses(order: Order) -> dict[Status, datetime]:
    """When the order came to each status of the API; several stages are one of them."""
    came: dict[Status, datetime] = {}
    for step in order.steps:
        came.setdefault(STATUS[step.stage], step.at)
    return came


def new_order(
    tx: Transaction,
    buyer: Buyer,
    lines: Sequence[OrderLine],
    *,
    shipping: Money,
    source: str = "shop",
    partner_id: str | None = None,
    reference: str = "",
) -> Order:
    """An order of these lines, of which there is at least one. It isn't stored yet."""
    goods = sum([line.total for line in lines[1:]], lines[0].total)
    nothing = Money(0, goods.currency)
    return Order(
        id=new_order_id(tx.now, tx.new_id()),
        owner=buyer.owner,
        email=buyer.email,
        language=buyer.language,
        address=buyer.address,
        lines=tuple(lines),
        goods=goods,
        shipping=shipping,
        total=goods + shipping,
        taxes=tax_lines(
            buyer.address.country, [(line.tax, line.total) for line in lines], shipping
        ),
        steps=(Step(Stage.PLACED, tx.now),),
        payment=OrderPayment(method=buyer.method, captured=nothing, refunded=nothing),
        placed_at=tx.now,
        source=source,
        partner_id=partner_id,
        reference=reference,
    )


def _due(order: Order, terms: Terms) -> Order:
    """The order with what it waits for from the beginning, and until when."""
    method = order.payment.method
    if method is Method.INVOICE:
        return order
    if method is Method.PREPAYMENT:
        until = order.placed_at + timedelta(days=terms.prepayment_days)
        return replace(order, awaits=Awaited.PREPAYMENT, due_at=until)
    return replace(order, awaits=Awaited.PAYMENT, due_at=order.placed_at + PAYMENT_DUE)


def _may_be_held(order: Order) -> bool:
    """Whether the provider may hold money for the order, or still let somebody pay."""
    return order.payment.method.online and order.payment.state in MAY_BE_HELD


def _end(tx: Transaction, order: Order, fact: OrderCancelled | OrderFailed) -> Order:
    if not order.restocked:
        for line in order.lines:
            catalog.restock(tx, line.sku, line.quantity)
    order = history.record(tx, order, fact)
    if fact.release_by:
        tx.emit(PaymentUnwanted(order_id=order.id))
    if order.refundable.minor:
        order = refunds.ask_back(tx, order, order.refundable, fact.reason)
    return order
