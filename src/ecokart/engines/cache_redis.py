"""A cache in Redis, shared by all processes. Every call is one round trip."""

from __future__ import annotations

import math

from ecokart.engines.redis_connection import RedisClient

MOST_CONNECTIONS = 16

# In one step, so that no counter is left without an end, whenever it was made or ran out.
INCREMENT = """\
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
"""


class RedisCache:
    """`Cache` in Redis. Connects when it is used; an answer takes half a second or is `Unavailable`.

    A connection that breaks is tried again once, but not where the command may have been done and
    doing it again would answer something else. Raises `ValueError` for a URL it can't have.
    """

    def __init__(self, url: str) -> None:
        self._redis = RedisClient(url, most_connections=MOST_CONNECTIONS)
        self._prefix = self._redis.prefix

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._redis.ask("GET", self._prefix + key, again=True)
        return value

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        end = _milliseconds(ttl_seconds)
        await self._redis.ask("SET", self._prefix + key, value, "PX", end, again=True)

    async def add(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        end = _milliseconds(ttl_seconds)
        return bool(await self._redis.ask("SET", self._prefix + key, value, "PX", end, "NX"))

    async def increment(self, key: str, *, ttl_seconds: float) -> int:
        end = _milliseconds(ttl_seconds)
        return int(await self._redis.ask("EVAL", INCREMENT, 1, self._prefix + key, end))

    async def delete(self, *keys: str) -> None:
        if keys:
            await self._redis.ask("DEL", *[self._prefix + key for key in keys], again=True)

    async def ping(self) -> str:
        # A full Redis, or one that can't save, answers everything but writes.
        await self._redis.ask("SET", f"{self._prefix}ping", b"", "PX", 1000, again=True)
        return await self._redis.version()

    async def close(self) -> None:
        await self._redis.close()


def _milliseconds(ttl_seconds: float) -> int:
    return max(1, math.ceil(ttl_seconds * 1000))
