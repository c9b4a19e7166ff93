"""The log: every fact that was stated of a stream, in order, for ever.

A stream is what the facts are about (`orders/EK-…`). What one commit states of a stream is one record.
Where a stream's facts are numbered they form a chain: the first one's number is in the record's key, so
the next record's key follows from it, no index is asked, and no number is there twice.

Over all streams the order is that of the ids, which are made as the commit is sent: exact within a
process, and between processes as exact as their clocks. A commit's facts stand together. Times here are
those of the ids; the `at` of a fact is when its transaction began, a moment before. A commit holds a
moment after its ids were made, so among the newest there may still be gaps: see `SETTLED`.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from ecokart.core.clock import Clock, first_id, following
from ecokart.core.events import Event, OutboxEntry, Stated, stated
from ecokart.core.ports import Records
from ecokart.core.records import Table

PAGE = 200
# No shop is older: whoever asks for everything begins here.
BEGINNING = datetime(2025, 1, 1, tzinfo=UTC)
# No engine tries a commit for longer than this: what was stated before it is complete.
SETTLED = timedelta(seconds=60)
# Who follows looks back so far each time, and by the time a commit has settled once as far as that.
LATE = timedelta(seconds=3)
POLL_SECONDS = 0.5
# An id begins with twelve digits of milliseconds. The first five change every 2^28 of them (three days),
# the eleventh every sixteen. So the facts of three days are in sixteen parts, and what is stated within
# a second goes to all of them in turn: no partition of an index takes everything, nor is a commit
# spread over all of their pages.
PERIOD_DIGITS = 5
PARTS = "0123456789abcdef"


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A fact as it is stored. Its id follows that of the one before it, and the first has the record's."""

    name: str
    event: msgspec.Raw
    detail: msgspec.Raw  # `null` where there is none; msgspec reads no `Raw | None`


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What one commit stated of one stream. `number` is the first fact's, or 0 where they aren't numbered.

    `unnumbered` is the stream again, for the index, where they aren't. It has the first one's id.
    """

    key: str
    id: str
    part: str
    stream: str
    unnumbered: str | None = None
    number: int
    at: datetime
    facts: tuple[Kept, ...]


LOG = Table(
    "log",
    Statement,
    key="key",
    indexes={"by_part": ("part", "id"), "by_stream": ("unnumbered", "id")},
)


class LogEntry(NamedTuple):
    """A fact as it was stated. `event` says who did it and by which request; `detail` is what the fact
    says beyond that, in a form of the stream's own. `number` counts a stream's facts from 1, or is 0."""

    id: str
    name: str
    stream: str
    number: int
    at: datetime
    event: msgspec.Raw
    detail: msgspec.Raw | None


class Emitted(NamedTuple):
    """An event that a transaction emits, and what the log shall know of it."""

    event: Event
    number: int
    detail: msgspec.Struct | None


NO_DETAIL = msgspec.Raw(b"null")

_encode = msgspec.json.Encoder().encode


def statements(
    emitted: Sequence[Emitted], at: datetime, new_id: Callable[[], str]
) -> tuple[OutboxEntry, list[Statement]]:
    """What a commit keeps of its events: all of them until they are handed on, and for ever those of a stream.

    A stream's facts stand together, so theirs are ids between which there is no other. Raises `CommitTooLarge`.
    """
    streams: dict[tuple[str, bool], list[Emitted]] = {}
    for one in emitted:
        streams.setdefault((one.event.about(), one.number > 0), []).append(one)
    ids = iter(following(new_id(), len(emitted)))
    events: list[Stated] = []
    kept: list[Statement] = []
    for (stream, numbered), ones in streams.items():
        said = [stated(one.event, next(ids), at) for one in ones]
        events += said
        if stream:
            facts = [
                Kept(one.name, one.event, _detail(given.detail))
                for one, given in zip(said, ones, strict=True)
            ]
            number = ones[0].number if numbered else 0
            kept.append(_statement(stream, number, said[0].id, at, tuple(facts)))
    return OutboxEntry(events[0].id, at, tuple(events)), kept


def _detail(detail: msgspec.Struct | None) -> msgspec.Raw:
    return msgspec.Raw(_encode(detail))


def _statement(
    stream: str, number: int, first: str, at: datetime, facts: tuple[Kept, ...]
) -> Statement:
    return Statement(
        key=_key(stream, number) if number else first,
        id=first,
        part=f"{first[:PERIOD_DIGITS]}{first[10]}",
        stream=stream,
        unnumbered=None if number else stream,
        number=number,
        at=at,
        facts=facts,
    )


def _key(stream: str, number: int) -> str:
    return f"{stream}#{number}"


async def stream(records: Records, name: str) -> list[LogEntry]:
    """Every fact of a stream, the first one first: those that aren't numbered, and then the chain.

    The chain has what any commit acknowledged before the call has stated; others may lag a moment.
    """
    loose, chain = await asyncio.gather(_loose(records, name), _chain(records, name))
    return loose + chain


async def _chain(records: Records, name: str) -> list[LogEntry]:
    found: list[LogEntry] = []
    number = 1
    while versioned := await records.get(LOG, _key(name, number)):
        found += _entries(versioned.value)
        number += len(versioned.value.facts)
    return found


async def _loose(records: Records, name: str) -> list[LogEntry]:
    found: list[LogEntry] = []
    after = None
    while True:
        page = await records.query(LOG, "by_stream", name, after=after, limit=PAGE)
        found += [entry for statement in page.values for entry in _entries(statement)]
        if (after := page.after) is None:
            return found


def _entries(statement: Statement) -> list[LogEntry]:
    number, ids = statement.number, following(statement.id, len(statement.facts))
    return [
        LogEntry(
            id=ids[place],
            name=fact.name,
            stream=statement.stream,
            number=number + place if number else 0,
            at=statement.at,
            event=fact.event,
            detail=fact.detail if fact.detail != NO_DETAIL else None,
        )
        for place, fact in enumerate(statement.facts)
    ]


async def since(
    records: Records, start: datetime, end: datetime, *, after: str = ""
) -> AsyncIterator[LogEntry]:
    """Every fact from `start` up to `end`, in order, behind the fact with the id `after`.

    Up to `SETTLED` ago that is all there will ever be.
    """
    begin, stop = max(first_id(start), _statement_before(after)), first_id(end)
    for period in range(_period(begin), _period(stop) + 1):
        parts = [_read(records, f"{period:0{PERIOD_DIGITS}x}{part}", begin, stop) for part in PARTS]
        async for statement in _merged(parts):
            for entry in _entries(statement):
                if entry.id > after:
                    yield entry


async def follow(
    records: Records, clock: Clock, start: datetime, *, poll_seconds: float = POLL_SECONDS
) -> AsyncIterator[LogEntry]:
    """Every fact from `start` on, as it comes, without end: in order, but for those whose commit took long."""
    seen: set[str] = set()
    looked = thorough = start
    while True:
        now = clock.now()
        far_back = now - thorough >= SETTLED / 2
        begin = min(looked - LATE, thorough - SETTLED) if far_back else looked - LATE
        # Other processes' clocks may be ahead of this one's.
        async for entry in since(records, max(start, begin), now + SETTLED):
            if entry.id not in seen:
                seen.add(entry.id)
                yield entry
        looked, thorough = now, now if far_back else thorough
        forgotten = first_id(thorough - 2 * SETTLED)
        seen = {one for one in seen if one >= forgotten}
        await asyncio.sleep(poll_seconds)


def _period(begin: str) -> int:
    return int(begin[:PERIOD_DIGITS], 16)


def _statement_before(fact_id: str) -> str:
    """A place before the statement that the fact is of: it has the first one's id, and fewer facts than this."""
    return f"{int(fact_id, 16) - 0x10000:032x}" if fact_id else ""


async def _read(records: Records, part: str, begin: str, stop: str) -> AsyncIterator[Statement]:
    """What a part has between those ids, in order."""
    after: tuple[str | int, str] | None = (begin, "")
    while after:
        page = await records.query(LOG, "by_part", part, after=after, limit=PAGE)
        for statement in page.values:
            if statement.id >= stop:
                return
            yield statement
        after = page.after


async def _merged(parts: list[AsyncIterator[Statement]]) -> AsyncIterator[Statement]:
    """What comes from all of them, by id."""
    firsts = await asyncio.gather(*[anext(part, None) for part in parts])
    heads = [(first.id, place, first) for place, first in enumerate(firsts) if first]
    heapq.heapify(heads)
    while heads:
        _, place, statement = heads[0]
        yield statement
        if following_one := await anext(parts[place], None):
            heapq.heapreplace(heads, (following_one.id, place, following_one))
        else:
            heapq.heappop(heads)
