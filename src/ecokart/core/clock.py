"""Time and identity: the two things a program must be given if its tests are to be exact."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ecokart.core.records import EPOCH

MICROSECOND = timedelta(microseconds=1)
MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """Tells the time. Engines, features and the worker ask it, never the system."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Ids:
    """Makes ids: UUIDs of version 7 as 32 hex digits (RFC 9562, 5.7), unique and sorting by when they were made.

    Each sorts behind the one before it, as in 6.2 of the RFC: twelve bits behind the milliseconds are a
    part of one, and where two were made at the same moment, or the clock was set back, it counts on.
    An id names things; it is no secret. What must not be guessed is made by `secrets`.
    """

    def __init__(self, clock: Clock, bits: Callable[[int], int] | None = None) -> None:
        self._clock = clock
        self._bits = bits or _random.getrandbits
        self._last = 0

    def __call__(self) -> str:
        microseconds = (self._clock.now() - EPOCH) // MICROSECOND
        self._last = max((microseconds << 12) // 1000, self._last + 1)
        milliseconds, part = self._last >> 12, self._last & 0xFFF
        return f"{milliseconds << 80 | 0x7 << 76 | part << 64 | 0x2 << 62 | self._bits(62):032x}"


def following(first: str, count: int) -> list[str]:
    """So many ids that nobody else has: the first, and those right behind it, between which none will sort."""
    number = int(first, 16)
    return [f"{number + place:032x}" for place in range(count)]


def first_id(at: datetime) -> str:
    """What sorts before every id that is made from then on, and behind those from before."""
    return f"{(at - EPOCH) // MILLISECOND:012x}"


# A generator of our own, so that nobody's `random.seed` makes ids repeat; a forked child begins anew.
_random = random.Random()  # noqa: S311 (names, not secrets)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)

new_id = Ids(SystemClock())
