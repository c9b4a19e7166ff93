"""What a commit says of itself when the connection to the server is cut: before, during and after it.

One that returned is there, one that raised `Unavailable` or a conflict isn't, then or later, and each
is applied once at the most. As long as the server can be reached again, no outcome stays unknown.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Records
from ecokart.core.records import (
    ABSENT,
    ANY,
    Delete,
    OutcomeUnknown,
    Put,
    Table,
    Write,
    WriteConflict,
)
from tests.contracts.openers import ENGINES
from tests.contracts.records_kept import NOTES, STOCK, Note, Stock, Storage, got, put_new, take
from tests.proxy import Cut, Proxy, through, upstream

CUT_OFF = [how for how in Cut if how is not Cut.SILENT]
MESSAGES = 4  # so far into the talk of client and server we cut; a commit is one or two
KINDS = ("order", "new", "whatever", "sale", "change", "removal")
AWAY_SECONDS = 1.5
GIVEN_UP_SECONDS = 60

pytestmark = pytest.mark.parametrize(
    "storage",
    sorted(name for name, engine in ENGINES.items() if engine.behind_network),
    indirect=True,
)


@pytest.fixture
async def proxy(storage: Storage) -> AsyncIterator[Proxy]:
    async with Proxy(upstream(storage.location)) as proxy:
        yield proxy


@pytest.fixture
async def records(storage: Storage, proxy: Proxy) -> Records:
    """By way of the proxy, and warm."""
    records = storage.open(location=through(proxy, storage.location))
    await put_new(records, STOCK, Stock(id="all", available=10_000))
    return records


@pytest.fixture
async def direct(storage: Storage, records: Records) -> Records:
    """Another way to the same records, which nobody cuts."""
    return storage.open()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A commit, and one of its records as it is without and with it."""

    writes: Sequence[Write]
    table: Table[Any]
    key: str
    before: Any
    after: Any


class Ledger:
    """Makes attempts by way of the proxy, and holds what is there against what was said."""

    def __init__(self, records: Records, direct: Records) -> None:
        self._records, self._direct = records, direct
        self._done: list[tuple[Attempt, bool | None]] = []
        self.unknown = 0

    async def attempt(self, kind: str) -> bool | None:
        """Whether it held; None where that isn't known."""
        attempt = await self._attempt(kind, f"{len(self._done)}-{random.getrandbits(32)}")
        held: bool | None = True
        try:
            await self._records.commit(attempt.writes)
        except OutcomeUnknown:
            held = None
            self.unknown += 1
        except (Unavailable, WriteConflict):
            held = False
        await self._verify(attempt, held)
        self._done.append((attempt, held))
        return held

    async def verify(self) -> int:
        """Once more, after all: nothing came late. Says how many orders are there."""
        for attempt, held in self._done:
            await self._verify(attempt, held)
        orders = [attempt for attempt, _ in self._done if len(attempt.writes) > 1]
        present = [await self._direct.get(NOTES, order.key) for order in orders]
        return sum(one is not None for one in present)

    async def _verify(self, attempt: Attempt, held: bool | None) -> None:
        found = await self._direct.get(attempt.table, attempt.key)
        value = found.value if found else None
        allowed = [attempt.before, attempt.after]
        if held is not None:
            allowed = [attempt.after if held else attempt.before]
        assert value in allowed, f"{attempt.writes} said {held}"

    async def _attempt(self, kind: str, key: str) -> Attempt:
        note = Note(id=key, text=kind)
        if kind == "order":
            writes: list[Write] = [
                Put(NOTES, note, ABSENT),
                take("all"),
                Put(NOTES, Note(id="last"), ANY),
            ]
            return Attempt(writes, NOTES, key, None, note)
        if kind in ("new", "whatever"):
            expected = ABSENT if kind == "new" else ANY
            return Attempt([Put(NOTES, note, expected)], NOTES, key, None, note)
        if kind == "sale":
            before = Stock(id=key, available=5)
            await put_new(self._direct, STOCK, before)
            after = msgspec.structs.replace(before, available=4, reserved=1)
            return Attempt([take(key)], STOCK, key, before, after)
        await put_new(self._direct, NOTES, note)
        version = (await got(self._direct, NOTES, key)).version
        if kind == "change":
            changed = msgspec.structs.replace(note, number=1)
            return Attempt([Put(NOTES, changed, version)], NOTES, key, note, changed)
        return Attempt([Delete(NOTES, key, version)], NOTES, key, note, None)


