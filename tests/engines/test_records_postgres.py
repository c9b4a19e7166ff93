"""What is PostgreSQL's own business: groups of commits, round trips, and the order of locks."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from ecokart.core.clock import new_id
from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.i18n import Text
from ecokart.core.idempotency import remember, replay
from ecokart.core.money import Money
from ecokart.core.records import (
    ABSENT,
    ANY,
    BelowFloor,
    Check,
    Delete,
    Put,
    Reason,
    Table,
    Write,
    WriteConflict,
)
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction
from ecokart.engines.records_postgres import PostgresRecords
from ecokart.features.accounts.model import Address
from ecokart.features.cart.model import CARTS, Line, empty
from ecokart.features.catalog import model as catalog
from ecokart.features.catalog.model import TaxClass
from ecokart.features.orders import service as orders
from ecokart.features.orders.model import ORDERS
from ecokart.features.orders.service import Buyer
from ecokart.rooms import TABLES as ROOMS
from tests.clock import ManualClock
from tests.contracts.records_kept import (
    NOTES,
    STOCK,
    TABLES,
    VISITS,
    Note,
    Stock,
    Visit,
    got,
    ids,
    paged,
    put_new,
    take,
)
from tests.engines.on_postgresql import Messages, session, until
from tests.proxy import Cut, Proxy, through, upstream
from tests.servers import postgresql_url

BOUND_SECONDS = 30


@pytest.fixture
def url() -> str:
    return postgresql_url()


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[Proxy]:
    async with Proxy(upstream(url)) as proxy:
        yield proxy


@pytest.fixture
async def records(url: str, proxy: Proxy, clock: ManualClock) -> AsyncIterator[PostgresRecords]:
    """By way of the proxy, connected, and its tables made."""
    records = PostgresRecords(through(proxy, url), TABLES, clock)
    await put_new(records, STOCK, Stock(id="s", available=1000))
    yield records
    await records.close()


# Groups.


async def test_commits_that_wait_go_together_and_each_is_told_its_own_outcome(
    records: PostgresRecords, proxy: Proxy
) -> None:
    await put_new(records, NOTES, Note(id="there"))
    await put_new(records, STOCK, Stock(id="few", available=3))
    sent = Messages(proxy)
    writes: list[list[Write]] = [
        [Put(NOTES, Note(id=f"n{n}"), ABSENT), take("s")] for n in range(50)
    ]
    writes += [[Put(NOTES, Note(id=f"m{n}"), ABSENT), take("few")] for n in range(5)]
    writes += [[Put(NOTES, Note(id="no"), ABSENT), Put(NOTES, Note(id="there"), ABSENT)]]
    outcomes = await asyncio.gather(*map(records.commit, writes), return_exceptions=True)
    assert sent.count == 1
    assert outcomes[:53] == [None] * 53
    assert [type(outcome) for outcome in outcomes[53:]] == [BelowFloor, BelowFloor, WriteConflict]
    assert [
        (error.key, error.reason) for error in outcomes[53:] if isinstance(error, WriteConflict)
    ] == [
        ("few", Reason.FLOOR),
        ("few", Reason.FLOOR),
        ("there", Reason.EXISTS),
    ]
    kept = {f"n{n}" for n in range(50)} | {"m0", "m1", "m2", "there"}
    assert set(ids((await records.scan(NOTES)).values)) == kept
    assert (await got(records, STOCK, "s")).value.reserved == 50


async def test_counters_that_only_an_order_can_bear_are_adjusted_in_that_order(
    records: PostgresRecords,
) -> None:
    """Their sum would do, and no order of them does: so nothing is done."""
    await put_new(records, STOCK, Stock(id="empty"))
    outcomes = await asyncio.gather(
        records.commit([take("empty", 2)]),
        records.commit([take("empty", -2)]),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [BelowFloor, BelowFloor]
    await put_new(records, STOCK, Stock(id="some", available=1))
    takes = [records.commit([take("some", count)]) for count in (1, -1, 1, 1)]
    taken = await asyncio.gather(*takes, return_exceptions=True)
    assert [outcome is None for outcome in taken] == [True, True, True, False]


async def test_commits_of_one_record_go_one_after_the_other(
    records: PostgresRecords, proxy: Proxy
) -> None:
    sent = Messages(proxy)
    puts = [records.commit([Put(NOTES, Note(id="n", number=n), ANY)]) for n in range(5)]
    others = [put_new(records, NOTES, Note(id=f"other{n}")) for n in range(50)]
    await asyncio.gather(*puts, *others)
    assert sent.count == 5
    assert (await got(records, NOTES, "n")).value.number == 4


async def test_what_the_server_cannot_take_fails_alone(records: PostgresRecords) -> None:
    unfit = Note(id="unfit", placed="".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=6000)))
    outcomes = await asyncio.gather(
        put_new(records, NOTES, Note(id="before")),
        put_new(records, NOTES, unfit),
        put_new(records, NOTES, Note(id="behind")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), Invalid, type(None)]
    assert ids((await records.scan(NOTES)).values) == ["before", "behind"]


# Round trips.


async def test_everything_is_one_round_trip(records: PostgresRecords, proxy: Proxy) -> None:
    async def talk() -> None:
        await records.commit(
            [Put(NOTES, Note(id="n", placed="1"), ANY), take("s"), Delete(VISITS, "v", ANY)]
        )
        version = (await got(records, NOTES, "n")).version
        await records.commit([Check(NOTES, "n", version), Check(NOTES, "none", ABSENT)])
        await records.query(NOTES, "oldest", "a")
        await records.scan(NOTES)

    await talk()  # statements are prepared on their first use
    sent = Messages(proxy)
    await talk()
    assert sent.count == 5


async def test_an_order_is_three_round_trips_with_what_it_reads(
    url: str, proxy: Proxy, clock: ManualClock
) -> None:
    """The mark of the request, the cart, and the commit of everything."""
    records = PostgresRecords(through(proxy, url), ROOMS, clock)
    address = Address(name="Ada", street="Weg 1", postal_code="10115", city="Berlin")
    sent = Messages(proxy)
    for number in range(2):  # statements are prepared with the first order
        owner, sku = f"guest:{number}", f"sku{number}"
        line = Line(
            sku=sku,
            product_id="p",
            title=Text("Seife", "Soap"),
            picture="",
            price=Money(300),
            tax=TaxClass.STANDARD,
            quantity=2,
        )
        await put_new(records, CARTS, empty(owner, clock.now()).changed((line,), clock.now()))
        there = catalog.Stock(
            sku=sku, product_id="p", stock=5, reserved=2, available=3, changed_at=clock.now()
        )
        await put_new(records, catalog.STOCK, there)
        sent.count = 0
        tx = Transaction(records, clock.now(), new_id)
        assert await replay(tx, owner, "fingerprint") is None
        order = await orders.place(tx, Buyer(owner, "ada@example.com", address, "de"), Terms())
        remember(tx, owner, "fingerprint", 201, b"{}")
        await records.commit(tx.writes())
    assert sent.count == 3
    assert await records.get(ORDERS, order.id) is not None
    assert (await got(records, catalog.STOCK, "sku1")).value.stock == 3
    await records.close()


async def test_records_asked_for_at_one_moment_come_together(
    records: PostgresRecords, proxy: Proxy
) -> None:
    await put_new(records, NOTES, *[Note(id=f"n{n}", number=n) for n in range(50)])
    await records.get(NOTES, "n0")
    sent = Messages(proxy)
    asked = [records.get(NOTES, f"n{n % 50}") for n in range(100)]
    *found, missing = await asyncio.gather(*asked, records.get(NOTES, "none"))
    assert [one.value.number for one in found if one] == [*range(50), *range(50)]
    assert missing is None
    assert sent.count == 1


# Locks.


async def test_instances_that_lock_the_same_records_in_any_order_never_deadlock(
    url: str, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Every commit names many of few records, in an order of its own, some of them missing."""
    instances = [PostgresRecords(url, TABLES, clock) for _ in range(4)]
    await put_new(instances[0], STOCK, *[Stock(id=f"{n}", available=10_000) for n in range(6)])
    chance = random.Random(1)

    def writes() -> list[Write]:
        chosen: list[Write] = [take(f"{n}") for n in chance.sample(range(6), 3)]
        tables: tuple[tuple[Table[Any], Any], ...] = ((NOTES, Note), (VISITS, Visit))
        for table, make in tables:
            for n in chance.sample(range(6), 3):
                put: Write = Put(table, make(id=f"{n}"), chance.choice([ABSENT, ANY]))
                chosen.append(
                    chance.choice([put, Delete(table, f"{n}", ANY), Check(table, f"{n}", ABSENT)])
                )
        chance.shuffle(chosen)
        return chosen

    async def write(records: PostgresRecords) -> int:
        held = 0
        for _ in range(40):
            try:
                await records.commit(writes())
            except WriteConflict:
                continue
            held += 1
        return held

    with caplog.at_level(logging.WARNING, "ecokart.records"):
        async with asyncio.timeout(BOUND_SECONDS):
            held = sum(await asyncio.gather(*[write(one) for one in instances for _ in range(6)]))
    assert not caplog.messages
    sold = [(await got(instances[0], STOCK, f"{n}")).value.reserved for n in range(6)]
    assert sum(sold) == 3 * held > 0
    for records in instances:
        await records.close()


