"""What the office's tables show."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from ecokart.core import log
from ecokart.core.money import Money
from ecokart.core.ports import Job, Records
from ecokart.core.records import Cursor, Page, sortable
from ecokart.features.catalog.model import Product, Stock
from ecokart.features.catalog.shelf import Shelf
from ecokart.features.orders import service as orders
from ecokart.features.orders.events import OrderFact
from ecokart.features.orders.history import fact_of
from ecokart.features.orders.model import Awaited, Order, Refunding, Stage


class Row(NamedTuple):
    """An article's stock, with the product it belongs to."""

    product: Product
    title: str
    stock: Stock


class Show(StrEnum):
    """Orders that want something of people."""

    UNPAID = "unpaid"  # nothing is sent before the money is sure
    INVOICES = "invoices"  # sent, and to be paid
    OVERDUE = "overdue"  # likewise, and all reminders were in vain
    REFUNDS = "refunds"  # money is on its way back, or to be sent
    FAILED_REFUNDS = "failed-refunds"


AWAITED = {
    Show.UNPAID: (Awaited.PAYMENT, Awaited.BANK, Awaited.PREPAYMENT),
    Show.INVOICES: (Awaited.INVOICE,),
    Show.OVERDUE: (Awaited.OVERDUE,),
}
REFUNDING = {Show.REFUNDS: Refunding.ASKED, Show.FAILED_REFUNDS: Refunding.FAILED}


async def listed(
    records: Records, stage: Stage | None, show: Show | None, after: Cursor | None, limit: int
) -> tuple[list[Order], Cursor | None]:
    """A page of orders, and where the next one begins.

    Those that wait for money come by the time they have left, all others the newest first.
    """
    if show in AWAITED:
        waiting = [
            orders.awaiting(records, awaited, after=after, limit=limit + 1)
            for awaited in AWAITED[show]
        ]
        return _cut(await asyncio.gather(*waiting), limit, by="due_at")
    if show in REFUNDING:
        found = [await orders.refunding(records, REFUNDING[show], after=after, limit=limit + 1)]
        return _cut(found, limit, by="placed_at")
    standing = [
        orders.in_stage(records, one, after=after, limit=limit + 1)
        for one in ([stage] if stage else Stage)
    ]
    return _cut(await asyncio.gather(*standing), limit, by="placed_at")


def _cut(pages: Sequence[Page[Order]], limit: int, *, by: str) -> tuple[list[Order], Cursor | None]:
    """One page of several that are sorted as their indexes are: by time, ties by id.

    A cursor is a time and an id, so one place is the same in all of them.
    """
    found = sorted([order for page in pages for order in page.values], key=attrgetter("id"))
    found.sort(key=attrgetter(by), reverse=by == "placed_at")
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    time = sortable(getattr(last, by))
    return found[:limit], (time, last.id) if time is not None else None


class Told(NamedTuple):
    """A fact of an order for people to read. What it doesn't say is empty."""

    at: datetime
    name: str
    actor: str
    amount: Money | None
    reason: str
    note: str
    until: datetime | None
    parcel: str


async def told(records: Records, order_id: str) -> list[Told]:
    """What has happened to an order, the newest first."""
    entries = await log.stream(records, f"orders/{order_id}")
    return [_told(entry.at, fact) for entry in reversed(entries) if (fact := fact_of(entry))]


def _told(at: datetime, fact: OrderFact) -> Told:
    def said(*names: str) -> Any:
        return next((value for name in names if (value := getattr(fact, name, None))), None)

    amount: Money | None = said("captured", "amount")
    parcel = " ".join(filter(None, [said("carrier"), said("tracking")]))
    return Told(
        at=at,
        name=fact.named(),
        actor=fact.actor,
        amount=amount if amount and amount.minor else None,
        reason=said("reason") or "",
        note=said("note") or "",
        until=said("pay_by", "look_at"),
        parcel=parcel,
    )


class Stuck(NamedTuple):
    """A dead letter: what couldn't be done, for which order, and why."""

    job: Job
    order_id: str


class _About(msgspec.Struct):
    order_id: str = ""


def stuck(job: Job) -> Stuck:
    return Stuck(job, _about(job.event).order_id)


def stock_rows(
    shelf: Shelf, language: str, text: str, after: str, limit: int
) -> tuple[list[Row], str]:
    """Articles by SKU behind `after` whose SKU or name has `text` in it, and the last one's SKU if more follow."""
    wanted, articles = text.casefold(), shelf.articles(language)
    start = bisect_right(articles, after, key=lambda article: article.sku)
    rows: list[Row] = []
    for article in islice(articles, start, None):
        shown = shelf.by_sku(article.sku) if wanted in article.text else None
        stock = shown.stock.get(article.sku) if shown else None
        if shown and stock:
            rows.append(Row(shown.product, article.title, stock))
            if len(rows) > limit:
                return rows[:limit], rows[limit - 1].stock.sku
    return rows, ""


_about = msgspec.json.Decoder(_About).decode
