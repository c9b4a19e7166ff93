"""Records in PostgreSQL.

The commits that wait at one moment go to the server together, in one call of a function that lives there
(`records_postgres_function`): one round trip and one sync for all of them, and each still fails or holds by
itself. Two commits that change the same record don't go together, nor at the same time, except that any
number may adjust one record: a hot product's counters are written once for all who wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast

import asyncpg

from ecokart.core.clock import Clock
from ecokart.core.errors import Unavailable
from ecokart.core.records import (
    Cursor,
    Page,
    Sortable,
    T,
    Table,
    Versioned,
    Write,
    check_limit,
    microseconds,
)
from ecokart.engines.records_postgres_committing import Committing
from ecokart.engines.records_postgres_connections import Connections, Place
from ecokart.engines.records_postgres_function import CommitFunction
from ecokart.engines.records_postgres_getting import Getting
from ecokart.engines.records_postgres_group import Commit, Steps
from ecokart.engines.records_postgres_preparing import prepare
from ecokart.engines.records_postgres_sql import LANES, Statements, given, quoted, stored

SWEEP_EVERY_SECONDS = 60.0
SWEEP_ROWS = 500

log = logging.getLogger("ecokart.records")


class PostgresRecords:
    """`Records` in a schema of a PostgreSQL database, shared safely by any number of processes.

    `url` is `postgresql://user:password@host:5432/database?schema=shop&sslmode=verify-full`. Raises
    `ValueError` with a sentence if it can't be meant. Nothing is connected to before the first use.
    """

    def __init__(
        self,
        url: str,
        tables: Iterable[Table[Any]],
        clock: Clock,
        *,
        sweep_every_seconds: float = SWEEP_EVERY_SECONDS,
    ) -> None:
        place = Place(url)
        # By name: everybody locks in the order of these numbers, an older or newer release too.
        named = sorted(tables, key=lambda table: table.name)
        self._tables = [Statements(place.schema, table) for table in named]
        self._sql = {one.table.name: one for one in self._tables}
        self._schema, self._clock = place.schema, clock
        self._function = CommitFunction(place.schema, self._tables)
        self._steps = Steps(self._tables)
        self._connections = Connections(place, self._prepare)
        self._committing = Committing(self._connections, place.schema, self._function, clock)
        self._getting = Getting(self._connections, clock)
        self._sweep_every_seconds = sweep_every_seconds
        self._sweeping: asyncio.Task[None] | None = None
        self._closed = False

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        self._begin()
        row = await self._getting.row(self._sql[table.name], stored(key))
        return Versioned(_value(table, row), row[1]) if row else None

    async def query(
        self,
        table: Table[T],
        index: str,
        value: Sortable,
        *,
        after: Cursor | None = None,
        limit: int = 100,
    ) -> Page[T]:
        check_limit(limit)
        first, further = self._sql[table.name].queries[index]
        behind = [stored(part) for part in after] if after else []
        sql = further if after else first
        rows = await self._fetch(sql, stored(value), limit + 1, *behind, *self._now(table))
        return _page(table, rows, limit)

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        check_limit(limit)
        behind = stored(after[1]) if after else ""
        sql = self._sql[table.name].scan
        return _page(table, await self._fetch(sql, behind, limit + 1, *self._now(table)), limit)

    async def commit(self, writes: Sequence[Write]) -> None:
        self._begin()
        steps = self._steps.of(writes)
        if not steps:
            return
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._committing.add(Commit(writes, steps, outcome))
        # A caller that is cancelled doesn't take its commit back: it may already be on its way.
        await outcome

    async def ping(self) -> str:
        ((version,),) = await self._fetch("SELECT current_setting('server_version')")
        return f"PostgreSQL {version.split()[0]}"

    async def server_time(self) -> datetime:
        """Now, by the database's clock, in UTC."""
        ((now,),) = await self._fetch("SELECT clock_timestamp()")
        return cast(datetime, now)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._committing.finish()
        await self._getting.finish()
        if self._sweeping:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self._connections.close()

    async def _fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        self._begin()
        return await self._connections.fetch(sql, *parameters)

    def _now(self, table: Table[Any]) -> tuple[int, ...]:
        return (microseconds(self._clock.now()),) if table.expires else ()

    def _begin(self) -> None:
        if self._closed:
            raise Unavailable("The records are closed.")
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep())

    async def _prepare(self, connection: asyncpg.Connection[Any]) -> None:
        await prepare(connection, self._schema, self._tables, self._function)

    async def _sweep(self) -> None:
        """Again and again: remove what has expired, all of it, and what long-gone processes left behind."""
        lanes = f"{quoted(self._schema)}.{LANES}"
        while True:
            await asyncio.sleep(self._sweep_every_seconds)
            try:
                for statements in self._tables:
                    if statements.sweep:
                        await self._sweep_table(statements.sweep)
                await self._connections.fetch(
                    f"DELETE FROM {lanes} WHERE ended < now() - interval '1 day'"
                )
            except Unavailable:
                log.warning("expired records weren't swept", exc_info=True)

    async def _sweep_table(self, sql: str) -> None:
        swept = SWEEP_ROWS
        while swept == SWEEP_ROWS:
            now = microseconds(self._clock.now())
            swept = len(await self._connections.fetch(f"{sql} RETURNING 1", now, SWEEP_ROWS))


def _value(table: Table[T], row: Sequence[Any]) -> T:
    return table.load(row[2], row[3], row[5:])


def _page(table: Table[T], rows: Sequence[Any], limit: int) -> Page[T]:
    values = [_value(table, row) for row in rows[:limit]]
    versions = [row[1] for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(values, versions, None)
    last = rows[limit - 1]
    return Page(values, versions, (given(last[4]), str(given(last[0]))))
