"""The queue in Amazon SQS: a standard queue a lane, each with a queue for its dead letters.

SQS hides a message that was received, counts how often it was, and shows it again; a retry only
changes when. What it can't do, the port's words leave open: it doesn't know what waits already, it
keeps no error with a message, and it tells nobody's age.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Sequence

from msgspec.structs import replace

from ecokart.core.clock import Clock
from ecokart.core.errors import Unavailable
from ecokart.core.ports import Delivery, Depth, Job
from ecokart.core.records import Cursor, Page
from ecokart.engines.queue_sqs_client import (
    BATCH,
    LONGEST_POLL_SECONDS,
    MAKES_THEM,
    NotOurs,
    Place,
    SqsClient,
    together,
)
from ecokart.engines.queue_sqs_dead import DeadLetters
from ecokart.engines.queue_sqs_messages import Message, body_of, message_in

VISIBILITY_SECONDS = 90
LONGEST_DELAY_SECONDS = 43_000  # SQS hides a message for twelve hours at most
SHORT_PAUSE_SECONDS = 0.2  # between two looks, where less is left than a poll takes
# The worker buries before that, and knows why. This is for jobs that no worker of ours gives back.
MAX_RECEIVES = 16


class SqsQueue:
    """`Queue` over SQS, at a `sqs://region/prefix?endpoint=…`. Raises `ValueError` for another URL."""

    def __init__(
        self, url: str, clock: Clock, *, visibility_seconds: int = VISIBILITY_SECONDS
    ) -> None:
        self._client = SqsClient(Place(url))
        self._clock = clock
        self._visibility_seconds = visibility_seconds
        self._dead = DeadLetters(self._client, clock)

    async def create(self, lanes: Collection[str], tell: Callable[[str], None]) -> None:
        """Make what is missing of the lanes' queues, and set right what is there. Raises `Unavailable`.

        `tell` hears a line for each queue.
        """
        for lane in lanes:
            dead = await self._client.create(self._dead.queue(lane), {}, tell)
            attributes = {
                "VisibilityTimeout": str(self._visibility_seconds),
                "RedrivePolicy": f'{{"deadLetterTargetArn":"{dead}","maxReceiveCount":{MAX_RECEIVES}}}',
            }
            await self._client.create(self._queue(lane), attributes, tell)

    async def send(self, jobs: Sequence[Job]) -> None:
        lanes: dict[str, dict[str, str]] = {}
        for job in jobs:
            lanes.setdefault(job.lane, {})[job.id] = body_of(Message(job=job))
        await together(
            self._client.batch(
                "send_message_batch",
                self._queue(lane),
                [{"MessageBody": body} for body in bodies.values()],
            )
            for lane, bodies in lanes.items()
        )

    async def receive(self, lane: str, *, limit: int, wait_seconds: float = 0) -> list[Delivery]:
        await self._dead.keep(lane)
        loop = asyncio.get_running_loop()
        left, deadline = wait_seconds, loop.time() + wait_seconds
        while True:
            polls_seconds = min(int(left), LONGEST_POLL_SECONDS)
            if deliveries := await self._received(lane, limit, polls_seconds):
                return deliveries
            left = deadline - loop.time()
            if left <= 0:
                return []
            if left < 1:
                await asyncio.sleep(min(left, SHORT_PAUSE_SECONDS))

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        lanes: dict[str, set[str]] = {}
        for delivery in deliveries:
            lanes.setdefault(delivery.job.lane, set()).add(delivery.receipt)
        await together(
            self._client.batch(
                "delete_message_batch",
                self._queue(lane),
                [{"ReceiptHandle": receipt} for receipt in receipts],
            )
            for lane, receipts in lanes.items()
        )

    async def retry(self, delivery: Delivery, *, delay_seconds: float, error: str) -> None:
        await self._hide(delivery, math.ceil(min(delay_seconds, LONGEST_DELAY_SECONDS)))

    async def bury(self, delivery: Delivery, *, error: str) -> None:
        if not await self._hide(delivery, self._visibility_seconds):
            return  # another worker has the job, or has settled it
        job = delivery.job
        await self._dead.add(replace(job, attempts=job.attempts + 1, error=error))
        await self.done([delivery])

    async def dead(self, *, after: Cursor | None = None, limit: int = 100) -> Page[Job]:
        return await self._dead.page(after, limit)

    async def redrive(self, job_ids: Sequence[str]) -> int:
        async def revive(job: Job) -> None:
            await self.send([replace(job, attempts=0, error="")])

        return await self._dead.redrive(job_ids, revive)

    async def depth(self, lane: str, *, limit: int = 1000) -> Depth:
        waiting, dead = await together(
            self._client.count(name) for name in (self._queue(lane), self._dead.queue(lane))
        )
        return Depth(min(waiting, limit), None if waiting else 0, min(dead, limit))

    async def ping(self) -> str:
        place = self._client.place
        queues = await self._client.names(f"{place.prefix}-")
        if not queues:
            raise Unavailable(f"SQS has no queue {place.prefix}-…: {MAKES_THEM}.")
        return f"SQS in {place.region}, {len(queues)} queues"

    async def close(self) -> None:
        await self._client.close()

    async def _received(self, lane: str, limit: int, polls_seconds: int) -> list[Delivery]:
        deliveries = await self._receive_batch(lane, min(limit, BATCH), polls_seconds)
        if len(deliveries) == BATCH < limit:
            # Where there were ten there may be more: all the rest at once.
            sizes = [min(BATCH, limit - taken) for taken in range(BATCH, limit, BATCH)]
            more = [self._receive_batch(lane, size, 0) for size in sizes]
            # What fails is received another time; what succeeds is in our hands.
            for part in await asyncio.gather(*more, return_exceptions=True):
                deliveries += part if isinstance(part, list) else []
        return deliveries

    async def _receive_batch(self, lane: str, limit: int, polls_seconds: int) -> list[Delivery]:
        received = await self._client.receive(
            self._queue(lane), limit, polls_seconds, hide_seconds=self._visibility_seconds
        )
        return [
            Delivery(_delivered(message, one.receives), one.receipt)
            for one in received
            if (message := message_in(one.body))
        ]

    async def _hide(self, delivery: Delivery, seconds: int) -> bool:
        """Have it out of sight for that long from now on; False if it isn't ours any more."""
        request = {"ReceiptHandle": delivery.receipt, "VisibilityTimeout": seconds}
        try:
            await self._client.on(
                self._queue(delivery.job.lane), "change_message_visibility", **request
            )
        except NotOurs:
            return False
        return True

    def _queue(self, lane: str) -> str:
        return f"{self._client.place.prefix}-{lane}"


def _delivered(message: Message, receives: int) -> Job:
    # In a lane, what was buried has been redriven, if by AWS's own means.
    alive = replace(message.job, attempts=0, error="") if message.buried_at else message.job
    return replace(alive, attempts=alive.attempts + receives - 1)
