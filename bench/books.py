"""A shop's books, and where they don't balance.

They are read from a database file with plain SQL, which shares no code with the shop, so that its own
reading can't hide what its writing did. All is read in one transaction: the books must balance at every
moment, not only when it has become quiet. How other engines are read says `bench.auditor`.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

# The way of an order, and after how many steps of it each other end may come.
WAY = ("PLACED", "AUTHORISED", "PICKED", "CAPTURED", "SHIPPED", "COMPLETED")
OTHER_ENDS = {"CANCELLED": range(1, 5), "FAILED": range(1, 5), "REFUNDED": range(4, 7)}
UNFINISHED = WAY[:-1]
ORDER_ID = re.compile(r"EK-\d{6}-\w{6}")
OWN_METHODS = ("invoice", "prepayment")  # of paying, of which no provider knows
# The mails that a fact promises, by the fact's name; those of the second kind only if it is still so.
PROMISED = {
    "order.placed": "confirmation",
    "order.shipped": "shipped",
    "order.cancelled": "cancelled",
    "order.failed": "failed",
    "order.refunded": "refunded",
    "payment.received": "received",
}
POSSIBLE = {"payment.reminded": "reminder", "payment.reversed": "reversal"}


class Stock(NamedTuple):
    stock: int
    reserved: int
    available: int


class Fact(NamedTuple):
    """What the log has of an order: a fact, the order's so-many-th. `event` is as it was told, `detail` beyond it."""

    number: int
    id: str
    name: str
    at: datetime
    event: dict[str, Any]
    detail: dict[str, Any] | None


@dataclass(frozen=True)
class Books:
    """What a shop has written down at one moment, and its pretend provider of payments."""

    stock: dict[str, Stock]
    carts: list[dict[str, Any]]
    orders: dict[str, dict[str, Any]]
    marked: list[str]  # the order ids in answers that are kept for an Idempotency-Key
    jobs: list[dict[str, Any]]
    outbox: int
    log: list[dict[str, Any]]  # what each commit stated of a stream
    payments: list[dict[str, Any]]

    @cached_property
    def facts(self) -> dict[str, list[Fact]]:
        """Those of each order, in the order of their numbers."""
        found: dict[str, list[Fact]] = {}
        for statement in self.log:
            kind, _, order_id = statement["stream"].partition("/")
            if kind == "orders" and statement["number"]:
                at = datetime.fromisoformat(statement["at"])
                found.setdefault(order_id, []).extend(
                    Fact(statement["number"] + place, event["id"], name, at, event, detail)
                    for place, (name, event, detail) in enumerate(statement["facts"])
                )
        return {order_id: sorted(facts) for order_id, facts in found.items()}

    @property
    def waiting(self) -> int:
        """Events, jobs and orders that aren't at their end; dead letters are."""
        alive = [job for job in self.jobs if job["place"] != "dead"]
        orders = [order for order in self.orders.values() if order["stage"] in UNFINISHED]
        return self.outbox + len(alive) + len(orders)

    def sold(self) -> Counter[str]:
        """Pieces by SKU in orders that were placed here and whose goods aren't back."""
        return _total(
            pieces(order)
            for order in self.orders.values()
            if order["steps"][0]["stage"] == "PLACED" and not order["restocked"]
        )

    def supplied(self) -> dict[str, int]:
        """What must have been there in the beginning, if nothing was lost or made from nothing."""
        sold = self.sold()
        return {sku: stock.stock + sold[sku] for sku, stock in self.stock.items()}

    def held(self) -> Counter[str]:
        """Pieces by SKU that carts keep aside."""
        return _total(
            Counter({line["sku"]: line["quantity"]})
            for cart in self.carts
            for line in cart["lines"]
            if line["held"]
        )


def pieces(order: Mapping[str, Any]) -> Counter[str]:
    """How many of which SKU an order has."""
    counts: Counter[str] = Counter()
    for line in order["lines"]:
        counts[line["sku"]] += line["quantity"]
    return counts


