"""The tables of DynamoDB as it is told to make them, from their declarations; and the making of them.

Infrastructure as code declares the same: `create_table` and, for a table whose records end, `EXPIRY`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiodynamo import errors

from ecokart.core.errors import Unavailable
from ecokart.core.records import Table
from ecokart.engines.records_dynamodb_client import Answer, Cancelled, DynamoClient, Item
from ecokart.engines.records_dynamodb_items import Layout, expression
from ecokart.engines.records_dynamodb_reading import Reading

WAIT_SECONDS = 1800.0  # DynamoDB fills a new index of a large table
POLL_SECONDS = 0.25
EXPIRY = "ttl"

Told = Callable[[str], None]


class Shown(NamedTuple):
    """A table as it is; the counts are DynamoDB's own and up to six hours old."""

    name: str
    status: str
    records: int
    size_bytes: int
    indexes: list[str]
    expiry: bool
    recovery: str


def create_table(table: Table[Any], prefix: str) -> dict[str, Any]:
    """The parameters of CreateTable: paid by the request."""
    layout = Layout(table, prefix)
    indexes = [_index(layout, label) for label in layout.orderings]
    used = {"k", *(part["AttributeName"] for index in indexes for part in index["KeySchema"])}
    description = {
        "TableName": layout.name,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [
            one for one in _attributes(layout) if one["AttributeName"] in used
        ],
    }
    return description | ({"GlobalSecondaryIndexes": indexes} if indexes else {})


