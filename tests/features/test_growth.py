"""A shop that has grown asks no more of its records than a small one: counted, not timed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.filling import add_orders, add_products
from ecokart.core.events import cause
from ecokart.core.ports import Ports, Records
from ecokart.core.records import Cursor, Page, Sortable, T, Table, Versioned, Write
from ecokart.core.transaction import Transaction, transact
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.shelf import Shelf
from tests.clock import ManualClock
from tests.shop import Shop, running_shop

PRODUCTS, ORDERS = 2000, 5000
A_PAGE = 20  # orders of `my orders`
DANA = {"email": "demo@ecokart.com", "password": "demo1234"}
ADA = {"email": "admin@ecokart.com", "password": "admin1234"}
HOME = {"name": "Jo", "street": "Markt 1", "postalCode": "5020", "city": "Salzburg"}
ORDER = {"address": HOME | {"country": "AT"}}


class Spent(NamedTuple):
    """What was asked of the records: calls, records they gave back, records written."""

    calls: int = 0
    read: int = 0
    written: int = 0


class ReadRecords:
    """Records that count what each request spends: the cause of a call is the request's id."""

    def __init__(self, records: Records) -> None:
        self.spent: dict[str, Spent] = {}
        self._records = records

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        self._count(read=1)
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
        page = await self._records.query(table, index, value, after=after, limit=limit)
        self._count(read=len(page.values))
        return page

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        page = await self._records.scan(table, after=after, limit=limit)
        self._count(read=len(page.values))
        return page

    async def commit(self, writes: Sequence[Write]) -> None:
        self._count(written=len(writes))
        await self._records.commit(writes)

    async def ping(self) -> str:
        return await self._records.ping()

    async def close(self) -> None:
        await self._records.close()

    def _count(self, read: int = 0, written: int = 0) -> None:
        before = self.spent.get(cause.get(), Spent())
        self.spent[cause.get()] = Spent(
            before.calls + 1, before.read + read, before.written + written
        )


Opened = tuple[Shop, ReadRecords]


@pytest.fixture
async def shops(tmp_path: Path, clock: ManualClock) -> AsyncIterator[tuple[Opened, Opened]]:
    """A small shop with orders for a page, and one that has grown."""
    counting: list[ReadRecords] = []

    def count(ports: Ports) -> Ports:
        counting.append(ReadRecords(ports.records))
        return replace(ports, records=counting[-1])

    small = running_shop(tmp_path / "small", clock, through=count)
    large = running_shop(tmp_path / "large", clock, through=count)
    async with small as one, large as other:
        for shop, products, orders in ((one, 0, 50 * (A_PAGE + 1)), (other, PRODUCTS, ORDERS)):
            answer = await shop.client.post("/auth/login", json=DANA)
            shop.client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
            await add_products(shop.ports.records, products, clock.now())
            await add_orders(shop.ports.records, orders, answer.json()["user"]["id"])
            await shop.app.shelf.refresh()
        clock.advance(minutes=1)  # what was added isn't new any more
        yield (one, counting[0]), (other, counting[1])


async def spent_by(opened: Opened, method: str, path: str, **request: Any) -> Spent:
    """What the records have to do for that request."""
    shop, records = opened
    request_id = f"request-{len(records.spent)}"
    headers = request.pop("headers", {}) | {"X-Request-ID": request_id}
    answer = await shop.client.request(method, path, headers=headers, **request)
    assert answer.is_success, answer.text
    return records.spent.get(request_id, Spent())


async def test_a_visit_reads_and_writes_no_more(shops: tuple[Opened, Opened]) -> None:
    visit = (
        ("GET", "/products", None),
        ("GET", "/products?sort=price", None),
        ("GET", "/products/prod-001", None),
        ("GET", "/api/products?limit=24", None),
        ("GET", "/api/products/prod-001", None),
        ("POST", "/api/cart", {"sku": "EK-006"}),
        ("POST", "/api/orders", ORDER),
        ("GET", "/api/orders", None),
        ("GET", "/account/orders", None),
    )
    visits = [
        {
            (method, path): await spent_by(opened, method, path, json=body)
            for method, path, body in visit
        }
        for opened in shops
    ]
    assert visits[0] == visits[1]
    assert visits[1]["GET", "/products"] == Spent(calls=2, read=2)  # session and basket
    assert visits[1]["GET", "/api/products?limit=24"].read == 0
    assert visits[1]["GET", "/api/orders"].read == 1 + A_PAGE


async def test_the_shelf_looks_at_what_has_changed_alone(
    shops: tuple[Opened, Opened], clock: ManualClock
) -> None:
    shop, _ = shops[1]
    records = ReadRecords(shop.ports.records)  # the open shop refreshes its own shelf meanwhile
    shelf = Shelf(replace(shop.ports, records=records))
    await shelf.refresh()
    records.spent.clear()
    clock.advance(seconds=10)
    await shelf.refresh()
    assert records.spent == {"": Spent(calls=2)}

    async def sold(tx: Transaction) -> None:
        catalog.sell(tx, "EK-006", 1, reserved=False)

    await transact(shop.ports, sold)
    records.spent.clear()
    await shelf.refresh()
    assert records.spent == {"": Spent(calls=3, read=1 + len(shelf.categories))}


async def test_the_office_reads_a_page(shops: tuple[Opened, Opened]) -> None:
    for opened in shops:
        answer = await opened[0].client.post("/auth/login", json=ADA)
        ada = {"Authorization": f"Bearer {answer.json()['token']}"}
        pages = {"/admin": 9 * 51, "/admin?stage=COMPLETED": 51, "/admin/stock": 0}
        for path, most in pages.items():
            spent = await spent_by(opened, "GET", path, headers=ada)
            assert spent.read <= most + 2  # with the session and the basket
