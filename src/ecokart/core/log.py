"""The log: every fact that was stated of a stream, in order, for ever.

A stream is what the facts are about (`orders/EK-…`); within it they are numbered, or as old as their
ids say. Over all of them the order is that of the ids, which is the order in which they were decided:
exact within a process, and between processes as exact as their clocks. A commit may hold a moment
after its ids were made, so the newest `SETTLED` may still be joined by others.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta

import msgspec

from ecokart.core.events import OutboxEntry
from ecokart.core.ports import Records
from ecokart.core.records import Table

# A day is kept in so many parts, so that no part of an engine's index takes every order of the shop.
PARTS = 4
PAGE = 200
# No commit is tried for longer than this, so nothing older than that is still to come.
SETTLED = timedelta(seconds=60)
NOTHING = msgspec.Raw(b"null")


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A fact as it was stated. `event` says who did it, when and by which request; `detail` is what it
    says beyond that, in a form of the stream's own. `number` counts a stream's facts from 1, or is 0."""

    id: str
    name: str
    stream: str
    number: int
    part: str
    at: datetime
    event: msgspec.Raw
    detail: msgspec.Raw = NOTHING


LOG = Table(
    "log",
    LogEntry,
    key="id",
    indexes={"by_stream": ("stream", "id"), "by_part": ("part", "id")},
)

_encode = msgspec.json.Encoder().encode


def logged(entry: OutboxEntry, stream: str, number: int, detail: msgspec.Struct | None) -> LogEntry:
    """The entry of the log for a fact that goes into the outbox."""
    return LogEntry(
        id=entry.id,
        name=entry.name,
        stream=stream,
        number=number,
        part=_part(entry.at, int(entry.id[-1], 16) % PARTS),
        at=entry.at,
        event=entry.event,
        detail=NOTHING if detail is None else msgspec.Raw(_encode(detail)),
    )


async def stream(records: Records, name: str) -> list[LogEntry]:
    """Every fact of a stream, the first one first."""
    found: list[LogEntry] = []
    after = None
    while True:
        page = await records.query(LOG, "by_stream", name, after=after, limit=PAGE)
        found += page.values
        if (after := page.after) is None:
            return sorted(found, key=lambda entry: (entry.number, entry.id))


async def since(
    records: Records, start: datetime, end: datetime, *, after: str = ""
) -> AsyncIterator[LogEntry]:
    """Every fact stated from `start` up to `end`, in order, behind the entry with the id `after`.

    Whoever goes on from the last one it had begins a little before it: see `SETTLED`.
    """
    day = start.date()
    while day <= end.date():
        parts = [_read(records, day, part, after) for part in range(PARTS)]
        async for entry in _merged(parts):
            if start <= entry.at < end:
                yield entry
        day += timedelta(days=1)


async def _read(records: Records, day: date, part: int, after: str) -> AsyncIterator[LogEntry]:
    """One part of a day's facts, in order."""
    cursor: tuple[str, str] | None = (after, after) if after else None
    while True:
        page = await records.query(LOG, "by_part", _part(day, part), after=cursor, limit=PAGE)
        for entry in page.values:
            yield entry
        if page.after is None:
            return
        cursor = (str(page.after[0]), page.after[1])


async def _merged(parts: list[AsyncIterator[LogEntry]]) -> AsyncIterator[LogEntry]:
    """What comes from all of them, by id."""
    heads: list[tuple[str, int, LogEntry]] = []
    for number, part in enumerate(parts):
        if first := await anext(part, None):
            heads.append((first.id, number, first))
    heapq.heapify(heads)
    while heads:
        _, number, entry = heads[0]
        yield entry
        if following := await anext(parts[number], None):
            heapq.heapreplace(heads, (following.id, number, following))
        else:
            heapq.heappop(heads)


def _part(day: date, part: int) -> str:
    return f"{day:%Y-%m-%d}.{part}"
