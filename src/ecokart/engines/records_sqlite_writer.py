"""The one writer of an SQLite file: group commit.

It takes every commit that is waiting and syncs them to the disk with one COMMIT; each still fails or
holds by itself, and none is acknowledged before it is durable. What waits (for the disk, for
another process's lock) is done on a thread of its own; the statements take microseconds and run
inline, since two threads that pass Python's lock to and fro with every statement cost five times
what the statement does (docs/decisions/0002).

Most groups hold as a whole. So a group is run kind by kind of statement and without a SAVEPOINT: a
SAVEPOINT copies every page that is changed within it, which cost more than the change
(docs/decisions/0006). Only where a condition fails is the group run again commit by commit, each in a
SAVEPOINT of its own.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ecokart.core.clock import Clock
from ecokart.core.errors import Unavailable
from ecokart.core.records import (
    ABSENT,
    Adjust,
    BelowFloor,
    Delete,
    Reason,
    Write,
    WriteConflict,
    microseconds,
    write_key,
)
from ecokart.engines.records_sqlite_sql import Statements, Step

GROUP = 256  # commits that share a sync at the most
# After a group of so many more commits are about to come: a moment's wait lets them share the next
# sync, unless there are plenty already. One who commits alone never waits.
BUSY = 3
LARGE = 32
LINGER_SECONDS = 0.002
# Groups that are run commit by commit after one that failed: where one buyer is too late, more will be.
CAREFUL_GROUPS = 8
LOCK_TIMEOUT_SECONDS = 10
SWEEP_ROWS = 500

log = logging.getLogger("ecokart.records")

Commit = Sequence[Step]


class Writer:
    """Owns the connection that writes. Belongs to one event loop."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        sql: Mapping[str, Statements],
        clock: Clock,
        sweep_every_seconds: float,
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._clock = clock
        self._sweep_every_seconds = sweep_every_seconds
        self._waiting: deque[tuple[Commit, asyncio.Future[None]]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "records-writer")
        self._swept = time.monotonic()
        self._overdue = False
        self._careful_groups = 0
        self._last_version = 0
        self._closed = False
        connection.create_function("new_version", 0, self._new_version)
        connection.execute("PRAGMA busy_timeout = 0")

    async def commit(self, steps: Commit) -> None:
        """Run the steps, all or none, and come back when they are durable."""
        if self._closed:
            raise Unavailable("The records are closed.")
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((steps, outcome))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._never_begun)
        # A caller that is cancelled doesn't take its commit back: it may already be on the disk.
        await outcome

    async def close(self) -> None:
        self._closed = True
        if self._writing:
            await self._writing
        self._thread.shutdown()
        self._connection.close()

    async def _write(self) -> None:
        """Commit what waits, group by group, until nothing does; between the groups, sweep a little."""
        count = 0
        try:
            while self._waiting or (self._overdue and not self._closed):
                if count >= BUSY and len(self._waiting) < LARGE and not self._closed:
                    await self._linger()
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

    async def _linger(self) -> None:
        try:
            await asyncio.sleep(LINGER_SECONDS)
        except asyncio.CancelledError:
            self._closed = True  # as in `_in_thread`: what waits is still committed

    def _never_begun(self, writing: asyncio.Task[None]) -> None:
        """A writer that was cancelled before its first step leaves nobody waiting."""
        if self._writing is not writing:
            return
        self._writing = None
        for _, outcome in self._waiting:
            if not outcome.done():
                outcome.set_exception(Unavailable("The program is stopping."))
        self._waiting.clear()

    async def _commit_group(self, group: list[tuple[Commit, asyncio.Future[None]]]) -> None:
        try:
            outcomes = await self._run([steps for steps, _ in group])
            await self._in_thread(self._connection.execute, "COMMIT")
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

    async def _run(self, group: list[Commit]) -> list[Exception | None]:
        """Run the commits in a transaction that is left open; says for each why it doesn't hold, if so."""
        await self._begin()
        if self._careful_groups:
            self._careful_groups -= 1
        elif self._runs_together(group):
            return [None] * len(group)
        else:
            self._careful_groups = CAREFUL_GROUPS
            self._roll_back()
            await self._begin()
        return [self._run_alone(steps) for steps in group]

    async def _begin(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:  # another process writes: wait for it, but not on the loop
            await self._in_thread(self._begin_patiently)

    def _begin_patiently(self) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_SECONDS * 1000}")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        finally:
            self._connection.execute("PRAGMA busy_timeout = 0")

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> None:
        """Waits for the end even when the loop stops: whoever waits for this commit is owed its outcome."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                self._closed = True  # what waits is still committed, and nothing new is taken
        running.result()

    def _runs_together(self, group: list[Commit]) -> bool:
        """Run the whole group, each kind of statement in one go; False where that can't be or didn't hold."""
        if not _independent(group):
            return False
        kinds: dict[str, list[Step]] = {}
        for steps in group:
            for step in steps:
                kinds.setdefault(step.sql, []).append(step)
        try:
            for sql, steps in kinds.items():
                touched = self._connection.executemany(sql, [s.values for s in steps]).rowcount
                rows = steps[0].rows
                if rows is not None and touched != rows * len(steps):
                    return False
        except (sqlite3.Error, UnicodeEncodeError, OverflowError):
            return False  # by itself each commit will say what was wrong with it
        return True

    def _run_alone(self, steps: Commit) -> Exception | None:
        execute = self._connection.execute
        execute("SAVEPOINT one")
        failure: Exception | None = None
        try:
            for step in steps:
                touched = execute(step.sql, step.values).rowcount
                if touched != step.rows and step.rows is not None:
                    failure = self._conflict(step.write)
                    break
        except Exception as error:
            if not self._connection.in_transaction:
                raise  # the disk is full or broken: the whole group fails
            failure = Unavailable(f"This can't be written: {error}.")
        if failure:
            execute("ROLLBACK TO one")
        execute("RELEASE one")
        return failure

    def _conflict(self, write: Write) -> WriteConflict:
        """Why a statement touched no row, told from what is there."""
        name, key = write.table.name, write_key(write)
        now = [microseconds(self._clock.now())] if write.table.expires else []
        if not self._connection.execute(self._sql[name].present, [key, *now]).fetchone():
            return WriteConflict(name, key, Reason.GONE)
        if isinstance(write, Adjust):
            return BelowFloor(name, key)
        expects_none = not isinstance(write, Delete) and write.expected == ABSENT
        return WriteConflict(name, key, Reason.EXISTS if expects_none else Reason.CHANGED)

    def _new_version(self) -> int:
        """The time in microseconds, taken under the lock: a key that comes back never repeats an old one."""
        self._last_version = max(time.time_ns() // 1000, self._last_version + 1)
        return self._last_version

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("the writer can't roll back")

    def _sweep(self) -> None:
        """Remove some of what has expired; `_overdue` says whether more is left."""
        now = microseconds(self._clock.now())
        try:
            for statements in self._sql.values():
                if statements.sweep:
                    swept = self._connection.execute(statements.sweep, (now, SWEEP_ROWS)).rowcount
                    self._overdue |= swept == SWEEP_ROWS
        except sqlite3.Error:  # locked for too long: the next sweep takes them
            log.warning("expired records weren't swept", exc_info=True)


def _independent(group: list[Commit]) -> bool:
    """Whether no commit writes or checks what another one does, so that their order tells nobody anything.

    Counters that only are adjusted may be in many: sums don't depend on the order either.
    """
    adjusted: set[tuple[str, str]] = set()
    others: set[tuple[str, str]] = set()
    count = 0
    for steps in group:
        for write, *_ in steps:
            place = (write.table.name, write_key(write))
            if type(write) is Adjust:
                adjusted.add(place)
            else:
                others.add(place)
                count += 1
    return len(others) == count and others.isdisjoint(adjusted)
