"""A record split over several items, so that its counters aren't bound to what one partition takes.

The record's own item is the first shard: it has the body, `n` and a share of the counters. Each further
shard has a share alone. An adjustment goes to one of them, whichever, and a reader adds them up.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import gcd
from typing import Any, NamedTuple, cast

from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    Delete,
    Put,
    Reason,
    Row,
    Write,
    WriteConflict,
    write_key,
)
from ecokart.engines.records_dynamodb_client import Item
from ecokart.engines.records_dynamodb_items import Layout, Operation, expression, new_version
from ecokart.engines.records_dynamodb_keys import key_item, number

Shares = list[tuple[int, Mapping[str, int]]]


class Group(NamedTuple):
    """The items of a record that is split, in order. `exact`: they were read at one moment."""

    items: Sequence[Item]
    exact: bool

    @property
    def version(self) -> int:
        """Another one after every change of any item. A state that never was has one that never was."""
        versions = ",".join([item["v"]["N"] for item in self.items])
        digest = blake2b(f"{self.items[0]['g']['N']}:{versions}".encode(), digest_size=6).digest()
        return int.from_bytes(digest, "big") + 1

    def whole(self, layout: Layout[Any]) -> Item:
        """As one item that isn't split."""
        whole = self.items[0] | {"v": number(self.version)}
        for name in [f"c_{counter}" for counter in layout.table.counters]:
            parts = [int(item[name]["N"]) for item in self.items if name in item]
            if parts:
                whole[name] = number(sum(parts))
        if layout.table.touched:
            latest = max(self.items, key=lambda item: int(item["t"]["N"]))
            moved = ("t", f"o_{layout.table.touched}")
            whole |= {name: latest[name] for name in moved if name in latest}
        return whole

    def spare(self, layout: Layout[Any], counter: str, shard: int) -> int:
        held = self.items[shard].get(f"c_{counter}", number(0))
        return max(int(held["N"]) - layout.floor(counter, shard), 0)


def fit(items: Sequence[Item]) -> bool:
    """Whether they are all of one put's, and all that there are."""
    return len(items) == int(items[0]["n"]["N"]) and len({item["g"]["N"] for item in items}) == 1


def new_record(layout: Layout[Any], write: Put, row: Row | None, now: int) -> list[Operation]:
    """Put a record that is to be split where none is split yet."""
    items = _split(layout, write, cast("Row", row))
    first = layout.step(write, row, now)
    first.request["Item"] = items[0]
    return [first, *[layout.operation("Put", write, {"Item": item}) for item in items[1:]]]


def change(
    layout: Layout[Any], write: Write, row: Row | None, now: int, group: Group
) -> list[Operation] | None:
    """A write of a record that is split; None for an adjustment for which there isn't enough.

    Raises `WriteConflict` where what was read shows already that its condition doesn't hold.
    """
    if isinstance(write, Adjust):
        shares = shared_out(layout, write.add, group)
        if shares is None:
            return None
        return [layout.adjust(write, now, add, shard) for shard, add in shares]
    if write.expected not in (ANY, group.version):
        reason = Reason.EXISTS if write.expected == ABSENT else Reason.CHANGED
        raise WriteConflict(layout.table.name, write_key(write), reason)
    if isinstance(write, Put):
        return _put(layout, write, cast("Row", row), group)
    kind = "Delete" if isinstance(write, Delete) else "ConditionCheck"
    keys = [key_item(write.key, shard) for shard in range(len(group.items))]
    return [
        layout.operation(kind, write, {"Key": key}, _as_read(write, group, shard))
        for shard, key in enumerate(keys)
    ]


def shared_out(layout: Layout[Any], add: Mapping[str, int], group: Group) -> Shares | None:
    """Which shard takes what of an adjustment; None if all together haven't enough.

    One takes it alone where one can. Otherwise each takes a part of it as a whole, so that what holds
    between the counters holds for each shard; and only where that won't do each counter goes its way.
    """
    order = random.sample(range(len(group.items)), len(group.items))
    unit = gcd(*add.values()) or 1
    one = {counter: amount // unit for counter, amount in add.items()}
    room = {
        shard: min(
            [group.spare(layout, c, shard) // -amount for c, amount in one.items() if amount < 0],
            default=unit,
        )
        for shard in order
    }
    if alone := [shard for shard in order if room[shard] >= unit]:
        return [(alone[0], add)]
    shares: Shares = []
    left = unit
    for shard in sorted(order, key=lambda shard: -room[shard]):
        part = min(left, room[shard])
        if part:
            shares.append((shard, {counter: amount * part for counter, amount in one.items()}))
        left -= part
    return _apart(layout, add, group, order) if left else shares


def _apart(
    layout: Layout[Any], add: Mapping[str, int], group: Group, order: Sequence[int]
) -> Shares | None:
    parts = {shard: dict.fromkeys(add, 0) for shard in order}
    for counter, amount in add.items():
        if amount >= 0:
            parts[order[0]][counter] = amount
            continue
        left = -amount
        for shard in order:
            part = min(left, group.spare(layout, counter, shard))
            parts[shard][counter] = -part
            left -= part
        if left:
            return None
    return [(shard, part) for shard, part in parts.items() if any(part.values())]


def _put(layout: Layout[Any], write: Put, row: Row, group: Group) -> list[Operation]:
    items = _split(layout, write, row)
    before = len(group.items)
    operations = [
        layout.operation(
            "Put", write, {"Item": item}, _as_read(write, group, shard) if shard < before else {}
        )
        for shard, item in enumerate(items)
    ]
    return operations + [
        layout.operation(
            "Delete", write, {"Key": key_item(row.key, shard)}, _as_read(write, group, shard)
        )
        for shard in range(len(items), before)
    ]


def _as_read(write: Write, group: Group, shard: int) -> dict[str, Any]:
    """That an item is still as it was read; where anything may be there, that it is split as it was."""
    if not isinstance(write, Adjust) and write.expected != ANY:
        return expression("#v = :v", "", {":v": group.items[shard]["v"]})
    return {} if shard else expression("#g = :g", "", {":g": group.items[0]["g"]})


def _split(layout: Layout[Any], write: Put, row: Row) -> list[Item]:
    """The items of a record by its own number of shards, what is there shared out evenly."""
    count, version = layout.table.shards_of(write.value), new_version()
    whole = layout.item(row, version)
    if count == 1:
        return [whole]
    mark = {"g": number(version)}
    items = [whole | mark | {"n": number(count)}]
    places = {
        name
        for one in layout.orderings.values()
        if one.many
        for name in (one.hash[0], one.range[0])
    }
    common = {name: whole[name] for name in ("v", "t", *places) if name in whole}
    items += [key_item(row.key, shard) | common | mark for shard in range(1, count)]
    for counter, floor in layout.table.counters.items():
        each, rest = divmod(int(whole[f"c_{counter}"]["N"]) - floor, count)
        for shard, item in enumerate(items):
            share = each + (shard < rest) + layout.floor(counter, shard)
            item[f"c_{counter}"] = number(share)
    return items
