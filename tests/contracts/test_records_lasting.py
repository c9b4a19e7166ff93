"""What `Records` keep over time: ends, touched times, older shapes, new columns, and closing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.ports import Records
from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    Check,
    Delete,
    Put,
    Reason,
    Table,
    Write,
    microseconds,
)
from tests.clock import ManualClock
from tests.contracts.records_kept import (
    MORNING,
    NOTES,
    STOCK,
    TABLES,
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

# Expiry.


async def test_a_record_is_gone_once_its_end_has_come(records: Records, clock: ManualClock) -> None:
    end = clock.now() + HOUR
    await put_new(records, VISITS, Visit(id="ends", until=end), Visit(id="stays"))
    clock.advance(minutes=59, seconds=59)
    assert ids((await records.query(VISITS, "by_shelf", "a")).values) == ["ends", "stays"]
    assert (await got(records, VISITS, "ends")).value.until == end
    clock.advance(seconds=1)
    assert await records.get(VISITS, "ends") is None
    assert ids((await records.query(VISITS, "by_shelf", "a")).values) == ["stays"]
    assert ids((await records.scan(VISITS)).values) == ["stays"]


async def test_an_expired_record_leaves_its_key_free(records: Records, clock: ManualClock) -> None:
    end = clock.now() + HOUR
    await put_new(records, VISITS, Visit(id="v", until=end, shelf="old", hits=7))
    first = (await got(records, VISITS, "v")).version
    assert (await conflict(records, Put(VISITS, Visit(id="v"), ABSENT))).reason == Reason.EXISTS
    clock.advance(hours=1)
    await records.commit([Put(VISITS, Visit(id="v", until=end + HOUR), ABSENT)])
    found = await got(records, VISITS, "v")
    assert found.value == Visit(id="v", until=end + HOUR)
    assert found.version != first
    assert (await records.query(VISITS, "by_shelf", "old")).values == []


async def test_an_expired_record_is_gone_for_every_condition(
    records: Records, clock: ManualClock
) -> None:
    await put_new(records, VISITS, Visit(id="v", until=clock.now() + HOUR))
    version = (await got(records, VISITS, "v")).version
    clock.advance(hours=1)
    writes: list[Write] = [
        Put(VISITS, Visit(id="v"), version),
        Delete(VISITS, "v", version),
        Check(VISITS, "v", version),
        Adjust(VISITS, "v", {"hits": 1}, clock.now()),
    ]
    for write in writes:
        assert (await conflict(records, write)).reason == Reason.GONE
    await records.commit([Check(VISITS, "v", ABSENT)])
    await records.commit([Delete(VISITS, "v", ANY)])
    await records.commit([Put(VISITS, Visit(id="v"), ANY)])
    assert (await got(records, VISITS, "v")).value == Visit(id="v")


async def test_an_end_may_be_moved(records: Records, clock: ManualClock) -> None:
    await put_new(records, VISITS, Visit(id="v", until=clock.now() + HOUR))
    version = (await got(records, VISITS, "v")).version
    await records.commit([Put(VISITS, Visit(id="v", until=clock.now() + 2 * HOUR), version)])
    clock.advance(minutes=90)
    await records.commit([Adjust(VISITS, "v", {"hits": 2}, clock.now())])
    assert (await got(records, VISITS, "v")).value.hits == 2


async def test_an_end_in_another_time_zone_is_the_same_moment(
    records: Records, clock: ManualClock
) -> None:
    berlin_summer = timezone(timedelta(hours=2))
    end = (clock.now() + HOUR).astimezone(berlin_summer)
    await put_new(records, VISITS, Visit(id="v", until=end))
    clock.advance(minutes=59)
    assert await records.get(VISITS, "v") is not None
    clock.advance(minutes=1)
    assert await records.get(VISITS, "v") is None


async def test_a_time_without_a_zone_is_refused(records: Records) -> None:
    with pytest.raises(Invalid):
        await put_new(records, VISITS, Visit(id="v", until=datetime(2030, 1, 1)))  # noqa: DTZ001


# Touched.


async def test_an_adjust_sets_the_touched_time(records: Records) -> None:
    later = MORNING + timedelta(minutes=3, microseconds=7)
    await put_new(records, STOCK, Stock(id="s", available=1))
    await records.commit([Adjust(STOCK, "s", {"available": 1}, later)])
    assert (await got(records, STOCK, "s")).value.changed == later
    await records.commit([Put(STOCK, Stock(id="s", changed=MORNING), ANY)])
    assert (await got(records, STOCK, "s")).value.changed == MORNING


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A record that readers follow by what changed last."""

    id: str
    count: int = 0
    kind: str = "move"
    at: datetime = MORNING


MOVES = Table(
    "moves",
    Move,
    key="id",
    counters={"count": 0},
    touched="at",
    indexes={"changed": ("kind", "at"), "by_count": ("kind", "-count")},
)


