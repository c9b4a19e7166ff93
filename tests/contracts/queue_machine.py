"""State machines that drive a queue and a cache beside a model of each, and compare every answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from ecokart.core.ports import Cache, Delivery, Job, Queue
from tests.clock import ManualClock

Run = Callable[[Any], Any]

LANES = {f"job{n}": "mail" if n % 3 == 0 else "orders" for n in range(6)}
VISIBILITY = timedelta(seconds=90)

instances = st.integers(0, 1)
lanes = st.sampled_from(["mail", "orders"])
job_ids = st.lists(st.sampled_from(list(LANES)), max_size=4)


@dataclass(slots=True)
class Kept:
    """A job as the model has it. `holder` numbers the delivery in whose hands it is."""

    job: Job
    due: datetime
    holder: int | None = None
    buried: bool = False


class QueueMachine(RuleBasedStateMachine):
    """Two workers over the same jobs, which settle what they hold, late or twice or not at all."""

    deliveries = Bundle("deliveries")

    def __init__(self, run: Run, queues: tuple[Queue, Queue], clock: ManualClock) -> None:
        super().__init__()
        self._run, self._queues, self._clock = run, queues, clock
        self._kept: dict[str, Kept] = {}
        self._count = 0

    @initialize()
    def begin(self) -> None:
        """Whatever the run before has left is finished: done is done by its id."""
        leftovers = [Delivery(self._job(job_id), None) for job_id in LANES]
        self._run(self._queues[0].done(leftovers))

    @rule(instance=instances, ids=job_ids)
    def send(self, instance: int, ids: list[str]) -> None:
        self._run(self._queues[instance].send([self._job(job_id) for job_id in ids]))
        for job_id in ids:
            self._kept.setdefault(job_id, Kept(self._job(job_id), self._clock.now()))

    @rule(target=deliveries, instance=instances, lane=lanes, limit=st.integers(1, 4))
    def receive(self, instance: int, lane: str, limit: int) -> Any:
        due = [
            kept
            for kept in self._kept.values()
            if kept.job.lane == lane and not kept.buried and kept.due <= self._clock.now()
        ]
        received: list[Delivery] = self._run(self._queues[instance].receive(lane, limit=limit))
        assert len(received) == min(limit, len(due))
        assert len({one.job.id for one in received}) == len(received)
        held = []
        for delivery in received:
            kept = self._kept[delivery.job.id]
            assert kept in due
            assert delivery.job == kept.job
            self._count += 1
            kept.holder, kept.due = self._count, self._clock.now() + VISIBILITY
            kept.job = msgspec.structs.replace(kept.job, attempts=kept.job.attempts + 1)
            held.append((delivery, self._count))
        return multiple(*held)

    @rule(instance=instances, held=deliveries)
    def done(self, instance: int, held: tuple[Delivery, int]) -> None:
        self._run(self._queues[instance].done([held[0], held[0]]))
        self._kept.pop(held[0].job.id, None)

    @rule(instance=instances, held=deliveries, delay=st.sampled_from([0, 1, 60]))
    def retry(self, instance: int, held: tuple[Delivery, int], delay: int) -> None:
        error = f"failed {held[1]}"
        self._run(self._queues[instance].retry(held[0], delay_seconds=delay, error=error))
        if kept := self._settled(held, error):
            kept.due = self._clock.now() + timedelta(seconds=delay)

    @rule(instance=instances, held=deliveries)
    def bury(self, instance: int, held: tuple[Delivery, int]) -> None:
        error = f"given up {held[1]}"
        self._run(self._queues[instance].bury(held[0], error=error))
        if kept := self._settled(held, error):
            kept.buried, kept.due = True, self._clock.now()

    @rule(instance=instances, ids=st.lists(st.sampled_from(list(LANES)), max_size=3, unique=True))
    def redrive(self, instance: int, ids: list[str]) -> None:
        revived = [kept for kept in self._kept.values() if kept.buried and kept.job.id in ids]
        assert self._run(self._queues[instance].redrive([*ids, "never"])) == len(revived)
        for kept in revived:
            kept.buried, kept.due = False, self._clock.now()
            kept.job = msgspec.structs.replace(kept.job, attempts=0, error="")

    @rule(seconds=st.sampled_from([0.001, 1, 60, 90]))
    def time_passes(self, seconds: float) -> None:
        self._clock.advance(seconds=seconds)

    @rule(instance=instances, lane=lanes)
    def depth(self, instance: int, lane: str) -> None:
        depth = self._run(self._queues[instance].depth(lane))
        jobs = [kept for kept in self._kept.values() if kept.job.lane == lane]
        waiting = [kept.job.sent_at for kept in jobs if not kept.buried]
        age = (self._clock.now() - min(waiting)).total_seconds() if waiting else 0
        assert (depth.waiting, depth.oldest_seconds) == (len(waiting), age)
        assert depth.dead == sum(kept.buried for kept in jobs)

    @rule(instance=instances, limit=st.integers(1, 3))
    def dead(self, instance: int, limit: int) -> None:
        queue = self._queues[instance]
        page = self._run(queue.dead(limit=limit))
        found: list[Job] = list(page.values)
        while page.after:
            page = self._run(queue.dead(after=page.after, limit=limit))
            found += page.values
        buried = sorted((kept.due, kept.job.id) for kept in self._kept.values() if kept.buried)
        assert found == [self._kept[job_id].job for _, job_id in buried]

    def _settled(self, held: tuple[Delivery, int], error: str) -> Kept | None:
        """The job, if the delivery still holds it: what is said of an older one changes nothing."""
        delivery, number = held
        kept = self._kept.get(delivery.job.id)
        if kept is None or kept.holder != number:
            return None
        attempts = delivery.job.attempts + 1
        kept.holder = None
        kept.job = msgspec.structs.replace(kept.job, attempts=attempts, error=error)
        return kept

    def _job(self, job_id: str) -> Job:
        return Job(
            id=job_id,
            lane=LANES[job_id],
            handler="orders.jobs.ship",
            event=msgspec.Raw(b"{}"),
            sent_at=self._clock.now(),
        )


class CacheMachine(RuleBasedStateMachine):
    """Two processes at one cache. Nothing here ends by itself, so nothing may be lost or come back."""

    values = st.sampled_from([b"", b"x", b"\x00\xff", b"7", b"long" * 1000])
    keys = st.sampled_from(["a", "A", "a:b", "ä", "\x00", "k" * 500])
    counters = st.sampled_from(["count:a", "count:b"])

    def __init__(self, run: Run, caches: tuple[Cache, Cache]) -> None:
        super().__init__()
        self._run, self._caches = run, caches
        self._kept: dict[str, bytes] = {}

    @initialize()
    def begin(self) -> None:
        for key in ["a", "A", "a:b", "ä", "\x00", "k" * 500, "count:a", "count:b"]:
            self._run(self._caches[0].delete(key))

    @rule(instance=instances, key=keys | counters)
    def get(self, instance: int, key: str) -> None:
        assert self._run(self._caches[instance].get(key)) == self._kept.get(key)

    @rule(instance=instances, key=keys, value=values)
    def set(self, instance: int, key: str, value: bytes) -> None:
        self._run(self._caches[instance].set(key, value, ttl_seconds=600))
        self._kept[key] = value

    @rule(instance=instances, key=keys, value=values)
    def add(self, instance: int, key: str, value: bytes) -> None:
        added = self._run(self._caches[instance].add(key, value, ttl_seconds=600))
        assert added == (key not in self._kept)
        self._kept.setdefault(key, value)

    @rule(instance=instances, key=counters)
    def increment(self, instance: int, key: str) -> None:
        count = int(self._kept.get(key, b"0")) + 1
        assert self._run(self._caches[instance].increment(key, ttl_seconds=600)) == count
        self._kept[key] = str(count).encode()

    @rule(instance=instances, doomed=st.lists(keys | counters, max_size=3))
    def delete(self, instance: int, doomed: list[str]) -> None:
        self._run(self._caches[instance].delete(*doomed))
        for key in doomed:
            self._kept.pop(key, None)
