"""`python -m bench.crash`: a shop under load is killed at random moments, again and again, and loses nothing.

SIGKILL, then a start on the same data. A client whose connection breaks sends the same order again with
the same Idempotency-Key until it is answered. After every kill the auditor reads the books; at the end
all work is done, and every order must be whole, once, and confirmed.

A shop of several processes loses one of them, which its supervisor replaces, or all at once. With
`--kill-database` every other kill is the database's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random, randrange
from time import perf_counter

from bench import places, processes
from bench.books import Books, imbalances, unfinished
from bench.crowd import Customer
from bench.ledger import forgotten
from bench.load import LOST, Scenario, Tally, run
from bench.places import ENGINES, Place, place
from bench.processes import Server
from ecokart.app import open_ports
from ecokart.core.events import Reactions
from ecokart.core.worker import Worker
from ecokart.rooms import JOB_MODULES

CLIENTS = 16
ALIVE_SECONDS = (0.1, 1.2)  # between a start and the kill
AWAY_SECONDS = (0.0, 1.0)  # between the database's kill and its start
BACK_SECONDS = 90.0  # who isn't back by then won't be
ROUNDS_OF_WORK = 20


@dataclass
class Ordeal:
    """How it went. `wrong` holds a sentence for everything that isn't as it must be."""

    kills: int = 0
    orders: dict[str, str] = field(default_factory=dict)  # acknowledged: Idempotency-Key → order id
    unanswered: set[str] = field(
        default_factory=set
    )  # keys whose answer a kill took, at least once
    replayed: int = 0
    audits: int = 0
    # After each start of the database: until every client had an order acknowledged again.
    back_seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "\n  ".join(["", *self.wrong[:10]]) if self.wrong else " nothing is lost."
        back = f", back after {max(self.back_seconds):.1f} s at most" if self.back_seconds else ""
        return (
            f"{self.kills} kills ({len(self.back_seconds)} of the database{back}), {self.audits} audits,"
            f" {len(self.orders)} orders acknowledged, of which {len(self.unanswered)} had to be sent"
            f" again and {self.replayed} were there already:{verdict}"
        )


async def survive(
    kills: int,
    seed: int,
    clients: int = CLIENTS,
    *,
    engine: str = "sqlite",
    count: int = 1,
    kill_database: bool = False,
) -> Ordeal:
    """Kill a shop of `count` processes so often while these clients buy, then look at what is written."""
    with place(engine, to_be_killed=kill_database) as where:
        trial = Trial(where, count, Random(seed))
        try:
            await trial.undergo(kills, clients)
        finally:
            trial.shop.stop()
        await _finish_the_work(where)
        books = await trial.auditor.books()
        trial.ordeal.wrong += _lost(books, where, trial.ordeal, trial.supplied)
        trial.ordeal.wrong += _unexpected(trial.shop)
        return trial.ordeal


