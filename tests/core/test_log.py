"""The log: what is kept of which event, and whoever follows it misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from ecokart.core.events import OUTBOX, Event, actor, cause, on
from ecokart.core.log import LATE, LOG, SETTLED, LogEntry, follow, stream
from ecokart.core.ports import Ports
from ecokart.core.records import CommitTooLarge
from ecokart.core.transaction import Transaction, transact
from tests.clock import ManualClock
from tests.core.little_shop import Greeted, Start, Unheard, everything, greeted, worker

BOUND_SECONDS = 10


class Visited(Event, frozen=True, kw_only=True, tag="guest.visited"):
    """A guest was here: a fact of the guest's stream."""

    guest: str

    def about(self) -> str:
        return f"guests/{self.guest}"


class Baggage(msgspec.Struct, frozen=True):
    """What a guest had along."""

    pieces: list[str]


async def visit(tx: Transaction, *guests: str, number: int = 0) -> None:
    for place, guest in enumerate(guests):
        tx.emit(Visited(guest=guest), number=number + place if number else 0)


def event_of(entry: LogEntry) -> Visited:
    return msgspec.json.decode(entry.event, type=Visited)


async def test_a_fact_of_a_stream_is_kept_when_it_has_been_handed_on(
    ports: Ports, clock: ManualClock
) -> None:
    await transact(ports, visit, "Ada", number=1)
    await worker(ports).drain()
    assert await everything(ports.records, OUTBOX) == []
    (entry,) = await stream(ports.records, "guests/Ada")
    assert (entry.name, entry.number, entry.at) == ("guest.visited", 1, clock.now())
    assert event_of(entry) == Visited(id=entry.id, at=clock.now(), guest="Ada")
    assert entry.detail is None


async def test_what_is_no_streams_fact_is_handed_on_and_not_kept(ports: Ports) -> None:
    await greeted(ports, "Ada")
    assert await everything(ports.records, LOG) == []
    assert len(await everything(ports.records, OUTBOX)) == 1


async def test_a_detail_is_in_the_log_and_travels_in_no_job(ports: Ports) -> None:
    async def arrive(tx: Transaction) -> None:
        tx.emit(Visited(guest="Ada"), number=1, detail=Baggage(["trunk", "hat"]))
        tx.emit(Visited(guest="Ada"), number=2)

    await transact(ports, arrive)
    first, second = await stream(ports.records, "guests/Ada")
    assert msgspec.json.decode(first.detail or b"", type=Baggage) == Baggage(["trunk", "hat"])
    assert second.detail is None
    (entry,) = await everything(ports.records, OUTBOX)
    assert not [event for event in entry.events if b"trunk" in bytes(event.event)]


async def test_a_commit_is_one_record_of_each_stream(ports: Ports) -> None:
    await transact(ports, visit, "Ada", "Bo", "Ada")
    kept = await everything(ports.records, LOG)
    assert sorted((one.stream, len(one.facts)) for one in kept) == [
        ("guests/Ada", 2),
        ("guests/Bo", 1),
    ]
    (entry,) = await everything(ports.records, OUTBOX)
    assert len({event.id for event in entry.events}) == 3


async def test_an_event_that_no_queue_takes_is_refused_before_anything_is_written(
    ports: Ports,
) -> None:
    with pytest.raises(CommitTooLarge):
        await transact(ports, visit, "A" * 130_000)
    assert await everything(ports.records, OUTBOX) == []


async def test_who_did_it_and_by_which_request_is_carried_through_handlers(ports: Ports) -> None:
    @on(Visited)
    async def go_on(ports: Ports, event: Visited) -> None:
        if event.guest == "Ada":
            await transact(ports, visit, "Bo")

    cause_before, actor_before = cause.set("request 7"), actor.set("staff:ida")
    await transact(ports, visit, "Ada")
    cause.reset(cause_before)
    actor.reset(actor_before)
    assert await worker(ports, go_on).drain() == 2
    for guest, who in (("Ada", "staff:ida"), ("Bo", "worker")):
        (entry,) = await stream(ports.records, f"guests/{guest}")
        event = event_of(entry)
        assert (event.actor, event.cause) == (who, "request 7")


async def test_an_outbox_entry_of_before_is_handed_on(ports: Ports) -> None:
    heard: list[str] = []

    @on(Greeted)
    async def hear(ports: Ports, event: Greeted) -> None:
        heard.append(event.guest)

    old = b'{"id":"1","name":"guest.greeted","at":"2026-03-02T09:00:00Z","event":{"name":"guest.greeted","guest":"Ada"}}'
    await worker(ports, hear).relay([OUTBOX.load_body(1, old)])
    await worker(ports, hear).drain()
    assert heard == ["Ada"]


class Follower:
    """Somebody who follows the log, a fact at a time."""

    def __init__(self, ports: Ports, entries: AsyncIterator[LogEntry]) -> None:
        self._ports, self._entries = ports, entries

    async def next(self) -> str:
        async with asyncio.timeout(BOUND_SECONDS):
            return event_of(await anext(self._entries)).guest


@pytest.fixture
async def follower(ports: Ports, clock: ManualClock) -> Follower:
    return Follower(ports, follow(ports.records, clock, clock.now(), poll_seconds=0.001))


async def test_a_follower_gets_each_fact_once_as_it_comes(
    ports: Ports, follower: Follower, clock: ManualClock
) -> None:
    for guest in "abc":
        await transact(ports, visit, guest)
        assert await follower.next() == guest
        clock.advance(seconds=1)
    await transact(ports, visit, "d", "e")
    assert [await follower.next(), await follower.next()] == ["d", "e"]


@pytest.mark.parametrize("late", [LATE * 0.5, SETTLED * 0.9])
async def test_a_follower_gets_a_fact_whose_commit_took_long(
    start: Start, clock: ManualClock, late: timedelta
) -> None:
    slow, quick = start(), start()
    follower = Follower(quick, follow(quick.records, clock, clock.now(), poll_seconds=0.001))
    tx = Transaction(slow.records, clock.now(), slow.new_id)
    await visit(tx, "slow")
    writes = tx.writes()
    for _ in range(3):
        clock.advance(seconds=late.total_seconds() / 3)
        await transact(quick, visit, "quick")
        assert await follower.next() == "quick"
    await slow.records.commit(writes)
    clock.advance(seconds=SETTLED.total_seconds() / 2)
    assert await follower.next() == "slow"
    await transact(quick, visit, "last")
    assert await follower.next() == "last"


async def test_a_signal_beside_a_fact_leaves_no_gap_in_the_log(ports: Ports) -> None:
    async def work(tx: Transaction) -> None:
        tx.emit(Visited(guest="Ada"), number=1)
        tx.emit(Unheard())
        tx.emit(Visited(guest="Ada"), number=2)

    await transact(ports, work)
    entries = await stream(ports.records, "guests/Ada")
    assert [entry.number for entry in entries] == [1, 2]
    assert [event_of(entry).id for entry in entries] == [entry.id for entry in entries]
