"""Commands and queries of orders."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ecokart.core.ports import Records
from ecokart.core.records import Cursor, Page
from ecokart.core.transaction import Transaction
from ecokart.features.accounts.model import Address
from ecokart.features.cart import service as cart
from ecokart.features.catalog import service as catalog
from ecokart.features.orders.events import OrderCancelled, OrderPlaced
from ecokart.features.orders.model import (
    ORDERS,
    CartEmpty,
    NoSuchOrder,
    Order,
    OrderLine,
    Status,
    Step,
    TooLateToCancel,
    new_order_id,
)
from ecokart.features.orders.taxes import SHIPPING, tax_lines


class Buyer(msgspec.Struct, frozen=True):
    """Who buys, and where it goes. `owner` is a customer's id or `guest:…`."""

    owner: str
    email: str
    address: Address
    language: str


async def place(tx: Transaction, buyer: Buyer) -> Order:
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
    order = _order(tx, buyer, lines)
    tx.add(ORDERS, order)
    tx.emit(OrderPlaced(order_id=order.id))
    return order


async def cancel(tx: Transaction, owner: str | None, order_id: str) -> Order:
    """Call off one's own order while it is pending; its stock is free again.

    Raises `NoSuchOrder` and `TooLateToCancel`.
    """
    order = await tx.get(ORDERS, order_id)
    if order is None or not owner or order.owner != owner:
        raise NoSuchOrder
    if not order.allows(Status.CANCELLED):
        raise TooLateToCancel
    for line in order.lines:
        catalog.restock(tx, line.sku, line.quantity)
    order = order.to(Status.CANCELLED, tx.now)
    tx.put(ORDERS, order)
    tx.emit(OrderCancelled(order_id=order.id))
    return order


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


async def in_status(
    records: Records, status: Status, *, after: Cursor | None = None, limit: int = 50
) -> Page[Order]:
    """Orders of one state, the newest first: the office's view."""
    return await records.query(ORDERS, "by_status", status.value, after=after, limit=limit)


async def any_one(records: Records, order_id: str) -> Order:
    """Any order, for the office. Raises `NoSuchOrder`."""
    found = await records.get(ORDERS, order_id)
    if found is None:
        raise NoSuchOrder
    return found.value


def _order(tx: Transaction, buyer: Buyer, lines: Sequence[OrderLine]) -> Order:
    goods = sum([line.total for line in lines[1:]], lines[0].total)
    shipping = SHIPPING
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
        steps=(Step(Status.PENDING, tx.now),),
        placed_at=tx.now,
    )
