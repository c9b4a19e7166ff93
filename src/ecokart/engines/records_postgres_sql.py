"""The SQL of a table in PostgreSQL, made from its declaration: what `records_postgres` keeps and reads.

Text sorts by code point (`COLLATE "C"`) and bodies are bytes. PostgreSQL's text can't hold U+0000,
so keys and indexed text are escaped, in a way that keeps their order.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ecokart.core.errors import Invalid
from ecokart.core.records import Sortable, Table

VERSIONS = "ecokart_versions"  # a sequence: no version is ever given twice
LANES = "ecokart_lanes"  # how the last group of every lane ended


class Statements:
    """The SQL of one table in one schema. Names are the declaration's own."""

    def __init__(self, schema: str, table: Table[Any]) -> None:
        self.table = table
        self.name = f'{quoted(schema)}."{table.name}"'
        self.texts = [c for c in table.columns if column_type(table, c) == "text"]
        self.numbers = [c for c in table.columns if c not in self.texts]
        # In the order of `Table.columns`: whether a column is text.
        self.layout = tuple(column in self.texts for column in table.columns)
        self._declare()
        self._declare_reads()

    def _declare(self) -> None:
        self.create = (
            f'CREATE TABLE {self.name} (key text COLLATE "C" PRIMARY KEY, version bigint NOT NULL,'
            f" shape integer NOT NULL, body bytea NOT NULL)"
        )
        self.columns = {
            column: f'ALTER TABLE {self.name} ADD COLUMN "{column}" '
            + ('text COLLATE "C"' if column in self.texts else "bigint")
            for column in self.table.columns
        }
        self.indexes: dict[str, str] = {}
        for label, index in self.table.indexes.items():
            over = ", ".join([f'"{field}"' for field in index.fields] + ["key"])
            self._index(label, f'({over}) WHERE "{index.by}" IS NOT NULL')
        if self.table.expires:
            self._index(
                "_end", f'("{self.table.expires}") WHERE "{self.table.expires}" IS NOT NULL'
            )

    def _index(self, label: str, over: str) -> None:
        name = f"{self.table.name}_{label}"
        self.indexes[name] = f'CREATE INDEX "{name}" ON {self.name} {over}'

    def _declare_reads(self) -> None:
        self.get = self._select("key", "key = ANY($1)", now="$2")
        self.scan = self._select("key", "key > $1", now="$3") + " ORDER BY key LIMIT $2"
        self.queries = {}
        for label, index in self.table.indexes.items():
            order, beyond = ("DESC", "<") if index.descending else ("ASC", ">")
            place = f'"{index.sort}"' if index.sort else "key"
            condition = f'"{index.by}" = $1 AND {place} IS NOT NULL'
            tail = f" ORDER BY {place} {order}, key {order} LIMIT $2"
            first = self._select(place, condition, now="$3") + tail
            condition += f" AND ({place}, key) {beyond} ($3, $4)"
            further = self._select(place, condition, now="$5") + tail
            self.queries[label] = (first, further)
        expires = self.table.expires
        overdue = f'SELECT ctid FROM {self.name} WHERE "{expires}" <= $1 LIMIT $2'
        # What somebody writes at this moment is left to the next sweep: sweeping waits for nobody.
        self.sweep = (
            f"DELETE FROM {self.name} WHERE ctid = ANY(ARRAY({overdue} FOR UPDATE SKIP LOCKED))"
            if expires
            else ""
        )

    def _select(self, place: str, condition: str, *, now: str) -> str:
        """Five fixed columns and then the adjustable ones; `place` is what the next cursor needs."""
        adjusted = [f'"{column}"' for column in self.table.adjustable]
        fields = ", ".join(["key", "version", "shape", "body", place, *adjusted])
        expires = self.table.expires
        alive = f' AND ("{expires}" IS NULL OR "{expires}" > {now})' if expires else ""
        return f"SELECT {fields} FROM {self.name} WHERE {condition}{alive}"


def column_type(table: Table[Any], column: str) -> str:
    """`text` or `bigint`, by the struct's own annotation: what `sortable` makes of such a field."""
    (field,) = [f for f in _fields(table.struct) if f.name == column]
    kinds = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
    for kind in kinds:
        if isinstance(kind, msgspec.inspect.StrType | msgspec.inspect.EnumType):
            return "text"
        if isinstance(kind, _NUMBERS):
            return "bigint"
    raise TypeError(f"{table.name}.{column} can't be a column")


_NUMBERS = msgspec.inspect.IntType | msgspec.inspect.BoolType | msgspec.inspect.DateTimeType


def _fields(struct: type[msgspec.Struct]) -> tuple[msgspec.inspect.Field, ...]:
    described = msgspec.inspect.type_info(struct)
    assert isinstance(described, msgspec.inspect.StructType)  # noqa: S101 (a struct is described as one)
    return described.fields


def quoted(name: str) -> str:
    """An identifier that was given from outside."""
    return '"' + name.replace('"', '""') + '"'


def stored(value: Any) -> Any:
    """A value as a column holds it: U+0000 isn't possible in PostgreSQL's text, so it is written as two
    others, which sort as it did."""
    if type(value) is not str:
        return value
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Invalid(f"No record can have that: {error}.") from error
    if "\x00" in value or "\x01" in value:
        return value.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")
    return value


def given(value: Sortable) -> Sortable:
    """What `stored` was given."""
    if type(value) is str and "\x01" in value:
        return value.replace("\x01\x01", "\x00").replace("\x01\x02", "\x01")
    return value
