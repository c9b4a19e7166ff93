"""An order that is sent again to another process, while the first one's commit is under way."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from ecokart.core.idempotency import MARKS
from ecokart.core.ports import Cache, Ports, Records
from ecokart.core.records import T, Table, Versioned, Write
from ecokart.features.cart.model import CARTS
from tests.features.conftest import DANA
from tests.shop import running_shop

ORDER = {"address": {"name": "Dana", "street": "Weg 1", "postalCode": "10115", "city": "Berlin"}}


class Overtaken:
    """Records of a process that is overtaken before it reads the cart, or before it commits the order."""

    def __init__(self, records: Records, before: str) -> None:
        self._records, self._before = records, before
        self.overtake: Callable[[], Awaitable[object]] | None = None

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        if table.name == self._before:
            await self._overtaken()
        return await self._records.get(table, key)

    async def commit(self, writes: Sequence[Write]) -> None:
        if self._before in {write.table.name for write in writes}:
            await self._overtaken()
        await self._records.commit(writes)

    async def _overtaken(self) -> None:
        if self.overtake:
            overtake, self.overtake = self.overtake, None
            await overtake()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


@pytest.mark.parametrize("before", [CARTS.name, MARKS.name])
async def test_it_gets_the_first_ones_answer(demo_data: Path, tmp_path: Path, before: str) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    overtaken: list[Overtaken] = []

    def through(ports: Ports) -> Ports:
        overtaken.append(Overtaken(ports.records, before))
        return replace(ports, records=cast(Records, overtaken[0]))

    async with (
        running_shop(tmp_path, seeded=False) as first,
        running_shop(tmp_path, seeded=False, through=through) as second,
    ):
        token = (await first.client.post("/auth/login", json=DANA)).json()["token"]
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "once-only"}
        item = {"sku": "EK-001", "quantity": 1}
        await first.client.post("/api/cart", json=item, headers=headers)

        async def order_first() -> None:
            answers.append(await first.client.post("/api/orders", json=ORDER, headers=headers))

        answers: list[Any] = []
        overtaken[0].overtake = order_first
        again = await second.client.post("/api/orders", json=ORDER, headers=headers)
    assert answers[0].status_code == again.status_code == 201
    assert again.json() == answers[0].json()
    assert again.headers["idempotent-replayed"] == "true"


class Left:
    """A cache in which locks stay, as where the process that took them is killed."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def delete(self, key: str) -> None:
        if not key.startswith("idempotency:"):
            await self._cache.delete(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


async def test_a_lock_left_behind_is_gone_soon_after_the_request_would_have_ended(
    demo_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_data, tmp_path / "data")

    def through(ports: Ports) -> Ports:
        return replace(ports, cache=cast(Cache, Left(ports.cache)))

    async with running_shop(
        tmp_path, seeded=False, through=through, request_timeout_seconds=3
    ) as shop:
        token = (await shop.client.post("/auth/login", json=DANA)).json()["token"]
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "left-behind"}
        item = {"sku": "EK-001", "quantity": 1}
        await shop.client.post("/api/cart", json=item, headers=headers)
        first = await shop.client.post("/api/orders", json=ORDER, headers=headers)
        again = await shop.client.post("/api/orders", json=ORDER, headers=headers)
        assert (first.status_code, again.status_code) == (201, 409)
        async with asyncio.timeout(15):
            while again.status_code == 409:
                again = await shop.client.post("/api/orders", json=ORDER, headers=headers)
                await asyncio.sleep(0.1)
    assert again.json() == first.json()
