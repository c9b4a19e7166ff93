"""A shop with orders goes round all the engines and comes back the same."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ecokart.copying.copy import ShopCopy
from ecokart.copying.model import COPIES
from ecokart.core.clock import SystemClock
from ecokart.core.ports import Records
from ecokart.core.records import ANY, Adjust, Put, Table
from ecokart.features.catalog.model import STOCK
from ecokart.features.orders.model import ORDERS
from ecokart.opening import open_records
from ecokart.rooms import TABLES
from tests.copying.test_steps import differing, quietly
from tests.dynamodb import make_tables
from tests.servers import dynamodb_url, postgresql_url
from tests.shop import running_shop

DANA = {"email": "demo@ecokart.com", "password": "demo1234"}
HOME = {
    "name": "Jö",
    "street": "Märkt 1",
    "postalCode": "5020",
    "city": "Salzburg",
    "country": "AT",
}
ORDER = {"address": HOME, "email": "jo@example.com"}
SHOP: list[Table[Any]] = [table for table in TABLES if table is not COPIES]


async def test_round_all_engines_and_back(tmp_path: Path) -> None:
    owner = await sell(tmp_path)
    dynamodb = dynamodb_url()
    make_tables(dynamodb, TABLES)
    home = f"sqlite:///{tmp_path}/data/ecokart.db"
    urls = [home, postgresql_url(), dynamodb, f"sqlite:///{tmp_path}/back.db"]
    opened = [open_records("--to", url, TABLES, SystemClock()) for url in urls]
    try:
        await split(opened[0], "EK-006")
        for number in range(len(urls) - 1):
            await move(opened[number], opened[number + 1], urls[number], urls[number + 1])
        everywhere = [await content(records) for records in opened]
        assert everywhere[0]["orders"]
        assert everywhere[0]["carts"]
        assert everywhere[0]["outbox"] or everywhere[0]["jobs"]
        assert all(one == everywhere[0] for one in everywhere[1:])
        mine = [await records.query(ORDERS, "by_owner", owner) for records in opened]
        assert len(mine[0].values) == 2
        assert all(page.values == mine[0].values for page in mine[1:])
    finally:
        for records in opened:
            await records.close()


async def sell(folder: Path) -> str:
    """Orders by a guest and by Dana, whose id is given back, and something left in her basket."""
    async with running_shop(folder) as shop:
        for _ in range(3):
            await shop.client.post("/api/cart", json={"sku": "EK-006"})
            assert (await shop.client.post("/api/orders", json=ORDER)).status_code == 201
        await shop.settle()
        signed_in = (await shop.client.post("/auth/login", json=DANA)).json()
        dana = {"Authorization": f"Bearer {signed_in['token']}"}
        for sku in ("EK-020-GREEN", "EK-001"):
            await shop.client.post("/api/cart", json={"sku": sku}, headers=dana)
            headers = dana | {"Idempotency-Key": f"a key for {sku}"}
            answer = await shop.client.post("/api/orders", json={"address": HOME}, headers=headers)
            assert answer.status_code == 201
        await shop.client.post("/api/cart", json={"sku": "EK-002-500"}, headers=dana)
        return str(signed_in["user"]["id"])


async def split(records: Records, sku: str) -> None:
    """Stock in several parts, where an engine knows any, last moved at a time that isn't a whole second."""
    found = await records.get(STOCK, sku)
    assert found
    at = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
    await records.commit([Put(STOCK, replace(found.value, shards=4), ANY)])
    await records.commit([Adjust(STOCK, sku, {"stock": -1, "available": -1}, at)])


async def move(source: Records, target: Records, source_url: str, target_url: str) -> None:
    shop = ShopCopy(source, target, TABLES, SystemClock())
    copy = await shop.begin(source_url, target_url)
    await shop.copy_all(copy, quietly)
    assert await shop.catch_up(quietly) == 0
    assert differing(await shop.verify(quietly)) == {}
    await shop.finish(copy)


async def content(records: Records) -> dict[str, dict[str, Any]]:
    """Every record of the shop, by table and key."""
    kept: dict[str, dict[str, Any]] = {}
    for table in SHOP:
        page = await records.scan(table, limit=1000)
        assert page.after is None
        kept[table.name] = {table.key_of(value): value for value in page.values}
    return kept
