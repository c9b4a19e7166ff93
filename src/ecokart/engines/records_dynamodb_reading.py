"""Reading records from DynamoDB: one, a page of an index, a page of everything.

An index holds keys alone, since every write to it costs; a query then gets the records themselves, by
consistent reads. So they are at least as new as their place in the index, and one that has moved on
since is left out: its new place will have it. Only an index in the order of what every write touches
has the records too: it is written each time anyway, and it is asked several times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from ecokart.core.clock import Clock
from ecokart.core.errors import Unavailable
from ecokart.core.records import (
    Cursor,
    Page,
    Sortable,
    T,
    Table,
    Versioned,
    microseconds,
    sortable,
)
from ecokart.engines.records_dynamodb_client import DynamoClient, Item, Pauses
from ecokart.engines.records_dynamodb_items import Layout
from ecokart.engines.records_dynamodb_keys import Ordering, is_key, is_shard, key_item, key_of
from ecokart.engines.records_dynamodb_shards import Group, fit

BATCH = 100  # keys a BatchGetItem takes
PATIENCE_SECONDS = 10.0


class Reading:
    """The reading half of `Records`."""

    def __init__(
        self, client: DynamoClient, layouts: Mapping[str, Layout[Any]], clock: Clock
    ) -> None:
        self._client, self._layouts, self._clock = client, layouts, clock

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        layout = self._layouts[table.name]
        if not is_key(key):
            return None
        item = await self.item(layout, key_item(key))
        whole = await self._whole(layout, item) if item else None
        return layout.load(whole) if whole and layout.alive(whole, self._now()) else None

    async def query(
        self, table: Table[T], index: str, value: Sortable, after: Cursor | None, limit: int
    ) -> Page[T]:
        layout = self._layouts[table.name]
        ordering = layout.orderings[index]
        found: list[tuple[Cursor, Versioned[T]]] = []
        async for rows in self._rows(layout, ordering, value, after, limit + 1):
            records = [
                (self._place(layout, ordering, record), record)
                for record in await self._standing(layout, ordering, rows)
            ]
            part = [one for one in records if after is None or ordering.behind(one[0], after)]
            found += sorted(part, key=lambda one: one[0], reverse=ordering.descending)
            if len(found) > limit:
                break
        return _page(found, limit)

    async def scan(self, table: Table[T], after: Cursor | None, limit: int) -> Page[T]:
        layout, now = self._layouts[table.name], self._now()
        found: list[tuple[Cursor, Versioned[T]]] = []
        start = key_item(after[1]) if after and is_key(after[1]) else None
        while len(found) <= limit:
            more = {"ExclusiveStartKey": start} if start else {}
            answer = await self._client.read(
                "Scan", TableName=layout.name, ConsistentRead=True, Limit=limit + 1, **more
            )
            for item in answer["Items"]:
                if layout.alive(item, now) and not is_shard(item):
                    key = key_of(item)
                    if whole := await self._whole(layout, item):
                        found.append(((key, key), layout.load(whole)))
            start = answer.get("LastEvaluatedKey")
            if start is None:
                break
        return _page(found, limit)

    async def item(self, layout: Layout[Any], key: Item) -> Item | None:
        """The newest state of an item, whether it has expired or not."""
        answer = await self._client.read(
            "GetItem", TableName=layout.name, Key=key, ConsistentRead=True
        )
        item: Item | None = answer.get("Item")
        return item

    async def group(self, layout: Layout[Any], key: str, *, exact: bool = False) -> Group | None:
        """The items of a record that is split, all of one put; None if it isn't (any more).

        `exact` reads them at one moment, at double the price.
        """
        pauses = Pauses(PATIENCE_SECONDS)
        while True:
            first = await self.item(layout, key_item(key))
            if first is None or "n" not in first:
                return None
            keys = [key_item(key, shard) for shard in range(int(first["n"]["N"]))]
            read = self._at_once if exact else self._batch
            found = {item["k"]["S"]: item for item in await read(layout, keys)}
            items = [found[one["k"]["S"]] for one in keys if one["k"]["S"] in found]
            if items and "n" in items[0] and fit(items):
                return Group(items, exact)
            if not await pauses.next():
                raise Unavailable("DynamoDB is too busy to read.")

    async def _rows(
        self,
        layout: Layout[Any],
        ordering: Ordering,
        value: Sortable,
        after: Cursor | None,
        limit: int,
    ) -> AsyncIterator[list[Item]]:
        """The index's rows in parts: of those that share a range key, all are in one part."""
        names = {f"#{ordering.hash[0]}": ordering.hash[0]}
        values: Item = {":by": {ordering.hash[1]: ordering.hash_of(value)}}
        condition = f"#{ordering.hash[0]} = :by"
        if after:
            start, values[":after"] = ordering.start(after)
            condition += f" AND {start}"
            names[f"#{ordering.range[0]}"] = ordering.range[0]
        request: dict[str, Any] = {
            "TableName": layout.name,
            "IndexName": ordering.name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": not ordering.descending,
            "Limit": limit,
        }
        held: list[Item] = []
        while True:
            answer = await self._client.read("Query", **request)
            rows: list[Item] = held + answer["Items"]
            more = answer.get("LastEvaluatedKey")
            if more is None:
                yield rows
                return
            last = rows[-1][ordering.range[0]] if rows and ordering.shared(rows[-1]) else None
            held = [row for row in rows if row[ordering.range[0]] == last]
            yield [row for row in rows if row[ordering.range[0]] != last]
            request["ExclusiveStartKey"] = more

    async def _standing(
        self, layout: Layout[T], ordering: Ordering, rows: Sequence[Item]
    ) -> list[Versioned[T]]:
        """The records of these rows that are still where the index has them."""
        now, attributes = self._now(), (ordering.hash[0], ordering.range[0])
        # In an index that has the records a row is one, unless it is split over several.
        here = {key_of(row): row for row in rows if "b" in row and "n" not in row}
        away = [key_of(row) for row in rows if key_of(row) not in here]
        items = here | (await self.items(layout, away) if away else {})
        standing = {}
        for row in rows:
            item = items.get(key_of(row))
            if item and layout.alive(item, now) and all(item.get(a) == row[a] for a in attributes):
                standing[key_of(row)] = layout.load(item)
        return list(standing.values())

    async def items(self, layout: Layout[Any], keys: Iterable[str]) -> dict[str, Item]:
        """The newest state of these records' items, by key; those that are split are whole."""
        wanted = [key_item(key) for key in dict.fromkeys(keys)]
        parts = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
        found = await asyncio.gather(*[self._batch(layout, part) for part in parts])
        items = await asyncio.gather(*[self._whole(layout, one) for part in found for one in part])
        return {key_of(item): item for item in items if item}

    async def _whole(self, layout: Layout[Any], item: Item) -> Item | None:
        """The record that an item is the first of, as it is now; None if it is gone by now."""
        now: Item | None = item
        while now and "n" in now:
            if group := await self.group(layout, key_of(item)):
                return group.whole(layout)
            now = await self.item(layout, key_item(key_of(item)))  # it isn't split any more
        return now

    async def _at_once(self, layout: Layout[Any], keys: Sequence[Item]) -> list[Item]:
        answer = await self._client.read(
            "TransactGetItems",
            TransactItems=[{"Get": {"TableName": layout.name, "Key": key}} for key in keys],
        )
        return [response["Item"] for response in answer["Responses"] if "Item" in response]

    async def _batch(self, layout: Layout[Any], keys: Sequence[Item]) -> list[Item]:
        asked: Any = {layout.name: {"Keys": list(keys), "ConsistentRead": True}}
        found: list[Item] = []
        pauses = Pauses(PATIENCE_SECONDS)
        while True:
            answer = await self._client.read("BatchGetItem", RequestItems=asked)
            got = answer["Responses"].get(layout.name, [])
            found += got
            asked = answer.get("UnprocessedKeys", {})
            if not asked:
                return found
            # It may only be more than one answer takes; with nothing at all it is throttled.
            if not got and not await pauses.next():
                raise Unavailable("DynamoDB is too busy to read.")

    def _place(self, layout: Layout[T], ordering: Ordering, record: Versioned[T]) -> Cursor:
        key = layout.table.key_of(record.value)
        sort = sortable(getattr(record.value, ordering.sort)) if ordering.sort else key
        return (key if sort is None else sort), key

    def _now(self) -> int:
        return microseconds(self._clock.now())


def _page(found: Sequence[tuple[Cursor, Versioned[T]]], limit: int) -> Page[T]:
    part = found[:limit]
    after = part[-1][0] if len(found) > limit else None
    return Page([record.value for _, record in part], [record.version for _, record in part], after)
