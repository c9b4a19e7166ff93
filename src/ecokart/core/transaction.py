"""`transact`: the one road on which anything changes.

A service function takes a `Transaction`, reads, decides, and says what is to be written. Nothing is
sent until it returns; then all of it goes out as one commit. If somebody else was quicker, the
function runs again on what is there now, so it may do nothing outside but through its transaction.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from ecokart.core.errors import Conflict, Problem, Unavailable
from ecokart.core.events import OUTBOX, Event, OutboxEntry
from ecokart.core.log import LOG, Emitted, statements
from ecokart.core.ports import Ports, Records
from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    BelowFloor,
    Check,
    Cursor,
    Delete,
    Page,
    Put,
    Reason,
    Sortable,
    T,
    Table,
    Versioned,
    Write,
    WriteConflict,
)

ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 0.002
LONGEST_PAUSE_SECONDS = 0.25

# A table's name and a record's key.
Place = tuple[str, str]

P = ParamSpec("P")
R = TypeVar("R")


class Contended(Unavailable):
    """Too many people are changing this at once. Please try again."""


class AlreadyThere(Conflict):
    """This is there already.

    A transaction added a record that it hadn't read, and there is one with its key.
    """


class Transaction:
    """What one run of a service function read and wants written.

    Reads are remembered with their version, and a `put` or `delete` of a record that was read holds
    only if it is still at that version. Reading again gives what this transaction has put.
    """

    def __init__(self, records: Records, now: datetime, new_id: Callable[[], str]) -> None:
        self.now = now
        self.new_id = new_id
        self.stated: OutboxEntry | None = None
        self._emitted: list[Emitted] = []
        self._records = records
        self._seen: dict[Place, Versioned[Any] | None] = {}
        self._writes: dict[Place, Write] = {}
        self._refusals: dict[Place, Problem] = {}

    async def get(self, table: Table[T], key: str) -> T | None:
        """The record as this transaction has put it or first read it, or else as it is now.

        Read twice it is the same: what was decided on the first reading must still be true when
        the commit holds. An `adjust` of this transaction doesn't show in it yet.
        """
        place = (table.name, key)
        pending = self._writes.get(place)
        if isinstance(pending, Put | Delete):
            return pending.value if isinstance(pending, Put) else None
        if place not in self._seen:
            self._seen[place] = await self._records.get(table, key)
        found: Versioned[T] | None = self._seen[place]
        return found.value if found else None

    async def query(
        self,
        table: Table[T],
        index: str,
        value: Sortable,
        *,
        after: Cursor | None = None,
        limit: int = 100,
    ) -> Page[T]:
        """A page of an index. It may lag a moment behind: `get` what you mean to change."""
        return await self._records.query(table, index, value, after=after, limit=limit)

    def put(self, table: Table[T], value: T) -> None:
        """Store a record that this transaction read or put (or found missing), if nobody changed it since."""
        self._put(table, value, self._expected(table.name, table.key_of(value)))

    def add(self, table: Table[T], value: T) -> None:
        """Store a new record, if there is none with its key."""
        pending = self._writes.get((table.name, table.key_of(value)))
        self._put(table, value, pending.expected if isinstance(pending, Delete) else ABSENT)

    def overwrite(self, table: Table[T], value: T) -> None:
        """Store a record whatever is there."""
        self._put(table, value, ANY)

    def delete(self, table: Table[Any], key: str) -> None:
        """Remove a record: as it was read, or whatever is there if it wasn't."""
        place = (table.name, key)
        expected = self._expected(*place) if place in self._seen else ANY
        self._writes.pop(place, None)
        if expected != ABSENT:
            self._writes[place] = Delete(table, key, expected)

    def check(self, table: Table[Any], key: str) -> None:
        """Let the commit hold only if this record is still as it was read."""
        place = (table.name, key)
        expected = self._expected(*place)
        if isinstance(self._writes.get(place), Adjust):
            raise TypeError(f"{table.name}/{key} is already adjusted in this transaction")
        self._writes.setdefault(place, Check(table, key, expected))

    def adjust(
        self, table: Table[Any], key: str, *, refusal: Problem | None = None, **add: int
    ) -> None:
        """Add to a record's counters. Several adjustments of one record become their sum.

        `refusal` is what the caller of `transact` gets where a counter would fall below its floor,
        or where there is no such record.
        """
        place = (table.name, key)
        if refusal:
            self._refusals[place] = refusal
        pending = self._writes.get(place)
        if isinstance(pending, Adjust):
            add = {c: pending.add.get(c, 0) + add.get(c, 0) for c in {**pending.add, **add}}
        elif pending is not None:
            raise TypeError(f"{table.name}/{key} is already written in this transaction")
        self._writes[place] = Adjust(table, key, add, self.now)

    def emit(self, event: Event, *, number: int = 0, detail: msgspec.Struct | None = None) -> None:
        """State a fact. Whoever reacts to it hears of it after the commit, at least once.

        If it is a fact of a stream it is logged, as that stream's `number`-th where its facts are
        counted, with `detail`: what those who react needn't carry.
        """
        self._emitted.append(Emitted(event, number, detail))

    def streams(self) -> set[str]:
        """The streams of which a fact was stated."""
        return {stream for emitted in self._emitted if (stream := emitted.event.about())}

    def writes(self) -> list[Write]:
        """What the commit holds if it is sent now, without adjustments that cancelled out.

        The events are stated with this, so that their ids are no older than need be. Raises `CommitTooLarge`.
        """
        if self._emitted and self.stated is None:
            self.stated, kept = statements(self._emitted, self.now, self.new_id)
            self.add(OUTBOX, self.stated)
            for statement in kept:
                self.add(LOG, statement)
        return [
            w for w in self._writes.values() if not isinstance(w, Adjust) or any(w.add.values())
        ]

    def refusal(self, conflict: WriteConflict, earlier: Collection[Place]) -> Problem | None:
        """What it means to the one who asked that this can't be, or None if it's worth another run.

        `earlier` are the places of earlier runs' conflicts. A key that was added unread and is taken
        may be another one in the next run, as a new id is; if it comes again it will come for ever.
        """
        place = (conflict.table, conflict.key)
        refusal = self._refusals.get(place)
        if isinstance(conflict, BelowFloor):
            return refusal or conflict
        if conflict.reason is Reason.EXISTS and place not in self._seen and place in earlier:
            return AlreadyThere(f"{conflict.table}/{conflict.key}")
        return refusal if conflict.reason is Reason.GONE else None

    def _put(self, table: Table[T], value: T, expected: int) -> None:
        if table.touched:
            value = msgspec.structs.replace(value, **{table.touched: self.now})
        place = (table.name, table.key_of(value))
        if isinstance(self._writes.get(place), Adjust):
            raise TypeError(f"{place[0]}/{place[1]} is already adjusted in this transaction")
        self._writes[place] = Put(table, value, expected)

    def _expected(self, table: str, key: str) -> int:
        if (table, key) in self._seen:
            found = self._seen[table, key]
            return found.version if found else ABSENT
        pending = self._writes.get((table, key))
        if isinstance(pending, Put | Delete):
            return pending.expected
        raise KeyError(f"{table}/{key} was not read in this transaction")


async def transact(
    ports: Ports,
    work: Callable[Concatenate[Transaction, P], Awaitable[R]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run `work(tx, …)` and commit what it wrote; run it again if somebody else was quicker.

    Raises what `work` raises, an adjustment's `refusal` where a counter ran out, `AlreadyThere` where it
    adds what exists without having read it, `Contended` after the last attempt, and `OutcomeUnknown`
    where the engine can't know: then it may or may not be stored.
    """
    conflicts: set[Place] = set()
    for attempt in range(ATTEMPTS):
        tx = Transaction(ports.records, ports.clock.now(), ports.new_id)
        result = await work(tx, *args, **kwargs)
        writes = tx.writes()
        if not writes:
            return result
        try:
            await ports.records.commit(writes)
        except WriteConflict as conflict:
            if refusal := tx.refusal(conflict, conflicts):
                raise refusal from conflict
            conflicts.add((conflict.table, conflict.key))
            pause = min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause * random.random())  # noqa: S311 (jitter, not a secret)
            continue
        if tx.stated:
            ports.handoff.offer([tx.stated])
            ports.news.add(tx.streams())
        return result
    raise Contended
