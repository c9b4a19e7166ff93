"""The log over every records engine: a stream's chain, and all streams in one order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import pytest

from ecokart.core.clock import Ids
from ecokart.core.events import OUTBOX, Event
from ecokart.core.log import LOG, PAGE, LogEntry, since, stream
from ecokart.core.ports import Records
from ecokart.core.records import WriteConflict
from ecokart.core.transaction import Transaction
from tests.clock import ManualClock
from tests.contracts.records_kept import Storage

TABLES = (OUTBOX, LOG)
DAY = timedelta(days=1)


class Moved(Event, frozen=True, kw_only=True, tag="thing.moved"):
    """Something was moved."""

    thing: str

    def about(self) -> str:
        return f"things/{self.thing}"


class Process:
    """One of several processes that state facts in the same records."""

    def __init__(self, records: Records, clock: ManualClock) -> None:
        self.records, self._clock, self._ids = records, clock, Ids(clock)

    async def state(self, *things: str, number: int = 0) -> None:
        """That each of these was moved, in one commit; numbered from there on, if at all."""
        tx = Transaction(self.records, self._clock.now(), self._ids)
        for place, thing in enumerate(things):
            tx.emit(Moved(thing=thing), number=number + place if number else 0)
        await self.records.commit(tx.writes())


Start = Callable[[], Process]


@pytest.fixture
async def start(storage: Storage, clock: ManualClock) -> Start:
    return lambda: Process(storage.open(TABLES), clock)


async def listed(entries: AsyncIterator[LogEntry]) -> list[LogEntry]:
    return [entry async for entry in entries]


def things(entries: list[LogEntry]) -> list[str]:
    return [entry.stream.removeprefix("things/") for entry in entries]


async def everything(process: Process, begin: datetime, end: datetime) -> list[LogEntry]:
    return await listed(since(process.records, begin, end))


async def test_a_streams_facts_form_a_chain_whoever_states_them(
    start: Start, clock: ManualClock
) -> None:
    one, two = start(), start()
    await one.state("a", number=1)
    clock.advance(seconds=1)
    await two.state("a", "a", "a", number=2)
    await two.state("b", number=1)
    clock.advance(seconds=1)
    await one.state("a", number=5)
    entries = await stream(two.records, "things/a")
    assert [entry.number for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.id for entry in entries] == sorted({entry.id for entry in entries})
    assert {entry.stream for entry in entries} == {"things/a"}


async def test_no_number_of_a_stream_is_stated_twice(start: Start) -> None:
    one, two = start(), start()
    await one.state("a", number=1)
    with pytest.raises(WriteConflict):
        await two.state("a", number=1)
    assert len(await stream(one.records, "things/a")) == 1


async def test_facts_without_a_number_are_listed_as_they_were_stated(
    start: Start, clock: ManualClock
) -> None:
    one, two = start(), start()
    for process in (one, two, one):
        await process.state("a", "b")
        clock.advance(seconds=1)
    entries = await stream(one.records, "things/a")
    assert [(entry.number, entry.at.second) for entry in entries] == [(0, 0), (0, 1), (0, 2)]
    assert await stream(one.records, "things/nothing") == []


async def test_all_streams_are_one_order_over_processes_and_years(
    start: Start, clock: ManualClock
) -> None:
    one, two = start(), start()
    begin, said = clock.now(), []
    for number in range(24):
        await [one, two][number % 2].state(f"{number}", f"{number}.")
        said += [f"{number}", f"{number}."]
        clock.advance(seconds=0.001 + number * 0.007, days=[0, 1, 40][number % 3])
    entries = await everything(one, begin, clock.now())
    assert things(entries) == said
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)


async def test_what_is_asked_for_begins_at_its_start_and_ends_before_its_end(
    start: Start, clock: ManualClock
) -> None:
    one, times = start(), []
    for number in range(5):
        times.append(clock.now())
        await one.state(f"{number}")
        clock.advance(days=2)
    assert things(await everything(one, times[1], times[3])) == ["1", "2"]
    assert things(await everything(one, times[4], clock.now())) == ["4"]
    assert await everything(one, times[2], times[2]) == []


async def test_whoever_goes_on_behind_a_fact_gets_all_that_follow(
    start: Start, clock: ManualClock
) -> None:
    one, two, begin = start(), start(), clock.now()
    for number in range(4):
        await one.state(f"{number}", f"{number}.", number=1 + number)
        await two.state(f"{number}..")  # in the same microsecond
        clock.advance(days=number)
    entries = await everything(one, begin, clock.now() + DAY)
    assert len(entries) == 12
    for place, entry in enumerate(entries):
        rest = await listed(since(one.records, begin, clock.now() + DAY, after=entry.id))
        assert things(rest) == things(entries[place + 1 :])


async def test_more_than_a_page_is_read_in_pages(start: Start, clock: ManualClock) -> None:
    one, begin = start(), clock.now()
    streams = [f"{number:03}" for number in range(PAGE + 10)]
    for first in range(0, len(streams), 70):
        await one.state(*streams[first : first + 70])
    assert things(await everything(one, begin, clock.now() + DAY)) == streams
