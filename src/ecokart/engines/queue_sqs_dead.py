"""The dead letters in SQS: beside each lane's queue one for its dead.

SQS lists nothing. To be shown or redriven the dead letters are received, all of them up to a bound,
and put back into sight; for that moment another one who looks doesn't see them. It also keeps nothing
for longer than fourteen days: before that they are sent anew, as long as anybody works on their lane.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from ecokart.core.clock import Clock
from ecokart.core.ports import Job
from ecokart.core.records import Cursor, Page
from ecokart.engines.queue_sqs_client import BATCH, Received, SqsClient, together
from ecokart.engines.queue_sqs_messages import Message, body_of, message_in

SUFFIX = "-dead"
HOLD_SECONDS = 60  # while they are looked at
MOST_HELD = 2000  # of a lane
LOOK_AFTER = timedelta(hours=1)
RENEW_AFTER = timedelta(days=7)
UNSETTLED = "It was received again and again, and never settled."


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter in our hands."""

    lane: str
    job: Job
    buried_at: datetime
    received: Received

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands in the list."""
        return self.buried_at.isoformat(), self.received.message_id


class DeadLetters:
    """The dead letters of all lanes of a shop."""

    def __init__(self, client: SqsClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._kept: dict[str, datetime] = {}

    def queue(self, lane: str) -> str:
        """The name of the queue for the lane's dead letters."""
        return f"{self._client.place.prefix}-{lane}{SUFFIX}"

    async def add(self, job: Job) -> None:
        """Lay the job among them; its attempts and its error are final."""
        message = Message(job=job, buried_at=self._clock.now())
        await self._send(job.lane, message)

    async def page(self, after: Cursor | None, limit: int) -> Page[Job]:
        """The oldest of those we could get hold of, behind `after`."""
        async with self._held(await self._lanes()) as held:
            letters = sorted(held, key=lambda letter: letter.place)
        behind = [letter for letter in letters if after is None or letter.place > after]
        shown = behind[:limit]
        more = shown[-1].place if len(behind) > len(shown) else None
        return Page([letter.job for letter in shown], [1] * len(shown), more)

    async def redrive(
        self, job_ids: Collection[str], revive: Callable[[Job], Awaitable[None]]
    ) -> int:
        """Hand the jobs to `revive`, and let go of them; says how many there were."""
        wanted = set(job_ids)
        revived: set[str] = set()
        async with self._held(await self._lanes() if wanted else []) as held:
            for letter in [one for one in held if one.job.id in wanted]:
                if letter.job.id not in revived:  # it may have died twice
                    await revive(letter.job)
                    revived.add(letter.job.id)
                await self._let_go(letter)
                held.remove(letter)
        return len(revived)

    async def keep(self, lane: str) -> None:
        """Once an hour, send anew what SQS would soon have kept for long enough."""
        now = self._clock.now()
        if now - self._kept.setdefault(lane, now - LOOK_AFTER) < LOOK_AFTER:
            return
        self._kept[lane] = now
        if not await self._client.count(self.queue(lane)):
            return
        async with self._held([lane]) as held:
            for letter in [one for one in held if now - one.received.sent_at > RENEW_AFTER]:
                await self._send(lane, Message(job=letter.job, buried_at=letter.buried_at))
                await self._let_go(letter)
                held.remove(letter)

    async def _send(self, lane: str, message: Message) -> None:
        entry = {"MessageBody": body_of(message)}
        await self._client.batch("send_message_batch", self.queue(lane), [entry])

    async def _let_go(self, letter: Letter) -> None:
        entry = {"ReceiptHandle": letter.received.receipt}
        await self._client.batch("delete_message_batch", self.queue(letter.lane), [entry])

    async def _lanes(self) -> list[str]:
        """The lanes that have a queue for their dead letters."""
        start = f"{self._client.place.prefix}-"
        names = await self._client.names(start)
        lanes = [
            name.removeprefix(start).removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)
        ]
        return [lane for lane in lanes if "-" not in lane]  # another shop's, whose prefix is longer

    @asynccontextmanager
    async def _held(self, lanes: Sequence[str]) -> AsyncIterator[list[Letter]]:
        """The lanes' dead letters, held while the context is open; what is left then is put back."""
        held = [letter for part in await together(map(self._hold, lanes)) for letter in part]
        try:
            yield held
        finally:
            await together(
                self._client.batch(
                    "change_message_visibility_batch",
                    self.queue(lane),
                    [
                        {"ReceiptHandle": letter.received.receipt, "VisibilityTimeout": 0}
                        for letter in held
                        if letter.lane == lane
                    ],
                )
                for lane in lanes
            )

    async def _hold(self, lane: str) -> list[Letter]:
        letters: dict[str, Letter | None] = {}
        while len(letters) < MOST_HELD:
            # Waiting has all of SQS's servers asked; else a few are, and may have none.
            received = await self._client.receive(
                self.queue(lane), BATCH, polls_seconds=1, hide_seconds=HOLD_SECONDS
            )
            fresh = [one for one in received if one.message_id not in letters]
            if not fresh:
                break
            letters |= {one.message_id: _letter(lane, one) for one in fresh}
        return [letter for letter in letters.values() if letter]


def _letter(lane: str, received: Received) -> Letter | None:
    message = message_in(received.body)
    if message is None:
        return None
    if message.buried_at is not None:
        return Letter(lane, message.job, message.buried_at, received)
    # SQS itself has moved it here.
    job = replace(message.job, attempts=received.receives, error=UNSETTLED)
    return Letter(lane, job, received.sent_at, received)
