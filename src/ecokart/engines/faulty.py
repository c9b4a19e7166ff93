"""Ports that fail on purpose: every promise of `core/ports.py` kept, at its worst.

A fault here is one that the port's words allow: nothing is lost that was acknowledged, and nothing
is answered that isn't so. What is above must therefore stay right whatever the rates are. The same
seed makes the same choices in the same order of calls.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from ecokart.core.errors import Unavailable
from ecokart.core.ports import (
    Cache,
    Delivery,
    Depth,
    Job,
    Letter,
    Live,
    Mail,
    Ports,
    Queue,
    Records,
)
from ecokart.core.records import Cursor, OutcomeUnknown, Page, Sortable, T, Table, Versioned, Write
from ecokart.engines.faulty_payments import FaultyPayments


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each goes wrong, from 0 (never) to 1 (always); `delay_seconds` is the longest delay.

    Records: a read fails; a commit fails with nothing applied; a commit is applied, but its answer is
    lost. Queue: a call fails with nothing done; a settlement is lost, as if the worker had died just
    before it; a delivery comes twice, or late; a batch comes in another order. Mail is refused. Payments: a
    call fails with nothing done, or is done and its answer is lost, or hangs as long as the port lets
    it; a notice that was taken comes again. Live: a message can't be published; a listener is cut off.
    Cache: a call fails; a value is forgotten.
    """

    delay: float = 0
    delay_seconds: float = 0.01
    read_fails: float = 0
    commit_fails: float = 0
    answer_lost: float = 0
    queue_fails: float = 0
    settlement_lost: float = 0
    delivered_twice: float = 0
    delivered_late: float = 0
    reordered: float = 0
    mail_refused: float = 0
    payment_fails: float = 0
    payment_answer_lost: float = 0
    payment_hangs: float = 0
    notice_repeated: float = 0
    publish_fails: float = 0
    listener_cut: float = 0
    cache_fails: float = 0
    forgotten: float = 0


