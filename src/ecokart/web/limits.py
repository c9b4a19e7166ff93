"""How often somebody may ask: a sliding window over two fixed ones, counted in the cache.

The count of the window before is weighed by how much of it the sliding one still covers. That is
exact enough for a limit, and costs one counter.
"""

from __future__ import annotations

import math
import time

import msgspec

from ecokart.core.errors import TooMany
from ecokart.core.ports import Cache


class Limit(msgspec.Struct, frozen=True):
    """At most `most` requests in any `window_seconds`."""

    most: int
    window_seconds: float


async def take(cache: Cache, name: str, limit: Limit) -> None:
    """Count one request of `name`. Raises `TooMany` with the time after which one fits again."""
    window = limit.window_seconds
    number, elapsed = divmod(time.time(), window)
    before = int(await cache.get(f"limit:{name}:{int(number) - 1}") or 0)
    now = await cache.increment(f"limit:{name}:{int(number)}", ttl_seconds=2 * window)
    if now > limit.most:
        raise TooMany(retry_after_seconds=math.ceil(window - elapsed))
    if before and now + before * (1 - elapsed / window) > limit.most:
        # The window before fades; at this moment it has faded far enough for one more.
        fits_at = window * (1 - (limit.most - now) / before)
        raise TooMany(retry_after_seconds=max(1, math.ceil(fits_at - elapsed)))
