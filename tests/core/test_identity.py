"""Time and identity."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

from ecokart.core.clock import SystemClock, new_id


def test_an_id_is_a_uuid_of_version_7() -> None:
    for _ in range(1000):
        made = new_id()
        parsed = uuid.UUID(hex=made)
        assert parsed.hex == made
        assert parsed.version == 7
        assert parsed.variant == uuid.RFC_4122


def test_ids_are_unique() -> None:
    assert len({new_id() for _ in range(100_000)}) == 100_000


def test_an_id_begins_with_the_millisecond_it_was_made_in() -> None:
    before = time.time_ns() // 1_000_000
    made = int(new_id()[:12], 16)
    assert before <= made <= time.time_ns() // 1_000_000


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = []
    for _ in range(5):
        made.append(new_id())
        now = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == now:
            pass
    assert made == sorted(made)


def test_the_rest_of_an_id_is_random() -> None:
    tails = [int(new_id(), 16) & ((1 << 62) - 1) for _ in range(2000)]
    for bit in range(62):
        ones = sum(tail >> bit & 1 for tail in tails)
        assert 700 < ones < 1300, f"bit {bit}"


def test_the_clock_tells_the_time_in_utc() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
