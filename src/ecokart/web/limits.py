"""How often somebody may ask: a sliding window over two fixed ones, counted in the cache.

The count of the window before is weighed by how much of it the sliding one still covers. That is
exact enough for a limit, and costs one counter.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import NamedTuple

from ecokart.core.errors import TooMany
from ecokart.core.ports import Cache

MOST_REMEMBERED = 100_000


class Left(NamedTuple):
    """How many more requests fit into the window, which ends in `reset_seconds`."""

    requests: int
    reset_seconds: int


class Limit:
    """At most `most` requests of a name in any `window_seconds`, by all processes of a cache together."""

    def __init__(self, most: int, window_seconds: float) -> None:
        self.most, self.window_seconds = most, window_seconds
        # What names had in the window before this one. It is over, so each is asked for only once.
        self._window, self._before = -1, dict[str, int]()

    async def take(self, cache: Cache, name: str) -> Left:
        """Count one request of `name`, in one round trip; says how many more fit.

        Raises `TooMany` with when one fits again.
        """
        length = self.window_seconds
        window, elapsed = divmod(time.time(), length)
        now, before = await self._counts(cache, f"limit:{name}", int(window))
        if now > self.most:
            raise TooMany(retry_after_seconds=math.ceil(length - elapsed))
        counted = now + before * (1 - elapsed / length)
        if before and counted > self.most:
            # The window before fades; at this moment it has faded far enough for one more.
            fits_at = length * (now + before - self.most) / before
            raise TooMany(retry_after_seconds=max(1, math.ceil(fits_at - elapsed)))
        return Left(int(self.most - counted), math.ceil(length - elapsed))

    async def _counts(self, cache: Cache, key: str, window: int) -> tuple[int, int]:
        """Of this window, with the request that is counted now, and of the one before."""
        if window != self._window or len(self._before) >= MOST_REMEMBERED:
            self._window, self._before = window, {}
        counting = cache.increment(f"{key}:{window}", ttl_seconds=2 * self.window_seconds)
        if (before := self._before.get(key)) is not None:
            return await counting, before
        now, counted = await asyncio.gather(counting, cache.get(f"{key}:{window - 1}"))
        before = int(counted or 0)
        if window == self._window:
            self._before[key] = before
        return now, before
