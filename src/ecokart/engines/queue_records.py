"""The queue as records: nothing to install, and as durable as the orders themselves.

A job is due at a time. Receiving it moves that time ninety seconds on, in a conditional write, so that
of several workers one gets it, and it comes back by itself if that worker dies. The same write counts
the attempt: a job that kills its worker can't report that itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from ecokart.core.clock import Clock, new_id
from ecokart.core.ports import Delivery, Depth, Job, Records
from ecokart.core.records import (
    ABSENT,
    ANY,
    MAX_WRITES,
    Cursor,
    Delete,
    Page,
    Put,
    Table,
    WriteConflict,
)

VISIBILITY = timedelta(seconds=90)
POLL_SECONDS = 0.5


class QueuedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job and where it stands: `place` is its lane, or `dead`; `lease` names the delivery in hand.

    What is in hand has its attempt counted already.
    """

    id: str
    place: str
    due_at: datetime
    lease: str = ""
    job: Job


JOBS = Table("jobs", QueuedJob, key="id", indexes={"by_due": ("place", "due_at")})
DEAD = "dead"


class RecordsQueue:
    """`Queue` over any `Records`."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._bells: dict[str, asyncio.Event] = {}

    async def send(self, jobs: Sequence[Job]) -> None:
        queued = list({job.id: self._queued(job, job.lane) for job in jobs}.values())
        for start in range(0, len(queued), MAX_WRITES):
            await self._add(queued[start : start + MAX_WRITES])
        for lane in dict.fromkeys(job.lane for job in jobs):
            self._bell(lane).set()

    async def receive(self, lane: str, *, limit: int, wait_seconds: float = 0) -> list[Delivery]:
        deadline = asyncio.get_running_loop().time() + wait_seconds
        while True:
            self._bell(lane).clear()
            if deliveries := await self._lease(lane, min(limit, MAX_WRITES)):
                return deliveries
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return []
            try:
                async with asyncio.timeout(min(left, POLL_SECONDS)):
                    await self._bell(lane).wait()
            except TimeoutError:
                continue

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        for start in range(0, len(deliveries), MAX_WRITES):
            part = deliveries[start : start + MAX_WRITES]
            # Settled by id alone: a job that was delivered twice is finished by whoever ends first.
            ids = dict.fromkeys(delivery.job.id for delivery in part)
            await self._records.commit([Delete(JOBS, job_id, ANY) for job_id in ids])

    async def retry(self, delivery: Delivery, *, delay_seconds: float, error: str) -> None:
        delay = timedelta(seconds=delay_seconds)
        await self._settle(delivery, delivery.job.lane, delay, error)

    async def bury(self, delivery: Delivery, *, error: str) -> None:
        await self._settle(delivery, DEAD, timedelta(0), error)

    async def dead(self, *, after: Cursor | None = None, limit: int = 100) -> Page[Job]:
        page = await self._records.query(JOBS, "by_due", DEAD, after=after, limit=limit)
        return Page([queued.job for queued in page.values], page.versions, page.after)

    async def redrive(self, job_ids: Sequence[str]) -> int:
        revived = 0
        for job_id in job_ids:
            found = await self._records.get(JOBS, job_id)
            if found is None or found.value.place != DEAD:
                continue
            job = replace(found.value.job, attempts=0, error="")
            alive = self._queued(job, job.lane)
            try:
                await self._records.commit([Put(JOBS, alive, found.version)])
            except WriteConflict:
                continue  # somebody else redrove it
            self._bell(job.lane).set()
            revived += 1
        return revived

    async def depth(self, lane: str, *, limit: int = 1000) -> Depth:
        waiting = (await self._records.query(JOBS, "by_due", lane, limit=limit)).values
        dead = (await self._records.query(JOBS, "by_due", DEAD, limit=limit)).values
        sent = [queued.job.sent_at for queued in waiting]
        oldest = (self._clock.now() - min(sent)).total_seconds() if sent else 0.0
        return Depth(len(waiting), oldest, sum(queued.job.lane == lane for queued in dead))

    async def ping(self) -> str:
        return f"jobs in the records ({await self._records.ping()})"

    async def close(self) -> None:
        """The records are closed by whoever opened them."""

    async def _add(self, queued: list[QueuedJob]) -> None:
        while queued:
            try:
                await self._records.commit([Put(JOBS, one, ABSENT) for one in queued])
                break
            except WriteConflict as conflict:  # that one waits already
                queued = [one for one in queued if one.id != conflict.key]

    async def _lease(self, lane: str, limit: int) -> list[Delivery]:
        now, lease = self._clock.now(), new_id()
        page = await self._records.query(JOBS, "by_due", lane, limit=limit)
        # Where the index lags, the version it gave is an old one, and the write doesn't hold.
        due = {
            queued.id: (queued.job, version)
            for queued, version in zip(page.values, page.versions, strict=True)
            if queued.due_at <= now
        }
        leases = [
            Put(JOBS, self._queued(_attempted(job), lane, VISIBILITY, lease), version)
            for job, version in due.values()
        ]
        while leases:
            try:
                await self._records.commit(leases)
                break
            except WriteConflict as conflict:  # another worker has that one
                leases = [put for put in leases if put.value.id != conflict.key]
        return [Delivery(due[put.value.id][0], lease) for put in leases]

    async def _settle(self, delivery: Delivery, place: str, delay: timedelta, error: str) -> None:
        job = delivery.job
        found = await self._records.get(JOBS, job.id)
        if found is None or found.value.lease != delivery.receipt:
            return  # the lease has ended, and another worker has the job or has settled it
        settled = self._queued(replace(_attempted(job), error=error), place, delay)
        try:
            await self._records.commit([Put(JOBS, settled, found.version)])
        except WriteConflict:
            return  # another worker settles it at this moment

    def _queued(
        self, job: Job, place: str, delay: timedelta = timedelta(0), lease: str = ""
    ) -> QueuedJob:
        due_at = self._clock.now() + delay
        return QueuedJob(id=job.id, place=place, due_at=due_at, lease=lease, job=job)

    def _bell(self, lane: str) -> asyncio.Event:
        return self._bells.setdefault(lane, asyncio.Event())


def _attempted(job: Job) -> Job:
    return replace(job, attempts=job.attempts + 1)
