"""The measures: what is asked of the shop and of its floor, in turn, in one run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import NamedTuple

from bench import floor, processes
from bench.books import Backlog, backlog, until_quiet
from bench.crowd import ORDER, Basket, Crowd, Customer, crowd
from bench.figures import Figure
from bench.load import Answer, Scenario, Tally, always, percentile, request, run
from bench.postgresql import postgresql
from bench.processes import Server, free_port

LIST, PAGE = "/api/products", "/products/prod-001"
HOT = "EK-006"
SIGN_IN_CLIENTS = 8
STARTS = 5
# Orders take so many times the seconds of a round: a pipeline that falls behind needs time to show it.
ORDER_ROUND = 2.5
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

    async def opened(self) -> tuple[Server, Server, Crowd]:
        """The shop, the floor with the shop's own answers in it, and the crowd that buys."""
        if self._shop is None:
            folder = self.folder / "shop"
            folder.mkdir()
            self._shop = processes.shop(folder, free_port())
            self._opened.callback(self._shop.stop)
            self._crowd = await self._opened.enter_async_context(crowd(folder))
            await self._crowd.stock_up()
            self.recorded = await self._record(self._shop, self._crowd)
            self._floor = floor.start(self.folder / "floor", self.recorded)
            self._opened.callback(self._floor.stop)
        return self._shop, self._floor, self._crowd

    async def close(self) -> None:
        await self._opened.aclose()

    def note(self, name: str, value: float, unit: str, at_least: float | None = None) -> None:
        """A figure of which more is better."""
        self.figures.append(Figure(name, value, unit, at_least=at_least))

    def note_cost(self, name: str, value: float, unit: str, at_most: float | None = None) -> None:
        """A figure of which less is better."""
        self.figures.append(Figure(name, value, unit, at_most=at_most, less_is_better=True))

    async def in_turn(self, of_floor: Measured, of_shop: Measured, rounds: int = 0) -> Rounds:
        """Floor and shop one after the other, round after round."""
        return Rounds([(await of_floor(), await of_shop()) for _ in range(rounds or self.rounds)])

    @staticmethod
    async def _record(shop: Server, buyers: Crowd) -> dict[str, bytes]:
        (buyer,) = await buyers.come(buyers.baskets(1, Random(1)))
        recorded = {
            "list": await _one(shop.port, request("GET", LIST)),
            "page": await _one(shop.port, request("GET", PAGE)),
            "order": await _one(shop.port, buyer.orders(_key())),
        }
        return {name: answer.body for name, answer in recorded.items() if answer.status < 300}


async def start(bench: Bench) -> None:
    """From nothing to the first answer; what the process then weighs; what importing it costs."""
    folder = bench.folder / "start"
    folder.mkdir()
    times, sizes = [], []
    for _ in range(1 + STARTS):
        server = processes.shop(folder, free_port())
        await asyncio.sleep(0.5)  # the worker and the shelf have begun
        times.append(server.seconds_to_first_answer)
        sizes.append(server.memory_mb())
        server.stop()
    bench.note_cost("first start, with the demo goods", times[0], "s")
    bench.note_cost("start to first answer", median(times[1:]), "s")
    bench.note_cost("memory after the start", median(sizes[1:]), "MB", at_most=100)
    imported = median(_run_seconds("import ecokart.app") for _ in range(STARTS))
    bare = median(_run_seconds("pass") for _ in range(STARTS))
    bench.note_cost("import of the application", (imported - bare) * 1000, "ms", at_most=350)


async def product_list(bench: Bench) -> None:
    """The JSON of all demo products."""
    rounds = await _same_request(bench, "/list", LIST)
    _note_rounds(bench, "product list", rounds, at_least=0.6)


async def product_page(bench: Bench) -> None:
    """The HTML page of a product, as a guest sees it."""
    await bench.opened()
    if "page" not in bench.recorded:
        bench.skipped.append(f"product page: {PAGE} isn't there yet")
        return
    rounds = await _same_request(bench, "/page", PAGE)
    _note_rounds(bench, "product page", rounds, at_least=min(0.05, 1500 / rounds.floor_per_second))


async def sign_in(bench: Bench) -> None:
    """What checking a password costs: on purpose a lot, and it must not cost the others their answers."""
    shop, _, buyers = await bench.opened()
    customers = await buyers.come([[]] * SIGN_IN_CLIENTS)
    asked = [one.signs_in() for one in customers]
    signed_in = await run(shop.port, map(always, asked), seconds=bench.seconds)
    signed_in.all_are(200)
    bench.note("sign-in, 8 clients", signed_in.per_second, "req/s")
    bench.note_cost("sign-in, p50", signed_in.milliseconds(50), "ms")


async def orders(bench: Bench) -> None:
    """POST /api/orders with token, session, key, and a filled cart; the pipeline works meanwhile."""
    _, _, buyers = await bench.opened()
    await _orders(
        bench, "orders", lambda n: buyers.baskets(n, bench.random), at_least=0.12, p99_ms=60
    )


async def orders_of_one_product(bench: Bench) -> None:
    """The same with everybody after one product: one stock record, changed by every order."""
    await _orders(bench, "orders of one product", lambda n: [[(HOT, 1)]] * n, rounds=1)


