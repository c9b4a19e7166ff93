"""What an order costs the records: calls, records written and their bytes, counted at the port.

Rates differ from machine to machine, and these don't. An order is placed over HTTP and brought to its end
by hand, as a worker does that has much to do: the steps of its way at once, mails by the queue. What it
causes is told by the request's id, which its events carry; so nothing else that goes on is counted.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from bench.stand import Bench
from ecokart.core.clock import new_id
from ecokart.core.events import cause
from ecokart.core.ports import Ports, Records
from ecokart.core.records import Cursor, Page, Put, Sortable, T, Table, Versioned, Write, encode
from ecokart.engines.queue_records import RecordsQueue
from ecokart.features.payments import service as payments
from tests.partners import new_partner
from tests.shop import Shop, running_shop

ARTICLES = ("EK-020-GREEN", "EK-014")
ADDRESS = {"name": "Jo", "street": "Markt 1", "postalCode": "5020", "city": "Salzburg"}
WORK = "work"  # the cause of what a worker does between its handlers
ENTRIES = 64


@dataclass
class Cost:
    """Calls by their kind, writes by `put orders`, and the bytes of what was put."""

    calls: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    bytes: int = 0

    @property
    def written(self) -> int:
        """How many records were written."""
        return self.writes.total()

    def commit(self, writes: Sequence[Write]) -> None:
        self.calls["commit"] += 1
        self.writes.update(f"{type(one).__name__.lower()} {one.table.name}" for one in writes)
        rows = encode([one for one in writes if isinstance(one, Put)])
        self.bytes += sum(len(row.body) for row in rows if row)

    def plus_commits(self, other: Cost) -> Cost:
        """This, and what the other one wrote."""
        commits = Counter(commit=other.calls["commit"])
        return Cost(self.calls + commits, self.writes + other.writes, self.bytes + other.bytes)


class MeteredRecords:
    """`Records` that note what each cause uses. The cause of a request's calls is its id."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.used: defaultdict[str, Cost] = defaultdict(Cost)

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        self.used[cause.get()].calls["get"] += 1
        return await self._records.get(table, key)

    async def query(
        self,
        table: Table[T],
        index: str,
        value: Sortable,
        *,
        after: Cursor | None = None,
        limit: int = 100,
    ) -> Page[T]:
        self.used[cause.get()].calls["query"] += 1
        return await self._records.query(table, index, value, after=after, limit=limit)

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        self.used[cause.get()].calls["scan"] += 1
        return await self._records.scan(table, after=after, limit=limit)

    async def commit(self, writes: Sequence[Write]) -> None:
        self.used[cause.get()].commit(writes)
        await self._records.commit(writes)

    async def ping(self) -> str:
        return await self._records.ping()

    async def close(self) -> None:
        await self._records.close()


async def costs(folder: Path) -> dict[str, Cost]:
    """What one order of two articles costs, from its request until it is COMPLETED and mailed."""
    metered: list[MeteredRecords] = []

    def through(ports: Ports) -> Ports:
        records = MeteredRecords(ports.records)
        metered.append(records)
        return replace(ports, records=records, queue=RecordsQueue(records, ports.clock))

    async with running_shop(folder, through=through) as shop:
        partner = (await new_partner(shop.ports)).headers
        sold = await _sold(shop)
        return {
            "an order on invoice": await _cost(shop, metered[0], await _filled(shop, "invoice")),
            "an order by card": await _cost(shop, metered[0], await _filled(shop, "card")),
            "a partner's order": await _cost(shop, metered[0], sold, partner),
        }


async def _cost(
    shop: Shop,
    records: MeteredRecords,
    order: dict[str, Any],
    partner: dict[str, str] | None = None,
) -> Cost:
    await _worked(shop)
    records.used.clear()
    headers = {**(partner or {}), "Idempotency-Key": new_id()}
    path = "/orders" if partner else "/api/orders"
    answer = _fine(await shop.client.post(path, json=order, headers=headers))
    await _worked(shop)
    return records.used[answer.headers["X-Request-ID"]].plus_commits(records.used[WORK])


async def order_costs(bench: Bench) -> None:
    """The same as figures."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        found = await costs(Path(folder))
    for name, cost in found.items():
        reads = cost.calls.total() - cost.calls["commit"]
        bench.note_cost(f"{name}: reads", reads, "")
        bench.note_cost(f"{name}: commits", cost.calls["commit"], "")
        bench.note_cost(f"{name}: records written", cost.written, "")
        bench.note_cost(f"{name}: bytes written", cost.bytes, "B")


async def _filled(shop: Shop, method: str) -> dict[str, Any]:
    """What is to be sent for an order of what is now in the cart."""
    for sku in ARTICLES:
        _fine(await shop.client.post("/api/cart", json={"sku": sku}))
    return {
        "address": ADDRESS | {"country": "AT"},
        "email": "jo+pays@example.com",
        "payment": {"method": method},
    }


async def _sold(shop: Shop) -> dict[str, Any]:
    """The same articles, as a partner orders them."""
    for sku in ARTICLES:
        cart = _fine(await shop.client.post("/api/cart", json={"sku": sku})).json()
    items = [
        {name: item[name] for name in ("productId", "sku", "quantity", "price")}
        for item in cart["items"]
    ]
    for sku in ARTICLES:
        _fine(await shop.client.delete(f"/api/cart/items/{sku}"))
    total = round(sum(item["price"] * item["quantity"] for item in items), 2)
    return {"customerId": "c1", "items": items, "totalAmount": total}


async def _worked(shop: Shop) -> None:
    """All background work is done, the notices of the provider included."""
    told = cause.set(WORK)
    try:
        while True:
            while entries := shop.ports.handoff.take(ENTRIES):
                await shop.app.worker.express(entries)
            if not await payments.fetch(shop.ports) and not await shop.app.worker.drain():
                return
    finally:
        cause.reset(told)


def _fine(answer: httpx.Response) -> httpx.Response:
    answer.raise_for_status()
    return answer
