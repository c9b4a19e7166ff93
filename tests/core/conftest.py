"""Processes of the little shop, over real engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ecokart.core.clock import Ids
from ecokart.core.ports import Ports
from ecokart.engines.cache_memory import MemoryCache
from ecokart.engines.live_memory import MemoryLive
from ecokart.engines.mail_disk import DiskMail
from ecokart.engines.payments_none import NoPayments
from ecokart.engines.queue_records import RecordsQueue
from ecokart.engines.records_sqlite import SqliteRecords
from ecokart.engines.targets_http import HttpTargets
from tests.clock import ManualClock
from tests.core.little_shop import TABLES, Start


@pytest.fixture
async def start(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Start]:
    opened: list[SqliteRecords] = []

    def process() -> Ports:
        records = SqliteRecords(tmp_path / "shop", TABLES, clock)
        opened.append(records)
        return Ports(
            records,
            RecordsQueue(records, clock),
            MemoryCache(),
            MemoryLive(),
            DiskMail(tmp_path / "mail", "shop@example.com"),
            NoPayments(),
            HttpTargets(clock),
            clock,
            new_id=Ids(clock),
        )

    yield process
    for records in opened:
        await records.close()


@pytest.fixture
async def ports(start: Start) -> Ports:
    return start()
