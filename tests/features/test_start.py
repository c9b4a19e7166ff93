"""A start while the records are away: the shop says that it isn't ready, and opens when they are back."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Ports, Records
from tests.shop import running_shop


class Away:
    """Records that can't be reached until `back`."""

    def __init__(self, records: Records) -> None:
        self._records, self.back = records, False

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: object, **__: object) -> None:
            raise Unavailable("The records can't be reached.")

        return getattr(self._records, name) if self.back or name == "close" else refuse


async def test_records_that_are_away_stop_no_start(demo_data: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    away: list[Away] = []

    def through(ports: Ports) -> Ports:
        away.append(Away(ports.records))
        return replace(ports, records=cast(Records, away[0]))

    async with running_shop(tmp_path, seeded=False, through=through) as shop:
        assert (await shop.client.get("/health/live")).status_code == 200
        answer = await shop.client.get("/health/ready")
        assert answer.status_code == 503
        assert "records: The records can't be reached." in answer.json()["detail"]

        away[0].back = True
        assert (await shop.client.get("/health/ready")).status_code == 200
        async with asyncio.timeout(10):
            while (await shop.client.get("/api/products/prod-001")).status_code != 200:
                await asyncio.sleep(0.05)
