"""What is DynamoDB's own business: its tables, its limits, its moods, and answers that don't come."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from ecokart.core.clock import SystemClock
from ecokart.core.errors import Unavailable
from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    Delete,
    Put,
    Reason,
)
from ecokart.engines.records_dynamodb import DynamoRecords
from ecokart.engines.records_dynamodb_client import DynamoClient, Place
from ecokart.engines.records_dynamodb_tables import create_table
from ecokart.rooms import TABLES as SHOP_TABLES
from tests import relay as answers
from tests.clock import ManualClock
from tests.contracts.records_kept import (
    MORNING,
    NOTES,
    STOCK,
    TABLES,
    VISITS,
    Note,
    Stock,
    Visit,
    conflict,
    got,
    put_new,
    take,
)
from tests.dynamodb import make_tables
from tests.relay import Relay
from tests.servers import dynamodb_url

BOUND_SECONDS = 30


@pytest.fixture
def url() -> str:
    url = dynamodb_url()
    make_tables(url, TABLES)
    return url


@pytest.fixture
async def relay(url: str) -> AsyncIterator[Relay]:
    async with Relay(parse_qs(urlsplit(url).query)["endpoint"][0]) as relay:
        yield relay


@pytest.fixture
async def records(url: str, relay: Relay, clock: ManualClock) -> AsyncIterator[DynamoRecords]:
    """By way of the relay."""
    records = DynamoRecords(f"{url.partition('?')[0]}?endpoint={relay.endpoint}", TABLES, clock)
    yield records
    await records.close()


# What it costs: which requests are sent.


async def test_one_write_is_a_plain_one_and_several_are_one_transaction(
    records: DynamoRecords, relay: Relay
) -> None:
    await put_new(records, NOTES, Note(id="a"))
    version = (await got(records, NOTES, "a")).version
    await records.commit([Put(NOTES, Note(id="a", text="2"), version)])
    await records.commit([Delete(NOTES, "a", ANY)])
    await put_new(records, NOTES, Note(id="b"), Note(id="c"))
    await records.commit([Delete(NOTES, "b", ANY), Delete(NOTES, "c", ANY)])
    assert relay.actions() == [
        *("PutItem", "GetItem", "PutItem", "DeleteItem"),
        *("TransactWriteItems", "TransactWriteItems"),
    ]


async def test_a_read_of_one_record_is_consistent(records: DynamoRecords, relay: Relay) -> None:
    await records.get(NOTES, "a")
    assert relay.asked[0][1]["ConsistentRead"] is True


# Answers that don't come.


@pytest.mark.parametrize("alone", [True, False])
async def test_a_commit_whose_answer_is_lost_is_sent_again_and_applied_once(
    records: DynamoRecords, relay: Relay, *, alone: bool
) -> None:
    """An adjustment is never applied twice: each try has the same token."""
    await put_new(records, STOCK, Stock(id="s", available=10))
    relay.asked.clear()
    relay.lose = lambda action: len(relay.asked) <= 2
    more = [] if alone else [Put(NOTES, Note(id="n"), ABSENT)]
    await records.commit([take("s", 3), *more])
    assert (await got(records, STOCK, "s")).value.reserved == 3
    tokens = [asked["ClientRequestToken"] for action, asked in relay.asked if "Transact" in action]
    assert len(tokens) == 3
    assert len(set(tokens)) == 1


async def test_a_put_whose_answer_is_lost_knows_its_own_work(
    records: DynamoRecords, relay: Relay
) -> None:
    relay.lose = lambda action: len(relay.asked) == 1
    await records.commit([Put(NOTES, Note(id="n", text="ours"), ABSENT)])
    relay.lose = lambda action: len(relay.asked) == 4
    version = (await got(records, NOTES, "n")).version
    await records.commit([Put(NOTES, Note(id="n", text="again"), version)])
    assert (await got(records, NOTES, "n")).value.text == "again"
    assert relay.actions() == [*["PutItem"] * 2, "GetItem", *["PutItem"] * 2, "GetItem"]


async def test_a_put_whose_answer_is_lost_is_told_when_another_was_first(
    records: DynamoRecords, relay: Relay
) -> None:
    await put_new(records, NOTES, Note(id="n"))
    old = (await got(records, NOTES, "n")).version
    await records.commit([Put(NOTES, Note(id="n", text="theirs"), old)])
    relay.asked.clear()
    relay.lose = lambda action: len(relay.asked) == 1
    failure = await conflict(records, Put(NOTES, Note(id="n", text="ours"), old))
    assert failure.reason == Reason.CHANGED
    assert relay.actions() == ["PutItem", "PutItem"]


# Its moods.


@pytest.mark.parametrize(
    ("action", "refusal"),
    [
        ("GetItem", answers.THROTTLED),
        ("GetItem", answers.EXCEEDED),
        ("GetItem", answers.UNAVAILABLE),
        ("PutItem", answers.THROTTLED),
        ("PutItem", answers.BROKEN),
        ("TransactWriteItems", answers.CONFLICT),
        ("TransactWriteItems", answers.IN_PROGRESS),
        ("TransactWriteItems", answers.EXCEEDED),
        ("Query", answers.THROTTLED),
        ("BatchGetItem", answers.EXCEEDED),
    ],
)
async def test_what_is_busy_is_asked_again(
    records: DynamoRecords, relay: Relay, action: str, refusal: answers.Refusal
) -> None:
    relay.refuse_first(3, refusal, of=action)
    async with asyncio.timeout(BOUND_SECONDS):
        await put_new(records, NOTES, Note(id="a"))
        await put_new(records, NOTES, Note(id="b"), Note(id="c"))
        assert (await got(records, NOTES, "a")).value == Note(id="a")
        assert len((await records.query(NOTES, "by_shelf", "a")).values) == 3
    assert relay.actions().count(action) >= 4


async def test_keys_that_a_batch_left_over_are_asked_for_again(
    records: DynamoRecords, relay: Relay
) -> None:
    """An answer takes 16 MB: forty-five records of 390 KB are more."""
    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=390 * 1024))
    notes = [Note(id=f"n{number:02}", text=text) for number in range(45)]
    for note in notes:
        await put_new(records, NOTES, note)
    assert (await records.query(NOTES, "by_shelf", "a")).values == notes
    assert relay.actions().count("BatchGetItem") > 1


async def test_conflicts_that_never_end_are_unavailable_and_not_unknown(
    records: DynamoRecords, relay: Relay
) -> None:
    relay.refuse = lambda action: answers.CONFLICT if "Transact" in action else None
    with pytest.raises(Unavailable) as refused:
        await put_new(records, NOTES, Note(id="a"), Note(id="b"))
    assert type(refused.value) is Unavailable
    assert len(relay.asked) > 5


# Its limits.


def _hardest(size: int) -> str:
    """Text that compresses as badly as text can: every kind of character, in the worst proportion."""
    chance = random.Random(7)
    kinds = [(0.75, 0x20, 0x7E), (0.2, 0x80, 0x7FF), (0.05, 0x800, 0xD7FF)]
    parts: list[str] = []
    left = size
    while left > 8:
        ((_, low, high),) = chance.choices(kinds, [share for share, *_ in kinds])
        character = chr(chance.randint(low, high))
        if character not in '"\\\x7f':
            parts.append(character)
            left -= len(character.encode())
    return "".join(parts)


async def test_the_largest_record_fits_whatever_is_in_it(records: DynamoRecords) -> None:
    """DynamoDB takes 400 KB an item with its attributes, so a body is compressed to leave room for them."""
    key, long = "k" * 1024, "s" * 800
    note = Note(id=key, shelf=long, placed=long, text="")
    room = 400 * 1024 - len(NOTES.row(note).body)
    note = Note(id=key, shelf=long, placed=long, text=_hardest(room))
    assert len(NOTES.row(note).body) > 399 * 1024
    await put_new(records, NOTES, note)
    assert (await got(records, NOTES, key)).value == note


async def test_an_ended_record_that_is_still_there_is_gone(
    records: DynamoRecords, url: str, clock: ManualClock
) -> None:
    await put_new(records, VISITS, Visit(id="v", until=clock.now() + timedelta(hours=1)))
    clock.advance(hours=2)
    client = DynamoClient(Place(url))
    answer = await client.read("Scan", TableName=f"{Place(url).prefix}-visits", ConsistentRead=True)
    await client.close()
    (item,) = answer["Items"]
    # What DynamoDB removes it by is in seconds, and never before its end.
    assert int(item["ttl"]["N"]) == (clock.now() - timedelta(hours=1)).timestamp()
    assert await records.get(VISITS, "v") is None
    assert (await records.query(VISITS, "by_shelf", "a")).values == []
    assert (await records.scan(VISITS)).values == []
    adjust = Adjust(VISITS, "v", {"hits": 1}, MORNING)
    assert (await conflict(records, adjust)).reason == Reason.GONE
    await records.commit([Put(VISITS, Visit(id="v"), ABSENT)])


# Its tables.


async def test_tables_are_made_once_and_show_what_they_are() -> None:
    url = dynamodb_url()
    records = DynamoRecords(url, TABLES, SystemClock())
    client = DynamoClient(Place(url))
    with pytest.raises(Unavailable, match="`ecokart tables create`"):
        await records.get(NOTES, "n")
    with pytest.raises(Unavailable, match="`ecokart tables create`"):
        await put_new(records, NOTES, Note(id="a"), Note(id="b"))
    with pytest.raises(Unavailable, match="`ecokart tables create`"):
        await records.ping()
    assert {table.status for table in await records.making.show()} == {"missing"}
    told: list[str] = []
    await records.making.make(told.append)
    assert all(": made" in line for line in told)
    shown = {table.name.partition("-")[2]: table for table in await records.making.show()}
    assert {table.status for table in shown.values()} == {"active"}
    assert [shown[table.name].expiry for table in TABLES] == [False, False, True]
    assert sorted(shown["notes"].indexes) == sorted(NOTES.indexes)
    await put_new(records, NOTES, Note(id="n"))
    told.clear()
    await records.making.make(told.append, refill=True)
    assert all(": is there" in line and "filled" not in line for line in told)
    assert await records.ping() == "DynamoDB 2012-08-10"
    # DynamoDB Local keeps a thread for a table whose ended records it removes.
    await client.write("DeleteTable", TableName=f"{Place(url).prefix}-visits")
    await client.close()
    await records.close()


def test_the_shops_tables_can_be_declared_for_infrastructure() -> None:
    declared = {table.name: create_table(table, "shop") for table in SHOP_TABLES}
    orders = declared["orders"]
    assert orders["TableName"] == "shop-orders"
    assert orders["BillingMode"] == "PAY_PER_REQUEST"
    owner = next(i for i in orders["GlobalSecondaryIndexes"] if i["IndexName"] == "by_owner")
    assert [part["AttributeName"] for part in owner["KeySchema"]] == ["i_owner", "o_placed_at"]
    for description in declared.values():
        keys = [description, *description.get("GlobalSecondaryIndexes", [])]
        used = {part["AttributeName"] for one in keys for part in one["KeySchema"]}
        assert used == {one["AttributeName"] for one in description["AttributeDefinitions"]}


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://eu-central-1",
        "dynamodb:///shop",
        "dynamodb://eu-central-1/sh/op",
        "dynamodb://eu-central-1/shop?endpint=http://127.0.0.1:1",
    ],
)
def test_a_url_that_names_no_place_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"it (takes|has)"):
        DynamoRecords(url, TABLES, SystemClock())


async def test_a_server_that_is_away_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"dynamodb://eu-central-1/shop?endpoint=http://127.0.0.1:{port}"
    records = DynamoRecords(url, TABLES, SystemClock())
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(Unavailable):
            await records.get(NOTES, "n")
    await records.close()


async def test_only_one_of_many_takes_the_last_piece(records: DynamoRecords) -> None:
    await put_new(records, STOCK, Stock(id="s", available=1))
    commits = [records.commit([Put(NOTES, Note(id=f"{n}"), ABSENT), take("s")]) for n in range(20)]
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert outcomes.count(None) == 1
    assert {type(one).__name__ for one in outcomes if one} == {"BelowFloor"}
