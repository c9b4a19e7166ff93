"""An order that is sent again to another process, while the first one's commit is under way."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ecokart.core.idempotency import MARKS
from ecokart.core.ports import Ports, Records
from ecokart.core.records import T, Table, Versioned
from tests.features.conftest import DANA
from tests.shop import running_shop

ORDER = {"address": {"name": "Dana", "street": "Weg 1", "postalCode": "10115", "city": "Berlin"}}


class Overtaken:
    """Records of a process that looks for a mark, finds none, and is overtaken at that moment."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.overtake: Callable[[], Awaitable[object]] | None = None

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        found = await self._records.get(table, key)
        if table.name == MARKS.name and self.overtake:
            overtake, self.overtake = self.overtake, None
            await overtake()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


async def test_it_gets_the_first_ones_answer(demo_data: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    overtaken: list[Overtaken] = []

    def through(ports: Ports) -> Ports:
        overtaken.append(Overtaken(ports.records))
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
