"""Bringing a schema up to the declarations: tables, columns, indexes and the commit function.

Nothing is made that is there already, so a process that finds everything needs no right to make anything
and waits for nobody. What is missing is made in one transaction, under a lock that all processes share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg

from ecokart.core.records import sortable
from ecokart.engines.records_postgres_function import CommitFunction
from ecokart.engines.records_postgres_sql import LANES, VERSIONS, Statements, quoted, stored

FILLED_AT_ONCE = 1000
PREPARING_SECONDS = 3600

IN_SCHEMA = "JOIN pg_namespace AS n ON n.nspname = $1 AND n.oid ="


async def prepare(
    connection: asyncpg.Connection[Any],
    schema: str,
    tables: Sequence[Statements],
    function: CommitFunction,
) -> None:
    """Make what the schema lacks. New columns are filled from the bodies."""
    if not _missing(await _present(connection, schema), schema, tables, function):
        return
    async with connection.transaction():
        await connection.execute(f"SET LOCAL statement_timeout = '{PREPARING_SECONDS}s'")
        lock = "SELECT pg_advisory_xact_lock(hashtext('ecokart'), hashtext($1))"
        await connection.execute(lock, schema, timeout=PREPARING_SECONDS)
        present = await _present(
            connection, schema
        )  # perhaps another process has made it meanwhile
        for sql in _missing(present, schema, tables, function):
            await connection.execute(sql, timeout=PREPARING_SECONDS)
        for table in tables:
            columns = present.columns.get(table.table.name)
            added = [c for c in table.table.columns if columns is not None and c not in columns]
            if added:
                await _fill(connection, table, added)


class Present(NamedTuple):
    """What is in the schema: whether there is one, its relations, each table's columns, its functions."""

    schema: bool
    relations: set[str]
    columns: dict[str, set[str]]
    functions: set[str]


async def _present(connection: asyncpg.Connection[Any], schema: str) -> Present:
    found = await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = $1", schema)
    relations = await connection.fetch(
        "SELECT c.relname, array(SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = c.oid)"
        f" FROM pg_class AS c {IN_SCHEMA} c.relnamespace",
        schema,
    )
    functions = await connection.fetch(
        f"SELECT p.proname FROM pg_proc AS p {IN_SCHEMA} p.pronamespace", schema
    )
    columns = {name: set(names) for name, names in relations}
    return Present(bool(found), set(columns), columns, {name for (name,) in functions})


def _missing(
    present: Present, schema: str, tables: Sequence[Statements], function: CommitFunction
) -> list[str]:
    """The statements that make what isn't there."""
    place = quoted(schema)
    missing = [] if present.schema else [f"CREATE SCHEMA {place}"]
    if VERSIONS not in present.relations:
        missing.append(f"CREATE SEQUENCE {place}.{VERSIONS}")
    if LANES not in present.relations:
        missing.append(
            f"CREATE TABLE {place}.{LANES} (lane uuid PRIMARY KEY, turn bigint NOT NULL,"
            " outcomes int[], ended timestamptz NOT NULL) WITH (fillfactor = 20)"
        )
    for table in tables:
        name = table.table.name
        if name not in present.relations:
            missing.append(table.create)
        columns = present.columns.get(name, set())
        missing += [sql for column, sql in table.columns.items() if column not in columns]
        missing += [sql for index, sql in table.indexes.items() if index not in present.relations]
    if function.name not in present.functions:
        missing.append(function.create)
    return missing


async def _fill(connection: asyncpg.Connection[Any], table: Statements, added: list[str]) -> None:
    changes = ", ".join([f'"{column}" = ${number}' for number, column in enumerate(added, 2)])
    fill = f"UPDATE {table.name} SET {changes} WHERE key = $1"
    some = f"SELECT key, shape, body FROM {table.name} WHERE key > $1 ORDER BY key LIMIT {FILLED_AT_ONCE}"
    behind = ""
    while rows := await connection.fetch(some, behind, timeout=PREPARING_SECONDS):
        filled = []
        for key, shape, body in rows:
            value = table.table.load_body(shape, body)
            filled.append([key, *[stored(sortable(getattr(value, column))) for column in added]])
        await connection.executemany(fill, filled, timeout=PREPARING_SECONDS)
        behind = rows[-1][0]
