"""The sliding window, counted: what fits, when the next one fits, and how often the cache is asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from ecokart.core.errors import TooMany
from ecokart.engines.cache_memory import MemoryCache
from ecokart.web import limits
from ecokart.web.limits import Limit

WINDOW = 60.0


@dataclass
class Time:
    """`time.time`, in the test's hand; a window begins at 0."""

    now: float = 1_000 * WINDOW

    def time(self) -> float:
        return self.now


class CountingCache(MemoryCache):
    """How many questions there were, and how many waited for an answer one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = self.turns = 0
        self._waiting = 0

    async def get(self, key: str) -> bytes | None:
        await self._answering()
        return await super().get(key)

    async def increment(self, key: str, *, ttl_seconds: float) -> int:
        await self._answering()
        return await super().increment(key, ttl_seconds=ttl_seconds)

    async def _answering(self) -> None:
        self.questions += 1
        self.turns += not self._waiting
        self._waiting += 1
        await asyncio.sleep(0.001)
        self._waiting -= 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(limits, "time", clock)
    return clock


async def refused_for(limit: Limit, cache: MemoryCache, name: str = "ann") -> int:
    """The seconds after which a request fits again; 0 if this one did."""
    try:
        await limit.take(cache, name)
    except TooMany as error:
        return error.retry_after_seconds
    return 0


async def test_so_many_fit_into_a_window_and_each_name_has_its_own(clock: Time) -> None:
    limit, cache = Limit(3, WINDOW), MemoryCache()
    clock.now += 15
    assert [await refused_for(limit, cache) for _ in range(4)] == [0, 0, 0, 45]
    assert await refused_for(limit, cache, "bob") == 0


async def test_the_window_before_fades_while_it_slides_out(clock: Time) -> None:
    limit, cache = Limit(10, WINDOW), MemoryCache()
    assert [await refused_for(limit, cache) for _ in range(10)] == [0] * 10
    clock.now += WINDOW + 6  # nine tenths of the ten still count
    assert [await refused_for(limit, cache) for _ in range(2)] == [0, 6]
    clock.now += 5
    assert await refused_for(limit, cache) == 7  # the refused one counts as well
    clock.now += WINDOW * 2
    assert [await refused_for(limit, cache) for _ in range(11)].count(0) == 10


async def test_processes_count_together(clock: Time) -> None:
    cache = MemoryCache()
    one, other = Limit(4, WINDOW), Limit(4, WINDOW)
    assert [await refused_for(limit, cache) for limit in (one, other, one, other)] == [0] * 4
    clock.now += WINDOW + 30  # half of the four still count
    refused = [bool(await refused_for(limit, cache)) for limit in (other, one, other, one)]
    assert refused == [False, False, True, True]


async def test_a_request_waits_for_one_answer(clock: Time) -> None:
    limit, cache = Limit(100, WINDOW), CountingCache()
    for number in range(5):
        await limit.take(cache, "ann")
        assert cache.turns == number + 1
    assert cache.questions == 6  # the window before was asked for once
    clock.now += WINDOW
    await limit.take(cache, "ann")
    assert (cache.turns, cache.questions) == (6, 8)
