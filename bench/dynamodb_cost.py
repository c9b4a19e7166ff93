"""`python -m bench.dynamodb_cost`: what an order, a page and an idle hour cost on DynamoDB, at list price.

The real shop runs on DynamoDB Local, which counts capacity as DynamoDB does; a guest looks around and
buys. What a request causes, its events' handlers included, is told by the request's id, which they
carry. What is left is what goes on by itself: that is counted while nobody is there, and taken off.
The queue is counted at its port, a call as a request, as SQS bills it. bench/prices has the prices.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import uvloop

from ecokart.core.clock import SystemClock
from ecokart.core.events import cause
from ecokart.core.ports import Delivery, Job, Ports, Records
from ecokart.core.records import Table
from ecokart.core.transaction import Transaction, transact
from ecokart.engines.queue_records import JOBS, RecordsQueue
from ecokart.engines.records_dynamodb import DynamoRecords
from ecokart.engines.records_sqlite import SqliteRecords
from ecokart.features.catalog import service as catalog
from ecokart.features.orders.model import Stage
from ecokart.features.orders.service import in_stage
from ecokart.rooms import TABLES
from tests.dynamodb import make_tables
from tests.servers import dynamodb_url
from tests.shop import Shop, running_shop

PRICES = Path(__file__).parent / "prices" / "dynamodb.toml"
SHOPPING = ("EK-020-GREEN", "EK-014")
ADDRESS = {
    "name": "Jo",
    "street": "Markt 1",
    "postalCode": "5020",
    "city": "Salzburg",
    "country": "AT",
}
PAGES = {
    "the home page": "/",
    "the list of products": "/api/products",
    "a product's page": "/products/prod-001",
    "the basket's page": "/cart",
    "the page of a customer's ten orders": "/account/orders",
}
# What an answer without any item consumes, as we ask; DynamoDB Local says nothing at all.
LEAST = {"Query": 0.5, "Scan": 1, "GetItem": 1}
HER_ORDERS = 10
SETTLED_SECONDS = 60


@dataclass
class Use:
    """Requests to DynamoDB by kind, the units they consumed, and requests to SQS."""

    requests: Counter[str] = field(default_factory=Counter)
    reads: float = 0
    writes: float = 0
    queue: float = 0

    def add(self, action: str, consumed: Sequence[dict[str, Any]]) -> None:
        units = max(sum(one["CapacityUnits"] for one in consumed), LEAST.get(action, 0))
        self.requests[action] += 1
        if action.endswith(("GetItem", "GetItems", "Query", "Scan")):
            self.reads += units
        else:
            self.writes += units

    def part(self, share: float, less: Use | None = None) -> Use:
        """This share of it, without `less`."""
        less = less or Use()
        return Use(
            Counter({a: (n - less.requests[a]) * share for a, n in self.requests.items()}),
            (self.reads - less.reads) * share,
            (self.writes - less.writes) * share,
            (self.queue - less.queue) * share,
        )

    def plus(self, other: Use) -> Use:
        return Use(
            self.requests + other.requests,
            self.reads + other.reads,
            self.writes + other.writes,
            self.queue + other.queue,
        )

    def price(self, prices: dict[str, Any]) -> float:
        parts = (self.writes, "writes"), (self.reads, "reads"), (self.queue, "sqs")
        return sum(units * float(prices[f"million_{name}"]) for units, name in parts) / 1_000_000


class Meter:
    """What was used, by the request that caused it; "" is what goes on by itself."""

    def __init__(self) -> None:
        self.used: dict[str, Use] = defaultdict(Use)

    def hear(self, action: str, consumed: Sequence[dict[str, Any]]) -> None:
        self.used[cause.get()].add(action, consumed)

    def of(self, answers: Sequence[httpx.Response]) -> Use:
        total = Use()
        for answer in answers:
            total = total.plus(self.used[answer.headers["X-Request-ID"]])
        return total.part(1 / len(answers))


class CountedQueue(RecordsQueue):
    """The queue over records of its own, in SQS's place: what it is asked, and not what that costs there."""

    def __init__(self, folder: Path, meter: Meter) -> None:
        clock = SystemClock()
        super().__init__(SqliteRecords(folder / "queue.db", [JOBS], clock), clock)
        self._meter = meter

    async def send(self, jobs: Sequence[Job]) -> None:
        self._meter.used[""].queue += 1
        await super().send(jobs)

    async def receive(self, lane: str, *, limit: int, wait_seconds: float = 0) -> list[Delivery]:
        self._meter.used[""].queue += 1
        return await super().receive(lane, limit=limit, wait_seconds=wait_seconds)

    async def done(self, deliveries: Sequence[Delivery]) -> None:
        self._meter.used[""].queue += 1
        await super().done(deliveries)