class Chaos:
    """The dice that wrapped ports share. Assign `faults` to change the rates while they run."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.random = Random(seed)  # noqa: S311 (faults that can be repeated, not a secret)

    def strikes(self, rate: float) -> bool:
        return rate > 0 and self.random.random() < rate

    def may_fail(self, rate: float, what: str) -> None:
        if self.strikes(rate):
            raise Unavailable(f"{what} failed on purpose.")

    async def may_delay(self) -> None:
        if self.strikes(self.faults.delay):
            await asyncio.sleep(self.random.random() * self.faults.delay_seconds)


def faulty(ports: Ports, chaos: Chaos) -> Ports:
    """The same ports behind the dice. Clock, ids and the hand-off stay as they are."""
    return dataclasses.replace(
        ports,
        records=FaultyRecords(ports.records, chaos),
        queue=FaultyQueue(ports.queue, chaos),
        cache=FaultyCache(ports.cache, chaos),
        live=FaultyLive(ports.live, chaos),
        mail=FaultyMail(ports.mail, chaos),
        payments=FaultyPayments(ports.payments, chaos),
    )


class FaultyRecords:
    """`Records` that fail before a commit, or after it with the answer lost."""

    def __init__(self, records: Records, chaos: Chaos) -> None:
        self._records, self._chaos = records, chaos

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        await self._before_read()
        return await self._records.get(table, key)

    async def query(
        self,
        table: Table[T],
        index: str,
        value: Sortable,
        *,
        after: Cursor | None = None,
        limit: int = 100,
    ) -> Page[T]:
        await self._before_read()
        return await self._records.query(table, index, value, after=after, limit=limit)

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        await self._before_read()
        return await self._records.scan(table, after=after, limit=limit)

    async def commit(self, writes: Sequence[Write]) -> None:
        await self._chaos.may_delay()
        self._chaos.may_fail(self._chaos.faults.commit_fails, "The commit")
        await self._records.commit(writes)
        if self._chaos.strikes(self._chaos.faults.answer_lost):
            raise OutcomeUnknown

    async def ping(self) -> str:
        await self._before_read()
        return await self._records.ping()

    async def close(self) -> None:
        await self._records.close()

    async def _before_read(self) -> None:
        await self._chaos.may_delay()
        self._chaos.may_fail(self._chaos.faults.read_fails, "The reading")


class FaultyQueue:
    """A `Queue` that delivers twice, late and in any order, and loses what is said about a delivery."""

    def __init__(self, queue: Queue, chaos: Chaos) -> None:
        self._queue, self._chaos = queue, chaos
        self._late: dict[str, list[Delivery]] = {}

    async def send(self, jobs: Sequence[Job]) -> None:
        await self._before()
        await self._queue.send(jobs)

    async def receive(self, lane: str, *, limit: int, wait_seconds: float = 0) -> list[Delivery]:
        await self._before()
        faults, chaos = self._chaos.faults, self._chaos
        late = self._late.pop(lane, [])
        overdue, held = late[:limit], late[limit:]
        fresh = []
        if len(overdue) < limit:
            wait = 0 if overdue else wait_seconds
            fresh = await self._queue.receive(lane, limit=limit - len(overdue), wait_seconds=wait)
        now = list(overdue)
        for delivery in fresh:
            (held if chaos.strikes(faults.delivered_late) else now).append(delivery)
            if chaos.strikes(faults.delivered_twice):
                held.append(delivery)
        if held:
            self._late.setdefault(lane, []).extend(held)
        if chaos.strikes(faults.reordered):
            chaos.random.shuffle(now)
        return now

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        await self._before()
        lost = self._chaos.faults.settlement_lost
        if kept := [delivery for delivery in deliveries if not self._chaos.strikes(lost)]:
            await self._queue.done(kept)

    async def retry(self, delivery: Delivery, *, delay_seconds: float, error: str) -> None:
        await self._before()
        if not self._chaos.strikes(self._chaos.faults.settlement_lost):
            await self._queue.retry(delivery, delay_seconds=delay_seconds, error=error)

    async def bury(self, delivery: Delivery, *, error: str) -> None:
        await self._before()
        if not self._chaos.strikes(self._chaos.faults.settlement_lost):
            await self._queue.bury(delivery, error=error)

    async def dead(self, *, after: Cursor | None = None, limit: int = 100) -> Page[Job]:
        await self._before()
        return await self._queue.dead(after=after, limit=limit)

    async def redrive(self, job_ids: Sequence[str]) -> int:
        await self._before()
        return await self._queue.redrive(job_ids)

    async def depth(self, lane: str, *, limit: int = 1000) -> Depth:
        await self._before()
        return await self._queue.depth(lane, limit=limit)

    async def ping(self) -> str:
        await self._before()
        return await self._queue.ping()

    async def close(self) -> None:
        await self._queue.close()

    async def _before(self) -> None:
        await self._chaos.may_delay()
        self._chaos.may_fail(self._chaos.faults.queue_fails, "The queue")


class FaultyCache:
    """A `Cache` that fails and forgets, and never lies."""

    def __init__(self, cache: Cache, chaos: Chaos) -> None:
        self._cache, self._chaos = cache, chaos

    async def get(self, key: str) -> bytes | None:
        await self._before(key)
        return await self._cache.get(key)

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        await self._before(key)
        await self._cache.set(key, value, ttl_seconds=ttl_seconds)

    async def add(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        await self._before(key)
        return await self._cache.add(key, value, ttl_seconds=ttl_seconds)

    async def increment(self, key: str, *, ttl_seconds: float) -> int:
        await self._before(key)
        return await self._cache.increment(key, ttl_seconds=ttl_seconds)

    async def delete(self, *keys: str) -> None:
        await self._before(*keys)
        await self._cache.delete(*keys)

    async def ping(self) -> str:
        self._chaos.may_fail(self._chaos.faults.cache_fails, "The cache")
        return await self._cache.ping()

    async def close(self) -> None:
        await self._cache.close()

    async def _before(self, *keys: str) -> None:
        await self._chaos.may_delay()
        self._chaos.may_fail(self._chaos.faults.cache_fails, "The cache")
        if self._chaos.strikes(self._chaos.faults.forgotten):
            await self._cache.delete(*keys)


class FaultyLive:
    """A `Live` whose messages can't be sent and whose listeners are cut off; none gets a wrong message."""

    def __init__(self, live: Live, chaos: Chaos) -> None:
        self._live, self._chaos = live, chaos

    async def publish(self, topic: str, message: bytes) -> None:
        await self._chaos.may_delay()
        self._chaos.may_fail(self._chaos.faults.publish_fails, "The publishing")
        await self._live.publish(topic, message)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._live.subscribe(topic) as messages:
            yield self._until_cut(messages)

    async def ping(self) -> str:
        self._chaos.may_fail(self._chaos.faults.publish_fails, "The publishing")
        return await self._live.ping()

    async def close(self) -> None:
        await self._live.close()

    async def _until_cut(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            if self._chaos.strikes(self._chaos.faults.listener_cut):
                return
            yield message


class FaultyMail:
    """A `Mail` that refuses, with nothing sent."""

    def __init__(self, mail: Mail, chaos: Chaos) -> None:
        self._mail, self._chaos = mail, chaos

    async def send(self, letter: Letter, *, message_id: str) -> None:
        await self._chaos.may_delay()
        self._chaos.may_fail(self._chaos.faults.mail_refused, "The mail")
        await self._mail.send(letter, message_id=message_id)

    async def ping(self) -> str:
        self._chaos.may_fail(self._chaos.faults.mail_refused, "The mail")
        return await self._mail.ping()

    async def close(self) -> None:
        await self._mail.close()
