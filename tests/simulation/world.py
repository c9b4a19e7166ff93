"""The world of a simulation: a little shop on real records, whose process dies and lives again."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from bench.books import Books, imbalances, read, unfinished
from ecokart.app import open_ports
from ecokart.core.clock import Ids
from ecokart.core.events import Reactions
from ecokart.core.i18n import Text
from ecokart.core.money import Money
from ecokart.core.ports import Handoff, Records
from ecokart.core.records import Page, Table, Versioned, Write
from ecokart.core.transaction import Transaction, transact
from ecokart.core.worker import Worker
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.engines.queue_records import RecordsQueue
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import Product, TaxClass, Variant
from ecokart.rooms import JOB_MODULES
from ecokart.settings import load
from tests.simulation.virtual import VirtualClock

GOODS = {"SIM-1": 3, "SIM-2": 5, "SIM-3": 8, "SIM-4": 12}
SETTLING_ROUNDS = 40


class Killed(BaseException):
    """The process is dead: nothing in it goes on. No `except Exception` may catch this."""


@dataclass
class Story:
    """What happened in a run, for people; and `wrong`, a sentence for everything that may not be."""

    seed: int
    happened: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)  # Idempotency-Key → order id
    cancelled: set[str] = field(default_factory=set)
    lost_answers: int = 0
    kills: int = 0

    def blame(self, sentences: Sequence[str]) -> None:
        self.wrong += [sentence for sentence in sentences if sentence not in self.wrong]


class World:
    """Everything outside the shop's process: its storage, the time, the dice, and the story so far."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.story, self.folder = Story(seed), folder
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.chaos = Chaos(seed, _some_faults(self.random))
        settings = load({"ECOKART_DATA_DIR": str(folder), "ECOKART_ENVIRONMENT": "test"})
        ids = Ids(self.clock, self.random.getrandbits)
        self.outside = dataclasses.replace(open_ports(settings, self.clock), new_id=ids)
        self.supplied: dict[str, int] = {}
        self.life: Life

    async def begin(self) -> None:
        """Goods on the shelf, and a process that serves them."""
        for sku, pieces in GOODS.items():
            await transact(self.outside, _stock, sku, pieces)
        self.supplied = read(self.folder).supplied()
        self.life = Life(self)

    async def restart(self) -> None:
        """As if the power had failed: what was under way ends where it is, and a new process starts."""
        self.story.kills += 1
        await self.life.end()
        self.chaos.faults = _some_faults(self.random)
        self.life = Life(self)

    def audit(self) -> Books:
        """The books must balance at every moment."""
        books = read(self.folder)
        self.story.blame(imbalances(books, self.supplied))
        return books

    async def settle(self) -> None:
        """Without faults from here on: everything is finished, and then all of it is checked."""
        await self.life.end()
        self.chaos.faults = Faults()
        worker = Worker(self.outside, Reactions(JOB_MODULES))
        for _ in range(SETTLING_ROUNDS):
            self.clock.jump(minutes=6)
            await worker.run_due_timers()
            await worker.drain()
            dead = (await self.outside.queue.dead()).values
            self.story.blame([f"{job.id} died without a word." for job in dead if not job.error])
            await self.outside.queue.redrive([job.id for job in dead])
            books = self.audit()
            if not books.jobs and not books.outbox:
                break
        self.story.blame(unfinished(books, self.folder) + self._broken_promises(books))
        await self.outside.records.close()

    def _broken_promises(self, books: Books) -> list[str]:
        story, promised = self.story, list(self.story.acknowledged.values())
        wrong = [
            f"{order_id} was acknowledged and is lost."
            for order_id in {*promised} - {*books.orders}
        ]
        wrong += [f"{order_id} was never asked for." for order_id in {*books.orders} - {*promised}]
        if len(set(promised)) < len(promised):
            wrong.append("Two keys were answered the same order.")
        return wrong + [
            f"{order_id} was called off, and is {books.orders[order_id]['stage']}."
            for order_id in story.cancelled & {*books.orders}
            if books.orders[order_id]["stage"] != "CANCELLED"
        ]


class Life:
    """One life of the shop's process: ports that fail, and a worker over them. It ends at once."""

    def __init__(self, world: World) -> None:
        self._records = _Mortal(world.outside.records)
        alive = dataclasses.replace(
            world.outside,
            records=self._records,
            queue=RecordsQueue(self._records, world.clock),
            handoff=Handoff(),
        )
        self.ports = faulty(alive, world.chaos)
        worker = Worker(self.ports, Reactions(JOB_MODULES))
        self._work = asyncio.create_task(worker.run())

    async def end(self) -> None:
        self._records.dead = True
        self._work.cancel()
        await asyncio.wait([self._work])


class _Mortal:
    """The records as a process reaches them: once it is dead, no call of it begins or comes back."""

    def __init__(self, records: Records) -> None:
        self._records, self.dead = records, False

    async def get(self, table: Table[Any], key: str) -> Versioned[Any] | None:
        self._must_live()
        return await self._records.get(table, key)

    async def query(self, *args: Any, **options: Any) -> Page[Any]:
        self._must_live()
        return await self._records.query(*args, **options)

    async def scan(self, table: Table[Any], **options: Any) -> Page[Any]:
        self._must_live()
        return await self._records.scan(table, **options)

    async def commit(self, writes: Sequence[Write]) -> None:
        self._must_live()
        await self._records.commit(writes)
        self._must_live()

    async def ping(self) -> str:
        return await self._records.ping()

    async def close(self) -> None:
        pass

    def _must_live(self) -> None:
        if self.dead:
            raise Killed


async def _stock(tx: Transaction, sku: str, pieces: int) -> None:
    name = Text(sku, sku)
    product = Product(
        id=sku.lower(),
        category="all",
        name=name,
        summary=name,
        description=name,
        picture="missing.svg",
        picture_alt=name,
        price=Money(1000 + pieces),
        tax=TaxClass.STANDARD,
        variants=(Variant(sku=sku),),
        created_at=tx.now,
        changed_at=tx.now,
    )
    await catalog.add(tx, product, {sku: pieces})


def _some_faults(random: Random) -> Faults:
    """Another mood of the engines: each kind of fault sometimes absent, sometimes frequent."""

    def rate(most: float) -> float:
        return random.choice([0.0, most * random.random()])

    return Faults(
        delay=rate(0.6),
        delay_seconds=random.choice([0.005, 0.05, 1.0]),
        read_fails=rate(0.05),
        commit_fails=rate(0.2),
        answer_lost=rate(0.2),
        queue_fails=rate(0.2),
        settlement_lost=rate(0.2),
        delivered_twice=rate(0.4),
        delivered_late=rate(0.4),
        reordered=rate(1.0),
        mail_refused=rate(0.4),
    )
