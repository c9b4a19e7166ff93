"""`python -m bench.growth`: what a request takes in a large shop, beside what it takes in a small one.

A shop of 31 products and one of 10,000 products and 1,000,000 orders run side by side and are asked in
turn, one request at a time; what counts is the ratio of their medians. Products are asked for at random,
each as often as any other, which is the worst for whatever is kept; each was shown once before. The small shop has orders, too: so many that the pages that show them are full.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import uvloop

from bench import figures, processes
from bench.crowd import Crowd, Customer
from bench.figures import Figure
from bench.filling import add_orders, add_products
from bench.load import Scenario, request, run
from bench.processes import Server, free_port, settings_of
from ecokart.app import open_ports, seed
from ecokart.core.ports import Records
from ecokart.core.records import Table
from ecokart.features.accounts import passwords
from ecokart.features.accounts.tokens import Tokens
from ecokart.features.catalog.model import PRODUCTS, STOCK
from tests.servers import own_postgresql

MOST = 1.5  # times what it takes in the small shop
FEW_ORDERS = 1000  # of the small shop
SORTS = ("relevance", "price", "-price", "name", "-rating", "-createdAt")
PASSWORD = "a password of the bench"  # noqa: S105 (of customers who exist for a minute)
ROUNDS, EACH = 8, 60  # rounds, and requests of each kind in each of them …
STARTS = 3
IN_A_ROW = 10  # … of which so many go to one shop, and then as many to the other
REFRESHED_SECONDS = 1.0  # what the orders of a round have changed is on the shelf by then

_keys = count()


@dataclass
class Shop:
    """A shop of one size, answering, and whom it knows. `seconds` are those of the answers, by kind."""

    start: Callable[[], Server]
    crowd: Crowd
    products: list[str]
    regular: Customer
    random: Random = field(default_factory=lambda: Random(2))
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = self.start()

    async def requests(self, each: int) -> dict[str, list[bytes]]:
        """So many requests of each kind. Orders come last, since they change what is shown."""
        pick = self.random.choice
        baskets = [[(pick(self.crowd.skus), 1)] for _ in range(each)]
        buyers = await self.crowd.come(baskets)
        visitors = await self.crowd.come([[]] * each)
        mine = request("GET", "/api/orders", token=self.regular.token)

        def asked(path: Callable[[], str]) -> list[bytes]:
            return [request("GET", path()) for _ in range(each)]

        return {
            "list, page": asked(lambda: f"/products?sort={pick(SORTS)}"),
            "list, API": asked(lambda: f"/api/products?limit=24&sort={pick(SORTS)}"),
            "product, page": [_page_of(pick(self.products)) for _ in range(each)],
            "product, API": [_answer_of(pick(self.products)) for _ in range(each)],
            "my orders": [mine] * each,
            "add to cart": [one.puts_in(pick(self.crowd.skus)) for one in visitors],
            "order": [one.orders(f"growth-{next(_keys)}") for one in buyers],
        }

    def start_again(self) -> tuple[float, float]:
        """The medians of the seconds to the first answer, and of the megabytes then."""
        seen = []
        for _ in range(STARTS):
            self.server.stop()
            self.server = self.start()
            seen.append((self.server.seconds_to_first_answer, self.server.memory_mb()))
        return median([seconds for seconds, _ in seen]), median([size for _, size in seen])

    async def see_everything(self) -> None:
        """Every product once: a shop that has been open for a while has shown them all."""
        for what, asked in {"pages": _page_of, "answers": _answer_of}.items():
            tally = await run(self.server.port, [_one_by_one(map(asked, self.products))])
            tally.all_are(200)
            took = f"{tally.milliseconds(50):.3f} ms"
            print(f"{len(self.products):,} {what} asked for the first time: {took} each")

    async def ask(self, kind: str, requests: list[bytes]) -> None:
        """Ask one after the other, and keep how long each took."""
        tally = await run(self.server.port, [_one_by_one(requests)])
        tally.all_are(201 if kind == "order" else 200)
        self.seconds.setdefault(kind, []).extend(tally.seconds)


def _page_of(product: str) -> bytes:
    return request("GET", f"/products/{product}")


def _answer_of(product: str) -> bytes:
    return request("GET", f"/api/products/{product}")


def _one_by_one(requests: Iterable[bytes]) -> Scenario:
    for asked in requests:  # noqa: UP028 (`yield from` would hand the answers to the iterator)
        yield asked


@asynccontextmanager
async def opened(folder: Path, url: str, products: int, orders: int) -> AsyncIterator[Shop]:
    """A shop with so many products beside the demo's, and so many orders."""
    folder.mkdir()
    more = {"ECOKART_RECORDS_URL": url} if url else {}
    settings, _ = settings_of(folder, 0, **more)
    ports = open_ports(settings)
    await seed(ports)
    records, started = ports.records, perf_counter()
    demo = await _keys_of(records, STOCK)
    crowd = Crowd(ports, Tokens(settings.secret), demo, await passwords.hashed(PASSWORD))
    await crowd.stock_up()
    await add_products(records, products, ports.clock.now())
    crowd.skus = await _keys_of(records, STOCK)
    (regular,) = await crowd.come([[]])
    await add_orders(records, orders, regular.id)
    print(f"{products:,} products and {orders:,} orders added in {perf_counter() - started:.0f} s")
    shop = Shop(
        lambda: processes.shop(folder, free_port(), **more),
        crowd,
        await _keys_of(records, PRODUCTS),
        regular,
    )
    try:
        yield shop
    finally:
        shop.server.stop()
        await ports.close()


