"""The worker: hands committed events on, runs the reactions to them, and keeps the timers.

express  this process's own commits → handler, straight away, for handlers that only touch records
relay    outbox → queue, one job for each other handler, and for each that failed; then the entry goes
lanes    queue → handler; a failure comes back later, and at last lies among the dead letters
timers   a claim in the records decides which process runs each

All of it is at least once. A handler that can't be harmlessly repeated leaves its own mark in the
commit that holds its effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from functools import partial

from ecokart.core.errors import Unavailable
from ecokart.core.events import (
    OUTBOX,
    TIMEOUT_SECONDS,
    Handler,
    OutboxEntry,
    Reactions,
    Stated,
    Timer,
)
from ecokart.core.handling import Handling, job_of
from ecokart.core.news import GATHERED_SECONDS
from ecokart.core.ports import Delivery, Job, Ports
from ecokart.core.records import ANY, Cursor, Delete
from ecokart.core.timers import is_cancelled, run_if_due

SLOTS = 64  # jobs of a lane under way at once …
# … but few where each is an outside call: a mail more or less must not hold up an order.
FEWER_SLOTS = {"mail": 16, "webhooks": 48}
# Lanes whose handlers make no outside call, so that a commit's own process may run them at once. It
# saves writing, leasing and deleting a job (docs/decisions/0003).
EXPRESS = frozenset({"orders"})
EXPRESS_TIMEOUT_SECONDS = 5.0
# A batch shares its commits; several at once, so that none waits for the sync of another.
EXPRESS_BATCH = 64
BEHIND_SECONDS = 0.5
EXPRESS_AT_ONCE = 4
RELAY_BATCH = 100
# An entry this old was missed by the process that wrote it, which has died or was too busy.
ORPHANED_AFTER = timedelta(seconds=3)
SWEEP_SECONDS = 2.0
SWEEP_PAGES = 10  # of a long outbox, at each look

log = logging.getLogger("ecokart.worker")


class Worker:
    """Runs the reactions of one process. Any number of processes may each have one."""

    def __init__(
        self,
        ports: Ports,
        reactions: Reactions,
        *,
        express_timeout_seconds: float = EXPRESS_TIMEOUT_SECONDS,
    ) -> None:
        self.ports = ports
        self.reactions = reactions
        self._express_timeout_seconds = express_timeout_seconds
        self._jobs = Handling(ports, reactions)
        self._stopping = asyncio.Event()
        self._looked_at: Cursor | None = None  # how far into a long outbox
        self._in_hand: set[str] = set()  # outbox entries whose handlers run here now

    async def run(self) -> None:
        """Work until `stop`. A failure of an engine is logged and tried again, never the end."""
        loops: list[Callable[[], Awaitable[None]]] = [self._sweep_loop, self._news_loop]
        loops += [partial(self._handoff_loop, self.express)] * EXPRESS_AT_ONCE
        # Each timer keeps to itself: one that takes long holds up no other.
        loops += [partial(self._timer_loop, timer) for timer in self.reactions.timers.values()]
        async with asyncio.TaskGroup() as group:
            for loop in loops:
                group.create_task(self._keep(loop))
            for lane in self.reactions.lanes:
                group.create_task(self._keep(lambda lane=lane: self._lane_loop(lane)))  # type: ignore[misc]

    async def hand_on(self) -> None:
        """Turn this process's own events into jobs for those who work, until `stop`. Runs none itself."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(partial(self._handoff_loop, self.relay)))
            group.create_task(self._keep(self._news_loop))

    def stop(self) -> None:
        """Finish what is in hand and take nothing new."""
        self._stopping.set()
        self.ports.handoff.bell.set()
        self.ports.news.bell.set()

    async def drain(self) -> int:
        """Work until nothing is due any more; says how many jobs were run. For tests and scripts."""
        ran = 0
        while True:
            self.ports.handoff.entries.clear()  # the outbox has them all
            relayed = await self.relay_orphans(older_than=timedelta(0))
            deliveries = [
                delivery
                for lane in self.reactions.lanes
                for delivery in await self.ports.queue.receive(lane, limit=SLOTS)
            ]
            if not relayed and not deliveries:
                await self.ports.news.tell(self.ports.live)
                return ran
            await self._finish(await asyncio.gather(*map(self._jobs.handle, deliveries)))
            ran += len(deliveries)

    async def run_due_timers(self) -> None:
        """Run each timer that is due, all at once, but none that is claimed already."""
        timers = self.reactions.timers.values()
        await asyncio.gather(*[run_if_due(self.ports, timer) for timer in timers])

    # The relay.

    async def relay(self, entries: Sequence[OutboxEntry]) -> None:
        """Turn events into jobs. The jobs are stored before the entries go: twice, but never lost."""
        jobs = [self._job(event, handler) for event, handler in self._reacting(entries)]
        await self._settle(entries, jobs)

    async def express(self, entries: Sequence[OutboxEntry]) -> None:
        """Run at once what may be, and turn the rest, and what failed, into jobs."""
        direct, jobs = [], []
        for event, handler in self._reacting(entries):
            if handler.lane in EXPRESS:
                direct.append((event, handler))
            else:
                jobs.append(self._job(event, handler))
        tasks = [
            asyncio.create_task(self._jobs.failure(handler, event.event))
            for event, handler in direct
        ]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._express_timeout_seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for (event, handler), task in zip(direct, tasks, strict=True):
            failure = asyncio.CancelledError() if task.cancelled() else task.result()
            if failure is not None:
                log.warning("express failed: %r", failure, extra={"job": event.id})
                jobs.append(self._job(event, handler))
        await self._settle(entries, jobs)

    def _reacting(self, entries: Sequence[OutboxEntry]) -> list[tuple[Stated, Handler]]:
        """Each event with each handler that it concerns."""
        return [
            (event, handler)
            for entry in entries
            for event in entry.events
            for handler in self.reactions.by_event.get(event.name, ())
            if handler.concerns(event.event)
        ]

    def _job(self, event: Stated, handler: Handler) -> Job:
        return job_of(event.id, event.event, handler, self.ports.clock.now())

    async def _settle(self, entries: Sequence[OutboxEntry], jobs: list[Job]) -> None:
        if jobs:
            await self.ports.queue.send(jobs)
        await self.ports.records.commit([Delete(OUTBOX, entry.id, ANY) for entry in entries])

    async def relay_orphans(
        self, older_than: timedelta = ORPHANED_AFTER, sparing: Collection[str] = ()
    ) -> int:
        """Hand on what lies in the outbox longer than that: nobody else will. Says how many there were."""
        horizon = self.ports.clock.now() - older_than
        async for page in self._outbox():
            if entries := [e for e in page if e.at <= horizon and e.id not in sparing]:
                await self.relay(entries)
                return len(entries)
        return 0

    async def _outbox(self) -> AsyncIterator[list[OutboxEntry]]:
        """The first page of the outbox, where most engines have what is oldest, and some of the others.

        An engine may list it in any order; so the next look goes on where this one ends.
        """
        scan = self.ports.records.scan
        page = await scan(OUTBOX, limit=RELAY_BATCH)
        yield page.values
        after = self._looked_at or page.after
        for _ in range(SWEEP_PAGES):
            if after is None:
                break
            page = await scan(OUTBOX, after=after, limit=RELAY_BATCH)
            self._looked_at = after = page.after
            yield page.values

    async def _handoff_loop(self, react: Callable[[list[OutboxEntry]], Awaitable[None]]) -> None:
        handoff = self.ports.handoff
        while not self._stopping.is_set():
            if entries := handoff.take(EXPRESS_BATCH):
                ids = {entry.id for entry in entries}
                self._in_hand |= ids
                try:
                    await react(entries)
                finally:
                    self._in_hand -= ids
            else:
                handoff.bell.clear()
                await _at_most(SWEEP_SECONDS, handoff.bell.wait())

    async def _news_loop(self) -> None:
        while not self._stopping.is_set():
            await self.ports.news.tell(self.ports.live)
            await _at_most(SWEEP_SECONDS, self.ports.news.bell.wait())
            await asyncio.sleep(GATHERED_SECONDS)

    async def _sweep_loop(self) -> None:
        while not self._stopping.is_set():
            own = self._in_hand | {entry.id for entry in self.ports.handoff.entries}
            while not self._stopping.is_set() and await self.relay_orphans(sparing=own):
                pass
            await _at_most(SWEEP_SECONDS, self._stopping.wait())

    # The lanes.

    async def _lane_loop(self, lane: str) -> None:
        running: set[asyncio.Task[Delivery | None]] = set()
        slots = FEWER_SLOTS.get(lane, SLOTS)
        try:
            while not self._stopping.is_set():
                if lane not in EXPRESS and self.ports.handoff.entries:
                    # Orders are behind: their own way comes first, the outside calls go slowly on.
                    await _at_most(BEHIND_SECONDS, self._stopping.wait())
                if free := slots - len(running):
                    wait_seconds = 0.0 if running else 1.0
                    deliveries = await self.ports.queue.receive(
                        lane, limit=free, wait_seconds=wait_seconds
                    )
                    running |= {asyncio.create_task(self._jobs.handle(one)) for one in deliveries}
                if running:
                    # Most finish at once and are settled together; the slow ones don't hold the lane up.
                    finished, running = await asyncio.wait(running, timeout=0.05)
                    await self._finish([task.result() for task in finished])
        finally:
            if running:
                finished, running = await asyncio.wait(running, timeout=TIMEOUT_SECONDS)
                await self._finish([task.result() for task in finished])

    async def _finish(self, handled: Sequence[Delivery | None]) -> None:
        if done := [delivery for delivery in handled if delivery]:
            await self.ports.queue.done(done)

    # The timers.

    async def _timer_loop(self, timer: Timer) -> None:
        while not self._stopping.is_set():
            await run_if_due(self.ports, timer)
            await _at_most(1.0, self._stopping.wait())

    async def _keep(self, loop: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            try:
                await loop()
            except Unavailable as error:
                log.warning("the worker waits: %s", error)
            except (Exception, asyncio.CancelledError):
                if is_cancelled():
                    raise
                log.exception("the worker stumbled")
            else:
                continue
            await _at_most(1.0, self._stopping.wait())


async def _at_most(seconds: float, awaitable: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await awaitable
    except TimeoutError:
        pass
