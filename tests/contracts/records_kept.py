"""What the records' contract tests keep, and how they look at it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from ecokart.core.clock import Clock
from ecokart.core.ports import Records
from ecokart.core.records import (
    ABSENT,
    Adjust,
    Cursor,
    Put,
    T,
    Table,
    Versioned,
    Write,
    WriteConflict,
)

MORNING = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A plain record in two orders; without `placed` it is in no dated index."""

    id: str
    shelf: str = "a"
    placed: str | None = None
    text: str = ""
    number: int = 0


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """Counters: what is there may not go below nothing, a balance may go down to -5."""

    id: str
    available: int = 0
    reserved: int = 0
    balance: int = 0
    changed: datetime = MORNING
    title: str = ""


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A record that ends by itself."""

    id: str
    until: datetime | None = None
    shelf: str = "a"
    hits: int = 0


NOTES = Table(
    "notes",
    Note,
    key="id",
    indexes={
        "by_shelf": ("shelf",),
        "oldest": ("shelf", "placed"),
        "newest": ("shelf", "-placed"),
        "by_number": ("shelf", "number"),
    },
)
STOCK = Table(
    "stock",
    Stock,
    key="id",
    counters={"available": 0, "reserved": 0, "balance": -5},
    touched="changed",
)
VISITS = Table(
    "visits",
    Visit,
    key="id",
    indexes={"by_shelf": ("shelf",)},
    counters={"hits": 0},
    expires="until",
)
TABLES = (NOTES, STOCK, VISITS)


class Storage(Protocol):
    """An engine's place to keep records, empty at first, which can be opened more than once."""

    name: str
    location: str

    def open(
        self,
        tables: Iterable[Table[Any]] = TABLES,
        *,
        clock: Clock | None = None,
        location: str | None = None,
    ) -> Records:
        """Another instance over the same place, as another process would have. Closed by the fixture.

        `clock` is that process's own, `location` another way to the same place.
        """
        ...


class Opener(Protocol):
    """Opens a location that another process made."""

    def __call__(self, location: str, tables: Iterable[Table[Any]], clock: Clock) -> Records: ...


async def got(records: Records, table: Table[T], key: str) -> Versioned[T]:
    found = await records.get(table, key)
    assert found is not None, f"{table.name}/{key} is missing"
    return found


async def put_new(records: Records, table: Table[T], *values: T) -> None:
    for start in range(0, len(values), 100):
        await records.commit([Put(table, value, ABSENT) for value in values[start : start + 100]])


def take(key: str, count: int = 1) -> Adjust:
    return Adjust(STOCK, key, {"available": -count, "reserved": count}, MORNING)


async def conflict(records: Records, *writes: Write) -> WriteConflict:
    """The conflict that a commit ends in."""
    try:
        await records.commit(writes)
    except WriteConflict as error:
        return error
    raise AssertionError("the commit held")


async def paged(
    records: Records, index: str, shelf: str, limit: int, after: Cursor | None = None
) -> list[str]:
    """The keys of a whole index of notes, read page by page."""
    keys: list[str] = []
    while True:
        page = await records.query(NOTES, index, shelf, after=after, limit=limit)
        assert len(page.values) <= limit
        keys += ids(page.values)
        if page.after is None:
            return keys
        after = page.after


def ids(values: Sequence[Note | Stock | Visit]) -> list[str]:
    return [value.id for value in values]
