"""A table in DynamoDB, made from its declaration: its items, its conditions and the places in its indexes.

An item has the attributes

k  the key, the table's hash key; one that begins with NUL has another NUL before it
v  the version; s the body's shape; b the body, compressed if it is longer than a write unit
w  which request wrote it, where a write goes alone: the answer to whether it did
c_<counter>  the counters, and t the touched time in microseconds: what an adjustment moves
e  the end in microseconds, by which we go; ttl the same in seconds, by which DynamoDB removes
i_<field>, o_<field>  the hash and the range key of the indexes by that field, and in its order

An index's range key holds the sort value and the key, so that ties go by key; a counter can only be
its own range key, since an adjustment doesn't know what it becomes.
"""

from __future__ import annotations

import re
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from math import ceil
from typing import Any, Generic, NamedTuple, cast

from ecokart.core.errors import Invalid
from ecokart.core.records import (
    ABSENT,
    ANY,
    MAX_KEY_BYTES,
    Adjust,
    BelowFloor,
    Cursor,
    Delete,
    Put,
    Reason,
    Row,
    Sortable,
    T,
    Table,
    Versioned,
    Write,
    WriteConflict,
    sortable,
    write_key,
)
from ecokart.engines.records_dynamodb_client import Item

# A body up to this length takes one write unit with its attributes; a longer one is compressed.
PLAIN_BYTES = 900
MAX_HASH_BYTES = 2048
MAX_RANGE_BYTES = 1024
INTEGER_EDGE = 2**63


class Operation(NamedTuple):
    """A write as DynamoDB takes it: alone as `PutItem`, among others as a `Put` of a transaction."""

    kind: str
    request: dict[str, Any]
    write: Write


class Ordering(NamedTuple):
    """An index: its hash and range attributes with their types, and what they hold."""

    name: str
    by: str
    sort: str | None
    hash: tuple[str, str]
    range: tuple[str, str]
    descending: bool

    def hash_of(self, value: Sortable) -> str:
        return str(value) if self.hash[1] == "N" else hash_key(value)

    def start(self, after: Cursor) -> tuple[str, dict[str, str]]:
        """The condition on the range key of what comes behind a cursor; it may begin a little before."""
        way = "<" if self.descending else ">"
        if self.range[1] == "N":
            sort = after[0] if isinstance(after[0], int) else INTEGER_EDGE  # texts come last
            return f"#{self.range[0]} {way}= :after", number(_within_edges(sort))
        place = range_key(after[0] if self.sort else None, after[1])
        equal = "=" if len(place) == MAX_RANGE_BYTES else ""
        return f"#{self.range[0]} {way}{equal} :after", {"B": b64encode(place).decode()}

    def behind(self, place: Cursor, after: Cursor) -> bool:
        """Whether a place comes behind a cursor in this order."""
        one, other = [(isinstance(sort, str), sort, key) for sort, key in (place, after)]
        return one < other if self.descending else one > other

    def shared(self, item: Item) -> bool:
        """Whether items of other places may have this one's range key, in whatever order."""
        kind, value = next(iter(item[self.range[0]].items()))
        return kind == "N" or len(b64decode(value)) == MAX_RANGE_BYTES


