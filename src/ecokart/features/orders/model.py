"""The order, its states, and what it adds up to."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from ecokart.core.errors import Conflict, Invalid, NotFound
from ecokart.core.i18n import Text
from ecokart.core.money import Money
from ecokart.core.records import Table
from ecokart.features.accounts.model import Address
from ecokart.features.catalog.model import TaxClass
from ecokart.features.orders.taxes import TaxLine

# Crockford's base 32: no letter that looks like a digit.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
MAX_LINES = 80


class NoSuchOrder(NotFound):
    """This order doesn't exist."""


class CartEmpty(Conflict):
    """There is nothing in the basket."""


class EmailNeeded(Invalid):
    """We need an e-mail address to confirm the order to."""


class TooLateToCancel(Conflict):
    """This order can't be cancelled any more."""


class Status(StrEnum):
    """Where an order stands."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


# Every way an order may go. What isn't here doesn't happen.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.CANCELLED}),
    Status.PROCESSING: frozenset({Status.COMPLETED}),
    Status.COMPLETED: frozenset(),
    Status.CANCELLED: frozenset(),
}


class OrderLine(msgspec.Struct, frozen=True, kw_only=True):
    """What was bought, at the price and under the name it had."""

    sku: str
    product_id: str
    name: Text
    picture: str
    price: Money
    tax: TaxClass
    quantity: int

    @property
    def total(self) -> Money:
        return self.price * self.quantity


class Step(msgspec.Struct, frozen=True):
    """A state the order came to, and when."""

    status: Status
    at: datetime


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `owner` is who placed it: a customer's id, `guest:…`, or None where nobody knows.

    Totals are gross; `taxes` says what is in them. `reference` names the order where it came from;
    `country` is where it went as that source writes it, for orders whose address isn't known.
    """

    id: str
    owner: str | None
    email: str
    language: str = "de"
    address: Address | None
    country: str = ""
    lines: tuple[OrderLine, ...]
    goods: Money
    shipping: Money
    total: Money
    taxes: tuple[TaxLine, ...]
    status: Status = Status.PENDING
    steps: tuple[Step, ...]
    placed_at: datetime
    source: str = "shop"
    reference: str = ""

    def allows(self, status: Status) -> bool:
        return status in TRANSITIONS[self.status]

    def to(self, status: Status, at: datetime) -> Order:
        """The order in its next state, which must be allowed."""
        if not self.allows(status):
            raise ValueError(f"{self.id} can't go from {self.status} to {status}")
        return replace(self, status=status, steps=(*self.steps, Step(status, at)))


def new_order_id(day: datetime, random_id: str) -> str:
    """`EK-261120-7K3MQ9`: the day for people, thirty bits of `random_id` so that nobody can count our orders.

    Two of a day may collide; the second one's transaction then runs again with another.
    """
    number = int(random_id[-8:], 16)
    letters = _PAIRS[number >> 20 & 1023] + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]
    return f"EK-{day.year % 100:02}{day.month:02}{day.day:02}-{letters}"


def _owned_by_nobody(order: dict[str, Any]) -> dict[str, Any]:
    """In shape 1 nobody's orders had "" for an owner, and were indexed by it."""
    return order | {"owner": order["owner"] or None}


ORDERS = Table(
    "orders",
    Order,
    key="id",
    indexes={"by_owner": ("owner", "-placed_at"), "by_status": ("status", "-placed_at")},
    shape=2,
    upgrades={1: _owned_by_nobody},
)
