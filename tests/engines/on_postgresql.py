"""What the tests of PostgreSQL's engine look at it with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.proxy import Proxy

BOUND_SECONDS = 30


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Any]:
    """Plain SQL in the schema of the records."""
    address, schema = url.split("?schema=")
    connection = await asyncpg.connect(address, server_settings={"search_path": schema})
    try:
        yield connection
    finally:
        await connection.close()


class Messages:
    """Counts what clients send by way of a proxy: a round trip each."""

    def __init__(self, proxy: Proxy) -> None:
        self.count = 0
        proxy.decide = self._one

    def _one(self) -> None:
        self.count += 1


async def until(condition: Callable[[], Any]) -> None:
    """Return once the condition, awaited where it must be, holds."""
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)
