"""`python -m bench.crash`: a shop under load is killed at random moments, again and again, and loses nothing.

SIGKILL, then a start on the same data. A client whose connection breaks sends the same order again with
the same Idempotency-Key until it is answered. After every kill, before the start, the auditor reads the
books of the dead shop; at the end all work is done, and every order must be whole, once, and confirmed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random, randrange

import uvloop

from bench import processes
from bench.books import imbalances, read, unfinished
from bench.crowd import Customer, crowd
from bench.load import LOST, Scenario, Tally, run
from bench.processes import Server
from ecokart.app import open_ports
from ecokart.core.events import Reactions
from ecokart.core.worker import Worker
from ecokart.rooms import JOB_MODULES

CLIENTS = 16
ALIVE_SECONDS = (0.1, 1.2)  # between a start and the kill
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
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "\n  ".join(["", *self.wrong[:10]]) if self.wrong else " nothing is lost."
        return (
            f"{self.kills} kills, {len(self.orders)} orders acknowledged, of which"
            f" {len(self.unanswered)} had to be sent again and {self.replayed} were there"
            f" already:{verdict}"
        )


async def survive(kills: int, seed: int, clients: int = CLIENTS) -> Ordeal:
    """Kill a shop so often while these clients buy, then look at what it has written down."""
    ordeal, random = Ordeal(), Random(seed)
    with tempfile.TemporaryDirectory(prefix="ecokart-crash-") as name:
        folder, port = Path(name), processes.free_port()
        shop = processes.shop(folder, port)
        try:
            async with crowd(folder) as people:
                await people.stock_up()
                customers = await people.come([[]] * clients)
                skus = people.skus
            supplied = read(folder).supplied()
            over = asyncio.Event()
            buyers = [_buyer(one, skus, ordeal, over, Random(random.random())) for one in customers]
            buying = asyncio.create_task(run(port, buyers, reconnect_until=lambda: False))
            for _ in range(kills):
                shop = await _kill_and_start(shop, folder, random, ordeal, supplied)
            over.set()
            _note_answers(await buying, ordeal)
        finally:
            shop.stop()
        await _finish_the_work(folder)
        ordeal.wrong += _lost(folder, ordeal, supplied)
    return ordeal


async def _kill_and_start(
    shop: Server, folder: Path, random: Random, ordeal: Ordeal, supplied: dict[str, int]
) -> Server:
    await asyncio.sleep(random.uniform(*ALIVE_SECONDS))
    shop.kill()
    ordeal.kills += 1
    wrong = imbalances(await asyncio.to_thread(read, folder), supplied)
    ordeal.wrong += [f"After kill {ordeal.kills}: {sentence}" for sentence in wrong]
    return await asyncio.to_thread(processes.shop, folder, shop.port)


def _buyer(
    who: Customer, skus: list[str], ordeal: Ordeal, over: asyncio.Event, random: Random
) -> Scenario:
    """Fills the cart and orders it, again and again; each order until it is answered."""
    number = 0
    while not over.is_set():
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
        else:
            ordeal.wrong.append(f"{key} was answered {answer.status}: {answer.body[:200]!r}")


def _note_answers(tally: Tally, ordeal: Ordeal) -> None:
    if set(tally.statuses) - {LOST.status, 200, 201, 503}:
        ordeal.wrong.append(f"Unexpected answers: {dict(tally.statuses)}.")


async def _finish_the_work(folder: Path) -> None:
    """Work until nothing is left, by a clock that runs ahead: what a killed worker had in hand comes
    back after ninety seconds, and nobody wants to wait for them."""
    settings, _ = processes.settings_of(folder, 0)
    clock = _Ahead()
    ports = open_ports(settings, clock)
    worker = Worker(ports, Reactions(JOB_MODULES))
    try:
        for _ in range(ROUNDS_OF_WORK):
            clock.by += timedelta(minutes=2)
            await worker.drain()
            books = read(folder)
            if not books.jobs and not books.outbox:
                return
    finally:
        await ports.records.close()


class _Ahead:
    def __init__(self) -> None:
        self.by = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by


def _lost(folder: Path, ordeal: Ordeal, supplied: dict[str, int]) -> list[str]:
    """What isn't there though it was acknowledged, what is there though nobody ordered it, and halves."""
    books, acknowledged = read(folder), set(ordeal.orders.values())
    wrong = imbalances(books, supplied) + unfinished(books, folder)
    wrong += [f"{order_id} is lost." for order_id in acknowledged - {*books.orders}]
    wrong += [f"{order_id} was never asked for." for order_id in {*books.orders} - acknowledged]
    if len(acknowledged) < len(ordeal.orders):
        wrong.append("Two keys were answered the same order.")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.crash")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seed", type=int, default=randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    ordeal = uvloop.run(survive(options.kills, options.seed, options.clients))
    print(ordeal)
    sys.exit(1 if ordeal.wrong else 0)


if __name__ == "__main__":
    main()