class Making:
    """Makes tables and brings older ones up to their declarations. Running it again changes nothing."""

    def __init__(
        self, client: DynamoClient, layouts: Mapping[str, Layout[Any]], reading: Reading
    ) -> None:
        self._client, self._layouts, self._reading = client, layouts, reading

    async def make(self, told: Told, *, refill: bool = False, expiry: bool = True) -> None:
        """Make what is missing and wait until it can be used; `refill` goes through every old record.

        Without `expiry` DynamoDB removes no ended records: its local server, which keeps a thread for
        each table where it does, soon has none left to fill new indexes. To us they are gone anyway.
        """
        fresh = set()
        for layout in self._layouts.values():
            if await self._description(layout) is None:
                prefix = layout.name.removesuffix(f"-{layout.table.name}")
                await self._made(create_table(layout.table, prefix))
                fresh.add(layout.name)
        for layout in self._layouts.values():
            await self._active(layout)
            grown = await self._missing_indexes(layout)
            for label in grown:
                await self._add_index(layout, label)
            ends = expiry and await self._switch_on_expiry(layout)
            recovery = await self._switch_on_recovery(layout)
            count = 0
            if layout.name not in fresh and (grown or ends or refill):
                count = await self._refill(layout)
            what = "made" if layout.name in fresh else "is there"
            added = "".join(f", index {label} added" for label in grown)
            filled = f", {count} records filled in" if count else ""
            told(f"{layout.name}: {what}{added}{filled}; point-in-time recovery {recovery}")

    async def show(self) -> list[Shown]:
        """Every declared table as it is; one that is missing has the status `missing`."""
        shown = []
        for layout in self._layouts.values():
            found = await self._description(layout)
            if found is None:
                shown.append(Shown(layout.name, "missing", 0, 0, [], False, ""))
                continue
            indexes = [index["IndexName"] for index in found.get("GlobalSecondaryIndexes", [])]
            expiry = await self._expires(layout)
            recovery = await self._recovery(layout)
            size, count = found.get("TableSizeBytes", 0), found.get("ItemCount", 0)
            status = str(found["TableStatus"]).lower()
            shown.append(Shown(layout.name, status, count, size, indexes, expiry, recovery))
        return shown

    async def _description(self, layout: Layout[Any]) -> Answer | None:
        try:
            answer = await self._client.read("DescribeTable", TableName=layout.name)
        except Unavailable as error:
            if isinstance(error.__cause__, errors.TableNotFound):
                return None
            raise
        description: Answer = answer["Table"]
        return description

    async def _made(self, request: dict[str, Any]) -> None:
        try:
            await self._client.write("CreateTable", **request)
        except Unavailable as error:
            if not isinstance(error.__cause__, errors.ResourceInUse):
                raise  # otherwise somebody else makes it at this moment

    async def _active(self, layout: Layout[Any]) -> Answer:
        """Wait until the table and all its indexes can be used."""
        ends = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            found = await self._description(layout)
            parts = [found, *found.get("GlobalSecondaryIndexes", [])] if found else []
            states = [part.get("TableStatus") or part.get("IndexStatus") for part in parts]
            if found and set(states) == {"ACTIVE"}:
                return found
            if asyncio.get_running_loop().time() > ends:
                raise Unavailable(f"{layout.name} isn't ready after {WAIT_SECONDS:.0f} seconds.")
            await asyncio.sleep(POLL_SECONDS)

    async def _missing_indexes(self, layout: Layout[Any]) -> list[str]:
        found = await self._active(layout)
        there = {index["IndexName"] for index in found.get("GlobalSecondaryIndexes", [])}
        return [label for label in layout.orderings if label not in there]

    async def _add_index(self, layout: Layout[Any], label: str) -> None:
        """DynamoDB takes one at a time, and fills it from the attributes that items have."""
        index = _index(layout, label)
        used = {"k", *(part["AttributeName"] for part in index["KeySchema"])}
        await self._client.write(
            "UpdateTable",
            TableName=layout.name,
            AttributeDefinitions=[a for a in _attributes(layout) if a["AttributeName"] in used],
            GlobalSecondaryIndexUpdates=[{"Create": index}],
        )
        await self._active(layout)

    async def _expires(self, layout: Layout[Any]) -> bool:
        answer = await self._client.read("DescribeTimeToLive", TableName=layout.name)
        status = answer["TimeToLiveDescription"].get("TimeToLiveStatus", "DISABLED")
        return status in ("ENABLED", "ENABLING")

    async def _switch_on_expiry(self, layout: Layout[Any]) -> bool:
        if not layout.table.expires or await self._expires(layout):
            return False
        expiry = {"Enabled": True, "AttributeName": EXPIRY}
        await self._client.write(
            "UpdateTimeToLive", TableName=layout.name, TimeToLiveSpecification=expiry
        )
        return True

    async def _recovery(self, layout: Layout[Any]) -> str:
        try:
            answer = await self._client.read("DescribeContinuousBackups", TableName=layout.name)
        except Unavailable as error:
            if isinstance(error.__cause__, errors.UnknownOperation):
                return "isn't offered here"
            raise
        backups = answer["ContinuousBackupsDescription"]
        state = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        return "on" if state == "ENABLED" else "off"

    async def _switch_on_recovery(self, layout: Layout[Any]) -> str:
        state = await self._recovery(layout)
        if state != "off":
            return state
        await self._client.write(
            "UpdateContinuousBackups",
            TableName=layout.name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
        return "switched on"

    async def _refill(self, layout: Layout[Any]) -> int:
        """Give old records the attributes declared since they were put; says how many lacked some."""
        count = 0
        start: dict[str, Any] = {}
        while True:
            answer = await self._client.read("Scan", TableName=layout.name, Limit=100, **start)
            for item in answer["Items"]:
                count += await refill(self._client, self._reading, layout, item)
            if "LastEvaluatedKey" not in answer:
                return count
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


async def refill(
    client: DynamoClient, reading: Reading, layout: Layout[Any], item: Item | None
) -> bool:
    """Give one item what it lacks, as it is now; the record and its version stay what they are."""
    while item and (lacking := layout.refill(item)):
        changes = ", ".join([f"#{name} = :{name}" for name in lacking])
        values = {f":{name}": held for name, held in lacking.items()} | {":v": item["v"]}
        request = expression("#v = :v", f"SET {changes}", values)
        key = {"k": item["k"]}
        try:
            await client.write("UpdateItem", TableName=layout.name, Key=key, **request)
        except Cancelled:  # it was changed meanwhile
            item = await reading.item(layout, key)
        else:
            return True
    return False


def _attributes(layout: Layout[Any]) -> list[dict[str, str]]:
    kinds = {"k": "S"}
    for ordering in layout.orderings.values():
        kinds |= dict([ordering.hash, ordering.range])
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()]


def _index(layout: Layout[Any], label: str) -> dict[str, Any]:
    ordering = layout.orderings[label]
    return {
        "IndexName": label,
        "KeySchema": [
            {"AttributeName": ordering.hash[0], "KeyType": "HASH"},
            {"AttributeName": ordering.range[0], "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "ALL" if ordering.whole else "KEYS_ONLY"},
    }