async def measure(orders: int, idle_seconds: float) -> dict[str, Use]:
    """What each thing used, once."""
    url, meter = dynamodb_url(), Meter()
    make_tables(url, TABLES)
    with tempfile.TemporaryDirectory(prefix="ecokart-cost-") as name:
        folder = Path(name)
        own: list[Records] = []  # the pretend provider's, which cost nothing

        def through(ports: Ports) -> Ports:
            own.append(ports.records)
            tables: tuple[Table[Any], ...] = TABLES
            metered = DynamoRecords(url, tables, SystemClock(), meter=meter.hear)
            return replace(ports, records=metered, queue=CountedQueue(folder, meter))

        async with running_shop(folder, through=through, worker=True, records_url=url) as shop:
            await transact(shop.ports, _supply, 2 * orders + 2 * HER_ORDERS)
            idle = await _idle(meter, idle_seconds)
            found = {"an idle hour of a process": idle.part(3600)}
            found |= await _bought(shop, meter, orders, idle)
            found |= await _looked(shop, meter)
        await own[0].close()
    return found


async def _supply(tx: Transaction, pieces: int) -> None:
    for sku in SHOPPING:
        catalog.restock(tx, sku, pieces)


async def _idle(meter: Meter, seconds: float) -> Use:
    """What a second uses in which nobody is there."""
    await asyncio.sleep(seconds / 4)  # the seeding is over, and the shelf's look back at it
    meter.used.clear()
    started = perf_counter()
    await asyncio.sleep(seconds)
    return meter.used[""].part(1 / (perf_counter() - started))


async def _bought(shop: Shop, meter: Meter, count: int, idle: Use) -> dict[str, Use]:
    meter.used.clear()
    started = perf_counter()
    baskets: list[httpx.Response] = []
    orders: list[httpx.Response] = []
    for number in range(count):
        async with shop.browser() as guest:
            baskets += [await _put(guest, sku) for sku in SHOPPING]
            orders.append(await _order(guest, f"jo{number}@example.com"))
    await _completed(shop, count)
    seconds = perf_counter() - started
    beside = meter.used[""].part(1 / count, idle.part(seconds))
    basket, order_use = meter.of(baskets), meter.of(orders)
    whole = basket.part(len(SHOPPING)).plus(order_use).plus(beside)
    return {
        "putting an article into the basket": basket,
        "ordering, and the order's way": order_use,
        "handing its events on, and showing its stock": beside,
        f"an order of {len(SHOPPING)} articles, all told": whole,
    }


async def _completed(shop: Shop, count: int) -> None:
    async with asyncio.timeout(SETTLED_SECONDS):
        while True:
            page = await in_stage(shop.ports.records, Stage.COMPLETED, limit=count)
            if len(page.values) == count:
                break
            await asyncio.sleep(0.5)
    await asyncio.sleep(6)  # the shelf looks back that far


async def _looked(shop: Shop, meter: Meter) -> dict[str, Use]:
    signed_in = {"email": "demo@ecokart.com", "password": "demo1234"}
    token = _fine(await shop.client.post("/auth/login", json=signed_in)).json()["token"]
    shop.client.headers["Authorization"] = f"Bearer {token}"
    for _ in range(HER_ORDERS):
        await _put(shop.client, SHOPPING[0])
        await _order(shop.client, "")
    await _put(shop.client, SHOPPING[0])
    found = {}
    for name, path in PAGES.items():
        answers = [_fine(await shop.client.get(path)) for _ in range(5)]
        found[name] = meter.of(answers)
    return found


async def _put(client: httpx.AsyncClient, sku: str) -> httpx.Response:
    return _fine(await client.post("/api/cart", json={"sku": sku}))


async def _order(client: httpx.AsyncClient, email: str) -> httpx.Response:
    order = {"address": ADDRESS} | ({"email": email} if email else {})
    key = {"Idempotency-Key": secrets.token_hex(8)}
    return _fine(await client.post("/api/orders", json=order, headers=key))


def _fine(answer: httpx.Response) -> httpx.Response:
    answer.raise_for_status()
    return answer


def table(found: dict[str, Use], prices: dict[str, dict[str, Any]]) -> str:
    """As Markdown: what each thing used, and what a million of them, or an hour, costs."""
    regions = " | ".join(f"{region}, USD" for region in prices)
    lines = [
        f"| what | requests | reads | writes | SQS | {regions} |",
        "|---|" + "--:|" * (4 + len(prices)),
    ]
    for name, use in found.items():
        an_hour = "hour" in name
        costs = [use.price(one) * (1 if an_hour else 1_000_000) for one in prices.values()]
        cells = [f"{use.requests.total():,.1f}", f"{use.reads:,.1f}", f"{use.writes:,.1f}"]
        cells += [f"{use.queue:,.1f}", *[f"{c:,.4f}" if an_hour else f"{c:,.2f}" for c in costs]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=40)
    parser.add_argument("--idle-seconds", type=float, default=30)
    options = parser.parse_args()
    prices = tomllib.loads(PRICES.read_text("utf-8"))
    found = uvloop.run(measure(options.orders, options.idle_seconds))
    print(
        f"Prices are for a million of each, and for one hour where it says so.\n\n{table(found, prices)}\n"
    )
    for name, use in found.items():
        kinds = ", ".join(
            f"{n:,.1f} {action}" for action, n in use.requests.most_common() if n > 0.05
        )
        print(f"{name}: {kinds or 'no request'}")
    for region, one in prices.items():
        told = "" if one["checked"] else ", not checked"
        print(f"{region}: list price of {one['date']}{told} ({one['source']})")


if __name__ == "__main__":
    main()
