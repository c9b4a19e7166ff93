"""Records in DynamoDB, one table each.

A commit is one TransactWriteItems, whose token makes sending it again harmless; a put alone, or a delete
whatever is there, is a plain conditional write at half the price. Each write's condition gives back the
item that it met, so that which one failed, and why, costs no further request.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from ecokart.core.clock import Clock
from ecokart.core.errors import Unavailable
from ecokart.core.records import (
    ANY,
    MAX_WRITES,
    Adjust,
    BelowFloor,
    CommitTooLarge,
    Cursor,
    Delete,
    OutcomeUnknown,
    Page,
    Put,
    Row,
    Sortable,
    T,
    Table,
    Versioned,
    Write,
    check_limit,
    encode,
    microseconds,
    write_key,
)
from ecokart.engines.records_dynamodb_client import (
    CONDITION,
    Cancelled,
    DynamoClient,
    Item,
    Meter,
    Pauses,
    Place,
)
from ecokart.engines.records_dynamodb_items import Layout, Operation
from ecokart.engines.records_dynamodb_reading import Reading
from ecokart.engines.records_dynamodb_shards import Group, change, new_record
from ecokart.engines.records_dynamodb_tables import Making, refill

PATIENCE_SECONDS = 10.0  # with others that write the same records

# What a commit has read of records that are split, by table and key.
Groups = dict[tuple[str, str], Group]


class DynamoRecords:
    """`Records` at `dynamodb://region/prefix`. Raises `ValueError` for a URL that names no such place.

    The tables must be there: `making.make` makes them. `meter` hears what each request consumed.
    """

    def __init__(
        self, url: str, tables: Iterable[Table[Any]], clock: Clock, *, meter: Meter | None = None
    ) -> None:
        place = Place(url)
        self._client = DynamoClient(place, meter)
        self._clock = clock
        self._layouts = {table.name: Layout(table, place.prefix) for table in tables}
        self._reading = Reading(self._client, self._layouts, clock)
        self.making = Making(self._client, self._layouts, self._reading)
        self._counts: dict[tuple[str, str], int] = {}  # of the records known to be split
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        return await self._reading.get(table, key)

    async def query(
        self,
        table: Table[T],
        index: str,
        value: Sortable,
        *,
        after: Cursor | None = None,
        limit: int = 100,
    ) -> Page[T]:
        check_limit(limit)
        return await self._reading.query(table, index, value, after, limit)

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        check_limit(limit)
        return await self._reading.scan(table, after, limit)

    async def commit(self, writes: Sequence[Write]) -> None:
        if self._closed:
            raise Unavailable("The records are closed.")
        rows = encode(writes)
        if writes:
            # A caller that is cancelled doesn't take its commit back: it may already be applied.
            await asyncio.shield(self._begun(self._commit(writes, rows)))

    async def ping(self) -> str:
        await self._client.read("DescribeTable", TableName=next(iter(self._layouts.values())).name)
        return "DynamoDB 2012-08-10"

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._client.close()

    def _begun(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _commit(self, writes: Sequence[Write], rows: Sequence[Row | None]) -> None:
        pauses = Pauses(PATIENCE_SECONDS)
        groups: Groups = {}
        while True:
            now = microseconds(self._clock.now())
            operations: list[Operation] = []
            for write, row in zip(writes, rows, strict=True):
                operations += await self._operations(write, row, now, groups)
            if len(operations) > MAX_WRITES:
                raise CommitTooLarge(f"With its shards it has {len(operations)} writes.")
            try:
                return await self._send(operations)
            except Cancelled as cancelled:
                await self._mend(operations, cancelled, now, groups)
            if not await pauses.next():
                raise Unavailable("Too many write the same records at once.")

    async def _operations(
        self, write: Write, row: Row | None, now: int, groups: Groups
    ) -> list[Operation]:
        """What a write is in DynamoDB: one operation, or several where its record is split."""
        layout, key = self._layouts[write.table.name], write_key(write)
        if not layout.table.shards:
            return [layout.step(write, row, now)]
        if group := groups.get((layout.name, key)):
            operations = change(layout, write, row, now, group)
            if operations is not None:
                return operations
            if group.exact:
                raise BelowFloor(layout.table.name, key)
            await self._learn(layout, key, groups, exact=True)
            return await self._operations(write, row, now, groups)
        if isinstance(write, Adjust) and (count := self._counts.get((layout.name, key))):
            return [layout.adjust(write, now, write.add, random.randrange(count))]  # noqa: S311 (any shard)
        if isinstance(write, Put) and layout.table.shards_of(write.value) > 1:
            return new_record(layout, write, row, now)
        return [layout.step(write, row, now)]

    async def _learn(
        self, layout: Layout[Any], key: str, groups: Groups, *, exact: bool = False
    ) -> None:
        """Read how a record is split now, for this commit and for the next ones."""
        group = await self._reading.group(layout, key, exact=exact)
        if group:
            groups[layout.name, key] = group
            self._counts[layout.name, key] = len(group.items)
        else:
            groups.pop((layout.name, key), None)
            self._counts.pop((layout.name, key), None)

    async def _send(self, operations: Sequence[Operation]) -> None:
        first = operations[0]
        if len(operations) == 1 and _goes_alone(first.write):
            return await self._send_alone(first)
        await self._client.write(
            "TransactWriteItems",
            ClientRequestToken=secrets.token_hex(16),
            TransactItems=[{one.kind: one.request} for one in operations],
        )
        return None

    async def _send_alone(self, operation: Operation) -> None:
        """A plain write. A put leaves its mark, which tells whether it was applied if no answer came.

        Sent again it meets its own condition, and `ANY` means whatever is there: again is as good as once.
        """
        request = dict(operation.request)
        mark = {"S": secrets.token_urlsafe(8)}
        if operation.kind == "Put":
            request["Item"] = request["Item"] | {"w": mark}
        try:
            await self._client.write(f"{operation.kind}Item", **request)
        except Cancelled as cancelled:
            ((_, met),) = cancelled.reasons
            if cancelled.lost and met.get("w") == mark:
                return
            if cancelled.lost and not _untouched(operation, met):
                raise OutcomeUnknown from cancelled
            raise

    async def _mend(
        self, operations: Sequence[Operation], cancelled: Cancelled, now: int, groups: Groups
    ) -> None:
        """Find out what a commit needs to be sent again; raises the conflict if it can't be."""
        for operation, (code, met) in zip(operations, cancelled.reasons, strict=True):
            if code != CONDITION:
                continue
            write, layout = operation.write, self._layouts[operation.write.table.name]
            key = write_key(write)
            if isinstance(write, Adjust) and met and _lacks(write, met):
                # A counter declared since the record was put: it gets it now.
                await refill(self._client, self._reading, layout, met)
            elif layout.table.shards and ("n" in met or (layout.name, key) in self._counts):
                await self._learn(layout, key, groups)
            else:
                raise layout.conflict(write, met, now)


def _goes_alone(write: Write) -> bool:
    """Whether a write on its own needs no token: only an adjustment can't be told from one that was lost
    once others have adjusted too, nor can a delete at a version; and a check is no write at all."""
    return isinstance(write, Put) or (isinstance(write, Delete) and write.expected == ANY)


def _untouched(operation: Operation, met: Item) -> bool:
    """Whether what a put met shows that it wasn't applied before: somebody else made the next version."""
    write = operation.write
    if not isinstance(write, Put):
        return "n" in met  # a delete: the record turned out to be split
    return bool(met) and write.expected > 0 and int(met["v"]["N"]) <= write.expected + 1


def _lacks(write: Adjust, met: Item) -> bool:
    return any(f"c_{counter}" not in met for counter in write.add)
