"""The stand on which is measured: a shop and its floor, both answering, and the figures so far."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from random import Random
from statistics import median

from bench import floor, processes
from bench.crowd import Crowd, crowd
from bench.figures import Figure
from bench.load import Answer, Scenario, Tally, always, request, run
from bench.partners import Program, joined
from bench.processes import Server, free_port

LIST, PAGE = "/api/products", "/products/prod-001"
LONGEST_SECONDS = 60.0  # what is prepared over HTTP may take

_keys = count()

Measured = Callable[[], Awaitable[Tally]]


class Rounds:
    """What floor and shop did in turn. Each round is compared with its own floor, minutes being unequal."""

    def __init__(self, pairs: list[tuple[Tally, Tally]]) -> None:
        self._runs = [run for _, run in pairs]
        self.per_second = median(run.per_second for run in self._runs)
        self.floor_per_second = median(lowest.per_second for lowest, _ in pairs)
        self.of_floor = median(run.per_second / lowest.per_second for lowest, run in pairs)

    def milliseconds(self, percent: float) -> float:
        return median(run.milliseconds(percent) for run in self._runs)


class Bench:
    """A shop and its floor, both answering, and the figures so far."""

    def __init__(self, folder: Path, seconds: float, clients: int, rounds: int) -> None:
        self.folder, self.seconds, self.clients, self.rounds = folder, seconds, clients, rounds
        self.figures: list[Figure] = []
        self.skipped: list[str] = []
        self.random = Random(1)
        self.recorded: dict[str, bytes] = {}
        self._opened = AsyncExitStack()
        self._shop: Server | None = None
        self._shops = 0

    async def opened(self) -> tuple[Server, Server, Crowd]:
        """The shop, the floor with the shop's own answers in it, and the crowd that buys.

        From then on there is a partner too, of whom `program` orders.
        """
        if self._shop is None:
            self._shops += 1
            self.shop_folder.mkdir()
            self._shop = processes.shop(self.shop_folder, free_port())
            self._opened.callback(self._shop.stop)
            self._crowd = await self._opened.enter_async_context(crowd(self.shop_folder))
            await self._crowd.stock_up()
            self.program = await joined(self._crowd.ports)
            self.recorded = await self._record(self._shop, self._crowd, self.program)
            self._floor = floor.start(self.folder / f"floor-{self._shops}", self.recorded)
            self._opened.callback(self._floor.stop)
        return self._shop, self._floor, self._crowd

    @property
    def shop_folder(self) -> Path:
        return self.folder / f"shop-{self._shops}"

    async def close(self) -> None:
        """Whoever opens it again finds another shop, in which nothing is left to do."""
        await self._opened.aclose()
        if self._shop:
            shutil.rmtree(self.shop_folder)
        self._shop = None

    def note(self, name: str, value: float, unit: str, at_least: float | None = None) -> None:
        """A figure of which more is better."""
        self.figures.append(Figure(name, value, unit, at_least=at_least))

    def note_cost(self, name: str, value: float, unit: str, at_most: float | None = None) -> None:
        """A figure of which less is better."""
        self.figures.append(Figure(name, value, unit, at_most=at_most, less_is_better=True))

    def note_rounds(
        self, name: str, rounds: Rounds, *, at_least: float | None, p99_ms: float | None = None
    ) -> None:
        """How many a second, beside the floor, and how long each took."""
        self.note(name, rounds.per_second, "/s")
        self.note(f"{name}, floor", rounds.floor_per_second, "/s")
        self.note(f"{name}, of its floor", rounds.of_floor, "", at_least=at_least)
        self.note_cost(f"{name}, p50", rounds.milliseconds(50), "ms")
        self.note_cost(f"{name}, p99", rounds.milliseconds(99), "ms", at_most=p99_ms)

    async def in_turn(self, of_floor: Measured, of_shop: Measured, rounds: int = 0) -> Rounds:
        """Floor and shop one after the other, round after round."""
        return Rounds([(await of_floor(), await of_shop()) for _ in range(rounds or self.rounds)])

    @staticmethod
    async def _record(shop: Server, buyers: Crowd, program: Program) -> dict[str, bytes]:
        (buyer,) = await buyers.come(buyers.baskets(1, Random(1)))
        recorded = {
            "list": await _one(shop.port, request("GET", LIST)),
            "page": await _one(shop.port, request("GET", PAGE)),
            "order": await _one(shop.port, buyer.orders(new_key())),
            "partner-order": await _one(shop.port, program.orders(Random(1))),
        }
        return {name: answer.body for name, answer in recorded.items() if answer.status < 300}


async def share(
    port: int, requests: list[bytes], clients: int, seconds: float = LONGEST_SECONDS
) -> Tally:
    """The requests, each sent once, by so many clients that take turns."""
    waiting = iter(requests)

    def client() -> Scenario:
        for asked in waiting:  # noqa: UP028 (`yield from` would hand the answers to the iterator)
            yield asked

    return await run(port, [client() for _ in range(clients)], seconds=seconds)


async def again_and_again(port: int, asked: bytes, clients: int, seconds: float) -> Tally:
    """The same request by so many clients."""
    return await run(port, map(always, [asked] * clients), seconds=seconds)


def new_key() -> str:
    return f"bench-{next(_keys)}"


async def _one(port: int, asked: bytes) -> Answer:
    answers: list[Answer] = []

    def once() -> Scenario:
        answers.append((yield asked))

    await run(port, [once()])
    return answers[0]
