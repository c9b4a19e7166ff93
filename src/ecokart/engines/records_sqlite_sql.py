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
                f"{', '.join(changes)} WHERE key = ?{floors}{self.alive}"
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
