"""One simulation: a seed, a world, a few shoppers, and fate."""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

from ecokart.core.events import Reactions
from ecokart.core.worker import Worker
from ecokart.engines.faulty import Faults, faulty
from ecokart.features.orders import posting
from ecokart.rooms import JOB_MODULES
from tests.simulation.audits import audit, settle
from tests.simulation.office import Office
from tests.simulation.partners import PartnersProgram, PartnersServer
from tests.simulation.people import Person
from tests.simulation.shoppers import Shopper
from tests.simulation.virtual import VirtualLoop
from tests.simulation.world import Story, World

MEMORY = Path("/dev/shm")  # noqa: S108 (a folder in memory: what is simulated here isn't the disk)
SHOPPERS, TABS, ACTIONS = 3, 2, 12
EVENING = 3  # actions while somebody outside is away
# A job's tries are no farther apart than five minutes, and after so many pauses every one was given up.
PAUSE_MINUTES, NIGHT = 6, posting.ATTEMPTS + 1


def simulate(seed: int) -> Story:
    """Run the seed's story to its end and check everything. The same seed, the same story."""
    where = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="ecokart-sim-", dir=where) as folder,
        _seeded(seed),
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
    ):
        return runner.run(_simulate(seed, Path(folder)))


def again(seed: int) -> str:
    """How to run a story again."""
    return f"python -m bench.simulate --first {seed} --seeds 1"


async def _simulate(seed: int, folder: Path) -> Story:
    # A killed process leaves tasks that nobody asks for their end.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    server = PartnersServer(Random(seed))
    world = World(seed, folder, server)
    await world.begin()
    people: list[Person] = [Shopper(world, number) for number in range(SHOPPERS)]
    people += [PartnersProgram(world, world.endpoint.partner_id), Office(world)]
    fate = asyncio.create_task(_fate(world))
    try:
        await asyncio.gather(*[one.live(ACTIONS) for one in people for _ in range(TABS)])
    finally:
        fate.cancel()
        await asyncio.wait([fate])
    if not fate.cancelled():
        fate.result()
    if world.night:
        await _night(world, world.night, people)
    await settle(world, server)
    return world.story


async def _fate(world: World) -> None:
    """Kills, leaps of the clock, and audits, at any time. All leaps together stay within the day for
    which an Idempotency-Key holds."""
    leaps = [0.2, 2.1, 2.5]
    while True:
        await asyncio.sleep(world.random.random() * 2)
        if world.random.random() < 0.5:
            audit(world)
        chance = world.random.random()
        if chance < 0.3:
            world.story.happened.append("killed")
            await world.restart()
        elif chance < 0.4 and leaps:
            world.story.happened.append("time leaps")
            world.clock.jump(hours=leaps.pop(world.random.randrange(len(leaps))))


async def _night(world: World, faults: Faults, people: Sequence[Person]) -> None:
    """Somebody outside goes away, and people go on for a while; then until morning only the worker does.

    A job that waits for who is away is tried and tried, and given up before they are back.
    """
    await world.restart()
    world.chaos.faults = faults
    await asyncio.gather(*[one.live(EVENING) for one in people])
    await world.life.end()
    worker = Worker(faulty(world.outside, world.chaos), Reactions(JOB_MODULES))
    for _ in range(NIGHT):
        world.clock.jump(minutes=PAUSE_MINUTES)
        await worker.run_due_timers()
        await worker.drain()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The shop's own jitter comes from the seed too, and its log about the faults is silent."""
    before = random.getstate()
    random.seed(seed)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        random.setstate(before)
