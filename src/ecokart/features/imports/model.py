"""What a line of a file can be, and what a run counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from ecokart.core.money import Money
from ecokart.features.imports.files import Row


class Reason(StrEnum):
    """Why a line isn't imported, in the order in which lines are asked."""

    UNREADABLE = "unreadable"
    CANCELLATION = "cancellation"
    NOT_GOODS = "not_goods"
    NO_QUANTITY = "no_quantity"
    NO_PRICE = "no_price"
    DIFFERS = "differs"


class Sale(NamedTuple):
    """A line that says: so many of this were sold, to that customer ("" where nobody knows)."""

    row: Row
    invoice: str
    sku: str
    name: str
    quantity: int
    at: datetime
    price: Money
    customer: str
    country: str


class Reject(NamedTuple):
    """A line that isn't imported, and the sentence that says why."""

    row: Row
    reason: Reason
    sentence: str


@dataclass
class Count:
    """How many this run wrote, and how many were here already."""

    new: int = 0
    known: int = 0

    def add(self, amount: int, *, new: bool) -> None:
        self.new += amount if new else 0
        self.known += 0 if new else amount

    @property
    def total(self) -> int:
        return self.new + self.known


@dataclass
class Tally:
    """What a run did. `read` is counted where lines are read, and is `lines.total + rejected`."""

    currency: str
    read: int = 0
    invoices: int = 0
    split: int = 0  # invoices of more than one order
    anonymous: int = 0  # orders without a customer
    lines: Count = field(default_factory=Count)
    orders: Count = field(default_factory=Count)
    customers: Count = field(default_factory=Count)
    products: Count = field(default_factory=Count)
    revenue_minor: Count = field(default_factory=Count)
    rejects: Counter[Reason] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        return self.rejects.total()
