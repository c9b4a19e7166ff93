"""The last resort: what happens to a job that is not tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ecokart.core.errors import Unavailable
from ecokart.core.events import Hopeless, on
from ecokart.core.ports import Ports
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.engines.queue_records import JOBS
from tests.clock import ManualClock
from tests.core.little_shop import Greeted, everything, greeted, worker

LANE = "mail"  # an outside call, so that every turn is a job's


class Told:
    """What was tried and what was undone."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.undone: list[tuple[str, str]] = []

    async def undo(self, ports: Ports, event: Greeted, why: str) -> None:
        self.undone.append((event.guest, why))

    async def fail_to_undo(self, ports: Ports, event: Greeted, why: str) -> None:
        await self.undo(ports, event, why)
        raise RuntimeError("the undoing is on fire too")


@pytest.fixture
def told() -> Told:
    return Told()


def failing(told: Told, error: Exception) -> Callable[[Ports, Greeted], Awaitable[None]]:
    async def fail(ports: Ports, event: Greeted) -> None:
        told.tried.append(event.guest)
        raise error

    return fail


async def test_it_is_undone_once_the_last_attempt_has_failed(
    ports: Ports, clock: ManualClock, told: Told
) -> None:
    fail = failing(told, Unavailable("not now"))
    working = worker(ports, on(Greeted, lane=LANE, attempts=3, give_up=told.undo)(fail))
    await greeted(ports, "Ada")
    for attempt in (1, 2, 3):
        assert told.undone == []
        await working.drain()
        assert len(told.tried) == attempt
        clock.advance(minutes=10)
    assert told.undone == [("Ada", "Unavailable: not now")]
    assert await working.drain() == 0
    assert await everything(ports.records, JOBS) == []


async def test_each_handler_has_its_own_number_of_attempts(
    ports: Ports, clock: ManualClock, told: Told
) -> None:
    other = Told()
    often = on(Greeted, lane=LANE, attempts=5)(failing(told, Unavailable("no")))
    once = on(Greeted, lane=LANE, attempts=1)(failing(other, Unavailable("no")))
    once.__handler__ = once.__handler__._replace(name="once")  # type: ignore[attr-defined]
    working = worker(ports, often, once)
    await greeted(ports, "Ada")
    for _ in range(10):
        await working.drain()
        clock.advance(minutes=10)
    assert (len(told.tried), len(other.tried)) == (5, 1)
    assert len((await ports.queue.dead()).values) == 2


async def test_what_is_hopeless_is_not_tried_again(
    ports: Ports, clock: ManualClock, told: Told
) -> None:
    fail = failing(told, Hopeless("no such address"))
    working = worker(ports, on(Greeted, lane=LANE, give_up=told.undo)(fail))
    await greeted(ports, "Ada")
    await working.drain()
    clock.advance(days=1)
    assert await working.drain() == 0
    assert told.tried == ["Ada"]
    assert told.undone == [("Ada", "Hopeless: no such address")]


async def test_what_is_hopeless_and_has_no_last_resort_is_a_dead_letter_at_once(
    ports: Ports, told: Told
) -> None:
    fail = failing(told, Hopeless("no such address"))
    await greeted(ports, "Ada")
    await worker(ports, on(Greeted, lane=LANE)(fail)).drain()
    (dead,) = (await ports.queue.dead()).values
    assert dead.error == "Hopeless: no such address"


async def test_where_undoing_fails_the_job_is_a_dead_letter_that_says_why(
    ports: Ports, clock: ManualClock, told: Told
) -> None:
    fail = failing(told, Unavailable("not now"))
    working = worker(ports, on(Greeted, lane=LANE, attempts=1, give_up=told.fail_to_undo)(fail))
    await greeted(ports, "Ada")
    await working.drain()
    (dead,) = (await ports.queue.dead()).values
    assert dead.error == "RuntimeError: the undoing is on fire too"
    assert await ports.queue.redrive([dead.id]) == 1
    await working.drain()
    assert told.tried == ["Ada", "Ada"]
    assert len(told.undone) == 2


async def test_a_job_that_took_its_workers_along_is_undone_without_another_try(
    ports: Ports, clock: ManualClock, told: Told
) -> None:
    """Whoever dies of it says nothing any more: here every settlement is lost."""

    @on(Greeted, lane=LANE, attempts=2, give_up=told.undo)
    async def kill(ports: Ports, event: Greeted) -> None:
        told.tried.append(event.guest)

    await greeted(ports, "Ada")
    dying = worker(faulty(ports, Chaos(1, Faults(settlement_lost=1))), kill)
    for _ in range(2):
        await dying.drain()
        clock.advance(minutes=5)
    assert told.undone == []
    await worker(ports, kill).drain()
    assert len(told.tried) == 2
    assert [guest for guest, _ in told.undone] == ["Ada"]
    assert "never came to an end" in told.undone[0][1]
    assert await everything(ports.records, JOBS) == []


async def test_a_handler_has_its_own_time_and_fails_when_it_is_over(
    ports: Ports, told: Told
) -> None:
    @on(Greeted, lane=LANE, attempts=1, timeout_seconds=0.01, give_up=told.undo)
    async def dawdle(ports: Ports, event: Greeted) -> None:
        await asyncio.Event().wait()

    await greeted(ports, "Ada")
    await worker(ports, dawdle).drain()
    assert [why for _, why in told.undone] == ["TimeoutError: "]


def test_no_handler_may_take_longer_than_its_job_is_out_of_sight() -> None:
    for seconds in (0, -1, 61):
        with pytest.raises(ValueError, match="at most 60"):
            on(Greeted, timeout_seconds=seconds)
