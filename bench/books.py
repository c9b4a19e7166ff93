"""The auditor: reads a shop's database file with plain SQL, and says where the books don't balance.

It shares no code with the shop, so that the shop's own reading can't hide what its writing did. All
is read in one transaction: the books must balance at every moment, not only when it has become quiet.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

UNFINISHED = ("PENDING", "PROCESSING")


class Stock(NamedTuple):
    stock: int
    reserved: int
    available: int


@dataclass(frozen=True)
class Books:
    """What a shop has written down at one moment."""

    stock: dict[str, Stock]
    carts: list[dict[str, Any]]
    orders: dict[str, dict[str, Any]]
    marked: list[str]  # the order ids in answers that are kept for an Idempotency-Key
    jobs: list[dict[str, Any]]
    outbox: int

    def sold(self) -> Counter[str]:
        """Pieces by SKU in orders that weren't cancelled."""
        return Counter(
            {
                sku: count
                for order in self.orders.values()
                if order["status"] != "CANCELLED"
                for sku, count in pieces(order).items()
            }
        )

    def supplied(self) -> dict[str, int]:
        """What must have been there in the beginning, if nothing was lost or made from nothing."""
        sold = self.sold()
        return {sku: stock.stock + sold[sku] for sku, stock in self.stock.items()}

    def held(self) -> Counter[str]:
        """Pieces by SKU that carts keep aside."""
        held: Counter[str] = Counter()
        for cart in self.carts:
            for line in cart["lines"]:
                if line.get("held", True):
                    held[line["sku"]] += line["quantity"]
        return held


def pieces(order: Mapping[str, Any]) -> Counter[str]:
    """How many of which SKU an order has."""
    counts: Counter[str] = Counter()
    for line in order["lines"]:
        counts[line["sku"]] += line["quantity"]
    return counts


def read(folder: Path) -> Books:
    """The books of the shop in that folder, all of one moment, whether it runs or not."""
    with closing(_open(folder)) as database:
        database.execute("BEGIN")
        counted = database.execute("SELECT key, stock, reserved, available FROM stock").fetchall()
        marks = _bodies(database, "idempotency")
        return Books(
            stock={key: Stock(*counters) for key, *counters in counted},
            carts=_bodies(database, "carts"),
            orders={order["id"]: order for order in _bodies(database, "orders")},
            marked=[mark["answer"]["id"] for mark in marks if "items" in mark["answer"]],
            jobs=_bodies(database, "jobs"),
            outbox=database.execute("SELECT count(*) FROM outbox").fetchone()[0],
        )


def imbalances(books: Books, supplied: Mapping[str, int]) -> list[str]:
    """Sentences for everything that doesn't add up at the moment of the books; none if all does."""
    held, sold = books.held(), books.sold()
    wrong = []
    for sku, stock in books.stock.items():
        if min(stock) < 0:
            wrong.append(f"{sku} is below zero: {stock}.")
        if stock.stock != stock.available + stock.reserved:
            wrong.append(f"{sku}: stock isn't available + reserved: {stock}.")
        if stock.reserved != held[sku]:
            wrong.append(f"{sku}: {stock.reserved} are reserved, and carts hold {held[sku]}.")
        if stock.stock + sold[sku] != supplied[sku]:
            wrong.append(
                f"{sku}: {supplied[sku]} were supplied, {sold[sku]} sold, {stock.stock} are left."
            )
    wrong += [f"{sku} was sold without a stock." for sku in sold if sku not in books.stock]
    wrong += [f"{order_id} has no lines." for order_id, o in books.orders.items() if not o["lines"]]
    wrong += [f"Key's order {marked} isn't there." for marked in set(books.marked) - {*books.orders}]
    twice = [order_id for order_id, count in Counter(books.marked).items() if count > 1]
    return wrong + [f"{order_id} was answered to two keys." for order_id in twice]


class Backlog(NamedTuple):
    """What the pipeline and the mail lane have before them, and how old the oldest order of it is."""

    orders: int
    oldest_seconds: float
    mails: int


def backlog(folder: Path) -> Backlog:
    """Orders that are neither completed nor cancelled, and confirmations not written yet."""
    with closing(_open(folder)) as database:
        database.execute("BEGIN")
        now = time.time()
        # `placed_at` is a column, as is `status`: both are indexed.
        orders, oldest = database.execute(
            "SELECT count(*), min(placed_at) FROM orders WHERE status IN (?, ?)", UNFINISHED
        ).fetchone()
        (mails,) = database.execute("SELECT count(*) FROM jobs WHERE place = 'mail'").fetchone()
        (placed,) = database.execute(
            "SELECT count(*) FROM outbox WHERE body LIKE '%\"order.placed\"%'"
        ).fetchone()
    age = now - datetime.fromisoformat(oldest).timestamp() if oldest else 0.0
    return Backlog(orders, age, mails + placed)


def _open(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "ecokart.db", timeout=10, isolation_level=None)


def _bodies(database: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    rows = database.execute(f'SELECT body FROM "{table}"')  # noqa: S608 (names of our own)
    return [json.loads(body) for (body,) in rows]
