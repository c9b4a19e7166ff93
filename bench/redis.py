"""`python -m bench.redis`: what a call to the cache and to live costs, in Redis and in the process.

Redis is that of the tests' servers (`make engines`). CPU is this process's own: Redis's is its machine's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import perf_counter, process_time

import uvloop

from ecokart.core.ports import Cache, Live
from ecokart.engines.cache_memory import MemoryCache
from ecokart.engines.cache_redis import RedisCache
from ecokart.engines.fallback import FallbackCache, FallbackLive
from ecokart.engines.live_memory import MemoryLive
from ecokart.engines.live_redis import RedisLive
from tests.servers import redis_url

CALLS = 5000
CLIENTS = 64
TOPICS = 5000
TTL_SECONDS = 60.0


async def main() -> None:
    """Print a table."""
    print(f"{'µs a call':<28}{'one by one':>12}{f'{CLIENTS} at once':>12}{'CPU':>8}")
    url = redis_url()
    for where, cache in (("memory", MemoryCache()), ("redis", FallbackCache(RedisCache(url)))):
        await _cache(where, cache)
        await cache.close()
    for where, live in (("memory", MemoryLive()), ("redis", FallbackLive(RedisLive(url)))):
        await _live(where, live)
        await live.close()


async def _cache(where: str, cache: Cache) -> None:
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "get": lambda: cache.get("key"),
        "add": lambda: cache.add("key", b"value", ttl_seconds=TTL_SECONDS),
        "increment": lambda: cache.increment("count", ttl_seconds=TTL_SECONDS),
    }
    for name, call in calls.items():
        await _show(f"{where}: {name}", call)


async def _live(where: str, live: Live) -> None:
    async with live.subscribe("news") as messages:

        async def publish() -> None:
            await live.publish("news", b"x" * 200)
            await anext(messages)

        await _show(f"{where}: publish and hear", publish, most_clients=1)
    began = perf_counter()
    async with AsyncExitStack() as stack:
        rooms = [stack.enter_async_context(live.subscribe(f"room-{n}")) for n in range(TOPICS)]
        await asyncio.gather(*rooms)
        print(f"{where}: {TOPICS} topics subscribed in {perf_counter() - began:.2f} s")


async def _show(
    name: str, call: Callable[[], Awaitable[object]], most_clients: int = CLIENTS
) -> None:
    async def client(calls: int) -> None:
        for _ in range(calls):
            await call()

    await client(CALLS // 10)  # warm
    line, cpu = f"{name:<28}", 0.0
    for clients in (1, CLIENTS):
        if clients > most_clients:
            line += f"{'':>12}"
            continue
        began, cpu_began = perf_counter(), process_time()
        await asyncio.gather(*[client(CALLS // clients) for _ in range(clients)])
        line += f"{1e6 * (perf_counter() - began) / CALLS:>12.1f}"
        cpu = 1e6 * (process_time() - cpu_began) / CALLS
    print(f"{line}{cpu:>8.1f}")


if __name__ == "__main__":
    uvloop.run(main())
