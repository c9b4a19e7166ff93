"""Every engine of every port. A new engine is a new entry here, and all the tests of its port hold it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ecokart.core.clock import Clock
from ecokart.core.ports import Cache, Live, Queue, Records
from ecokart.core.records import Table
from ecokart.engines.cache_memory import MemoryCache
from ecokart.engines.cache_redis import RedisCache
from ecokart.engines.fallback import FallbackCache, FallbackLive
from ecokart.engines.faulty import Chaos, FaultyCache, FaultyLive
from ecokart.engines.live_memory import MemoryLive
from ecokart.engines.live_redis import RedisLive
from tests.clock import ManualClock
from tests.contracts.mailboxes import MAILBOXES, Mailbox
from tests.contracts.openers import ENGINES
from tests.contracts.queues import QUEUES, Pair, Passing, QueueEngine
from tests.contracts.records_kept import TABLES, Storage
from tests.servers import redis_url

CACHES: dict[str, Callable[[], Cache]] = {
    "memory": MemoryCache,
    "faulty": lambda: FaultyCache(MemoryCache(), Chaos(1)),
    "redis": lambda: RedisCache(redis_url()),
    "fallback": lambda: FallbackCache(RedisCache(redis_url())),
}
LIVES: dict[str, Callable[[], Live]] = {
    "memory": MemoryLive,
    "faulty": lambda: FaultyLive(MemoryLive(), Chaos(1)),
    "redis": lambda: RedisLive(redis_url()),
    "fallback": lambda: FallbackLive(RedisLive(redis_url())),
}


class Opened:
    """`Storage`: remembers what it opened, so that it can close it."""

    def __init__(self, name: str, location: str, clock: ManualClock) -> None:
        self.name, self.location = name, location
        self.opened: list[Records] = []
        self._clock = clock

    def open(
        self,
        tables: Iterable[Table[Any]] = TABLES,
        *,
        clock: Clock | None = None,
        location: str | None = None,
    ) -> Records:
        open_engine = ENGINES[self.name].open
        records = open_engine(location or self.location, tables, clock or self._clock)
        self.opened.append(records)
        return records


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The loop of a state machine, whose rules are called one after the other and wait for each answer."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner


@pytest.fixture(params=sorted(ENGINES))
async def storage(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Opened]:
    storage = Opened(request.param, ENGINES[request.param].place(tmp_path), clock)
    yield storage
    for records in storage.opened:
        await records.close()


@pytest.fixture
async def records(storage: Storage) -> Records:
    return storage.open()


@pytest.fixture(params=sorted(QUEUES))
def queue_engine(request: pytest.FixtureRequest) -> QueueEngine:
    return QUEUES[request.param]


@pytest.fixture
def passing(queue_engine: QueueEngine, clock: ManualClock) -> Passing:
    return Passing(clock, queue_engine.by_waiting)


@pytest.fixture
async def queues(
    request: pytest.FixtureRequest, queue_engine: QueueEngine, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Pair]:
    """Two instances over the same jobs, as two processes have."""
    # Only who waits for a lease to end wants it short.
    waits = "passing" in request.fixturenames
    lease_seconds = Passing(clock, waits and queue_engine.by_waiting).lease_seconds
    async with queue_engine.open(tmp_path, clock, lease_seconds) as queues:
        yield queues


@pytest.fixture
def queue(queues: tuple[Queue, Queue]) -> Queue:
    return queues[0]


@pytest.fixture(params=sorted(CACHES))
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    cache = CACHES[request.param]()
    yield cache
    await cache.close()


@pytest.fixture(params=sorted(LIVES))
async def live(request: pytest.FixtureRequest) -> AsyncIterator[Live]:
    live = LIVES[request.param]()
    yield live
    await live.close()


@pytest.fixture(params=sorted(MAILBOXES))
async def mailbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mailbox]:
    async with MAILBOXES[request.param](tmp_path / "mail") as mailbox:
        yield mailbox