async def test_many_may_make_the_tables_at_once(url: str, clock: ManualClock) -> None:
    instances = [PostgresRecords(url, TABLES, clock) for _ in range(5)]
    await asyncio.gather(*[put_new(one, NOTES, Note(id=f"{n}")) for n, one in enumerate(instances)])
    assert ids((await instances[0].scan(NOTES)).values) == ["0", "1", "2", "3", "4"]
    for records in instances:
        await records.close()


# What is kept.


async def test_texts_with_characters_that_postgresql_has_not_sort_by_their_code_points(
    records: PostgresRecords,
) -> None:
    parts = ["", "\x00", "\x01", "\x02", "a"]
    keys = [f"k{one}{two}" for one in parts for two in parts]
    places = sorted({*keys})
    await put_new(records, NOTES, *[Note(id=key, placed=key) for key in places])
    assert await paged(records, "oldest", "a", limit=2) == places
    assert await paged(records, "newest", "a", limit=3) == places[::-1]
    seen: list[str] = []
    page = await records.scan(NOTES, limit=4)
    seen += ids(page.values)
    while page.after:
        page = await records.scan(NOTES, after=page.after, limit=4)
        seen += ids(page.values)
    assert seen == places


async def test_all_that_has_expired_is_swept(url: str, clock: ManualClock) -> None:
    records = PostgresRecords(url, TABLES, clock, sweep_every_seconds=0.01)
    soon = clock.now() + timedelta(hours=1)
    await put_new(records, VISITS, *[Visit(id=f"short{n}", until=soon) for n in range(1200)])
    await put_new(
        records, VISITS, Visit(id="long", until=soon + timedelta(hours=2)), Visit(id="stays")
    )
    clock.advance(hours=2)
    async with session(url) as sql:

        async def swept() -> bool:
            kept = await sql.fetch("SELECT key FROM visits ORDER BY key")
            return [key for (key,) in kept] == ["long", "stays"]

        await until(swept)
    await records.close()


async def test_who_is_cut_off_by_closing_connects_no_more(
    records: PostgresRecords, proxy: Proxy
) -> None:
    await put_new(records, NOTES, Note(id="n"))
    proxy.cut(Cut.SILENT)
    reading = asyncio.create_task(records.scan(NOTES))
    await until(lambda: proxy.cuts)
    sent = Messages(proxy)
    await records.close()
    with pytest.raises(Unavailable, match="closed"):
        await reading
    assert sent.count == 0


async def test_a_place_of_another_type_is_the_callers_mistake(records: PostgresRecords) -> None:
    """As in a cursor that somebody made up."""
    for made_up in ("text", 2**70):
        with pytest.raises(Invalid, match="No record can have that"):
            await records.query(NOTES, "by_number", "a", after=(made_up, "n"))
