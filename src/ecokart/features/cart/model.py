"""The cart and its lines."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from ecokart.core.errors import Conflict, NotFound
from ecokart.core.i18n import Text
from ecokart.core.money import Money
from ecokart.core.records import Table
from ecokart.features.catalog.model import Offer, TaxClass

MAX_LINES = 50
MAX_QUANTITY = 99
HOLD = timedelta(hours=2)
KEPT = timedelta(days=60)


class NoSuchLine(NotFound):
    """This article isn't in the basket."""


class CartFull(Conflict):
    """The basket is full.

    It holds `most` different articles.
    """


class TooManyPieces(Conflict):
    """That is more of one article than we sell at once.

    `most` is how many fit.
    """


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An article in the cart at the price it had when it was put in. `held` pieces are reserved."""

    sku: str
    product_id: str
    title: Text
    picture: str
    price: Money
    tax: TaxClass
    quantity: int
    held: bool = True

    @property
    def total(self) -> Money:
        return self.price * self.quantity


class Cart(msgspec.Struct, frozen=True, kw_only=True):
    """One cart a customer or guest. `holding` keeps it in the index of carts whose time runs out."""

    id: str
    lines: tuple[Line, ...] = ()
    updated_at: datetime
    deadline: datetime
    purge_at: datetime
    holding: str | None = None

    @property
    def total(self) -> Money:
        totals = [line.total for line in self.lines]
        return sum(totals[1:], totals[0]) if totals else Money(0)

    @property
    def count(self) -> int:
        return sum([line.quantity for line in self.lines])

    def line(self, sku: str) -> Line | None:
        return next((line for line in self.lines if line.sku == sku), None)

    def with_line(self, line: Line) -> tuple[Line, ...]:
        """The lines with this one in its SKU's place, or at the end."""
        if self.line(line.sku) is None:
            return (*self.lines, line)
        return tuple(line if old.sku == line.sku else old for old in self.lines)

    def changed(self, lines: tuple[Line, ...], now: datetime) -> Cart:
        """The cart with other lines, its two hours begun again."""
        return Cart(
            id=self.id,
            lines=lines,
            updated_at=now,
            deadline=now + HOLD,
            purge_at=now + KEPT,
            holding="yes" if any(line.held for line in lines) else None,
        )


def empty(cart_id: str, now: datetime) -> Cart:
    return Cart(id=cart_id, updated_at=now, deadline=now + HOLD, purge_at=now + KEPT)


def line_of(offer: Offer, quantity: int) -> Line:
    return Line(
        sku=offer.sku,
        product_id=offer.product_id,
        title=offer.title,
        picture=offer.picture,
        price=offer.price,
        tax=offer.tax,
        quantity=quantity,
    )


CARTS = Table(
    "carts",
    Cart,
    key="id",
    indexes={"by_deadline": ("holding", "deadline")},
    expires="purge_at",
)
