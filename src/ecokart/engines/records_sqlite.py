"""Records in one SQLite file.

Commits go to one writer, which syncs them to the disk group by group (`records_sqlite_writer`). Reads
run inline on a connection of their own: in WAL mode they see the last committed state without waiting.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ecokart.core.clock import Clock
from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.records import (
    Cursor,
    Page,
    Sortable,
    T,
    Table,
    Versioned,
    Write,
    check_limit,
    encode,
    microseconds,
)
from ecokart.engines.records_sqlite_sql import Statements, prepare
from ecokart.engines.records_sqlite_writer import LOCK_TIMEOUT_SECONDS, Writer

SWEEP_EVERY_SECONDS = 60


class SqliteRecords:
    """`Records` on a file, shared safely by any number of processes of one machine."""

    def __init__(
        self,
        path: Path,
        tables: Iterable[Table[Any]],
        clock: Clock,
        *,
        sweep_every_seconds: float = SWEEP_EVERY_SECONDS,
    ) -> None:
        self.path = path
        self._clock = clock
        self._sql = {table.name: Statements(table) for table in tables}
        writing = _connect(path)
        for statements in self._sql.values():
            prepare(writing, statements)
        self._writer = Writer(writing, self._sql, clock, sweep_every_seconds)
        self._reader = _connect(path)

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        statements = self._sql[table.name]
        parameters = (key, microseconds(self._clock.now())) if table.expires else (key,)
        row = next(iter(self._read(statements.get, parameters)), None)
        return Versioned(table.load(row[2], row[3], row[5:]), row[1]) if row else None

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
        now = [microseconds(self._clock.now())] if table.expires else []
        if after is None:
            rows = self._read(first, [value, *now, limit + 1])
        else:
            rows = self._read(further, [value, *now, *after, limit + 1])
        return _page(table, rows, limit)

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        check_limit(limit)
        now = [microseconds(self._clock.now())] if table.expires else []
        sql = self._sql[table.name].scan
        rows = self._read(sql, [after[1] if after else "", *now, limit + 1])
        return _page(table, rows, limit)

    async def commit(self, writes: Sequence[Write]) -> None:
        now = microseconds(self._clock.now())
        steps = [
            self._sql[write.table.name].step(write, row, now)
            for write, row in zip(writes, encode(writes), strict=True)
        ]
        await self._writer.commit(steps)

    async def ping(self) -> str:
        self._read("SELECT count(*) FROM sqlite_schema", ())
        return f"SQLite {sqlite3.sqlite_version}"

    async def close(self) -> None:
        await self._writer.close()
        self._reader.close()

    def _read(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        try:
            return self._reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise Unavailable(f"The database can't be read: {error}.") from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise Invalid(f"No record can have that: {error}.") from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=LOCK_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA cache_size = -32768")
    # Debian's SQLite overwrites what is deleted with zeros; FAST does so where it costs no further page.
    connection.execute("PRAGMA secure_delete = FAST")
    # What a SAVEPOINT sets aside would go through temporary files otherwise.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _page(table: Table[T], rows: list[Any], limit: int) -> Page[T]:
    values = [table.load(row[2], row[3], row[5:]) for row in rows[:limit]]
    versions = [row[1] for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(values, versions, None)
    last = rows[limit - 1]
    return Page(values, versions, (last[4], last[0]))
