"""Every port to the outside, with its promises in prose.

`tests/contracts` holds each engine to these words. A port may always raise `Unavailable`, and an
engine bounds its own time and retries. Nothing above this line knows which engine answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec

from ecokart.core.clock import Clock, new_id
from ecokart.core.events import OutboxEntry
from ecokart.core.news import News
from ecokart.core.payments import Payments
from ecokart.core.port import Port
from ecokart.core.records import Cursor, Page, Sortable, T, Table, Versioned, Write
from ecokart.core.targets import Targets
from ecokart.core.terms import Terms


class Records(Port, Protocol):
    """Records in tables. Values are structs, keys are text of 1 to 1024 bytes, of an index to 800.

    Text may hold anything, also NUL, and sorts by code point; half a surrogate pair is no text, and
    `Invalid` wherever it is given. A version is above 0, changes with every write but a `Check`, and
    never comes back, not even with a key that was deleted. Two reads are two moments.

    Whether a record has expired is told by the clock of the process that asks, for reads and for
    conditions alike. Two processes disagree about it for as long as their clocks do, and the one
    that is ahead may remove it for both.
    """

    async def get(self, table: Table[T], key: str) -> Versioned[T] | None:
        """The newest state: every commit acknowledged before the call is seen, an expired record isn't.

        A text that is too long for a key, or empty, finds nothing.
        """
        ...

    async def query(
        self,
        table: Table[T],
        index: str,
        value: Sortable,
        *,
        after: Cursor | None = None,
        limit: int = 100,
    ) -> Page[T]:
        """The records whose indexed field equals `value`, in the index's order, behind `after`.

        Paging to the end gives every record that was there throughout, at one place in the index,
        exactly once; `after` may also be a place where no record is. Every page but the last is
        full, and only the last has no `after`. `limit` is at least 1, or it's `Invalid`. An index
        may lag behind `get` by a moment; a record that hasn't got the sort field isn't in it.
        """
        ...

    async def scan(
        self, table: Table[T], *, after: Cursor | None = None, limit: int = 100
    ) -> Page[T]:
        """Every record of the table, page by page, in an order of the engine's own.

        What was there throughout comes exactly once; pages and their `limit` are as in `query`.
        """
        ...

    async def commit(self, writes: Sequence[Write]) -> None:
        """Apply all writes or none, durably, as if no other commit ran at the same time.

        Returns only once the writes survive a crash. Raises `WriteConflict` (`BelowFloor` for a
        counter), `CommitTooLarge`, `Invalid` or `Unavailable` with nothing applied, then or later.
        A conflict names the first write of the list whose condition didn't hold.

        `OutcomeUnknown` is for a connection that was lost before the answer, and a server that
        can't be asked any more: an engine that reaches its server again finds out instead.

        Takes up to 100 writes and 4 MB, a record of up to 400 KB, and each record once.
        """
        ...


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One handler's turn at one event. `attempts` counts its deliveries before this one, also those
    that were never settled; `error` is why the last one that was settled failed.
    """

    id: str
    lane: str
    handler: str
    event: msgspec.Raw
    attempts: int = 0
    sent_at: datetime
    error: str = ""


class Delivery(msgspec.Struct, frozen=True):
    """A job in our hands, and the engine's own proof of it."""

    job: Job
    receipt: Any


class Depth(msgspec.Struct, frozen=True):
    """What waits in a lane: jobs not finished, the age of the oldest, and the dead letters.

    The age is None where the engine can't tell it.
    """

    waiting: int
    oldest_seconds: float | None
    dead: int


