"""Records in one SQLite file.

One writer takes every commit that is waiting, runs each in its own SAVEPOINT, and syncs them to the
disk with one COMMIT (group commit): each still fails or holds by itself, and none is acknowledged
before it is durable. What waits (for the disk, for another process's lock) is done on a thread of
its own; the statements themselves take microseconds and run inline, since two threads that pass
Python's lock to and fro with every statement cost five times what the statement does
(docs/decisions/0002). Reads run inline on a connection of their own: in WAL mode they see the last
committed state without waiting.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ecokart.core.clock import Clock
from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.records import (
    ABSENT,
    Adjust,
    BelowFloor,
    Cursor,
    Delete,
    Page,
    Reason,
    Sortable,
    T,
    Table,
    Versioned,
    Write,
    WriteConflict,
    check_limit,
    encode,
    microseconds,
    write_key,
)
from ecokart.engines.records_sqlite_sql import Statements, Step, prepare

GROUP = 256  # commits that share a sync at the most
LOCK_TIMEOUT_SECONDS = 10
MANY = 4  # from so many steps on it pays to look whether all are alike
SWEEP_EVERY_SECONDS = 60
SWEEP_ROWS = 500

log = logging.getLogger("ecokart.records")


Waiting = tuple[list[Step], asyncio.Future[None]]


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
        self._sweep_every_seconds = sweep_every_seconds
        self._clock = clock
        self._sql = {table.name: Statements(table) for table in tables}
        self._waiting: deque[Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "records-writer")
        self._swept = time.monotonic()
        self._overdue = False
        self._last_version = 0
        self._writer = _connect(path)
        self._writer.create_function("new_version", 0, self._new_version)
        for statements in self._sql.values():
            prepare(self._writer, statements)
        self._writer.execute("PRAGMA busy_timeout = 0")
        self._reader = _connect(path)
        self._closed = False

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        statements = self._sql[table.name]
        parameters = (key, microseconds(self._clock.now())) if table.expires else (key,)
        row = self._read(statements.get, parameters).fetchone()
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
            rows = self._read(first, [value, *now, limit + 1]).fetchall()
        else:
            rows = self._read(further, [value, *now, *after, limit + 1]).fetchall()
        return _page(table, rows, limit)

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        check_limit(limit)
        now = [microseconds(self._clock.now())] if table.expires else []
        sql = self._sql[table.name].scan
        rows = self._read(sql, [after[1] if after else "", *now, limit + 1]).fetchall()
        return _page(table, rows, limit)

    async def commit(self, writes: Sequence[Write]) -> None:
        if self._closed:
            raise Unavailable("The records are closed.")
        now = microseconds(self._clock.now())
        steps = [
            self._sql[write.table.name].step(write, row, now)
            for write, row in zip(writes, encode(writes), strict=True)
        ]
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((steps, outcome))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._never_begun)
        # A caller that is cancelled doesn't take its commit back: it may already be on the disk.
        await outcome

    async def ping(self) -> str:
        self._read("SELECT count(*) FROM sqlite_schema", ())
        return f"SQLite {sqlite3.sqlite_version}"

    async def close(self) -> None:
        self._closed = True
        if self._writing:
            await self._writing
        self._thread.shutdown()
        self._writer.close()
        self._reader.close()

    def _read(self, sql: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        try:
            return self._reader.execute(sql, parameters)
        except sqlite3.Error as error:
            raise Unavailable(f"The database can't be read: {error}.") from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise Invalid(f"No record can have that: {error}.") from error

    async def _write(self) -> None:
        """Commit what waits, group by group, until nothing does; between the groups, sweep a little."""
        try:
            while self._waiting or (self._overdue and not self._closed):
                count = min(len(self._waiting), GROUP)
                if count:
                    await self._commit_group([self._waiting.popleft() for _ in range(count)])
                # Within the loop: what comes during the sweep is waiting for this very task.
                if self._overdue or time.monotonic() - self._swept > self._sweep_every_seconds:
                    self._swept = time.monotonic()
                    self._overdue = False
                    await self._in_thread(self._sweep)
        finally:
            self._writing = None

    def _never_begun(self, writing: asyncio.Task[None]) -> None:
        """A writer that was cancelled before its first step leaves nobody waiting."""
        if self._writing is not writing:
            return
        self._writing = None
        for _, outcome in self._waiting:
            if not outcome.done():
                outcome.set_exception(Unavailable("The program is stopping."))
        self._waiting.clear()

    async def _commit_group(self, group: list[Waiting]) -> None:
        try:
            await self._begin()
            outcomes = [self._apply(steps) for steps, _ in group]
            await self._in_thread(self._writer.execute, "COMMIT")
        except Exception as error:  # noqa: BLE001 (nothing may end the only writer: every commit after would wait for ever)
            outcomes = [Unavailable(f"The database can't be written: {error}.")] * len(group)
            self._roll_back()
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if future.cancelled():
                continue
            if outcome is None:
                future.set_result(None)
            else:
                future.set_exception(outcome)

    async def _begin(self) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:  # another process writes: wait for it, but not on the loop
            await self._in_thread(self._begin_patiently)

    def _begin_patiently(self) -> None:
        self._writer.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_SECONDS * 1000}")
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        finally:
            self._writer.execute("PRAGMA busy_timeout = 0")

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> None:
        """Waits for the end even when the loop stops: whoever waits for this commit is owed its outcome."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                self._closed = True  # what waits is still committed, and nothing new is taken
        running.result()

    def _apply(self, steps: list[Step]) -> Exception | None:
        execute = self._writer.execute
        execute("SAVEPOINT one")
        failure: Exception | None = None
        try:
            if len(steps) > MANY and self._run_alike(steps):
                steps = []
            for step in steps:
                touched = execute(step.sql, step.values).rowcount
                if touched != step.rows and step.rows is not None:
                    failure = self._conflict(step.write)
                    break
        except Exception as error:
            if not self._writer.in_transaction:
                raise  # the disk is full or broken: the whole group fails
            failure = Unavailable(f"This can't be written: {error}.")
        if failure:
            execute("ROLLBACK TO one")
        execute("RELEASE one")
        return failure

    def _run_alike(self, steps: list[Step]) -> bool:
        """Run a long commit of one kind of statement in one go; if any condition fails, none was run."""
        first = steps[0]
        if any(step.sql != first.sql for step in steps):
            return False
        touched = self._writer.executemany(first.sql, [step.values for step in steps]).rowcount
        if first.rows is None or touched == first.rows * len(steps):
            return True
        self._writer.execute("ROLLBACK TO one")
        return False

    def _new_version(self) -> int:
        """The time in microseconds, taken under the lock: a key that comes back never repeats an old one."""
        self._last_version = max(time.time_ns() // 1000, self._last_version + 1)
        return self._last_version

    def _roll_back(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("the writer can't roll back")

    def _conflict(self, write: Write) -> WriteConflict:
        """Why a statement touched no row, told from what is there."""
        name, key = write.table.name, write_key(write)
        statements = self._sql[name]
        now = [microseconds(self._clock.now())] if write.table.expires else []
        found = self._writer.execute(statements.present, [key, *now]).fetchone()
        if not found:
            return WriteConflict(name, key, Reason.GONE)
        if isinstance(write, Adjust):
            return BelowFloor(name, key)
        expects_none = not isinstance(write, Delete) and write.expected == ABSENT
        return WriteConflict(name, key, Reason.EXISTS if expects_none else Reason.CHANGED)

    def _sweep(self) -> None:
        """Remove some of what has expired; `_overdue` says whether more is left."""
        now = microseconds(self._clock.now())
        try:
            for statements in self._sql.values():
                if statements.sweep:
                    swept = self._writer.execute(statements.sweep, (now, SWEEP_ROWS)).rowcount
                    self._overdue |= swept == SWEEP_ROWS
        except sqlite3.Error:  # locked for too long: the next sweep takes them
            log.warning("expired records weren't swept", exc_info=True)


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
    return connection


def _page(table: Table[T], rows: list[Any], limit: int) -> Page[T]:
    values = [table.load(row[2], row[3], row[5:]) for row in rows[:limit]]
    versions = [row[1] for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(values, versions, None)
    last = rows[limit - 1]
    return Page(values, versions, (last[4], last[0]))
