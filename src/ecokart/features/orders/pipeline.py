"""An order's whole way after it is placed, top to bottom.

Each step is a reaction to the fact before it. A step that runs twice finds the order further on and
does nothing: the state is the mark. Payment, picking and shipping will stand between these.
"""

from __future__ import annotations

from ecokart.core.events import on
from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact
from ecokart.features.orders.events import OrderCompleted, OrderPlaced, OrderProcessing
from ecokart.features.orders.model import ORDERS, NoSuchOrder, Order, Status


@on(OrderPlaced)
async def begin(ports: Ports, event: OrderPlaced) -> None:
    """PENDING → PROCESSING: from here on it can't be cancelled. Undo: none is needed yet."""
    await transact(ports, _begin, event.order_id)


@on(OrderProcessing)
async def complete(ports: Ports, event: OrderProcessing) -> None:
    """PROCESSING → COMPLETED: the goods go out with the invoice."""
    await transact(ports, _complete, event.order_id)


async def _begin(tx: Transaction, order_id: str) -> None:
    if await _advance(tx, order_id, Status.PENDING, Status.PROCESSING):
        tx.emit(OrderProcessing(order_id=order_id))


async def _complete(tx: Transaction, order_id: str) -> None:
    if await _advance(tx, order_id, Status.PROCESSING, Status.COMPLETED):
        tx.emit(OrderCompleted(order_id=order_id))


async def _advance(tx: Transaction, order_id: str, before: Status, after: Status) -> Order | None:
    """Take the order a step further if it is where the step begins; else this was done already."""
    order = await tx.get(ORDERS, order_id)
    if order is None:
        raise NoSuchOrder(order_id)
    if order.status is not before:
        return None
    order = order.to(after, tx.now)
    tx.put(ORDERS, order)
    return order
