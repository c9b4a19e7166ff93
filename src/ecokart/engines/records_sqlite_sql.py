"""The SQL of a table in SQLite, made from its declaration: what `records_sqlite` runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    Check,
    Delete,
    Put,
    Row,
    Table,
    Write,
    sortable,
)


def prepare(connection: sqlite3.Connection, statements: Statements) -> None:
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


class Statements:
    """The SQL of one table, made once from its declaration. Names are the declaration's own."""

    def __init__(self, table: Table[Any]) -> None:
        self.table = table
        self._name = f'"{table.name}"'
        self._columns = [f'"{column}"' for column in table.columns]
        # A record that has expired isn't there any more, for no condition.
        self._alive = (
            f' AND ("{table.expires}" IS NULL OR "{table.expires}" > ?)' if table.expires else ""
        )
        self._adjusts: dict[tuple[str, ...], str] = {}
        self._declare()
        self._declare_reads()
        self._declare_writes()

    def _declare(self) -> None:
        columns = "".join([f", {column}" for column in self._columns])
        self.create = (
            f"CREATE TABLE IF NOT EXISTS {self._name} (key TEXT PRIMARY KEY, version INTEGER"
            f" NOT NULL, shape INTEGER NOT NULL, body BLOB NOT NULL{columns})"
        )
        self.indexes = []
        for label, index in self.table.indexes.items():
            over = ", ".join([f'"{field}"' for field in index.fields] + ["key"])
            self.indexes.append(
                f'CREATE INDEX IF NOT EXISTS "{self.table.name}_{label}" ON {self._name} ({over})'
                f' WHERE "{index.by}" IS NOT NULL'
            )
        if expires := self.table.expires:
            self.indexes.append(
                f'CREATE INDEX IF NOT EXISTS "{self.table.name}_expires" ON {self._name}'
                f' ("{expires}") WHERE "{expires}" IS NOT NULL'
            )

    def _declare_reads(self) -> None:
        self.get = self._select("key", "key = ?")
        self.present = f"SELECT 1 FROM {self._name} WHERE key = ?{self._alive}"
        self.scan = self._select("key", "key > ?") + " ORDER BY key LIMIT ?"
        self.queries = {}
        for label, index in self.table.indexes.items():
            order, beyond = ("DESC", "<") if index.descending else ("ASC", ">")
            place = f'"{index.sort}"' if index.sort else "key"
            first = self._select(place, f'"{index.by}" = ? AND {place} IS NOT NULL')
            tail = f" ORDER BY {place} {order}, key {order} LIMIT ?"
            further = f"{first} AND ({place}, key) {beyond} (?, ?){tail}"
            self.queries[label] = (first + tail, further)

    def _declare_writes(self) -> None:
        name, expires = self._name, self.table.expires
        stored = ", ".join(["key", "version", "shape", "body", *self._columns])
        marks = ", ".join(["?", "new_version()", "?", "?", *"?" * len(self._columns)])
        excluded = ", ".join([f"{c} = excluded.{c}" for c in ["shape", "body", *self._columns]])
        insert = f"INSERT INTO {name} ({stored}) VALUES ({marks}) ON CONFLICT (key) DO"
        self.put_any = f"{insert} UPDATE SET version = version + 1, {excluded}"
        self.put_absent = f"{insert} NOTHING"
        if expires:
            self.put_absent = f'{self.put_any} WHERE {name}."{expires}" <= ?'
        changes = ", ".join([f"{column} = ?" for column in ["shape", "body", *self._columns]])
        at_version = f"WHERE key = ? AND version = ?{self._alive}"
        self.put_version = f"UPDATE {name} SET version = version + 1, {changes} {at_version}"
        self.delete = f"DELETE FROM {name} {at_version}"
        self.delete_any = f"DELETE FROM {name} WHERE key = ?"
        # These change nothing, but count the rows they would have changed.
        self.check = f"UPDATE {name} SET version = version {at_version}"
        self.check_absent = f"UPDATE {name} SET version = version WHERE key = ?{self._alive}"
        overdue = f'SELECT key FROM {name} WHERE "{expires}" <= ? LIMIT ?'
        self.sweep = f"DELETE FROM {name} WHERE key IN ({overdue})" if expires else ""

    def _select(self, place: str, condition: str) -> str:
        """Five fixed columns and then the adjustable ones; `place` is what the next cursor needs."""
        adjusted = [f'"{column}"' for column in self.table.adjustable]
        fields = ", ".join(["key", "version", "shape", "body", place, *adjusted])
        return f"SELECT {fields} FROM {self._name} WHERE {condition}{self._alive}"

    def step(self, write: Write, row: Row | None, now: int) -> Step:
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

    def _put(self, write: Put, row: Row, expiry: list[int]) -> Step:
        shape = self.table.shape
        if write.expected > 0:
            values = [shape, row.body, *row.columns, row.key, write.expected, *expiry]
            return Step(write, self.put_version, values)
        values = [row.key, shape, row.body, *row.columns]
        if write.expected == ANY:
            return Step(write, self.put_any, values)
        return Step(write, self.put_absent, [*values, *expiry])

    def _adjust(self, write: Adjust, expiry: list[int]) -> Step:
        counters = tuple(write.add)
        sql = self._adjusts.get(counters)
        if sql is None:
            changes = [f'"{c}" = "{c}" + ?' for c in counters]
            if self.table.touched:
                changes.append(f'"{self.table.touched}" = ?')
            floors = "".join([f' AND "{c}" + ? >= {self.table.counters[c]}' for c in counters])
            sql = self._adjusts[counters] = (
                f'UPDATE "{self.table.name}" SET version = version + 1, '
                f"{', '.join(changes)} WHERE key = ?{floors}{self._alive}"
            )
        amounts = write.add.values()
        at = [sortable(write.at)] if self.table.touched else []
        return Step(write, sql, [*amounts, *at, write.key, *amounts, *expiry])


class Step(NamedTuple):
    """One write as a statement, and how many rows it must touch for its condition to hold."""

    write: Write
    sql: str
    values: Sequence[Any]
    rows: int | None = 1
