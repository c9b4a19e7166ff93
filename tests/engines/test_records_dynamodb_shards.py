"""A counter that very many want at once, split over items: nothing is oversold, and nobody can tell."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from ecokart.core.clock import SystemClock
from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    BelowFloor,
    Check,
    Delete,
    Put,
    Reason,
    Table,
    WriteConflict,
    microseconds,
)
from ecokart.engines.records_dynamodb import DynamoRecords
from ecokart.engines.records_dynamodb_client import DynamoClient, Place
from tests.contracts.records_kept import NOTES, Note, conflict, got
from tests.dynamodb import make_tables
from tests.servers import dynamodb_url

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Goods(msgspec.Struct, frozen=True, kw_only=True):
    """Always `stock == available + reserved`; the balance may go down to -5."""

    sku: str
    stock: int = 0
    reserved: int = 0
    available: int = 0
    balance: int = 0
    changed_at: datetime = NOON
    lane: str = "all"
    shards: int = 8


GOODS = Table(
    "goods",
    Goods,
    key="sku",
    counters={"stock": 0, "reserved": 0, "available": 0, "balance": -5},
    indexes={"by_change": ("lane", "changed_at"), "by_lane": ("lane",)},
    touched="changed_at",
    shards="shards",
)


@pytest.fixture
def url() -> str:
    url = dynamodb_url()
    make_tables(url, [GOODS, NOTES])
    return url


@pytest.fixture
async def instances(url: str) -> AsyncIterator[list[DynamoRecords]]:
    """As two processes have them."""
    opened = [DynamoRecords(url, [GOODS, NOTES], SystemClock()) for _ in range(2)]
    yield opened
    for records in opened:
        await records.close()


@pytest.fixture
def records(instances: list[DynamoRecords]) -> DynamoRecords:
    return instances[0]


def supplied(pieces: int, *, sku: str = "s", shards: int = 8) -> Put:
    goods = Goods(sku=sku, stock=pieces, available=pieces, shards=shards)
    return Put(GOODS, goods, ANY)


def reserve(pieces: int, at: datetime = NOON) -> Adjust:
    return Adjust(GOODS, "s", {"available": -pieces, "reserved": pieces}, at)


def sell(pieces: int) -> Adjust:
    return Adjust(GOODS, "s", {"stock": -pieces, "reserved": -pieces}, NOON)


async def balanced(records: DynamoRecords) -> Goods:
    goods = (await got(records, GOODS, "s")).value
    assert goods.stock == goods.available + goods.reserved
    return goods


async def test_each_shard_is_an_item_of_its_own_and_all_are_used(
    records: DynamoRecords, url: str
) -> None:
    await records.commit([supplied(100)])
    client, place = DynamoClient(Place(url)), Place(url)

    async def shares() -> list[int]:
        answer = await client.read("Scan", TableName=f"{place.prefix}-goods", ConsistentRead=True)
        return sorted(int(item["c_available"]["N"]) for item in answer["Items"])

    assert await shares() == [12] * 4 + [13] * 4
    for _ in range(64):
        await records.commit([reserve(1)])
    after = await shares()
    assert sum(after) == 36
    assert sum(share < 12 for share in after) > 4
    await client.close()


async def test_sixty_four_buyers_on_eight_shards_buy_exactly_what_is_there(
    instances: list[DynamoRecords],
) -> None:
    """Each reserves and buys one to three pieces, with a note of it in the same commit, as a cart is."""
    await instances[0].commit([supplied(100)])
    chance = random.Random(5)
    wants = [chance.randint(1, 3) for _ in range(64)]

    async def buy(number: int, pieces: int) -> int:
        records = instances[number % 2]
        try:
            await records.commit([Put(NOTES, Note(id=f"{number}"), ABSENT), reserve(pieces)])
        except BelowFloor:
            return 0
        await balanced(records)
        await records.commit([Delete(NOTES, f"{number}", ANY), sell(pieces)])
        return pieces

    bought = sum(await asyncio.gather(*[buy(*one) for one in enumerate(wants)]))
    left = await balanced(instances[0])
    assert sum(wants) > 100
    assert (left.stock, left.reserved) == (100 - bought, 0)
    # Whoever went without wanted more than what was left.
    assert left.available < 3
    if left.available:
        assert await buy(64, left.available) == left.available
    assert await buy(65, 1) == 0


async def test_an_adjustment_may_take_from_several_shards(records: DynamoRecords) -> None:
    await records.commit([supplied(10)])
    await records.commit([reserve(7)])
    assert (await balanced(records)).available == 3
    assert isinstance(await conflict(records, reserve(4)), BelowFloor)
    await records.commit([reserve(3)])
    await records.commit([sell(9)])
    assert await balanced(records) == Goods(sku="s", stock=1, reserved=1)


async def test_counters_that_no_shard_has_together_are_taken_apart(records: DynamoRecords) -> None:
    await records.commit([supplied(8)])
    uneven = Adjust(GOODS, "s", {"available": -5, "stock": -8, "balance": 3}, NOON)
    await records.commit([uneven])
    found = (await got(records, GOODS, "s")).value
    assert (found.available, found.stock, found.balance) == (3, 0, 3)
    assert isinstance(await conflict(records, Adjust(GOODS, "s", {"stock": -1}, NOON)), BelowFloor)


async def test_a_floor_below_nothing_holds_for_the_sum(records: DynamoRecords) -> None:
    await records.commit([supplied(0)])
    for _ in range(5):
        await records.commit([Adjust(GOODS, "s", {"balance": -1}, NOON)])
    assert isinstance(
        await conflict(records, Adjust(GOODS, "s", {"balance": -1}, NOON)), BelowFloor
    )
    assert (await got(records, GOODS, "s")).value.balance == -5


async def test_every_change_of_a_shard_is_another_version(records: DynamoRecords) -> None:
    await records.commit([supplied(100)])
    seen = set()
    for _ in range(20):
        seen.add((await got(records, GOODS, "s")).version)
        await records.commit([reserve(1)])
    assert len(seen) == 20
    value, version = await got(records, GOODS, "s")
    stale = seen.pop()
    for write in (Put(GOODS, value, stale), Delete(GOODS, "s", stale), Check(GOODS, "s", stale)):
        assert (await conflict(records, write)).reason == Reason.CHANGED
    for absent in (Put(GOODS, value, ABSENT), Check(GOODS, "s", ABSENT)):
        assert (await conflict(records, absent)).reason == Reason.EXISTS
    await records.commit([Check(GOODS, "s", version), Put(NOTES, Note(id="n"), ABSENT)])
    assert await got(records, GOODS, "s") == (value, version)


@pytest.mark.parametrize(("before", "after"), [(1, 8), (8, 3), (8, 1), (3, 8)])
async def test_a_put_shares_out_anew_while_it_sells(
    instances: list[DynamoRecords], before: int, after: int
) -> None:
    ours, theirs = instances
    await ours.commit([supplied(50, shards=before)])
    await theirs.commit([reserve(1)])  # they know how it is split now
    sold = [asyncio.create_task(theirs.commit([reserve(1)])) for _ in range(20)]
    while True:
        value, version = await got(ours, GOODS, "s")
        with suppress(WriteConflict):  # they sold one meanwhile
            await ours.commit([Put(GOODS, msgspec.structs.replace(value, shards=after), version)])
            break
    await asyncio.gather(*sold)
    goods = await balanced(ours)
    assert (goods.available, goods.reserved, goods.shards) == (29, 21, after)
    await ours.commit([Delete(GOODS, "s", ANY)])
    assert (await conflict(theirs, reserve(1))).reason == Reason.GONE
    assert (await ours.scan(GOODS)).values == []


async def test_indexes_and_scans_have_it_once_and_whole(records: DynamoRecords) -> None:
    await records.commit([supplied(100), supplied(5, sku="plain", shards=1)])
    for second in range(12):
        await records.commit([reserve(1, NOON + timedelta(seconds=second, milliseconds=500))])
    goods = await balanced(records)
    assert goods.available == 88
    # Its time goes by whole seconds, never before the moment itself.
    assert goods.changed_at == NOON + timedelta(seconds=12)
    for limit in (1, 2, 100):
        for index in ("by_change", "by_lane"):
            found, after = [], None
            while True:
                page = await records.query(GOODS, index, "all", after=after, limit=limit)
                found += page.values
                after = page.after
                if after is None:
                    break
            assert [one.sku for one in found] == ["plain", "s"]
            assert found[1] == goods
    since = (microseconds(NOON + timedelta(seconds=11)), "")
    assert (await records.query(GOODS, "by_change", "all", after=since)).values == [goods]
    assert sorted(one.sku for one in (await records.scan(GOODS)).values) == ["plain", "s"]


@pytest.mark.parametrize("sku", ["\x00", "\x001\x00s", "\x00\x00s", "1\x00s"])
async def test_a_key_that_looks_like_a_shard_is_a_record(records: DynamoRecords, sku: str) -> None:
    await records.commit([supplied(9), supplied(5, sku=sku, shards=3)])
    assert (await got(records, GOODS, sku)).value.available == 5
    assert (await got(records, GOODS, "s")).value.available == 9
    assert sorted(one.sku for one in (await records.scan(GOODS)).values) == sorted(["s", sku])
    await records.commit([Delete(GOODS, sku, ANY)])
    assert (await got(records, GOODS, "s")).value.available == 9
