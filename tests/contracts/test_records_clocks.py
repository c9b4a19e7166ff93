"""Processes whose clocks differ by an hour: nothing but the ends of records depends on a clock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import msgspec
import pytest

from ecokart.core.ports import Records
from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    Check,
    Delete,
    Put,
    Reason,
    Write,
    WriteConflict,
)
from tests.clock import ManualClock
from tests.contracts.records_kept import (
    NOTES,
    STOCK,
    VISITS,
    Note,
    Stock,
    Storage,
    Visit,
    conflict,
    got,
    ids,
    put_new,
    take,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Skewed:
    """Two processes over one place, an hour before and an hour behind the `clock`."""

    fast: Records
    slow: Records
    clock: ManualClock

    @property
    def both(self) -> tuple[Records, Records]:
        return self.fast, self.slow


@pytest.fixture
async def skewed(storage: Storage, clock: ManualClock) -> Skewed:
    fast, slow = ManualClock(), ManualClock()
    fast.advance(hours=1)
    slow.advance(hours=-1)
    return Skewed(storage.open(clock=fast), storage.open(clock=slow), clock)


async def test_versions_come_in_no_clocks_order_and_never_come_back(skewed: Skewed) -> None:
    seen: list[int] = []
    for turn in range(20):
        writer, other = skewed.both[turn % 2], skewed.both[(turn + 1) % 2]
        await writer.commit([Put(NOTES, Note(id="n", number=turn), ABSENT)])
        value, version = await got(other, NOTES, "n")
        await other.commit([Put(NOTES, msgspec.structs.replace(value, text="changed"), version)])
        changed = await got(writer, NOTES, "n")
        stale = await conflict(other, Put(NOTES, value, version))
        assert stale.reason == Reason.CHANGED
        await writer.commit([Put(NOTES, value, ANY)])
        overwritten = await got(other, NOTES, "n")
        await other.commit([Delete(NOTES, "n", overwritten.version)])
        seen += [version, changed.version, overwritten.version]
    assert len(set(seen)) == 60


async def test_neither_clock_loses_an_update_or_sells_too_much(skewed: Skewed) -> None:
    await put_new(skewed.slow, NOTES, Note(id="n"))
    await put_new(skewed.fast, STOCK, Stock(id="s", available=15))

    async def count_up(records: Records) -> None:
        while True:
            value, version = await got(records, NOTES, "n")
            more = msgspec.structs.replace(value, number=value.number + 1)
            try:
                return await records.commit([Put(NOTES, more, version)])
            except WriteConflict:
                continue

    await asyncio.gather(*[count_up(skewed.both[n % 2]) for n in range(20)])
    sales = [skewed.both[n % 2].commit([take("s")]) for n in range(20)]
    outcomes = await asyncio.gather(*sales, return_exceptions=True)
    assert [outcome is None for outcome in outcomes].count(True) == 15
    for records in skewed.both:
        assert (await got(records, NOTES, "n")).value.number == 20
        assert (await got(records, STOCK, "s")).value.reserved == 15


async def test_a_record_ends_by_the_clock_of_whoever_asks(skewed: Skewed) -> None:
    """For all it asks: what it reads and what it conditions. For the other it's there, or removed already."""
    fast, slow = skewed.both
    await put_new(slow, VISITS, Visit(id="v", until=skewed.clock.now(), hits=3))
    kept = await got(slow, VISITS, "v")
    assert await fast.get(VISITS, "v") is None
    assert (await fast.query(VISITS, "by_shelf", "a")).values == []
    assert (await fast.scan(VISITS)).values == []
    gone: list[Write] = [
        Put(VISITS, kept.value, kept.version),
        Delete(VISITS, "v", kept.version),
        Check(VISITS, "v", kept.version),
        Adjust(VISITS, "v", {"hits": 1}, skewed.clock.now()),
    ]
    for write in gone:
        assert (await conflict(fast, write)).reason == Reason.GONE
    await fast.commit([Check(VISITS, "v", ABSENT)])
    assert await slow.get(VISITS, "v") in (kept, None)


async def test_what_ends_later_by_its_own_clock_is_kept_whatever_the_others_say(
    skewed: Skewed,
) -> None:
    fast, slow = skewed.both
    later = skewed.clock.now() + HOUR + MINUTE
    await put_new(slow, VISITS, Visit(id="v", until=later))
    for records in skewed.both:
        await records.commit([Adjust(VISITS, "v", {"hits": 1}, skewed.clock.now())])
        assert ids((await records.query(VISITS, "by_shelf", "a")).values) == ["v"]
        exists = await conflict(records, Check(VISITS, "v", ABSENT))
        assert exists.reason == Reason.EXISTS
    assert (await got(fast, VISITS, "v")).value == Visit(id="v", until=later, hits=2)


async def test_what_one_clock_has_ended_the_other_may_find_replaced(skewed: Skewed) -> None:
    fast, slow = skewed.both
    await put_new(slow, VISITS, Visit(id="v", until=skewed.clock.now(), hits=3))
    old = await got(slow, VISITS, "v")
    await fast.commit([Put(VISITS, Visit(id="v", hits=9), ABSENT)])
    new = await got(slow, VISITS, "v")
    assert new.value == Visit(id="v", hits=9)
    assert new.version != old.version
    assert (await conflict(slow, Put(VISITS, old.value, old.version))).reason == Reason.CHANGED


async def test_a_record_put_after_its_end_was_never_there(storage: Storage) -> None:
    """A slow process may put what has ended for itself already: that is no error, and no record."""
    clock = ManualClock()
    records = storage.open(clock=clock)
    ended = Visit(id="v", until=clock.now())
    await records.commit([Put(VISITS, ended, ABSENT)])
    assert await records.get(VISITS, "v") is None
    await records.commit([Put(VISITS, ended, ABSENT), Check(NOTES, "none", ABSENT)])
    await records.commit([Put(VISITS, ended, ANY)])
    assert (await records.scan(VISITS)).values == []
    assert (await records.query(VISITS, "by_shelf", "a")).values == []
    await records.commit([Put(VISITS, Visit(id="v", until=clock.now() + MINUTE), ABSENT)])
    assert (await got(records, VISITS, "v")).value.until == clock.now() + MINUTE


async def test_an_expired_record_among_others_is_blamed_as_gone(
    records: Records, clock: ManualClock
) -> None:
    """In a long commit too, of one kind or many, and only where it is the first that fails."""
    visits = [Visit(id=f"{n:02}", until=clock.now() + HOUR if n == 7 else None) for n in range(20)]
    await put_new(records, VISITS, *visits)
    read = {visit.id: await got(records, VISITS, visit.id) for visit in visits}
    clock.advance(hours=1)
    alike: list[list[Write]] = [
        [Put(VISITS, one.value, one.version) for one in read.values()],
        [Delete(VISITS, key, one.version) for key, one in read.items()],
        [Check(VISITS, key, one.version) for key, one in read.items()],
        [Adjust(VISITS, key, {"hits": 1}, clock.now()) for key in read],
    ]
    mixed: list[Write] = [alike[n % 4][n] for n in range(20)]
    for writes in [*alike, mixed]:
        failure = await conflict(records, *writes)
        assert (failure.table, failure.key, failure.reason) == ("visits", "07", Reason.GONE)
        for key, one in read.items():
            assert await records.get(VISITS, key) == (None if key == "07" else one)
    there: Write = Put(VISITS, Visit(id="03"), ABSENT)
    first = await conflict(records, *mixed[:3], there, *mixed[4:])
    assert (first.key, first.reason) == ("03", Reason.EXISTS)
