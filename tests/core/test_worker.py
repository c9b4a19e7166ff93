"""The worker: every committed event reaches its handlers, whatever fails on the way."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest

from ecokart.core.clock import new_id
from ecokart.core.errors import Unavailable
from ecokart.core.events import ATTEMPTS, OUTBOX, OutboxEntry, cause, on, stated
from ecokart.core.handling import (
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    retry_delay_seconds,
)
from ecokart.core.ports import Job, Ports, Records
from ecokart.core.records import ABSENT, Cursor, Page, Put, T, Table
from ecokart.core.transaction import Transaction, transact
from ecokart.core.worker import ORPHANED_AFTER
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.engines.queue_records import JOBS
from tests.clock import ManualClock
from tests.core.little_shop import (
    GUESTS,
    Greeted,
    Guest,
    Start,
    Unheard,
    everything,
    found,
    greeted,
    worker,
)

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran_yet() -> None:
    ran.clear()


@on(Greeted)
async def note(ports: Ports, event: Greeted) -> None:
    ran.append(event.guest)


@on(Greeted, lane="mail")
async def write(ports: Ports, event: Greeted) -> None:
    ran.append(f"mail to {event.guest}")


@on(Greeted)
async def fail(ports: Ports, event: Greeted) -> None:
    ran.append(event.guest)
    raise RuntimeError("the printer is on fire")


@on(Greeted)
async def misread(ports: Ports, event: Greeted) -> None:
    ran.append(event.guest)
    msgspec.json.decode(b'"an outside answer"', type=int)


@on(Greeted)
async def give_up(ports: Ports, event: Greeted) -> None:
    ran.append(event.guest)
    raise asyncio.CancelledError


@on(Greeted)
async def rant(ports: Ports, event: Greeted) -> None:
    raise RuntimeError("no! \ud800 " * 100_000)


async def test_an_event_runs_each_of_its_handlers_once(ports: Ports) -> None:
    await greeted(ports, "Ada", "Bo")
    assert await worker(ports, note, write).drain() == 4
    assert sorted(ran) == ["Ada", "Bo", "mail to Ada", "mail to Bo"]
    assert await worker(ports, note, write).drain() == 0
    assert await everything(ports.records, OUTBOX) == []
    assert await everything(ports.records, JOBS) == []


async def test_a_handler_that_two_modules_know_runs_once(ports: Ports) -> None:
    await greeted(ports, "Ada")
    assert await worker(ports, note, note).drain() == 1


async def test_an_event_that_nobody_hears_is_let_go(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        tx.emit(Unheard())

    await transact(ports, work)
    assert await worker(ports, note).drain() == 0
    assert await everything(ports.records, OUTBOX) == []


async def test_more_events_than_a_batch_are_all_handled(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        for number in range(95):
            tx.emit(Greeted(guest=f"{number}"))

    for _ in range(3):
        await transact(ports, work)
    assert await worker(ports, note).drain() == 285
    assert len(ran) == 285


async def test_an_event_that_a_handler_emits_is_handled_too(ports: Ports) -> None:
    @on(Unheard)
    async def pass_on(ports: Ports, event: Unheard) -> None:
        causes.append(event.cause)
        await greeted(ports, "Ada")

    @on(Greeted)
    async def hear(ports: Ports, event: Greeted) -> None:
        causes.append(event.cause)

    async def work(tx: Transaction) -> None:
        tx.emit(Unheard())

    causes: list[str] = []
    token = cause.set("request 7")
    await transact(ports, work)
    cause.reset(token)
    assert await worker(ports, pass_on, hear).drain() == 2
    assert causes == ["request 7", "request 7"]  # carried along


async def test_an_effect_with_its_mark_happens_once_though_the_job_comes_twice(
    ports: Ports, clock: ManualClock
) -> None:
    @on(Greeted)
    async def count(ports: Ports, event: Greeted) -> None:
        async def once(tx: Transaction) -> None:
            ran.append(event.guest)
            if await tx.get(GUESTS, event.id):
                return
            tx.put(GUESTS, Guest(name=event.id))
            guest = await tx.get(GUESTS, "Ada") or Guest(name="Ada")
            tx.put(GUESTS, msgspec.structs.replace(guest, greetings=guest.greetings + 1))

        await transact(ports, once)

    chaos = Chaos(1, Faults(settlement_lost=1))
    await greeted(ports, "Ada")
    await worker(faulty(ports, chaos), count).drain()
    chaos.faults = Faults()
    clock.advance(minutes=5)
    await worker(faulty(ports, chaos), count).drain()
    assert len(ran) == 2
    assert (await found(ports, GUESTS, "Ada")).greetings == 1


async def test_a_failing_handler_is_tried_again_later_and_later_and_then_buried(
    ports: Ports, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    working = worker(ports, fail)
    await greeted(ports, "Ada")
    delays: list[timedelta] = []
    for attempt in range(1, ATTEMPTS + 1):
        assert await working.drain() == 1
        assert len(ran) == attempt
        (queued,) = await everything(ports.records, JOBS)
        if attempt < ATTEMPTS:
            assert await working.drain() == 0  # not yet
            delays.append(queued.due_at - clock.now())
            clock.advance(seconds=delays[-1].total_seconds())
    assert delays == sorted(delays)
    assert delays[-1] > 30 * delays[0]
    clock.advance(days=1)
    assert await working.drain() == 0
    (dead,) = (await ports.queue.dead()).values
    assert (dead.attempts, dead.error) == (ATTEMPTS, "RuntimeError: the printer is on fire")
    assert "buried" in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.WARNING


async def test_a_job_that_takes_its_process_along_is_buried_too(
    ports: Ports, clock: ManualClock
) -> None:
    """Whoever dies of it says nothing any more: here every settlement is lost."""
    await greeted(ports, "Ada")
    dying = worker(faulty(ports, Chaos(1, Faults(settlement_lost=1))), note)
    for attempt in range(1, ATTEMPTS + 1):
        assert await dying.drain() == 1
        assert len(ran) == attempt
        clock.advance(seconds=90)
    await worker(ports, note).drain()
    assert len(ran) == ATTEMPTS
    (dead,) = (await ports.queue.dead()).values
    assert "never came to an end" in dead.error


def test_delays_double_up_to_a_longest_and_are_never_the_same() -> None:
    for attempts in range(30):
        ceiling = min(FIRST_DELAY_SECONDS * 2**attempts, LONGEST_DELAY_SECONDS)
        delays = {retry_delay_seconds(attempts) for _ in range(100)}
        assert all(ceiling / 2 <= delay <= ceiling for delay in delays)
        assert len(delays) > 50


async def test_a_dead_letter_that_is_redriven_runs_again(ports: Ports, clock: ManualClock) -> None:
    broken = worker(ports, fail)
    await greeted(ports, "Ada")
    for _ in range(ATTEMPTS):
        await broken.drain()
        clock.advance(minutes=10)
    (dead,) = (await ports.queue.dead()).values
    assert await ports.queue.redrive([dead.id]) == 1
    assert await broken.drain() == 1
    assert len(ran) == ATTEMPTS + 1
    assert (await ports.queue.dead()).values == []  # its attempts were forgotten


async def test_an_event_that_cannot_be_read_is_buried_at_once(ports: Ports) -> None:
    await send(ports, event=b'{"name":"guest.greeted","guest":7}')
    assert await worker(ports, note).drain() == 1
    (dead,) = (await ports.queue.dead()).values
    assert dead.error.startswith("ValidationError")
    assert ran == []


async def test_a_handler_that_misreads_something_else_is_tried_again(
    ports: Ports, clock: ManualClock
) -> None:
    await greeted(ports, "Ada")
    await worker(ports, misread).drain()
    assert (await ports.queue.dead()).values == []
    clock.advance(minutes=1)
    await worker(ports, misread).drain()
    assert ran == ["Ada", "Ada"]


async def test_a_job_whose_handler_is_gone_is_buried(ports: Ports) -> None:
    await send(ports, handler="tests.renamed")
    assert await worker(ports, note).drain() == 1
    (dead,) = (await ports.queue.dead()).values
    assert "no such handler" in dead.error
    assert ran == []


async def test_a_handler_that_cancels_itself_has_failed(ports: Ports, clock: ManualClock) -> None:
    await greeted(ports, "Ada")
    await worker(ports, give_up).drain()
    (job,) = [queued.job for queued in await everything(ports.records, JOBS)]
    assert (job.attempts, job.error) == (1, "CancelledError: ")
    clock.advance(minutes=1)
    assert await worker(ports, give_up).drain() == 1


async def test_an_endless_error_does_not_keep_the_job_from_being_settled(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half a surrogate pair in the log would end up in the test's own report, which can't hold it.
    monkeypatch.setattr(logging.getLogger("ecokart.worker"), "disabled", True)
    await greeted(ports, "Ada")
    await worker(ports, rant).drain()
    (job,) = [queued.job for queued in await everything(ports.records, JOBS)]
    assert job.attempts == 1
    assert job.error.startswith("RuntimeError: no! ? no!")
    assert len(job.error) <= 2000


async def test_an_event_whose_process_died_is_handed_on_by_another(
    start: Start, clock: ManualClock
) -> None:
    died, other = start(), start()
    await greeted(died, "Ada")  # committed, and then nothing more is heard of that process
    sweeper = worker(other, note)
    assert await sweeper.relay_orphans() == 0  # it may still be about to hand it on itself
    clock.advance(seconds=ORPHANED_AFTER.total_seconds())
    assert await sweeper.relay_orphans() == 1
    assert await sweeper.drain() == 1
    assert ran == ["Ada"]


class NewestFirst:
    """Records that list a table from its end, as an engine without order may."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        found = await self._records.scan(table, limit=10_000)
        start = int(after[0]) if after else 0
        end = start + limit
        following = (end, "") if end < len(found.values) else None
        return Page(found.values[::-1][start:end], found.versions[::-1][start:end], following)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)


