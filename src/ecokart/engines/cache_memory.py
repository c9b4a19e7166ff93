"""A cache in this process: a dictionary that forgets."""

from __future__ import annotations

import heapq
import time

MOST_ENTRIES = 200_000


class MemoryCache:
    """`Cache` in process memory. Expired entries go in the order of their end; so do the surplus ones."""

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self._most = most
        self._values: dict[str, tuple[bytes | int, float]] = {}
        self._ends: list[tuple[float, str]] = []

    async def get(self, key: str) -> bytes | None:
        value = self._live(key)
        return str(value).encode() if isinstance(value, int) else value

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        self._store(key, value, time.monotonic() + ttl_seconds)

    async def add(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        if self._live(key) is not None:
            return False
        self._store(key, value, time.monotonic() + ttl_seconds)
        return True

    async def increment(self, key: str, *, ttl_seconds: float) -> int:
        value = self._live(key)
        if value is None:
            self._store(key, 1, time.monotonic() + ttl_seconds)
            return 1
        count = int(value) + 1
        self._values[key] = (count, self._values[key][1])
        return count

    async def delete(self, *keys: str) -> None:
        for key in keys:
            self._values.pop(key, None)

    async def ping(self) -> str:
        return "this process's memory"

    async def close(self) -> None:
        self._values.clear()
        self._ends.clear()

    def _live(self, key: str) -> bytes | int | None:
        entry = self._values.get(key)
        return entry[0] if entry and entry[1] > time.monotonic() else None

    def _store(self, key: str, value: bytes | int, end: float) -> None:
        self._values[key] = (value, end)
        heapq.heappush(self._ends, (end, key))
        now = time.monotonic()
        while self._ends and (self._ends[0][0] <= now or len(self._values) > self._most):
            end, key = heapq.heappop(self._ends)
            if (entry := self._values.get(key)) and entry[1] <= end:
                del self._values[key]
        if len(self._ends) > 2 * len(self._values) + 1000:
            # A value set again or deleted leaves its old end behind.
            self._ends = [(entry[1], key) for key, entry in self._values.items()]
            heapq.heapify(self._ends)