def _total(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def read(folder: Path) -> Books:
    """The books of the shop in that folder, all of one moment, whether it runs or not."""
    with closing(open_books(folder)) as database:
        database.execute("BEGIN")
        counted = database.execute("SELECT key, stock, reserved, available FROM stock").fetchall()
        marks = _bodies(database, "idempotency")
        return Books(
            stock={key: Stock(*counters) for key, *counters in counted},
            carts=_bodies(database, "carts"),
            orders={order["id"]: order for order in _bodies(database, "orders")},
            marked=[i for mark in marks if ORDER_ID.fullmatch(i := mark["answer"].get("id", ""))],
            jobs=_bodies(database, "jobs"),
            outbox=database.execute("SELECT count(*) FROM outbox").fetchone()[0],
            log=_bodies(database, "log"),
            payments=_bodies(database, "pretend_payments"),
        )


def imbalances(books: Books, supplied: Mapping[str, int]) -> list[str]:
    """Sentences for everything that doesn't add up at the moment of the books; none if all does."""
    held, sold = books.held(), books.sold()
    wrong = contradictions(books)
    for sku, stock in books.stock.items():
        if stock.reserved != held[sku]:
            wrong.append(f"{sku}: {stock.reserved} are reserved, and carts hold {held[sku]}.")
        if stock.stock + sold[sku] != supplied[sku]:
            wrong.append(
                f"{sku}: {supplied[sku]} were supplied, {sold[sku]} sold, {stock.stock} are left."
            )
    wrong += [f"{sku} was sold without a stock." for sku in sold if sku not in books.stock]
    wrong += [f"{order_id} has no lines." for order_id, o in books.orders.items() if not o["lines"]]
    wrong += [
        f"Key's order {marked} isn't there." for marked in set(books.marked) - {*books.orders}
    ]
    twice = [order_id for order_id, count in Counter(books.marked).items() if count > 1]
    return wrong + [f"{order_id} was answered to two keys." for order_id in twice]


def contradictions(books: Books) -> list[str]:
    """Sentences for what is wrong within one record, whatever else went on while the books were read."""
    wrong = []
    for sku, stock in books.stock.items():
        if min(stock) < 0:
            wrong.append(f"{sku} is below zero: {stock}.")
        if stock.stock != stock.available + stock.reserved:
            wrong.append(f"{sku}: stock isn't available + reserved: {stock}.")
    return wrong


def unfinished(books: Books, folder: Path) -> list[str]:
    """Sentences for what is left undone or was done twice, when all should be at its end."""
    wrong = [f"{books.outbox} events were never handed on."] if books.outbox else []
    wrong += [f"Job {job['id']} is left, in {job['place']}." for job in books.jobs]
    wrong += [
        f"{order_id} went {' → '.join(steps)}."
        for order_id, order in books.orders.items()
        if not _is_whole(steps := [step["stage"] for step in order["steps"]])
    ]
    return wrong + _mail_for_mail(books, mails(folder)) + _mails_of_payments(books, folder)


def _is_whole(steps: list[str]) -> bool:
    """Whether an order went its way step by step, each once, and to an end."""
    if steps[-1] in OTHER_ENDS:
        *before, end = steps
        return len(before) in OTHER_ENDS[end] and before == list(WAY[: len(before)])
    return steps == list(WAY)


def _mail_for_mail(books: Books, sent: Counter[tuple[str, str]]) -> list[str]:
    """Sentences for facts whose mail isn't there once, and for mails that nothing stands behind."""
    wrong, known = [], set[tuple[str, str]]()
    for order_id, facts in books.facts.items():
        for fact in facts:
            mail = fact.id, PROMISED.get(fact.name) or POSSIBLE.get(fact.name, "")
            known.add(mail)
            least = 1 if fact.name in PROMISED else 0
            if not least <= sent[mail] <= 1:
                wrong.append(f"{order_id}: the mail of {fact.name} was sent {sent[mail]} times.")
    kinds = {*PROMISED.values(), *POSSIBLE.values()}
    return wrong + [
        f"A mail of the kind {kind} tells of {fact_id}, which isn't there."
        for fact_id, kind in sent
        if kind in kinds and (fact_id, kind) not in known
    ]


def _mails_of_payments(books: Books, folder: Path) -> list[str]:
    """Sentences for what the provider made sure and its buyer wasn't told of once. No fact stands behind
    these mails, so the order is told from the subject."""
    found = [ORDER_ID.search(mail.read_text()) for mail in (folder / "mail").glob("*.paid.eml")]
    sent = Counter(number[0] for number in found if number)
    wrong = []
    for order_id, order in books.orders.items():
        online = order["payment"]["method"] not in OWN_METHODS
        sure = "AUTHORISED" in [step["stage"] for step in order["steps"]]
        if sent[order_id] != (online and sure):
            wrong.append(f"{order_id}: the mail of its payment was sent {sent[order_id]} times.")
    return wrong


def mails(folder: Path) -> Counter[tuple[str, str]]:
    """How many mails were written of each fact and kind, told from the names of their files."""
    names = [mail.name.split(".") for mail in (folder / "mail").glob("*.eml")]
    return Counter([(name[0], name[1]) for name in names])


def open_books(folder: Path) -> sqlite3.Connection:
    """The shop's own file, while it may be running."""
    return sqlite3.connect(folder / "ecokart.db", timeout=10, isolation_level=None)


def _bodies(database: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    rows = database.execute(f'SELECT body FROM "{table}"')  # noqa: S608 (names of our own)
    return [msgspec.json.decode(body) for (body,) in rows]