async def _keys_of(records: Records, table: Table[Any]) -> list[str]:
    keys: list[str] = []
    page = await records.scan(table, limit=1000)
    while True:
        keys += [table.key_of(value) for value in page.values]
        if page.after is None:
            return sorted(keys)
        page = await records.scan(table, after=page.after, limit=1000)


async def measure(folder: Path, urls: tuple[str, str], products: int, orders: int) -> list[Figure]:
    """Both shops asked in turn, round after round; the first round only warms them up."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        small = await enter(opened(folder / "small", urls[0], 0, min(FEW_ORDERS, orders)))
        large = await enter(opened(folder / "large", urls[1], products, orders))
        for shop in (small, large):
            await shop.see_everything()
        for number in range(ROUNDS + 1):
            asked = [(shop, await shop.requests(EACH)) for shop in (small, large)]
            await asyncio.sleep(REFRESHED_SECONDS)
            for kind in asked[0][1]:
                for at in range(0, EACH, IN_A_ROW):
                    for shop, requests in asked if at // IN_A_ROW % 2 else asked[::-1]:
                        await shop.ask(kind, requests[kind][at : at + IN_A_ROW])
            if number == 0:
                small.seconds, large.seconds = {}, {}
        figures = list(_figures(small, large))
        for name, shop in {"small": small, "large": large}.items():
            seconds, megabytes = shop.start_again()
            figures += [
                Figure(f"start, {name}", seconds, "s", less_is_better=True),
                Figure(f"memory after the start, {name}", megabytes, "MB", less_is_better=True),
            ]
        return figures


def _figures(small: Shop, large: Shop) -> list[Figure]:
    found = []
    for kind in small.seconds:
        times = [median(shop.seconds[kind]) * 1000 for shop in (small, large)]
        found += [
            Figure(f"{kind}, small", times[0], "ms", less_is_better=True),
            Figure(f"{kind}, large", times[1], "ms", less_is_better=True),
            Figure(f"{kind}, large/small", times[1] / times[0], "", at_most=MOST),
        ]
    for name, shop in {"small": small, "large": large}.items():
        found.append(Figure(f"memory, {name}", shop.server.memory_mb(), "MB", less_is_better=True))
    return found


@contextmanager
def _urls(engine: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Where the two shops keep their records: in files of their folders, or on a server of their own."""
    if engine == "sqlite":
        yield "", ""
        return
    with own_postgresql(folder / "postgresql") as server:
        yield f"{server.url}?schema=small", f"{server.url}?schema=large"


def main() -> None:
    """Measure one engine, print the table, and end with 1 where a demand isn't kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--products", type=int, default=10_000)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--folder", help="where the data lies while it is measured")
    options = parser.parse_args()
    processes.stay_on(processes.load_core())
    with tempfile.TemporaryDirectory(prefix="ecokart-growth-", dir=options.folder) as name:
        folder = Path(name)
        with _urls(options.engine, folder) as urls:
            found = uvloop.run(measure(folder, urls, options.products, options.orders))
    print(figures.table(found, {}))
    sys.exit(0 if all(figure.kept for figure in found) else 1)


if __name__ == "__main__":
    main()