async def verify(direct: Records, *ledgers: Ledger) -> None:
    """What every commit said holds at last, and of each order all is there or nothing."""
    orders = sum([await ledger.verify() for ledger in ledgers])
    stock = (await got(direct, STOCK, "all")).value
    assert (stock.available, stock.reserved) == (10_000 - orders, orders)


@pytest.mark.parametrize("how", CUT_OFF, ids=[how.name for how in CUT_OFF])
async def test_a_cut_at_any_message_leaves_no_outcome_unknown(
    records: Records, direct: Records, proxy: Proxy, how: Cut
) -> None:
    ledger = Ledger(records, direct)
    for kind in KINDS:
        for message in range(MESSAGES):
            cuts = proxy.cuts
            proxy.cut(how, after=message)
            while proxy.cuts == cuts:
                await ledger.attempt(kind)
    await verify(direct, ledger)
    assert ledger.unknown == 0


async def test_connections_that_fall_silent_are_given_up_and_the_server_asked_on_others(
    records: Records, direct: Records, proxy: Proxy
) -> None:
    """Half-open: they all stand, and no answer comes; so it is behind a firewall that forgot them."""
    ledger = Ledger(records, direct)
    await asyncio.gather(*[records.get(NOTES, kind) for kind in KINDS])  # as many connections
    proxy.silence()
    async with asyncio.timeout(GIVEN_UP_SECONDS):
        held = await asyncio.gather(*[ledger.attempt(kind) for kind in KINDS])
    assert proxy.cuts
    assert ledger.unknown == 0
    assert all(held)
    await verify(direct, ledger)


async def test_an_outcome_is_unknown_only_where_the_server_stays_away(storage: Storage) -> None:
    """Whoever can't ask mustn't guess; and once the server is back, the engine is too.

    All three at once: each waits until its engine's patience is at its end.
    """
    direct = storage.open()
    await put_new(direct, STOCK, Stock(id="all", available=10_000))

    async def left_alone(how: Cut) -> None:
        async with Proxy(upstream(storage.location)) as proxy:
            ledger = Ledger(storage.open(location=through(proxy, storage.location)), direct)
            assert await ledger.attempt("new")
            proxy.cut(how, for_good=True)
            held = await ledger.attempt("order")
            # If it was answered it is there, and nobody could have said so.
            assert held is None if how is Cut.AFTER else not held
            await proxy.restore()
            while not await ledger.attempt("order"):
                await asyncio.sleep(0.05)
        ledgers.append(ledger)

    ledgers: list[Ledger] = []
    async with asyncio.timeout(GIVEN_UP_SECONDS):
        await asyncio.gather(*[left_alone(how) for how in (Cut.BEFORE, Cut.AT_WORK, Cut.AFTER)])
    await verify(direct, *ledgers)


async def test_a_server_that_comes_back_soon_is_asked_what_became_of_it(
    records: Records, direct: Records, proxy: Proxy
) -> None:
    ledger = Ledger(records, direct)
    proxy.cut(Cut.AFTER, for_good=True)
    attempt = asyncio.create_task(ledger.attempt("order"))
    restored = asyncio.Event()
    async with asyncio.timeout(GIVEN_UP_SECONDS):
        while not proxy.cuts:
            await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_later(AWAY_SECONDS, restored.set)
        await restored.wait()
        await proxy.restore()
        assert await attempt
    await verify(direct, ledger)


@pytest.mark.parametrize("seed", [1, 2])
async def test_many_at_once_over_a_bad_line_are_told_the_truth(
    records: Records, direct: Records, proxy: Proxy, seed: int
) -> None:
    chance = random.Random(seed)
    ledger = Ledger(records, direct)
    await put_new(direct, NOTES, Note(id="lasting", text="as it was"))

    async def write(writer: int) -> None:
        for number in range(10):
            await ledger.attempt(KINDS[(writer + number) % len(KINDS)])

    async def read() -> int:
        answers = 0
        while not written.done():
            try:
                assert (await got(records, NOTES, "lasting")).value.text == "as it was"
                answers += 1
            except Unavailable:
                await asyncio.sleep(0)
        return answers

    proxy.decide = lambda: chance.choice(CUT_OFF) if chance.random() < 0.12 else None
    async with asyncio.timeout(GIVEN_UP_SECONDS):
        written = asyncio.gather(*[write(writer) for writer in range(8)])
        answers, _ = await asyncio.gather(read(), written)
    assert proxy.cuts > 5
    assert answers
    assert ledger.unknown == 0
    await verify(direct, ledger)
