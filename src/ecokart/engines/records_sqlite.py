"""Records in one SQLite file.

One writer thread takes every commit that is waiting, runs each in its own SAVEPOINT, and syncs them
to the disk with one COMMIT (group commit): each still fails or holds by itself, and none is
acknowledged before it is durable. Reads run inline on a connection of their own; WAL mode lets them
see the last committed state without waiting.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from ecokart.core.clock import Clock
from ecokart.core.errors import Invalid, Unavailable
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
    Row,
    Sortable,
    T,
    Table,
    Versioned,
    Write,
    WriteConflict,
    encode,
    sortable,
    write_key,
)

GROUP = 256  # commits that share a sync at the most
LOCK_TIMEOUT_SECONDS = 10
SWEEP_EVERY_SECONDS = 60
SWEEP_ROWS = 500

log = logging.getLogger("ecokart.records")


class Step(NamedTuple):
    """One write as a statement, and how many rows it must touch for its condition to hold."""

    write: Write
    sql: str
    values: Sequence[Any]
    rows: int | None = 1


Waiting = tuple[list[Step], asyncio.Future[None], asyncio.AbstractEventLoop]


class SqliteRecords:
    """`Records` on a file, shared safely by any number of processes of one machine."""

    def __init__(self, path: Path, tables: Iterable[Table[Any]], clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._sql = {table.name: _Statements(table) for table in tables}
        self._inbox: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._last_version = 0
        self._writer_connection = _connect(path)
        self._writer_connection.create_function("new_version", 0, self._new_version)
        for statements in self._sql.values():
            _prepare(self._writer_connection, statements)
        self._reader = _connect(path)
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="records-writer", daemon=True)
        self._writer.start()

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        statements = self._sql[table.name]
        parameters = (key, sortable(self._clock.now())) if table.expires else (key,)
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
        first, further = self._sql[table.name].queries[index]
        now = [sortable(self._clock.now())] if table.expires else []
        if after is None:
            rows = self._read(first, [value, *now, limit + 1]).fetchall()
        else:
            rows = self._read(further, [value, *now, *after, limit + 1]).fetchall()
        return _page(table, rows, limit)

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        now = [sortable(self._clock.now())] if table.expires else []
        sql = self._sql[table.name].scan
        rows = self._read(sql, [after[1] if after else "", *now, limit + 1]).fetchall()
        return _page(table, rows, limit)

    async def commit(self, writes: Sequence[Write]) -> None:
        if self._closed:
            raise Unavailable("The records are closed.")
        now = cast("str", sortable(self._clock.now()))
        steps = [
            self._sql[write.table.name].step(write, row, now)
            for write, row in zip(writes, encode(writes), strict=True)
        ]
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        self._inbox.put((steps, waiting, loop))
        # A caller that is cancelled doesn't take its commit back: it may already be on the disk.
        await asyncio.shield(waiting)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._inbox.put(None)
        await asyncio.to_thread(self._writer.join)
        self._reader.close()

    def _read(self, sql: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        try:
            return self._reader.execute(sql, parameters)
        except sqlite3.Error as error:
            raise Unavailable(f"The database can't be read: {error}.") from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise Invalid(f"No record can have that: {error}.") from error

    # From here on: the writer thread.

    def _write(self) -> None:
        swept = time.monotonic()
        while (first := self._inbox.get()) is not None:
            group = [first]
            while len(group) < GROUP and not self._inbox.empty():
                if (another := self._inbox.get()) is None:
                    self._inbox.put(None)
                    break
                group.append(another)
            self._commit_group(group)
            if time.monotonic() - swept > SWEEP_EVERY_SECONDS:
                swept = time.monotonic()
                self._sweep()
        self._writer_connection.close()

    def _commit_group(self, group: list[Waiting]) -> None:
        outcomes: list[Exception | None] = []
        connection = self._writer_connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._apply(steps) for steps, _, _ in group]
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 (nothing may end the only writer: every commit after would wait for ever)
            outcomes = [Unavailable(f"The database can't be written: {error}.")] * len(group)
            self._roll_back()
        # One hop back a group: the members share their loop, as they share their process.
        answers = [(f, o) for (_, f, _), o in zip(group, outcomes, strict=True)]
        group[0][2].call_soon_threadsafe(_answer, answers)

    def _apply(self, steps: list[Step]) -> Exception | None:
        execute = self._writer_connection.execute
        execute("SAVEPOINT one")
        failure: Exception | None = None
        try:
            for step in steps:
                touched = execute(step.sql, step.values).rowcount
                if touched != step.rows and step.rows is not None:
                    failure = self._conflict(step.write)
                    break
        except Exception as error:
            if not self._writer_connection.in_transaction:
                raise  # the disk is full or broken: the whole group fails
            failure = Unavailable(f"This can't be written: {error}.")
        if failure:
            execute("ROLLBACK TO one")
        execute("RELEASE one")
        return failure

    def _new_version(self) -> int:
        """The time in microseconds, taken under the lock: a key that comes back never repeats an old one."""
        self._last_version = max(time.time_ns() // 1000, self._last_version + 1)
        return self._last_version

    def _roll_back(self) -> None:
        try:
            if self._writer_connection.in_transaction:
                self._writer_connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("the writer can't roll back")

    def _conflict(self, write: Write) -> WriteConflict:
        """Why a statement touched no row, told from what is there."""
        name, key = write.table.name, write_key(write)
        statements = self._sql[name]
        now = [sortable(self._clock.now())] if write.table.expires else []
        found = self._writer_connection.execute(statements.present, [key, *now]).fetchone()
        if not found:
            return WriteConflict(name, key, Reason.GONE)
        if isinstance(write, Adjust):
            return BelowFloor(name, key)
        expects_none = not isinstance(write, Delete) and write.expected == ABSENT
        return WriteConflict(name, key, Reason.EXISTS if expects_none else Reason.CHANGED)

    def _sweep(self) -> None:
        now = sortable(self._clock.now())
        try:
            for statements in self._sql.values():
                if statements.sweep:
                    self._writer_connection.execute(statements.sweep, (now, SWEEP_ROWS))
        except sqlite3.Error:  # locked for too long: the next sweep takes them
            log.warning("expired records weren't swept", exc_info=True)


class _Statements:
    """The SQL of one table, made once from its declaration. Names are the declaration's own."""

    def __init__(self, table: Table[Any]) -> None:
        self.table = table
        name, columns = f'"{table.name}"', [f'"{column}"' for column in table.columns]
        wanted = ["key", "version", "shape", "body"]
        stored = ", ".join([*wanted, *columns])
        marks = ", ".join(["?", "new_version()", *"??", *"?" * len(columns)])
        alive = (
            f' AND ("{table.expires}" IS NULL OR "{table.expires}" > ?)' if table.expires else ""
        )
        adjusted = [f'"{column}"' for column in table.adjustable]

        def select(sort: str | None, condition: str) -> str:
            # Five fixed columns and then the adjustable ones; `sort` is what the next cursor needs.
            fields = ", ".join([*wanted, f'"{sort}"' if sort else "key", *adjusted])
            return f"SELECT {fields} FROM {name} WHERE {condition}{alive}"

        self.create = (
            f"CREATE TABLE IF NOT EXISTS {name} (key TEXT PRIMARY KEY, version INTEGER NOT NULL,"
            f" shape INTEGER NOT NULL, body BLOB NOT NULL{''.join([f', {c}' for c in columns])})"
            " WITHOUT ROWID"
        )
        self.indexes = []
        for label, index in table.indexes.items():
            over = ", ".join([f'"{field}"' for field in index.fields] + ["key"])
            self.indexes.append(
                f'CREATE INDEX IF NOT EXISTS "{table.name}_{label}" ON {name} ({over})'
                f' WHERE "{index.by}" IS NOT NULL'
            )
        self.get = select(None, "key = ?")
        self.scan = select(None, "key > ?") + " ORDER BY key LIMIT ?"
        self.queries = {}
        for label, index in table.indexes.items():
            order, beyond = ("DESC", "<") if index.descending else ("ASC", ">")
            condition = f'"{index.by}" = ?' + (
                f' AND "{index.sort}" IS NOT NULL' if index.sort else ""
            )
            place = f'"{index.sort}"' if index.sort else "key"
            tail = f" ORDER BY {place} {order}, key {order} LIMIT ?"
            first = select(index.sort, condition)
            self.queries[label] = (
                first + tail,
                f"{first} AND ({place}, key) {beyond} (?, ?){tail}",
            )
        update = ", ".join(f"{c} = excluded.{c}" for c in ["shape", "body", *columns])
        insert = f"INSERT INTO {name} ({stored}) VALUES ({marks}) ON CONFLICT (key) DO"
        revive = f'UPDATE SET version = version + 1, {update} WHERE {name}."{table.expires}" <= ?'
        self.put_absent = f"{insert} {revive if table.expires else 'NOTHING'}"
        self.put_any = f"{insert} UPDATE SET version = version + 1, {update}"
        changes = ", ".join(f"{column} = ?" for column in ["shape", "body", *columns])
        # A record that has expired isn't there any more, for no condition.
        self.alive, self.present = alive, f"SELECT 1 FROM {name} WHERE key = ?{alive}"
        at_version = f"WHERE key = ? AND version = ?{alive}"
        self.put_version = f"UPDATE {name} SET version = version + 1, {changes} {at_version}"
        self.delete = f"DELETE FROM {name} {at_version}"
        self.delete_any = f"DELETE FROM {name} WHERE key = ?"
        # Changes nothing, but counts the rows it would have changed.
        self.check = f"UPDATE {name} SET version = version {at_version}"
        self.check_absent = f"UPDATE {name} SET version = version WHERE key = ?{alive}"
        self.sweep = (
            f"DELETE FROM {name} WHERE key IN"
            f' (SELECT key FROM {name} WHERE "{table.expires}" <= ? LIMIT ?)'
            if table.expires
            else ""
        )
        self._adjusts: dict[tuple[str, ...], str] = {}

    def step(self, write: Write, row: Row | None, now: str) -> Step:
        expiry = [now] if self.table.expires else []
        if type(write) is Put:
            return self._put(write, cast("Row", row), expiry)
        if type(write) is Adjust:
            return self._adjust(write, expiry)
        if type(write) is Delete:
            if write.expected == ANY:
                return Step(write, self.delete_any, (write.key,), rows=None)
            return Step(write, self.delete, (write.key, write.expected, *expiry))
        check = cast("Check", write)
        if check.expected == ABSENT:
            return Step(write, self.check_absent, [check.key, *expiry], rows=0)
        return Step(write, self.check, (check.key, check.expected, *expiry))

    def _put(self, write: Put, row: Row, expiry: list[str]) -> Step:
        shape = self.table.shape
        if write.expected > 0:
            values = [shape, row.body, *row.columns, row.key, write.expected, *expiry]
            return Step(write, self.put_version, values)
        values = [row.key, shape, row.body, *row.columns]
        if write.expected == ANY:
            return Step(write, self.put_any, values)
        return Step(write, self.put_absent, [*values, *expiry])

    def _adjust(self, write: Adjust, expiry: list[str]) -> Step:
        counters = tuple(write.add)
        sql = self._adjusts.get(counters)
        if sql is None:
            changes = [f'"{c}" = "{c}" + ?' for c in counters]
            if self.table.touched:
                changes.append(f'"{self.table.touched}" = ?')
            floors = "".join([f' AND "{c}" + ? >= {self.table.counters[c]}' for c in counters])
            sql = self._adjusts[counters] = (
                f'UPDATE "{self.table.name}" SET version = version + 1, '
                f"{', '.join(changes)} WHERE key = ?{floors}{self.alive}"
            )
        amounts = write.add.values()
        at = [sortable(write.at)] if self.table.touched else []
        return Step(write, sql, [*amounts, *at, write.key, *amounts, *expiry])


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
    return connection