async def test_indexes_follow_counters_and_touched_times(storage: Storage) -> None:
    records = storage.open([MOVES])
    await put_new(records, MOVES, Move(id="a"), Move(id="b"))
    later = MORNING + timedelta(seconds=1)
    await records.commit([Adjust(MOVES, "a", {"count": 5}, later)])
    changed = await records.query(MOVES, "changed", "move")
    assert changed.values == [Move(id="b"), Move(id="a", count=5, at=later)]
    most = await records.query(MOVES, "by_count", "move", limit=1)
    assert most.values == [Move(id="a", count=5, at=later)]
    since = await records.query(MOVES, "changed", "move", after=(microseconds(later) - 1, ""))
    assert [move.id for move in since.values] == ["a"]


# Closing, opening again, and declarations that have changed since.


async def test_what_was_committed_is_there_after_closing(storage: Storage) -> None:
    first = storage.open()
    await put_new(first, STOCK, Stock(id="s", available=9, title="Soap"))
    await first.commit([take("s", 2)])
    before = await got(first, STOCK, "s")
    await first.close()
    assert await got(storage.open(), STOCK, "s") == before


async def test_closing_finishes_what_was_begun_and_takes_nothing_more(storage: Storage) -> None:
    first = storage.open()
    begun = [asyncio.create_task(put_new(first, NOTES, Note(id=f"n{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await first.close()
    await asyncio.gather(*begun)
    with pytest.raises(Unavailable):
        await put_new(first, NOTES, Note(id="late"))
    with pytest.raises(Unavailable):
        await first.get(NOTES, "n1")
    await first.close()  # twice is harmless
    assert len((await storage.open().scan(NOTES)).values) == 20


class Person1(msgspec.Struct, frozen=True, kw_only=True):
    """A person as the first release kept it."""

    id: str
    name: str
    points: int = 0


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A person now: two names instead of one, and how they were found."""

    id: str
    given: str
    family: str
    points: int = 0
    stars: int = 0
    source: str = "unknown"


def _two_names(old: dict[str, Any]) -> dict[str, Any]:
    given, _, family = old.pop("name").partition(" ")
    return {**old, "given": given, "family": family}


def _source(old: dict[str, Any]) -> dict[str, Any]:
    return {**old, "source": "before 2026"}


PEOPLE_1 = Table("people", Person1, key="id", counters={"points": 0})
PEOPLE = Table(
    "people",
    Person,
    key="id",
    shape=3,
    upgrades={1: _two_names, 2: _source},
    counters={"points": 0, "stars": 0},
    indexes={"by_family": ("family", "given")},
)
ADA = Person(id="1", given="Ada", family="Lovelace", points=3, source="before 2026")


async def _first_release(storage: Storage) -> None:
    old = storage.open([PEOPLE_1])
    await put_new(old, PEOPLE_1, Person1(id="1", name="Ada Lovelace"), Person1(id="2", name="Bo"))
    await old.commit([Adjust(PEOPLE_1, "1", {"points": 3}, MORNING)])
    await old.close()


async def test_a_record_of_an_older_shape_is_read_as_todays(storage: Storage) -> None:
    await _first_release(storage)
    records = storage.open([PEOPLE])
    assert (await got(records, PEOPLE, "1")).value == ADA
    assert [person.given for person in (await records.scan(PEOPLE)).values] == ["Ada", "Bo"]


async def test_a_column_declared_later_is_filled_for_older_records(storage: Storage) -> None:
    await _first_release(storage)
    records = storage.open([PEOPLE])
    assert (await records.query(PEOPLE, "by_family", "Lovelace")).values == [ADA]
    await records.commit([Adjust(PEOPLE, "1", {"stars": 2, "points": -3}, MORNING)])
    found = (await got(records, PEOPLE, "1")).value
    assert (found.points, found.stars) == (0, 2)


async def test_a_record_of_an_older_shape_is_rewritten_in_todays(storage: Storage) -> None:
    await _first_release(storage)
    records = storage.open([PEOPLE])
    value, version = await got(records, PEOPLE, "1")
    changed = msgspec.structs.replace(value, family="King")
    await records.commit([Put(PEOPLE, changed, version)])
    await records.close()
    assert (await got(storage.open([PEOPLE]), PEOPLE, "1")).value == changed


async def test_opening_with_more_tables_keeps_those_that_were_there(storage: Storage) -> None:
    first = storage.open([NOTES])
    await put_new(first, NOTES, Note(id="n"))
    await first.close()
    second = storage.open(TABLES)
    await put_new(second, STOCK, Stock(id="s"))
    assert await second.get(NOTES, "n") is not None


async def test_times_keep_their_microseconds(records: Records) -> None:
    exact = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    await put_new(records, STOCK, Stock(id="s", changed=exact))
    assert (await got(records, STOCK, "s")).value.changed == exact
