"""What is SQLite's own business: sweeping out what has expired, beside the commits."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

from ecokart.core.records import ABSENT, Put
from ecokart.engines.records_sqlite import SqliteRecords
from tests.clock import ManualClock
from tests.contracts.records_kept import TABLES, VISITS, Visit

BOUND_SECONDS = 30


async def test_commits_that_come_during_a_sweep_are_not_left_waiting(
    tmp_path: Path, clock: ManualClock
) -> None:
    records = SqliteRecords(tmp_path / "kept.db", TABLES, clock, sweep_every_seconds=0)
    async with asyncio.timeout(BOUND_SECONDS):
        for number in range(100):
            first = asyncio.create_task(
                records.commit([Put(VISITS, Visit(id=f"a{number}"), ABSENT)])
            )
            for _ in range(number % 7):  # at one of these moments the writer is sweeping
                await asyncio.sleep(0)
            await records.commit([Put(VISITS, Visit(id=f"b{number}"), ABSENT)])
            await first
        await records.close()


async def test_what_has_expired_is_swept_off_the_disk(tmp_path: Path, clock: ManualClock) -> None:
    file = tmp_path / "kept.db"
    records = SqliteRecords(file, TABLES, clock, sweep_every_seconds=0)
    soon = clock.now() + timedelta(hours=1)
    await records.commit([Put(VISITS, Visit(id="short", until=soon), ABSENT)])
    clock.advance(hours=2)
    await records.commit([Put(VISITS, Visit(id="long"), ABSENT)])
    await records.close()
    (kept,) = sqlite3.connect(file).execute("SELECT group_concat(key) FROM visits").fetchone()
    assert kept == "long"
