"""Timers: due every so often, on one process at a time, and taken over from who died."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ecokart.core.events import every
from ecokart.core.ports import Ports
from ecokart.core.timers import CLAIM, TIMERS
from tests.clock import ManualClock
from tests.core.little_shop import Start, everything, worker

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran_yet() -> None:
    ran.clear()


@every(minutes=5)
async def tidy(ports: Ports) -> None:
    ran.append("tidy")


@every(hours=1)
async def report(ports: Ports) -> None:
    ran.append("report")


@every(minutes=5)
async def break_down(ports: Ports) -> None:
    ran.append("break down")
    raise RuntimeError("no")


@every(minutes=5)
async def give_up(ports: Ports) -> None:
    ran.append("give up")
    raise asyncio.CancelledError


async def test_a_timer_runs_at_once_and_then_every_so_often(
    ports: Ports, clock: ManualClock
) -> None:
    working = worker(ports, tidy, report)
    await working.run_due_timers()
    assert sorted(ran) == ["report", "tidy"]
    clock.advance(minutes=4, seconds=59)
    await working.run_due_timers()
    assert len(ran) == 2
    clock.advance(seconds=1)
    await working.run_due_timers()
    assert ran[2:] == ["tidy"]
    clock.advance(minutes=55)
    await working.run_due_timers()
    assert sorted(ran[3:]) == ["report", "tidy"]


async def test_a_timer_that_is_due_runs_on_exactly_one_of_three_workers(
    start: Start, clock: ManualClock
) -> None:
    workers = [worker(start(), tidy) for _ in range(3)]
    for turn in range(1, 6):
        await asyncio.gather(*[working.run_due_timers() for working in workers])
        assert len(ran) == turn
        clock.advance(minutes=5)


async def test_a_timer_under_way_is_nobody_elses(start: Start, clock: ManualClock) -> None:
    begun, door = asyncio.Event(), asyncio.Event()

    @every(seconds=30)
    async def long(ports: Ports) -> None:
        ran.append("long")
        begun.set()
        await door.wait()

    first, second = worker(start(), long), worker(start(), long)
    task = asyncio.create_task(first.run_due_timers())
    await begun.wait()
    clock.advance(seconds=110)  # long due again, and still in hand
    await second.run_due_timers()
    assert ran == ["long"]
    door.set()
    await task
    await second.run_due_timers()
    assert ran == ["long", "long"]


async def test_a_slow_timer_holds_up_no_other_and_runs_once_at_a_time(
    ports: Ports, clock: ManualClock
) -> None:
    door = asyncio.Event()

    @every(seconds=30)
    async def long(ports: Ports) -> None:
        ran.append("long")
        await door.wait()

    @every(seconds=30)
    async def short(ports: Ports) -> None:
        ran.append("short")

    working = worker(ports, long, short)
    task = asyncio.create_task(working.run())
    async with asyncio.timeout(10):
        for turn in range(1, 4):
            while ran.count("short") < turn:
                await asyncio.sleep(0.01)
            clock.advance(seconds=30)
        assert ran.count("long") == 1
        working.stop()
        door.set()
        await task


async def test_a_timer_whose_owner_died_is_taken_over_after_its_claim(
    start: Start, clock: ManualClock
) -> None:
    begun, forever = asyncio.Event(), asyncio.Event()

    @every(minutes=5)
    async def hang(ports: Ports) -> None:
        ran.append("hang")
        begun.set()
        if len(ran) == 1:
            await forever.wait()

    dying, other = worker(start(), hang), worker(start(), hang)
    task = asyncio.create_task(dying.run_due_timers())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    clock.advance(seconds=CLAIM.total_seconds() - 1)
    await other.run_due_timers()
    assert ran == ["hang"]
    clock.advance(seconds=1)
    await other.run_due_timers()
    assert ran == ["hang", "hang"]


@pytest.mark.parametrize("timer", [break_down, give_up])
async def test_a_timer_that_fails_is_logged_and_comes_again(
    ports: Ports, clock: ManualClock, caplog: pytest.LogCaptureFixture, timer: object
) -> None:
    working = worker(ports, timer, tidy)
    await working.run_due_timers()
    assert len(ran) == 2  # the other one ran nevertheless
    assert [entry.levelno for entry in caplog.records] == [logging.ERROR]
    await working.run_due_timers()
    assert len(ran) == 2
    clock.advance(minutes=5)
    await working.run_due_timers()
    assert len(ran) == 4


async def test_a_timer_leaves_one_record_however_often_it_runs(
    ports: Ports, clock: ManualClock
) -> None:
    working = worker(ports, tidy)
    for _ in range(3):
        await working.run_due_timers()
        clock.advance(minutes=5)
    (claim,) = await everything(ports.records, TIMERS)
    assert claim.name.endswith("tidy")
    assert claim.due_at == clock.now()