def _prepare(connection: sqlite3.Connection, statements: _Statements) -> None:
    """Make the table, or bring an older one up to its declaration: new columns are filled from the bodies."""
    table = statements.table
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(statements.create)
    present = {row[1] for row in connection.execute(f'PRAGMA table_info("{table.name}")')}
    missing = [column for column in table.columns if column not in present]
    for column in missing:
        connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN "{column}"')
    if missing:
        changes = ", ".join([f'"{column}" = ?' for column in missing])
        fill = f'UPDATE "{table.name}" SET {changes} WHERE key = ?'
        everything = f'SELECT key, shape, body FROM "{table.name}"'
        for key, shape, body in connection.execute(everything).fetchall():
            value = table.load_body(shape, body)
            connection.execute(fill, [*[sortable(getattr(value, c)) for c in missing], key])
    for index in statements.indexes:
        connection.execute(index)
    connection.execute("COMMIT")


def _page(table: Table[T], rows: list[Any], limit: int) -> Page[T]:
    values = [table.load(row[2], row[3], row[5:]) for row in rows[:limit]]
    versions = [row[1] for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(values, versions, None)
    last = rows[limit - 1]
    return Page(values, versions, (last[4], last[0]))


def _answer(answers: list[tuple[asyncio.Future[None], Exception | None]]) -> None:
    for waiting, outcome in answers:
        if waiting.cancelled():
            continue
        if outcome is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(outcome)
