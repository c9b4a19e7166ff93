"""What processes share through Redis, and that a shop goes on when Redis doesn't."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.processes import free_port
from bench.processes import shop as started_shop
from ecokart.core.records import Adjust
from ecokart.features.catalog.model import STOCK
from tests.features.conftest import DANA
from tests.servers import own_redis, redis_url
from tests.servers.processes import Redis
from tests.shop import Shop, running_shop

ORDER = {
    "email": "guest@example.com",
    "address": {"name": "Gast", "street": "Weg 1", "postalCode": "10115", "city": "Berlin"},
}
BOUND_SECONDS = 30
ENOUGH = 20


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while not await condition():
            await asyncio.sleep(0.02)


def test_a_limit_counts_the_requests_of_all_processes(tmp_path: Path) -> None:
    settings = {"ECOKART_CACHE_URL": redis_url(), "ECOKART_RATE_LIMIT": "6"}
    first, second = [
        started_shop(tmp_path, free_port(), **settings, ECOKART_RATE_WINDOW_SECONDS="86400")
        for _ in range(2)
    ]
    try:
        codes = [
            httpx.post(f"http://127.0.0.1:{server.port}/auth/login", json=DANA).status_code
            for server in (first, second) * 4
        ]
        assert codes == [200] * 6 + [429] * 2
    finally:
        first.stop()
        second.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with own_redis(tmp_path / "redis") as server:
        yield server


@asynccontextmanager
async def shop_over(redis: Redis, folder: Path, **settings: Any) -> AsyncIterator[Shop]:
    async with running_shop(folder, cache_url=redis.url, live_url=redis.url, **settings) as shop:
        yield shop


async def test_the_shop_goes_on_while_redis_is_killed_and_started(
    redis: Redis, tmp_path: Path
) -> None:
    placed = 0

    async def shop_on(shop: Shop, visitor: int) -> None:
        """Fill the cart, order, send the order again: whatever becomes of Redis meanwhile."""
        nonlocal placed
        async with shop.browser() as browser:
            for turn in itertools.count():
                item = {"sku": "EK-001", "quantity": 1}
                added = await browser.post("/api/cart", json=item)
                assert added.status_code == 200, added.text
                headers = {"Idempotency-Key": f"order-{visitor}-{turn}"}
                first = await browser.post("/api/orders", json=ORDER, headers=headers)
                assert first.status_code == 201, first.text
                again = await browser.post("/api/orders", json=ORDER, headers=headers)
                assert (again.status_code, again.json()) == (201, first.json())
                assert again.headers["idempotent-replayed"] == "true"
                placed += 1

    async def ready(shop: Shop) -> dict[str, Any]:
        answer = await shop.client.get("/health/ready")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    async with shop_over(redis, tmp_path) as shop, asyncio.TaskGroup() as visitors:
        plenty = {"stock": 1_000_000, "available": 1_000_000}
        await shop.ports.records.commit([Adjust(STOCK, "EK-001", plenty, shop.ports.clock.now())])
        tasks = [visitors.create_task(shop_on(shop, number)) for number in range(4)]

        async def more_than(count: int) -> bool:
            return placed > count

        async def is_ready(status: str) -> bool:
            found: str = (await ready(shop))["status"]
            return found == status

        await until(lambda: more_than(ENOUGH))
        assert await is_ready("ok")
        redis.kill()
        assert set((await ready(shop))["degraded"]) == {"cache", "live"}
        without = placed
        await until(lambda: more_than(without + ENOUGH))
        assert 'port_up{port="cache"} 0.0' in (await shop.client.get("/metrics")).text
        redis.start()
        await until(lambda: is_ready("ok"))
        assert 'port_up{port="cache"} 1.0' in (await shop.client.get("/metrics")).text
        back = placed
        await until(lambda: more_than(back + ENOUGH))
        for task in tasks:
            task.cancel()


async def test_the_shop_starts_without_redis_and_finds_it(redis: Redis, tmp_path: Path) -> None:
    redis.kill()
    async with shop_over(redis, tmp_path) as shop:
        answer = await shop.client.get("/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert answer.json()["degraded"]["cache"] == "Redis can't be reached: Connection refused."
        redis.start()

        async def found() -> bool:
            answer: dict[str, str] = (await shop.client.get("/health/ready")).json()
            return answer == {"status": "ok"}

        await until(found)


async def test_without_redis_each_process_counts_for_itself(redis: Redis, tmp_path: Path) -> None:
    redis.kill()
    async with shop_over(redis, tmp_path, rate_limit=3, rate_window_seconds=86_400) as shop:
        codes = [(await shop.client.post("/auth/login", json=DANA)).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
