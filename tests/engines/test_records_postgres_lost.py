"""What PostgreSQL's engine says of a commit whose answer is lost, and of a server that dies or isn't there."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ecokart.core.errors import Unavailable
from ecokart.core.records import (
    ABSENT,
    BelowFloor,
    OutcomeUnknown,
    Put,
    Write,
    WriteConflict,
)
from ecokart.engines.records_postgres import PostgresRecords
from ecokart.engines.records_postgres_committing import RESOLVE_SECONDS
from tests.clock import ManualClock
from tests.contracts.records_kept import (
    NOTES,
    STOCK,
    TABLES,
    Note,
    Stock,
    got,
    put_new,
    take,
)
from tests.engines.on_postgresql import session, until
from tests.proxy import Cut, Proxy, through, upstream
from tests.servers import own_postgresql, postgresql_url

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


# Outcomes.


async def test_a_commit_that_its_lost_backend_still_works_on_is_done_once(
    url: str, records: PostgresRecords, proxy: Proxy
) -> None:
    """It is given up there before it is sent again: two backends wait for the record, one may have it."""
    schema = url.split("=")[1]
    at_work = (
        "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND query LIKE $1"
        " AND pid <> pg_backend_pid()"
    )
    ours = f"%{schema}%commit%"
    async with session(url) as holding, session(url) as sql:

        async def two_wait() -> bool:
            return bool(await sql.fetchval(f"{at_work} AND wait_event_type = 'Lock'", ours) == 2)

        async def nobody_works() -> bool:
            return bool(await sql.fetchval(at_work, ours) == 0)

        async with asyncio.timeout(BOUND_SECONDS):
            async with holding.transaction():
                await holding.execute("SELECT 1 FROM stock WHERE key = 's' FOR UPDATE")
                proxy.cut(Cut.AT_WORK)
                writes: list[Write] = [take("s"), Put(NOTES, Note(id="n"), ABSENT)]
                commit = asyncio.create_task(records.commit(writes))
                await until(two_wait)
            await commit
        await until(nobody_works)
    assert (await got(records, STOCK, "s")).value.reserved == 1
    assert (await got(records, NOTES, "n")).value == Note(id="n")


@pytest.mark.parametrize("how", [Cut.BEFORE, Cut.AT_WORK, Cut.AFTER], ids=lambda how: how.name)
async def test_each_commit_of_a_group_whose_answer_is_lost_is_told_its_own_outcome(
    records: PostgresRecords, proxy: Proxy, how: Cut
) -> None:
    await put_new(records, NOTES, Note(id="there"))
    proxy.cut(how)
    outcomes = await asyncio.gather(
        put_new(records, NOTES, Note(id="one")),
        put_new(records, NOTES, Note(id="there")),
        records.commit([take("s", 1001)]),
        records.commit([take("s", 10)]),
        return_exceptions=True,
    )
    assert proxy.cuts == 1
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        WriteConflict,
        BelowFloor,
        type(None),
    ]
    assert (await got(records, STOCK, "s")).value.reserved == 10


# A server that dies.


async def test_a_server_killed_and_started_again_has_what_was_acknowledged(
    tmp_path: Path, clock: ManualClock
) -> None:
    with own_postgresql(tmp_path / "postgresql") as server:
        records = PostgresRecords(server.url, TABLES, clock)
        said: dict[str, bool | None] = {}

        async def write(name: str) -> None:
            for number in range(10_000):
                key = f"{name}-{number}"
                try:
                    await put_new(records, NOTES, Note(id=key))
                    said[key] = True
                except OutcomeUnknown:
                    said[key] = None
                except Unavailable:
                    said[key] = False
                    await asyncio.sleep(0.05)
                if back.is_set():
                    return

        back = asyncio.Event()
        writers = [asyncio.create_task(write(f"{n}")) for n in range(8)]
        await until(lambda: sum(map(bool, said.values())) > 100)
        await asyncio.to_thread(server.kill)
        killed = time.monotonic()
        with pytest.raises(Unavailable):
            await records.get(NOTES, "n")
        before = sum(map(bool, said.values()))
        await asyncio.to_thread(server.start)
        started = time.monotonic()
        await until(lambda: sum(map(bool, said.values())) > before + 100)
        assert time.monotonic() - started < 10
        back.set()
        await asyncio.gather(*writers)
        assert None not in said.values() or started - killed > RESOLVE_SECONDS
        for key, held in said.items():
            if held is not None:
                assert (await records.get(NOTES, key) is not None) == held, key
        await records.close()


async def test_a_server_that_is_away_is_said_to_be_so_at_once(clock: ManualClock) -> None:
    records = PostgresRecords("postgresql://shop:word@127.0.0.1:1/shop", TABLES, clock)
    started = time.monotonic()
    with pytest.raises(
        Unavailable, match=r"PostgreSQL at 127\.0\.0\.1:1 can't be reached: "
    ) as raised:
        await records.get(NOTES, "n")
    assert "word" not in str(raised.value)
    with pytest.raises(Unavailable):
        await put_new(records, NOTES, Note(id="n"))
    assert time.monotonic() - started < 1
    await records.close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://localhost/", "it names no database"),
        ("postgresql://localhost/shop?sslmode=maybe", "sslmode is 'maybe'"),
        ("postgresql://localhost/shop?connections=many", "connections is 'many'"),
        ("postgresql://localhost:port/shop", "Port could not be cast"),
        ("postgresql://me:pass/word@localhost/shop", "a / in a name or a password is written %2F"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, why: str, clock: ManualClock) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        PostgresRecords(url, TABLES, clock)
