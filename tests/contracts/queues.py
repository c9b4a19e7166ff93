"""Each queue engine: how two instances over the same jobs are opened, and how time passes for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ecokart.core.ports import Queue, Records
from ecokart.engines.faulty import Chaos, FaultyQueue
from ecokart.engines.queue_records import JOBS, RecordsQueue
from ecokart.engines.queue_sqs import SqsQueue
from tests.clock import ManualClock
from tests.contracts.openers import ENGINES
from tests.servers import sqs_url

LANES = ("mail", "orders")
Pair = tuple[Queue, Queue]


@dataclass(frozen=True, slots=True)
class Passing:
    """How time passes for a queue: by the test's clock, or where a server has its own, by waiting.

    Then the lease and a retry's delay are short, and `nearly` leaves room for a slow machine.
    """

    clock: ManualClock
    by_waiting: bool

    @property
    def lease_seconds(self) -> int:
        return 3 if self.by_waiting else 90

    async def nearly(self, seconds: float) -> None:
        """Until shortly before."""
        await self._pass(1 if self.by_waiting else seconds - 1)

    async def rest(self, seconds: float) -> None:
        """What `nearly` left."""
        await self._pass(seconds - 1 if self.by_waiting else 1)

    async def whole(self, seconds: float) -> None:
        await self._pass(seconds)

    async def _pass(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)
        if self.by_waiting:
            await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class QueueEngine:
    """`open` takes a folder, a clock and the seconds of a lease (only where `by_waiting`).

    `looks` says whether it can look at what waits: SQS can't, and promises a little less.
    """

    open: Callable[[Path, ManualClock, int], AbstractAsyncContextManager[Pair]]
    by_waiting: bool = False
    looks: bool = True


def in_records(
    name: str, queue: Callable[[Records, ManualClock], Queue] = RecordsQueue
) -> QueueEngine:
    @asynccontextmanager
    async def opened(folder: Path, clock: ManualClock, lease_seconds: int) -> AsyncIterator[Pair]:
        place = ENGINES[name].place(folder)
        one, other = (ENGINES[name].open(place, [JOBS], clock) for _ in range(2))
        yield queue(one, clock), queue(other, clock)
        await one.close()
        await other.close()

    return QueueEngine(opened)


@asynccontextmanager
async def in_sqs(folder: Path, clock: ManualClock, lease_seconds: int) -> AsyncIterator[Pair]:
    url = sqs_url()
    one, other = (SqsQueue(url, clock, visibility_seconds=lease_seconds) for _ in range(2))
    await one.create(LANES, lambda line: None)
    yield one, other
    await one.close()
    await other.close()


QUEUES: dict[str, QueueEngine] = {
    "faulty": in_records("sqlite", lambda *made: FaultyQueue(RecordsQueue(*made), Chaos(1))),
    **{f"records_{name}": in_records(name) for name in ENGINES if name != "faulty"},
    "sqs": QueueEngine(in_sqs, by_waiting=True, looks=False),
}