class Trial:
    """A shop, who buys there, and what is done to it."""

    def __init__(self, where: Place, count: int, random: Random) -> None:
        self.where, self.count, self.random = where, count, random
        self.ordeal, self.auditor = Ordeal(), where.auditor()
        self.supplied: dict[str, int] = {}
        self.acknowledged: dict[str, float] = {}  # by customer, when they last had an order
        self.over = asyncio.Event()
        self.shop = where.serve(processes.free_port(), count)

    async def undergo(self, kills: int, clients: int) -> None:
        async with self.where.crowd() as people:
            await people.stock_up()
            customers = await people.come([[]] * clients)
            skus = people.skus
        self.supplied = (await self.auditor.books()).supplied()
        buyers = [self._buyer(one, skus, Random(self.random.random())) for one in customers]
        buying = asyncio.create_task(run(self.shop.port, buyers, reconnect_until=lambda: False))
        for number in range(kills):
            await asyncio.sleep(self.random.uniform(*ALIVE_SECONDS))
            self.ordeal.kills += 1
            await self._choice(number)()
        self.over.set()
        _note_answers(await buying, self.ordeal)

    def _choice(self, number: int) -> Callable[[], Awaitable[None]]:
        if self.where.database and number % 2:
            return self._kill_database
        if self.count > 1 and self.random.random() < 0.75:
            return self._kill_one
        return self._kill_all

    async def _kill_all(self) -> None:
        self.shop.kill()
        await self._audit()  # of the dead shop
        self.shop = await asyncio.to_thread(self.where.serve, self.shop.port, self.count)

    async def _kill_one(self) -> None:
        """Its supervisor starts another one."""
        if workers := self.shop.workers():
            processes.kill(self.random.choice(workers))
        await self._audit()

    async def _kill_database(self) -> None:
        """And see everybody buy again."""
        if (database := self.where.database) is None:
            return
        database.kill()
        await asyncio.sleep(self.random.uniform(*AWAY_SECONDS))
        await asyncio.to_thread(database.start)
        started = perf_counter()
        while min(self.acknowledged.values(), default=0) < started:
            if perf_counter() - started > BACK_SECONDS:
                self.ordeal.wrong.append("The shop didn't come back.")
                break
            await asyncio.sleep(0.01)
        self.ordeal.back_seconds.append(perf_counter() - started)
        await self._audit()

    async def _audit(self) -> None:
        wrong = self.auditor.wrong(await self.auditor.books(), self.supplied)
        self.ordeal.audits += 1
        self.ordeal.wrong += [f"After kill {self.ordeal.kills}: {sentence}" for sentence in wrong]

    def _buyer(self, who: Customer, skus: list[str], random: Random) -> Scenario:
        """Fills the cart and orders it, again and again; each order until it is answered."""
        ordeal, number = self.ordeal, 0
        self.acknowledged[who.id] = 0.0
        while not self.over.is_set():
            added = yield who.puts_in(random.choice(skus), random.randint(1, 3))
            if added.status != 200:
                continue
            key, number = f"{who.id}-{number}", number + 1
            answer = yield who.orders(key)
            while answer == LOST or answer.status == 503:
                ordeal.unanswered.add(key)
                answer = yield who.orders(key)
            if answer.status == 201:
                ordeal.orders[key] = json.loads(answer.body)["id"]
                ordeal.replayed += b"idempotent-replayed: true" in answer.head
                self.acknowledged[who.id] = perf_counter()
            else:
                ordeal.wrong.append(f"{key} was answered {answer.status}: {answer.body[:200]!r}")


def _note_answers(tally: Tally, ordeal: Ordeal) -> None:
    if set(tally.statuses) - {LOST.status, 200, 201, 503}:
        ordeal.wrong.append(f"Unexpected answers: {dict(tally.statuses)}.")


async def _finish_the_work(where: Place) -> None:
    """Work until nothing is left, by a clock that runs ahead: what a killed worker had in hand comes
    back after ninety seconds, and nobody wants to wait for them."""
    clock, auditor = Ahead(), where.auditor()
    ports = open_ports(where.settings, clock)
    worker = Worker(ports, Reactions(JOB_MODULES))
    try:
        for _ in range(ROUNDS_OF_WORK):
            clock.by += timedelta(minutes=2)
            await worker.drain()
            if not (await auditor.books()).waiting:
                return
    finally:
        await ports.close()


class Ahead:
    def __init__(self) -> None:
        self.by = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by


def _lost(books: Books, where: Place, ordeal: Ordeal, supplied: dict[str, int]) -> list[str]:
    """What isn't there though it was acknowledged, what is there though nobody ordered it, and halves."""
    acknowledged = set(ordeal.orders.values())
    wrong = imbalances(books, supplied) + forgotten(books) + unfinished(books, where.folder)
    wrong += [f"{order_id} is lost." for order_id in acknowledged - {*books.orders}]
    wrong += [f"{order_id} was never asked for." for order_id in {*books.orders} - acknowledged]
    if len(acknowledged) < len(ordeal.orders):
        wrong.append("Two keys were answered the same order.")
    return wrong


def _unexpected(shop: Server) -> list[str]:
    """What the shop itself had not foreseen, by its log."""
    wrong = []
    for line in shop.log.read_bytes().splitlines():
        # A line may be cut short by a kill.
        if line.endswith(b"}") and b'"logger":"ecokart.web"' in line:
            said = json.loads(line)
            wrong.append(f"In the log: {said['message']} {said.get('trace', '')}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.crash")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seed", type=int, default=randrange(10**6))
    parser.add_argument("--engine", choices=ENGINES, default="sqlite")
    parser.add_argument("--processes", type=int, default=1, help="of the shop, behind one port")
    parser.add_argument("--kill-database", action="store_true", help="too; a PostgreSQL of its own")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    ordeal = places.run(
        survive(
            options.kills,
            options.seed,
            options.clients,
            engine=options.engine,
            count=options.processes,
            kill_database=options.kill_database,
        )
    )
    print(ordeal)
    sys.exit(1 if ordeal.wrong else 0)


if __name__ == "__main__":
    main()