class Layout(Generic[T]):
    """One table: how its records become items, and items records."""

    def __init__(self, table: Table[T], prefix: str) -> None:
        self.table = table
        self.name = f"{prefix}-{table.name}"
        self.orderings = {
            label: Ordering(
                label,
                index.by,
                index.sort,
                self._hash(index.by),
                self._range(index.sort),
                index.descending,
            )
            for label, index in table.indexes.items()
        }

    def item(self, row: Row, version: int) -> Item:
        """The whole record as an item."""
        table, values = self.table, dict(zip(self.table.columns, row.columns, strict=True))
        item: Item = {
            "k": {"S": stored_key(row.key)},
            "v": number(version),
            "s": number(table.shape),
            "b": _packed(row.body),
        }
        for counter in table.counters:
            item[f"c_{counter}"] = number(cast("int", values[counter]))
        if table.expires and values[table.expires] is not None:
            end = cast("int", values[table.expires])
            item |= {"e": number(end), "ttl": number(ceil(end / 1_000_000))}
        if table.touched in table.adjustable:
            item["t"] = number(cast("int", values[table.touched]))
        return item | self.places(values, row.key)

    def places(self, values: Mapping[str, Sortable | None], key: str) -> Item:
        """The index attributes that these fields give. A counter is one already."""
        item: Item = {}
        for index in self.orderings.values():
            by = values.get(index.by)
            if by is not None and index.hash[1] == "S":
                item[index.hash[0]] = {"S": hash_key(by)}
            sort = values.get(index.sort) if index.sort else None
            if index.range[1] == "B" and (sort is not None or not index.sort):
                item[index.range[0]] = {"B": b64encode(range_key(sort, key)).decode()}
        return item

    def load(self, item: Item) -> Versioned[T]:
        table = self.table
        version, shape = int(item["v"]["N"]), int(item["s"]["N"])
        body = _unpacked(item["b"])
        held = [item.get(name) for name in self._adjustable]
        if None in held:  # declared since the record was put: it is as the body has it
            value = table.load_body(shape, body)
            held = [
                one or number(cast("int", sortable(getattr(value, column))))
                for column, one in zip(table.adjustable, held, strict=True)
            ]
        adjusted = [int(one["N"]) for one in held if one]
        return Versioned(table.load(shape, body, adjusted), version)

    def refill(self, item: Item) -> Item:
        """The attributes that today's declaration gives the record beyond what the item has."""
        value, version = self.load(item)
        whole = self.item(self.table.row(value), version)
        return {name: held for name, held in whole.items() if name not in item}

    def alive(self, item: Item, now: int) -> bool:
        return "e" not in item or int(item["e"]["N"]) > now

    def step(self, write: Write, row: Row | None, now: int) -> Operation:
        """One write with its condition."""
        if isinstance(write, Put):
            return self._put(write, cast("Row", row), now)
        if isinstance(write, Adjust):
            return self._adjust(write, now)
        kind = "Delete" if isinstance(write, Delete) else "ConditionCheck"
        request = {"TableName": self.name, "Key": key_item(write.key)}
        return Operation(kind, request | self._expected(write.expected, now), write)

    def _put(self, write: Put, row: Row, now: int) -> Operation:
        version = write.expected + 1 if write.expected > 0 else new_version()
        request = {"TableName": self.name, "Item": self.item(row, version)}
        return Operation("Put", request | self._expected(write.expected, now), write)

    def _adjust(self, write: Adjust, now: int) -> Operation:
        changes, conditions = ["#v = #v + :one"], ["attribute_exists(#k)"]
        values: Item = {":one": number(1)}
        for counter, amount in write.add.items():
            changes.append(f"#c_{counter} = #c_{counter} + :a_{counter}")
            conditions.append(f"#c_{counter} >= :f_{counter}")
            values[f":a_{counter}"] = number(amount)
            values[f":f_{counter}"] = number(self.table.counters[counter] - amount)
        for name, held in self._moved(write).items():
            changes.append(f"#{name} = :{name}")
            values[f":{name}"] = held
        if self.table.expires:
            conditions.append(ALIVE)
            values[":now"] = number(now)
        request = {"TableName": self.name, "Key": key_item(write.key)}
        request |= expression(" AND ".join(conditions), "SET " + ", ".join(changes), values)
        return Operation("Update", request, write)

    def _moved(self, write: Adjust) -> Item:
        """What an adjustment's time moves."""
        if not self.table.touched:
            return {}
        touched, at = self.table.touched, sortable(write.at)
        places = self.places({touched: at}, write.key)
        moved = {name: places[name] for name in (f"i_{touched}", f"o_{touched}") if name in places}
        return {"t": number(cast("int", at))} | moved

    def _expected(self, expected: int, now: int) -> dict[str, Any]:
        ends = bool(self.table.expires)
        values: Item = {":now": number(now)} if ends and expected != ANY else {}
        if expected == ANY:
            return {}
        if expected == ABSENT:
            return expression("attribute_not_exists(#k)" + " OR #e <= :now" * ends, "", values)
        condition = "#v = :v" + f" AND {ALIVE}" * ends
        return expression(condition, "", values | {":v": number(expected)})

    def conflict(self, write: Write, met: Item, now: int) -> WriteConflict:
        """Why a condition failed, told from the item that it met."""
        name, key = self.table.name, write_key(write)
        if not met or not self.alive(met, now):
            return WriteConflict(name, key, Reason.GONE)
        if isinstance(write, Adjust):
            return BelowFloor(name, key)
        return WriteConflict(
            name, key, Reason.EXISTS if write.expected == ABSENT else Reason.CHANGED
        )

    @property
    def _adjustable(self) -> list[str]:
        counters = [f"c_{counter}" for counter in self.table.counters]
        return counters + ["t"] * (len(self.table.adjustable) - len(counters))

    def _hash(self, field: str) -> tuple[str, str]:
        return (f"c_{field}", "N") if field in self.table.counters else (f"i_{field}", "S")

    def _range(self, field: str | None) -> tuple[str, str]:
        if field in self.table.counters:
            return f"c_{field}", "N"
        return f"o_{field or self.table.key}", "B"


