"""Time and identity."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

from ecokart.core.clock import Ids, SystemClock, first_id, following, new_id
from tests.clock import ManualClock


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


def test_an_id_sorts_behind_all_that_were_made_before_it(clock: ManualClock) -> None:
    make = Ids(clock)
    made = []
    for step in (0, 0.000_001, 0.001, 5, -3600, 0, 7200):  # the clock may be set back
        clock.advance(seconds=step)
        made += [make() for _ in range(50)]
    assert made == sorted(set(made))
    assert [uuid.UUID(hex=one).version for one in made] == [7] * len(made)


def test_a_time_stands_between_the_ids_from_before_it_and_from_then_on(clock: ManualClock) -> None:
    make = Ids(clock)
    before = make()
    clock.advance(seconds=0.001)
    assert before < first_id(clock.now()) < make()


def test_between_ids_that_follow_one_another_there_is_no_other() -> None:
    ids = following(new_id(), 300)
    assert ids == sorted(set(ids))
    assert int(ids[-1], 16) - int(ids[0], 16) == 299


def test_the_rest_of_an_id_is_random() -> None:
    tails = [int(new_id(), 16) & ((1 << 62) - 1) for _ in range(2000)]
    for bit in range(62):
        ones = sum(tail >> bit & 1 for tail in tails)
        assert 700 < ones < 1300, f"bit {bit}"


def test_the_clock_tells_the_time_in_utc() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
