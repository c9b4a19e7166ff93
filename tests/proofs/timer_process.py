"""A process of a shop whose one timer notes each of its runs.

python -m tests.proofs.timer_process <records url> <name of this process> <runs> <folder>

It asks as fast as it can whether the timer is due, until there were that many runs in all processes.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

import msgspec

from ecokart.core.clock import SystemClock
from ecokart.core.events import Reactions, every
from ecokart.core.ports import Ports
from ecokart.core.records import ABSENT, Put, Table
from ecokart.core.timers import TIMERS
from ecokart.core.worker import Worker
from ecokart.opening import JOBS, open_engines
from ecokart.settings import load

EVERY_SECONDS = 0.05


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run: when it was due to be claimed, when it was through, and by whom."""

    id: str
    process: str
    claimed_at: datetime
    began_at: datetime
    ended_at: datetime


RUNS = Table("runs", Run, key="id")
TABLES = (RUNS, TIMERS, JOBS)


@every(seconds=EVERY_SECONDS)
async def note(ports: Ports) -> None:
    """Leaves a record of this run."""
    began = ports.clock.now()
    (claim,) = (await ports.records.scan(TIMERS)).values
    await asyncio.sleep(0.002)  # room for another one to come between
    run = Run(
        id=ports.new_id(),
        process=sys.argv[2],
        claimed_at=claim.due_at,
        began_at=began,
        ended_at=ports.clock.now(),
    )
    await ports.records.commit([Put(RUNS, run, ABSENT)])


async def main(url: str, runs: int) -> None:
    """Run the timer whenever it is due and nobody else has it."""
    settings = load({"ECOKART_RECORDS_URL": url, "ECOKART_DATA_DIR": sys.argv[4]})
    ports = open_engines(settings, TABLES, SystemClock())
    worker = Worker(ports, Reactions([sys.modules[__name__]]))
    while len((await ports.records.scan(RUNS, limit=runs)).values) < runs:
        await worker.run_due_timers()
    await ports.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[3])))