async def purchase(bench: Bench) -> None:
    """Add to the cart, order, and again: what a customer does to buy."""
    shop, _, buyers = await bench.opened()
    customers = await buyers.come([[]] * bench.clients)
    times: list[float] = []
    buying = [_purchases(one, buyers.skus, times, bench.random) for one in customers]
    bought = await run(shop.port, buying, seconds=bench.seconds)
    if set(bought.statuses) - {200, 201}:
        bought.all_are(201)
    bench.note("purchases (cart, then order)", len(times) / bought.elapsed, "/s")
    bench.note_cost("purchase, p50", percentile(times, 50) * 1000, "ms")
    bench.note_cost("purchase, p99", percentile(times, 99) * 1000, "ms")
    await until_quiet(bench.folder / "shop")


MEASURES: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "orders": orders,
    "hot": orders_of_one_product,
    "purchase": purchase,
    "signin": sign_in,
    "list": product_list,
    "page": product_page,
    "start": start,
    "postgresql": postgresql,
}


class _Round(NamedTuple):
    """A round of orders: how they were answered, and what the pipeline had to do after the last."""

    tally: Tally
    behind: Backlog
    completed_seconds: float
    mailed_seconds: float


async def _orders(
    bench: Bench,
    name: str,
    baskets: Callable[[int], Sequence[Basket]],
    *,
    at_least: float | None = None,
    p99_ms: float | None = None,
    rounds: int = 0,
) -> None:
    shop, lowest, buyers = await bench.opened()
    folder, seconds = bench.folder / "shop", bench.seconds * ORDER_ROUND
    seen: list[_Round] = []
    # How many carts a round will need is told by a short one, whose figures are not used.
    warm = await _order_all(shop.port, await buyers.come(baskets(1000)), bench.clients, seconds)
    await until_quiet(folder)

    async def of_floor() -> Tally:
        asked = [request("POST", "/order", ORDER, token="t" * 200, key="k" * 20)] * bench.clients
        tally = await run(lowest.port, map(always, asked), seconds=bench.seconds)
        tally.all_are(201)
        return tally

    async def of_shop() -> Tally:
        customers = await buyers.come(baskets(int(warm.per_second * seconds * 1.5)))
        tally = await _order_all(shop.port, customers, bench.clients, seconds)
        tally.all_are(201)
        seen.append(_Round(tally, backlog(folder), *await until_quiet(folder)))
        return tally

    done = await bench.in_turn(of_floor, of_shop, rounds)
    _note_rounds(bench, name, done, at_least=at_least, p99_ms=p99_ms)
    _note_pipeline(bench, name, seen)


def _note_rounds(
    bench: Bench, name: str, rounds: Rounds, *, at_least: float | None, p99_ms: float | None = None
) -> None:
    bench.note(name, rounds.per_second, "/s")
    bench.note(f"{name}, floor", rounds.floor_per_second, "/s")
    bench.note(f"{name}, of its floor", rounds.of_floor, "", at_least=at_least)
    bench.note_cost(f"{name}, p50", rounds.milliseconds(50), "ms")
    bench.note_cost(f"{name}, p99", rounds.milliseconds(99), "ms", at_most=p99_ms)


def _note_pipeline(bench: Bench, name: str, rounds: list[_Round]) -> None:
    """Whether the work behind the orders keeps up: the worst of the rounds."""
    oldest = max(one.behind.oldest_seconds for one in rounds)
    completed = max(one.completed_seconds for one in rounds)
    mailed = max(one.mailed_seconds for one in rounds)
    all_the_way = median(r.tally.answers / (r.tally.elapsed + r.completed_seconds) for r in rounds)
    bench.note(f"{name}, all the way to COMPLETED", all_the_way, "/s")
    bench.note_cost(f"{name}: oldest unfinished at the end", oldest, "s", at_most=5)
    bench.note_cost(f"{name}: from the end until all are COMPLETED", completed, "s")
    bench.note_cost(f"{name}: from the end until all are confirmed by mail", mailed, "s")


async def _order_all(port: int, customers: list[Customer], clients: int, seconds: float) -> Tally:
    """Each client takes one customer after the other and places the order of their cart.

    All of them have looked at their cart before, as one does who orders: their token isn't new.
    """
    looked = await _share(port, [customer.looks() for customer in customers], clients)
    looked.all_are(200)
    return await _share(port, [one.orders(_key()) for one in customers], clients, seconds)


async def _share(
    port: int, requests: list[bytes], clients: int, seconds: float = LONGEST_SECONDS
) -> Tally:
    """The requests, each sent once, by so many clients that take turns."""
    waiting = iter(requests)

    def client() -> Scenario:
        for asked in waiting:  # noqa: UP028 (`yield from` would hand the answers to the iterator)
            yield asked

    return await run(port, [client() for _ in range(clients)], seconds=seconds)


def _purchases(who: Customer, skus: list[str], times: list[float], random: Random) -> Scenario:
    while True:
        started = perf_counter()
        yield who.puts_in(random.choice(skus))
        answer = yield who.orders(_key())
        if answer.status == 201:
            times.append(perf_counter() - started)


async def _same_request(bench: Bench, of_floor: str, of_shop: str) -> Rounds:
    shop, lowest, _ = await bench.opened()

    async def ask(port: int, path: str) -> Tally:
        asked = [request("GET", path)] * bench.clients
        tally = await run(port, map(always, asked), seconds=bench.seconds)
        tally.all_are(200)
        return tally

    return await bench.in_turn(lambda: ask(lowest.port, of_floor), lambda: ask(shop.port, of_shop))


async def _one(port: int, asked: bytes) -> Answer:
    answers: list[Answer] = []

    def once() -> Scenario:
        answers.append((yield asked))

    await run(port, [once()])
    return answers[0]


def _key() -> str:
    return f"bench-{next(_keys)}"


def _run_seconds(code: str) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return perf_counter() - started
