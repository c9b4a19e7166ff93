"""What happens to orders."""

from __future__ import annotations

from ecokart.core.events import Event


class OrderPlaced(Event, frozen=True, kw_only=True, tag="order.placed"):
    """A customer has ordered; the stock is taken."""

    order_id: str


class OrderProcessing(Event, frozen=True, kw_only=True, tag="order.processing"):
    """The order is being worked on; it can't be cancelled any more."""

    order_id: str


class OrderCompleted(Event, frozen=True, kw_only=True, tag="order.completed"):
    """The order is done."""

    order_id: str


class OrderCancelled(Event, frozen=True, kw_only=True, tag="order.cancelled"):
    """The order was called off in time; its stock is free again."""

    order_id: str


class OrderImported(Event, frozen=True, kw_only=True, tag="order.imported"):
    """An order of the past was taken over from elsewhere."""

    order_id: str
