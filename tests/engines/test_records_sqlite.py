"""What is SQLite's own business: sweeping out what has expired, beside the commits."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from ecokart.core.errors import Unavailable
from ecokart.core.records import ABSENT, Put
from ecokart.engines.records_sqlite import SqliteRecords
from tests.clock import ManualClock
from tests.contracts.records_kept import NOTES, TABLES, VISITS, Note, Visit

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


async def test_a_backlog_of_expired_records_is_swept_to_its_end_beside_the_commits(
    tmp_path: Path, clock: ManualClock
) -> None:
    file = tmp_path / "kept.db"
    records = SqliteRecords(file, TABLES, clock, sweep_every_seconds=0)
    soon = clock.now() + timedelta(hours=1)
    for start in range(0, 1600, 100):
        visits = [Visit(id=f"{number}", until=soon) for number in range(start, start + 100)]
        await records.commit([Put(VISITS, visit, ABSENT) for visit in visits])
    clock.advance(hours=2)
    await records.commit([Put(VISITS, Visit(id="long"), ABSENT)])  # one commit wakes the sweep
    beside = sqlite3.connect(file)
    async with asyncio.timeout(BOUND_SECONDS):
        while beside.execute("SELECT count(*) FROM visits").fetchone() != (1,):
            await asyncio.sleep(0.001)
    await records.close()


def test_expired_records_are_found_without_reading_the_others(
    tmp_path: Path, clock: ManualClock
) -> None:
    file = tmp_path / "kept.db"
    SqliteRecords(file, TABLES, clock)
    overdue = "EXPLAIN QUERY PLAN SELECT key FROM visits WHERE until <= 1 LIMIT 500"
    (plan,) = sqlite3.connect(file).execute(overdue).fetchall()
    assert "visits_expires" in plan[3]


def test_a_loop_that_stops_leaves_no_commit_unanswered(tmp_path: Path, clock: ManualClock) -> None:
    """Whether the writer was at work or hadn't begun: each caller hears, and what held is there."""
    for patience in range(4):
        file = tmp_path / f"{patience}.db"
        outcomes = asyncio.run(_stopped(file, clock, patience))
        kept = {key for (key,) in sqlite3.connect(file).execute("SELECT key FROM visits")}
        assert kept == {f"{n}" for n, outcome in enumerate(outcomes) if outcome is None}
        assert all(isinstance(outcome, Unavailable | None) for outcome in outcomes)


async def _stopped(file: Path, clock: ManualClock, patience: int) -> list[BaseException | None]:
    """Cancel the writer as the end of `asyncio.run` does, while callers wait that are not cancelled."""
    records = SqliteRecords(file, TABLES, clock)
    mine = asyncio.all_tasks()
    commits = [records.commit([Put(VISITS, Visit(id=f"{n}"), ABSENT)]) for n in range(3)]
    callers = [asyncio.create_task(commit) for commit in commits]
    mine |= set(callers)
    await asyncio.sleep(0)
    for _ in range(patience):
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - mine:
        task.cancel()
    async with asyncio.timeout(BOUND_SECONDS):
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        later = records.commit([Put(VISITS, Visit(id=f"{len(outcomes)}"), ABSENT)])
        outcomes += await asyncio.gather(later, return_exceptions=True)
        await records.close()
    return outcomes


def test_a_loop_that_stops_while_the_writer_lingers_leaves_no_commit_unanswered(
    tmp_path: Path, clock: ManualClock
) -> None:
    file = tmp_path / "kept.db"
    assert asyncio.run(_stopped_lingering(file, clock)) == [None] * 3
    kept = {key for (key,) in sqlite3.connect(file).execute("SELECT key FROM visits")}
    assert kept == {f"{n}" for n in range(6)}


async def _stopped_lingering(file: Path, clock: ManualClock) -> list[BaseException | None]:
    """Cancel the writer when it has told a group, and waits for others to join those that wait."""
    records = SqliteRecords(file, TABLES, clock)
    mine = asyncio.all_tasks()
    commits = [records.commit([Put(VISITS, Visit(id=f"{n}"), ABSENT)]) for n in range(6)]
    callers = [asyncio.create_task(commit) for commit in commits[:3]]
    for _ in range(2):  # the writer has those three and syncs them
        await asyncio.sleep(0)
    callers += [asyncio.create_task(commit) for commit in commits[3:]]
    async with asyncio.timeout(BOUND_SECONDS):
        await asyncio.gather(*callers[:3])
        for task in asyncio.all_tasks() - mine - set(callers):
            task.cancel()
        outcomes = await asyncio.gather(*callers[3:], return_exceptions=True)
        await records.close()
    return outcomes


async def test_a_file_that_is_broken_further_on_is_unavailable(
    tmp_path: Path, clock: ManualClock
) -> None:
    file = tmp_path / "kept.db"
    records = SqliteRecords(file, TABLES, clock)
    for number in range(100):
        await records.commit([Put(NOTES, Note(id=f"{number:02}", text="x" * 10_000), ABSENT)])
    await records.close()
    size = file.stat().st_size
    with file.open("r+b") as content:
        content.seek(size // 2)
        content.write(b"\xff" * (size // 2))
    records = SqliteRecords(file, TABLES, clock)
    with pytest.raises(Unavailable, match="can't be read"):
        await records.scan(NOTES)
    await records.close()