ALIVE = "(attribute_not_exists(#e) OR #e > :now)"


def expression(condition: str, update: str, values: Item) -> dict[str, Any]:
    """The part of a request that says under which condition and how; #name is the attribute `name`."""
    request: dict[str, Any] = {"ExpressionAttributeNames": _names(condition + update)}
    if condition:
        request["ConditionExpression"] = condition
        request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    if update:
        request["UpdateExpression"] = update
    if values:
        request["ExpressionAttributeValues"] = values
    return request


@lru_cache(maxsize=256)
def _names(expressions: str) -> dict[str, str]:
    return {f"#{name}": name for name in re.findall(r"#(\w+)", expressions)}


def number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def key_item(key: str) -> Item:
    return {"k": {"S": stored_key(key)}}


def stored_key(key: str) -> str:
    return "\x00" + key if key.startswith("\x00") else key


def key_of(item: Item) -> str:
    stored: str = item["k"]["S"]
    return stored.removeprefix("\x00")


def is_key(key: str) -> bool:
    """Whether a record can have this key. Raises `Invalid` for what is no text."""
    return 0 < len(_encoded(key)) <= MAX_KEY_BYTES


def hash_key(value: Sortable) -> str:
    """An index's hash key: never empty, a number never like a text, and of a text too long its digest."""
    if isinstance(value, int):
        return f"n{value}"
    text = _encoded(value)
    return f"t{value}" if len(text) < MAX_HASH_BYTES else f"h{sha256(text).hexdigest()}"


def range_key(sort: Sortable | None, key: str) -> bytes:
    """An index's range key: sorts as the pair does, numbers before texts, cut off where it is too long."""
    if sort is None:
        head = b""
    elif isinstance(sort, int):
        head = b"\x01" + (_within_edges(sort) + INTEGER_EDGE).to_bytes(8, "big")
    else:
        # A NUL ends the text, so those in it are followed by what no text can contain.
        head = b"\x02" + _encoded(sort).replace(b"\x00", b"\x00\xff") + b"\x00"
    return (head + _encoded(key))[:MAX_RANGE_BYTES]


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half a surrogate pair
        raise Invalid(f"No record can have that: {error}.") from error


def _within_edges(value: int) -> int:
    return min(max(value, -INTEGER_EDGE), INTEGER_EDGE - 1)


_last_version = 0


def new_version() -> int:
    """The time in microseconds, never the same twice: a key that comes back doesn't repeat a version."""
    global _last_version  # noqa: PLW0603 (one sequence for the process is the point)
    _last_version = max(time.time_ns() // 1000, _last_version + 1)
    return _last_version


def _packed(body: bytes) -> dict[str, str]:
    if len(body) > PLAIN_BYTES:
        return {"B": b64encode(zlib.compress(body)).decode()}
    return {"S": body.decode()}


def _unpacked(held: Mapping[str, str]) -> bytes:
    if "B" in held:
        return zlib.decompress(b64decode(held["B"]))
    return held["S"].encode()
