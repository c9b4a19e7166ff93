"""The short way: an event's own process runs its quick handlers straight after the commit."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from ecokart.core.errors import Unavailable
from ecokart.core.events import OUTBOX, on
from ecokart.core.ports import Ports
from ecokart.core.worker import Worker
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.engines.queue_records import JOBS
from tests.clock import ManualClock
from tests.core.little_shop import Greeted, everything, greeted, reactions

ran: list[str] = []


@pytest.fixture(autouse=True)
def nobody_yet() -> None:
    ran.clear()


@on(Greeted)
async def note(ports: Ports, event: Greeted) -> None:
    ran.append(event.guest)


@on(Greeted, having='"guest":"A')
async def note_those_with_a(ports: Ports, event: Greeted) -> None:
    ran.append(event.guest)


@on(Greeted, lane="mail")
async def write(ports: Ports, event: Greeted) -> None:
    ran.append(f"mail to {event.guest}")


@on(Greeted)
async def fail_once(ports: Ports, event: Greeted) -> None:
    ran.append(event.guest)
    if len(ran) == 1:
        raise Unavailable("not now")


@on(Greeted)
async def dawdle_once(ports: Ports, event: Greeted) -> None:
    ran.append(event.guest)
    if len(ran) == 1:
        await asyncio.Event().wait()


async def expressed(worker: Worker) -> None:
    """What was committed goes the short way, once."""
    await worker.express(worker.ports.handoff.take(100))


async def test_a_quick_handler_leaves_neither_event_nor_job(ports: Ports) -> None:
    await greeted(ports, "Ada", "Bo")
    await expressed(Worker(ports, reactions(note)))
    assert ran == ["Ada", "Bo"]
    assert await everything(ports.records, OUTBOX) == []
    assert await everything(ports.records, JOBS) == []


async def test_who_reacts_to_some_hears_of_no_others(ports: Ports) -> None:
    worker = Worker(ports, reactions(note_those_with_a))
    await greeted(ports, "Ada", "Bo", 'Bo "guest":"A')
    await expressed(worker)
    assert ran == ["Ada"]
    await greeted(ports, "Bo", "Al")
    assert await worker.drain() == 1
    assert ran == ["Ada", "Al"]


async def test_what_calls_outside_waits_in_the_queue(ports: Ports) -> None:
    worker = Worker(ports, reactions(note, write))
    await greeted(ports, "Ada")
    await expressed(worker)
    assert ran == ["Ada"]
    (job,) = await everything(ports.records, JOBS)
    assert job.place == "mail"
    await worker.drain()
    assert ran == ["Ada", "mail to Ada"]


async def test_what_fails_becomes_a_job_and_is_tried_again(ports: Ports) -> None:
    worker = Worker(ports, reactions(fail_once))
    await greeted(ports, "Ada")
    await expressed(worker)
    assert ran == ["Ada"]
    assert await everything(ports.records, OUTBOX) == []
    assert await worker.drain() == 1
    assert ran == ["Ada", "Ada"]
    assert await everything(ports.records, JOBS) == []


async def test_what_takes_too_long_is_stopped_and_becomes_a_job(ports: Ports) -> None:
    worker = Worker(ports, reactions(dawdle_once, note), express_timeout_seconds=0.05)
    await greeted(ports, "Ada")
    await expressed(worker)
    assert await everything(ports.records, OUTBOX) == []
    (job,) = await everything(ports.records, JOBS)
    assert job.job.handler.endswith("dawdle_once")
    assert await worker.drain() == 1
    assert ran == ["Ada", "Ada", "Ada"]  # dawdle_once, note, and dawdle_once again


async def test_a_process_that_dies_before_the_entry_goes_has_its_event_handled_again(
    ports: Ports, clock: ManualClock
) -> None:
    await greeted(ports, "Ada")
    entries = ports.handoff.take(100)
    dying = Worker(faulty(ports, Chaos(1, Faults(commit_fails=1))), reactions(note))
    with pytest.raises(Unavailable):
        await dying.express(entries)
    assert ran == ["Ada"]
    assert len(await everything(ports.records, OUTBOX)) == 1
    clock.advance(seconds=10)
    other = Worker(ports, reactions(note))
    assert await other.relay_orphans(older_than=timedelta(seconds=3)) == 1
    assert await other.drain() == 1
    assert ran == ["Ada", "Ada"]
    assert await everything(ports.records, OUTBOX) == []
