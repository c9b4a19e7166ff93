"""One job: its handler is run, and the job is finished, tried again later, given up, or buried."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec

from ecokart.core.events import (
    TIMEOUT_SECONDS,
    Event,
    Handler,
    Hopeless,
    Reactions,
    actor,
    cause,
)
from ecokart.core.ports import Delivery, Job, Ports
from ecokart.core.timers import is_cancelled

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 300.0
LONGEST_ERROR = 2000  # characters kept of why a job failed

log = logging.getLogger("ecokart.worker")


def job_of(event_id: str, event: msgspec.Raw, handler: Handler, now: datetime) -> Job:
    """The handler's turn at the event. It has the same id whenever it is made, so that none waits twice."""
    return Job(
        id=f"{event_id}:{handler.name}",
        lane=handler.lane,
        handler=handler.name,
        event=event,
        sent_at=now,
    )


class Handling:
    """Runs jobs by the handlers of `reactions`."""

    def __init__(self, ports: Ports, reactions: Reactions) -> None:
        self._ports, self._reactions = ports, reactions

    async def handle(self, delivery: Delivery) -> Delivery | None:
        """Run a job's handler. Gives back the delivery if it is settled; else it is retried or buried."""
        job = delivery.job
        handler = self._reactions.handlers.get(job.handler)
        if handler is None:
            gone = LookupError("There is no such handler any more.")
            await self._bury(delivery, gone)
            return None
        try:
            event = handler.decode(job.event)
        except msgspec.DecodeError as error:  # it will never be another event
            await self._bury(delivery, error)
            return None
        if job.attempts >= handler.attempts:
            # The last attempt wasn't given back: it took its process along.
            deadly = RuntimeError(f"It was begun {job.attempts} times and never came to an end.")
            return await self._give_up(delivery, handler, event, deadly)
        try:
            async with asyncio.timeout(handler.timeout_seconds):
                await self._react(handler, event)
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled():
                raise
            if job.attempts + 1 >= handler.attempts or isinstance(error, Hopeless):
                return await self._give_up(delivery, handler, event, error)
            await self._retry(delivery, error)
            return None
        return delivery

    async def _give_up(
        self, delivery: Delivery, handler: Handler, event: Event, error: BaseException
    ) -> Delivery | None:
        """Undo what has to be undone. A job whose handler can't, or fails at that too, is buried."""
        if handler.give_up is None:
            await self._bury(delivery, error)
            return None
        log.warning("job given up: %r", error, extra=_of(delivery), exc_info=error)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await handler.give_up(self._ports, event, said(error))
        except (Exception, asyncio.CancelledError) as worse:
            if is_cancelled():
                raise
            await self._bury(delivery, worse)
            return None
        return delivery

    async def failure(self, handler: Handler, event: bytes) -> Exception | None:
        """Run the handler; says why it failed, if it did."""
        try:
            await self._react(handler, handler.decode(event))
        except Exception as error:  # noqa: BLE001 (whatever it is, it becomes a job that is tried again)
            return error
        return None

    async def _react(self, handler: Handler, event: Event) -> None:
        cause.set(event.cause)
        actor.set("worker")
        await handler.run(self._ports, event)

    async def _retry(self, delivery: Delivery, error: BaseException) -> None:
        log.warning("job failed: %s", said(error), extra=_of(delivery), exc_info=error)
        delay = retry_delay_seconds(delivery.job.attempts)
        with _noting(delivery):
            await self._ports.queue.retry(delivery, delay_seconds=delay, error=said(error))

    async def _bury(self, delivery: Delivery, error: BaseException) -> None:
        log.warning("job buried: %s", said(error), extra=_of(delivery), exc_info=error)
        with _noting(delivery):
            await self._ports.queue.bury(delivery, error=said(error))


def retry_delay_seconds(attempts: int) -> float:
    """Exponential back-off with full jitter above a half: 0.5 s, 1 s, 2 s … up to five minutes."""
    ceiling: float = min(FIRST_DELAY_SECONDS * 2**attempts, LONGEST_DELAY_SECONDS)
    return ceiling * (0.5 + random.random() / 2)  # noqa: S311 (jitter, not a secret)


def said(error: BaseException) -> str:
    """Why it failed, as it is kept with the job: any text, half a surrogate pair too."""
    text = f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
    return text.encode(errors="replace").decode()


def _of(delivery: Delivery) -> dict[str, str]:
    return {"job": delivery.job.id}


@contextmanager
def _noting(delivery: Delivery) -> Iterator[None]:
    """A settlement that fails is noted: the job comes again by itself."""
    try:
        yield
    except Exception:
        log.warning("job not settled", extra=_of(delivery), exc_info=True)
