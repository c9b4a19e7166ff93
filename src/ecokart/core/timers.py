"""Timers: a claim in the records decides which of the processes runs one that is due."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

import msgspec

from ecokart.core.events import Timer
from ecokart.core.ports import Ports
from ecokart.core.records import ABSENT, ANY, Put, Table, WriteConflict

CLAIM = timedelta(minutes=2)

log = logging.getLogger("ecokart.worker")


class TimerClaim(msgspec.Struct, frozen=True, kw_only=True):
    """When a timer is due next, and until when the process that runs it now has it to itself."""

    name: str
    due_at: datetime
    claimed_until: datetime


TIMERS = Table("timers", TimerClaim, key="name")


async def run_if_due(ports: Ports, timer: Timer) -> None:
    """Run the timer if it is due and nobody else has claimed it. Its failure is logged."""
    now, records = ports.clock.now(), ports.records
    found = await records.get(TIMERS, timer.name)
    if found and (found.value.due_at > now or found.value.claimed_until > now):
        return
    claim = TimerClaim(name=timer.name, due_at=now, claimed_until=now + CLAIM)
    try:
        await records.commit([Put(TIMERS, claim, found.version if found else ABSENT)])
    except WriteConflict:
        return  # another process has it
    try:
        async with asyncio.timeout(CLAIM.total_seconds()):
            await timer.run(ports)
    except (Exception, asyncio.CancelledError):
        if is_cancelled():
            raise  # this process ends: another one takes over when the claim has ended
        log.exception("timer failed", extra={"timer": timer.name})
    done = TimerClaim(name=timer.name, due_at=now + timer.every, claimed_until=now)
    await records.commit([Put(TIMERS, done, ANY)])


def is_cancelled() -> bool:
    """Whether somebody cancels this very task; a handler may also raise CancelledError of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