class Queue(Port, Protocol):
    """Jobs in lanes, delivered at least once, in no promised order. An event takes up to 120,000 bytes.

    An engine that can't look at what waits promises less where it says so. Every handler bears it.
    """

    async def send(self, jobs: Sequence[Job]) -> None:
        """Keep the jobs durably. A job whose id still waits isn't added again.

        Without looking: a job that is sent again may be delivered again.
        """
        ...

    async def receive(self, lane: str, *, limit: int, wait_seconds: float = 0) -> list[Delivery]:
        """Up to `limit` jobs that are due, waiting that long for the first one.

        Each is out of others' sight for ninety seconds, then delivered again unless it was settled.
        """
        ...

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        """These jobs are finished for good. Settling late or twice is harmless."""
        ...

    async def retry(self, delivery: Delivery, *, delay_seconds: float, error: str) -> None:
        """Deliver the job again after the delay, with this attempt counted and the error kept.

        Without looking: no error is kept until the job is buried.
        """
        ...

    async def bury(self, delivery: Delivery, *, error: str) -> None:
        """Lay the job among the dead letters, where it stays until it is redriven."""
        ...

    async def dead(self, *, after: Cursor | None = None, limit: int = 100) -> Page[Job]:
        """The dead letters of all lanes, oldest first.

        Without looking: the oldest of some thousands, and none that another one looks at just now.
        """
        ...

    async def redrive(self, job_ids: Sequence[str]) -> int:
        """Bring dead letters back to life with their attempts forgotten; says how many there were."""
        ...

    async def depth(self, lane: str, *, limit: int = 1000) -> Depth:
        """What waits in the lane; beyond `limit` of a kind it stops counting.

        Without looking: about so many, and of no known age.
        """
        ...


class Cache(Port, Protocol):
    """A fast, forgetful store of small values. It may lose anything at any time, but never lies."""

    async def get(self, key: str) -> bytes | None:
        """What was set last, unless it expired or was lost."""
        ...

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        """Remember the value for at most that long."""
        ...

    async def add(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        """Set unless there is a value already; of many at once exactly one gets True."""
        ...

    async def increment(self, key: str, *, ttl_seconds: float) -> int:
        """Count up and return the new count. The first count starts the time to live."""
        ...

    async def delete(self, *keys: str) -> None:
        """Forget these values."""
        ...


class Live(Port, Protocol):
    """Publish and subscribe between whoever is listening now. Nothing is kept."""

    async def publish(self, topic: str, message: bytes) -> None:
        """Hand the message to everyone who listens to the topic at this moment."""
        ...

    def subscribe(self, topic: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """While the context is open: the topic's messages in the order they were published.

        An iterator that ends by itself means: from here on messages may be missing. A listener is
        cut off so when it is more than 1000 messages behind, and every listener is when the engine
        has lost touch. Who needs all of them subscribes again, then reads what the records have
        since the last one.
        """
        ...


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail to one person, as text and, where there is one, as HTML too."""

    to: str
    name: str = ""
    subject: str
    text: str
    html: str = ""


class Mail(Port, Protocol):
    """Sends mail, at least once: no mail server tells whether it has a mail already.

    So a mail may come twice where an answer was lost. Both carry the Message-ID that `message_id` makes,
    by which who gets them can see it; and an engine that still has the first puts the second in its place.
    """

    async def send(self, letter: Letter, *, message_id: str) -> None:
        """Hand the letter over, or raise `Unavailable`. The engine adds From, Date and Message-ID.

        Raises `Invalid` if it will never be taken: no mail can go to the address, or the server refuses
        it or the mail for good. What comes back later, from servers farther on, isn't known here.
        """
        ...


class Handoff:
    """The short way from a commit to this process's relay; what it drops the outbox still has."""

    def __init__(self, most: int = 100_000) -> None:
        self.entries: deque[OutboxEntry] = deque(maxlen=most)
        self.bell = asyncio.Event()

    def offer(self, entries: Sequence[OutboxEntry]) -> None:
        self.entries.extend(entries)
        self.bell.set()

    def take(self, limit: int) -> list[OutboxEntry]:
        count = min(limit, len(self.entries))
        return [self.entries.popleft() for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside the process, the clock, and the owner's terms. Handed to whoever needs it, never looked up."""

    records: Records
    queue: Queue
    cache: Cache
    live: Live
    mail: Mail
    payments: Payments
    targets: Targets
    clock: Clock
    terms: Terms = field(default_factory=Terms)
    new_id: Callable[[], str] = new_id
    handoff: Handoff = field(default_factory=Handoff)
    news: News = field(default_factory=News)

    async def close(self) -> None:
        """Close every engine, the records last: others may keep their own things in them."""
        outside = (self.targets, self.payments, self.mail, self.live, self.cache, self.queue)
        for port in (*outside, self.records):
            await port.close()
