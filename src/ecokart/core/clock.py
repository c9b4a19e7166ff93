"""Time and identity: the two things a program must be given if its tests are to be exact."""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time. Engines, features and the worker ask it, never the system."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def new_id() -> str:
    """A UUID version 7 as 32 hex digits (RFC 9562, 5.7): unique, and sorting by the time it was made.

    An id names things; it is no secret. What must not be guessed is made by `secrets`.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | random.getrandbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


# A generator of our own, so that nobody's `random.seed` makes ids repeat; a forked child begins anew.
_random = random.Random()  # noqa: S311 (names, not secrets)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)
