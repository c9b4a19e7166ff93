"""Every answer of a queue in the records, and of a cache, is its model's, in whatever order they are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ecokart.core.ports import Cache
from ecokart.engines.cache_memory import MemoryCache
from ecokart.engines.cache_redis import RedisCache
from ecokart.engines.queue_records import JOBS, RecordsQueue
from tests.clock import ManualClock
from tests.contracts.driving import drive
from tests.contracts.openers import ENGINES
from tests.contracts.queue_machine import CacheMachine, QueueMachine
from tests.servers import redis_url

RUNS = {"sqlite": 50, "postgresql": 40, "dynamodb": 30}


@pytest.mark.parametrize("name", RUNS)
def test_every_answer_of_the_queue_is_what_the_model_says(
    name: str, tmp_path: Path, clock: ManualClock, runner: asyncio.Runner
) -> None:
    engine = ENGINES[name]
    place = engine.place(tmp_path)
    records = [engine.open(place, [JOBS], clock) for _ in range(2)]
    queues = (RecordsQueue(records[0], clock), RecordsQueue(records[1], clock))

    class Machine(QueueMachine):
        def __init__(self) -> None:
            super().__init__(runner.run, queues, clock)

    try:
        drive(Machine, RUNS[name])
    finally:
        for one in records:
            runner.run(one.close())


def _memory() -> tuple[Cache, Cache]:
    """One process has one."""
    cache = MemoryCache()
    return cache, cache


def _redis() -> tuple[Cache, Cache]:
    url = redis_url()
    return RedisCache(url), RedisCache(url)


@pytest.mark.parametrize("opened", [_memory, _redis], ids=["memory", "redis"])
def test_every_answer_of_the_cache_is_what_the_model_says(
    opened: Callable[[], tuple[Cache, Cache]], runner: asyncio.Runner
) -> None:
    caches = opened()

    class Machine(CacheMachine):
        def __init__(self) -> None:
            super().__init__(runner.run, caches)

    try:
        drive(Machine, 25)
    finally:
        for cache in caches:
            runner.run(cache.close())
