"""Another process of the shop: takes one from a counter again and again, and says how often it got one.

python -m tests.contracts.other_process <engine> <location> <key> <times>
"""

from __future__ import annotations

import asyncio
import sys

from ecokart.core.clock import SystemClock
from ecokart.core.records import BelowFloor
from tests.contracts.openers import ENGINES
from tests.contracts.records_kept import TABLES, take


async def main(engine: str, location: str, key: str, times: str) -> int:
    records = ENGINES[engine].open(location, TABLES, SystemClock())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()  # both begin at once
    taken = 0
    for _ in range(int(times)):
        try:
            await records.commit([take(key)])
        except BelowFloor:
            continue
        taken += 1
    await records.close()
    return taken


if __name__ == "__main__":
    sys.stdout.write(str(asyncio.run(main(*sys.argv[1:]))))