async def test_an_orphan_is_found_in_a_long_outbox_of_any_order(
    ports: Ports, clock: ManualClock
) -> None:
    await greeted(ports, "Ada")
    clock.advance(minutes=1)
    for _ in range(25):  # pages of events that others have in hand
        entries = [outbox_entry(clock) for _ in range(100)]
        await ports.records.commit([Put(OUTBOX, entry, ABSENT) for entry in entries])
    records = cast(Records, NewestFirst(ports.records))
    sweeper = worker(replace(ports, records=records), note)
    assert [await sweeper.relay_orphans() for _ in range(4)] == [0, 0, 1, 0]


async def test_two_processes_that_hand_on_the_same_event_make_one_job(
    start: Start, clock: ManualClock
) -> None:
    one, two = start(), start()
    await greeted(one, "Ada")
    clock.advance(minutes=1)
    await asyncio.gather(worker(one, note).relay_orphans(), worker(two, note).relay_orphans())
    assert await worker(one, note).drain() == 1


async def test_an_event_is_not_lost_where_the_queue_is_down(
    ports: Ports, clock: ManualClock
) -> None:
    chaos = Chaos(1, Faults(queue_fails=1))
    broken = worker(faulty(ports, chaos), note)
    await greeted(ports, "Ada")
    clock.advance(minutes=1)
    with pytest.raises(Unavailable):
        await broken.relay_orphans()
    assert len(await everything(ports.records, OUTBOX)) == 1
    chaos.faults = Faults()
    assert await broken.drain() == 1


async def test_a_job_of_a_worker_that_died_comes_back(start: Start, clock: ManualClock) -> None:
    died, other = start(), start()
    await greeted(died, "Ada")
    await worker(died, note).relay_orphans(older_than=timedelta(0))
    assert len(await died.queue.receive("orders", limit=10)) == 1  # and then it died
    assert await worker(other, note).drain() == 0
    clock.advance(minutes=5)
    assert await worker(other, note).drain() == 1


def outbox_entry(clock: ManualClock) -> OutboxEntry:
    event = stated(Greeted(guest="Bo"), new_id(), clock.now())
    return OutboxEntry(event.id, clock.now(), (event,))


async def send(
    ports: Ports,
    event: bytes = b'{"name":"guest.greeted","guest":"Ada"}',
    handler: str = "tests.core.test_worker.note",
) -> None:
    """A job as an older release may have left it."""
    raw, now = msgspec.Raw(event), ports.clock.now()
    await ports.queue.send([Job(id="1", lane="orders", handler=handler, event=raw, sent_at=now)])
