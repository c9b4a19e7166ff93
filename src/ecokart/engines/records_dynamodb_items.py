"""A table in DynamoDB, made from its declaration: its items, its conditions and the places in its indexes.

An item has the attributes

k  the key, the table's hash key; one that begins with NUL has another NUL before it
v  the version; s the body's shape; b the body, compressed if it is longer than a write unit
w  which request wrote it, where a write goes alone: the answer to whether it did
c_<counter>  the counters, and t the touched time in microseconds: what an adjustment moves
e  the end in microseconds, by which we go; ttl the same in seconds, by which DynamoDB removes
n  how many items the record is split over, where it is (records_dynamodb_shards.py); g which put did it
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
from math import ceil
from typing import Any, Generic, NamedTuple, cast

from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    BelowFloor,
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
from ecokart.engines.records_dynamodb_keys import (
    Ordering,
    hash_key,
    is_shard,
    key_item,
    number,
    range_key,
)

# A body up to this length takes one write unit with its attributes; a longer one is compressed.
PLAIN_BYTES = 900
SECOND = 1_000_000


class Operation(NamedTuple):
    """A write as DynamoDB takes it: alone as `PutItem`, among others as a `Put` of a transaction."""

    kind: str
    request: dict[str, Any]
    write: Write


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
                # In the order of what every write touches it is written every time, whatever it holds.
                whole=bool(index.sort) and index.sort == table.touched,
                many=bool(table.shards) and index.sort == table.touched,
            )
            for label, index in table.indexes.items()
        }

    def item(self, row: Row, version: int) -> Item:
        """The whole record as an item."""
        table, values = self.table, dict(zip(self.table.columns, row.columns, strict=True))
        item: Item = {
            **key_item(row.key),
            "v": number(version),
            "s": number(table.shape),
            "b": _packed(row.body),
        }
        for counter in table.counters:
            item[f"c_{counter}"] = number(cast("int", values[counter]))
        if table.expires and values[table.expires] is not None:
            end = cast("int", values[table.expires])
            item |= {"e": number(end), "ttl": number(ceil(end / SECOND))}
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
        if is_shard(item):
            lacking = [f"c_{c}" for c in self.table.counters if f"c_{c}" not in item]
            return {name: number(0) for name in lacking}
        value, version = self.load(item)
        whole = self.item(self.table.row(value), version)
        return {name: held for name, held in whole.items() if name not in item}

    def alive(self, item: Item, now: int) -> bool:
        return "e" not in item or int(item["e"]["N"]) > now

    def step(self, write: Write, row: Row | None, now: int) -> Operation:
        """One write of a record that isn't split, with its condition."""
        if isinstance(write, Put):
            version = write.expected + 1 if write.expected > 0 else new_version()
            held = {"Item": self.item(cast("Row", row), version)}
            return self.operation("Put", write, held, self._expected(write.expected, now))
        if isinstance(write, Adjust):
            return self.adjust(write, now, write.add)
        kind = "Delete" if isinstance(write, Delete) else "ConditionCheck"
        expected = self._expected(write.expected, now)
        return self.operation(kind, write, {"Key": key_item(write.key)}, expected)

    def operation(self, kind: str, write: Write, *parts: Mapping[str, Any]) -> Operation:
        request: dict[str, Any] = {"TableName": self.name}
        for part in parts:
            request |= part
        return Operation(kind, request, write)

    def adjust(
        self, write: Adjust, now: int, add: Mapping[str, int], shard: int | None = None
    ) -> Operation:
        """An adjustment by `add`, of the record or of one of its shards: the first has the floors."""
        changes, conditions = ["#v = #v + :one"], ["attribute_exists(#k)"]
        if self.table.shards and not shard:
            conditions = ["attribute_not_exists(#n)" if shard is None else "attribute_exists(#n)"]
            conditions.append("attribute_exists(#k)")
        values: Item = {":one": number(1)}
        for counter, amount in add.items():
            changes.append(f"#c_{counter} = #c_{counter} + :a_{counter}")
            conditions.append(f"#c_{counter} >= :f_{counter}")
            values[f":a_{counter}"] = number(amount)
            values[f":f_{counter}"] = number(self.floor(counter, shard) - amount)
        for name, held in self._moved(write, split=shard is not None).items():
            changes.append(f"#{name} = :{name}")
            values[f":{name}"] = held
        if self.table.expires:
            conditions.append(ALIVE)
            values[":now"] = number(now)
        told = expression(" AND ".join(conditions), "SET " + ", ".join(changes), values)
        return self.operation("Update", write, {"Key": key_item(write.key, shard)}, told)

    def floor(self, counter: str, shard: int | None) -> int:
        return 0 if shard else self.table.counters[counter]

    def _moved(self, write: Adjust, *, split: bool) -> Item:
        """What an adjustment's time moves. That of a record that is split moves by whole seconds, so
        that its many adjustments aren't as many writes to one place of an index."""
        touched, at = self.table.touched, sortable(write.at)
        if not touched:
            return {}
        count = cast("int", at)
        count = -(-count // SECOND) * SECOND if split else count
        places = self.places({touched: count}, write.key)
        moved = {name: places[name] for name in (f"i_{touched}", f"o_{touched}") if name in places}
        return {"t": number(count)} | moved

    def _expected(self, expected: int, now: int) -> dict[str, Any]:
        ends = bool(self.table.expires)
        values: Item = {":now": number(now)} if ends and expected != ANY else {}
        if expected == ABSENT:
            return expression("attribute_not_exists(#k)" + " OR #e <= :now" * ends, "", values)
        conditions = []
        if expected != ANY:
            conditions.append("#v = :v")
            values[":v"] = number(expected)
            conditions += [ALIVE] * ends
        if self.table.shards:
            conditions.append("attribute_not_exists(#n)")
        return expression(" AND ".join(conditions), "", values) if conditions else {}

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
