"""`transact`: the one road on which anything changes.

A service function takes a `Transaction`, reads, decides, and says what is to be written. Nothing is
sent until it returns; then all of it goes out as one commit. If somebody else was quicker, the
function runs again on what is there now, so it may do nothing outside but through its transaction.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from ecokart.core.errors import Unavailable
from ecokart.core.events import OUTBOX, Event, OutboxEntry, outbox_entry
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
    Sortable,
    T,
    Table,
    Write,
    WriteConflict,
)

ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 0.002
LONGEST_PAUSE_SECONDS = 0.25

P = ParamSpec("P")
R = TypeVar("R")


class Contended(Unavailable):
    """Too many people are changing this at once. Please try again."""


class Transaction:
    """What one run of a service function read and wants written.

    Reads are remembered with their version, and a `put` or `delete` of a record that was read holds
    only if it is still at that version. Reading again gives what this transaction has put.
    """

    def __init__(self, records: Records, now: datetime, new_id: Callable[[], str]) -> None:
        self.now = now
        self.new_id = new_id
        self.emitted: list[OutboxEntry] = []
        self._records = records
        self._seen: dict[tuple[str, str], int] = {}
        self._writes: dict[tuple[str, str], Write] = {}

    async def get(self, table: Table[T], key: str) -> T | None:
        """The record as it is now, or as this transaction has put it."""
        place = (table.name, key)
        if (pending := self._writes.get(place)) and not isinstance(pending, (Check, Adjust)):
            return pending.value if isinstance(pending, Put) else None
        found = await self._records.get(table, key)
        self._seen[place] = found.version if found else ABSENT
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
        """Store a record that this transaction read (or found missing), if nobody changed it since."""
        self._put(table, value, self._seen[table.name, table.key_of(value)])

    def add(self, table: Table[T], value: T) -> None:
        """Store a new record, if there is none with its key."""
        self._put(table, value, ABSENT)

    def overwrite(self, table: Table[T], value: T) -> None:
        """Store a record whatever is there."""
        self._put(table, value, ANY)

    def delete(self, table: Table[Any], key: str) -> None:
        """Remove a record: as it was read, or whatever is there if it wasn't."""
        place = (table.name, key)
        self._writes.pop(place, None)
        if (expected := self._seen.get(place, ANY)) != ABSENT:
            self._writes[place] = Delete(table, key, expected)

    def check(self, table: Table[Any], key: str) -> None:
        """Let the commit hold only if this record is still as it was read."""
        place = (table.name, key)
        self._writes.setdefault(place, Check(table, key, self._seen[place]))

    def adjust(self, table: Table[Any], key: str, **add: int) -> None:
        """Add to a record's counters. Several adjustments of one record become their sum."""
        place = (table.name, key)
        pending = self._writes.get(place)
        if isinstance(pending, Adjust):
            add = {c: pending.add.get(c, 0) + add.get(c, 0) for c in {**pending.add, **add}}
        elif pending is not None:
            raise TypeError(f"{table.name}/{key} is already written in this transaction")
        self._writes[place] = Adjust(table, key, add, self.now)

    def emit(self, event: Event) -> None:
        """State a fact. Whoever reacts to it hears of it after the commit, at least once."""
        entry = outbox_entry(event, self.new_id(), self.now)
        self.emitted.append(entry)
        self.add(OUTBOX, entry)

    def writes(self) -> list[Write]:
        """What the commit will hold, without adjustments that cancelled out."""
        return [
            w for w in self._writes.values() if not isinstance(w, Adjust) or any(w.add.values())
        ]

    def _put(self, table: Table[T], value: T, expected: int) -> None:
        if table.touched:
            value = msgspec.structs.replace(value, **{table.touched: self.now})
        self._writes[table.name, table.key_of(value)] = Put(table, value, expected)


async def transact(
    ports: Ports,
    work: Callable[Concatenate[Transaction, P], Awaitable[R]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run `work(tx, …)` and commit what it wrote; run it again if somebody else was quicker.

    Raises what `work` raises, `BelowFloor` where a counter ran out, `Contended` after the last
    attempt, and `OutcomeUnknown` where the engine can't know: then it may or may not be stored.
    """
    for attempt in range(ATTEMPTS):
        tx = Transaction(ports.records, ports.clock.now(), ports.new_id)
        result = await work(tx, *args, **kwargs)
        writes = tx.writes()
        if not writes:
            return result
        try:
            await ports.records.commit(writes)
        except BelowFloor:
            raise
        except WriteConflict:
            pause = min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause * random.random())  # noqa: S311 (jitter, not a secret)
            continue
        if tx.emitted:
            ports.handoff.offer(tx.emitted)
        return result
    raise Contended
