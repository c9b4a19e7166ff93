"""The worker as it runs: lanes side by side, slow jobs, failures of engines, and stopping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ecokart.core.events import OUTBOX, on
from ecokart.core.ports import Ports
from ecokart.core.worker import FEWER_SLOTS, RELAY_BATCH, Worker
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.engines.queue_records import JOBS
from tests.clock import ManualClock
from tests.core.little_shop import Greeted, Start, everything, greeted, worker

BOUND_SECONDS = 10


@asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    """Run the workers meanwhile, and stop them at the end."""
    async with asyncio.timeout(BOUND_SECONDS), asyncio.TaskGroup() as group:
        for each in workers:
            group.create_task(each.run())
        try:
            yield
        finally:
            for each in workers:
                each.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while not condition():
            await asyncio.sleep(0.002)


class Seen:
    """What handlers saw, and a door at which they wait."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.door = asyncio.Event()


def handler(seen: Seen, *, lane: str = "orders", slow: str = "") -> object:
    """Notes each guest; the one named `slow` waits at the door."""

    @on(Greeted, lane=lane)
    async def handle(ports: Ports, event: Greeted) -> None:
        seen.begun.append(event.guest)
        if event.guest == slow:
            await seen.door.wait()
        seen.ended.append(event.guest)

    return handle


async def test_an_event_is_handled_soon_after_its_commit(ports: Ports) -> None:
    seen = Seen()
    async with running(worker(ports, handler(seen))):
        await greeted(ports, "Ada")
        await until(lambda: seen.ended == ["Ada"])
        await greeted(ports, "Bo")
        await until(lambda: seen.ended == ["Ada", "Bo"])


async def test_a_slow_job_does_not_hold_its_lane_up(ports: Ports) -> None:
    seen = Seen()
    async with running(worker(ports, handler(seen, slow="Ada"))):
        await greeted(ports, "Ada")
        await until(lambda: seen.begun == ["Ada"])
        await greeted(ports, "Bo", "Cy")
        await until(lambda: sorted(seen.ended) == ["Bo", "Cy"])
        await greeted(ports, "Di")
        await until(lambda: "Di" in seen.ended)
        assert "Ada" not in seen.ended
        seen.door.set()
    assert "Ada" in seen.ended


async def test_a_full_lane_does_not_hold_another_up(
    ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, free = Seen(), Seen()

    @on(Greeted, lane="mail")
    async def deliver(ports: Ports, event: Greeted) -> None:
        stuck.begun.append(event.guest)
        await stuck.door.wait()

    async with running(worker(ports, deliver, handler(free))):
        await greeted(ports, *[f"guest{number}" for number in range(70)])
        slots = FEWER_SLOTS["mail"]
        await until(lambda: len(stuck.begun) == slots)
        await until(lambda: len(free.ended) == 70)
        assert len(stuck.begun) == slots
        stuck.door.set()
        await until(lambda: len(stuck.begun) == 70)
    assert not caplog.records


async def test_stopping_finishes_what_is_in_hand_and_takes_nothing_new(ports: Ports) -> None:
    seen = Seen()
    stopping = worker(ports, handler(seen, slow="Ada"))
    async with asyncio.timeout(BOUND_SECONDS):
        task = asyncio.create_task(stopping.run())
        await greeted(ports, "Ada")
        await until(lambda: seen.begun == ["Ada"])
        stopping.stop()
        await greeted(ports, "Bo")
        seen.door.set()
        await task
    assert seen.ended == ["Ada"]
    assert await everything(ports.records, JOBS) == []  # Ada's was settled, Bo's not yet made
    assert await worker(ports, handler(seen)).drain() == 1
    assert seen.ended == ["Ada", "Bo"]


async def test_stopping_leaves_a_long_outbox_to_others(ports: Ports, clock: ManualClock) -> None:
    guests = [str(number) for number in range(3 * RELAY_BATCH)]
    await asyncio.gather(*[greeted(ports, guest) for guest in guests])
    ports.handoff.entries.clear()  # as if it were another process's
    clock.advance(seconds=10)
    stopping = worker(ports)
    async with asyncio.timeout(BOUND_SECONDS):
        task = asyncio.create_task(stopping.run())
        while len(await everything(ports.records, OUTBOX)) == len(guests):
            await asyncio.sleep(0)
        stopping.stop()
        await task
    assert await everything(ports.records, OUTBOX) != []


async def test_stopping_an_idle_worker_takes_no_longer_than_a_breath(ports: Ports) -> None:
    idle = worker(ports, handler(Seen()))
    task = asyncio.create_task(idle.run())
    await asyncio.sleep(0)
    idle.stop()
    async with asyncio.timeout(3):
        await task


async def test_a_handler_that_cancels_itself_does_not_end_its_lane(ports: Ports) -> None:
    @on(Greeted)
    async def cancel(ports: Ports, event: Greeted) -> None:
        begun.append(event.guest)
        if event.guest == "Ada":
            raise asyncio.CancelledError

    begun: list[str] = []
    async with running(worker(ports, cancel)):
        await greeted(ports, "Ada")
        await until(lambda: "Ada" in begun)
        await greeted(ports, "Bo")
        await until(lambda: "Bo" in begun)


async def test_a_worker_survives_engines_that_fail(
    ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    seen, chaos = Seen(), Chaos(3, Faults(queue_fails=1, read_fails=1))
    async with running(worker(faulty(ports, chaos), handler(seen))):
        await greeted(ports, "Ada")
        await until(lambda: caplog.text.count("the worker waits") >= 2)
        assert seen.begun == []
        chaos.faults = Faults()
        await until(lambda: seen.ended == ["Ada"])


async def test_of_several_workers_one_handles_each_event(start: Start) -> None:
    seen, processes = Seen(), [start(), start(), start()]
    guests = [f"guest{number}" for number in range(90)]
    async with running(*[worker(process, handler(seen)) for process in processes]):
        for number, guest in enumerate(guests):
            await greeted(processes[number % 3], guest)
        await until(lambda: len(seen.ended) >= 90)
    assert sorted(seen.ended) == sorted(guests)


async def test_a_process_that_only_hands_on_makes_jobs_for_those_who_work(start: Start) -> None:
    here, there = Seen(), Seen()
    serving = start()
    handing_on, working = worker(serving, handler(here)), worker(start(), handler(there))
    task = asyncio.create_task(handing_on.hand_on())
    async with running(working):
        await greeted(serving, "Ada", "Bo")
        await until(lambda: sorted(there.ended) == ["Ada", "Bo"])
    handing_on.stop()
    await task
    assert here.begun == []
