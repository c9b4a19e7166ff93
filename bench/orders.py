"""Orders over HTTP, of shoppers and of a partner's program, and whether the work behind them keeps up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from statistics import median
from time import perf_counter
from typing import NamedTuple

from bench.crowd import ORDER, Basket, Crowd, Customer
from bench.load import Scenario, Tally, percentile, request, run
from bench.progress import LOOK_SECONDS, Backlog, backlog, until_completed, until_quiet
from bench.stand import Bench, again_and_again, new_key, share

HOT = "EK-006"
# Orders take so many times the seconds of a round: a pipeline that falls behind needs time to show it.
ORDER_ROUND = 2.5
WARM_ORDERS = 600
MAIL_SECONDS = 2.0

Asks = Callable[[int], Awaitable[list[bytes]]]


async def orders(bench: Bench) -> None:
    """POST /api/orders with token, session, key, and a filled cart; the pipeline works meanwhile."""
    asks = _of_carts(bench, lambda buyers, count: buyers.baskets(count, bench.random))
    floor = request("POST", "/order", ORDER, token="t" * 200, key="k" * 20)
    await _orders(bench, "orders", asks, floor, at_least=0.12, p99_ms=60)


async def orders_of_one_product(bench: Bench) -> None:
    """The same with everybody after one product: one stock record, changed by every order."""
    asks = _of_carts(bench, lambda _, count: [[(HOT, 1)]] * count)
    floor = request("POST", "/order", ORDER, token="t" * 200, key="k" * 20)
    await _orders(bench, "orders of one product", asks, floor, rounds=1)


async def partner_orders(bench: Bench) -> None:
    """POST /orders with an API key: prices compared, stock taken, and the partner's requests noted."""
    await bench.opened()

    async def asks(count: int) -> list[bytes]:
        return [bench.program.orders(bench.random) for _ in range(count)]

    floor = bench.program.orders(Random(1)).replace(b"POST /orders ", b"POST /partner-order ")
    await _orders(bench, "partner orders", asks, floor, at_least=0.12, p99_ms=60)


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
    await bench.close()


class _Round(NamedTuple):
    """A round of orders: how they were answered, and what the pipeline had to do after the last."""

    tally: Tally
    behind: Backlog
    completed_seconds: float


def _of_carts(bench: Bench, baskets: Callable[[Crowd, int], Sequence[Basket]]) -> Asks:
    """Orders of carts that are filled. Who orders has looked at the cart before: the token isn't new."""

    async def asks(count: int) -> list[bytes]:
        shop, _, buyers = await bench.opened()
        customers = await buyers.come(baskets(buyers, count))
        looked = await share(shop.port, [one.looks() for one in customers], bench.clients)
        looked.all_are(200)
        return [one.orders(new_key()) for one in customers]

    return asks


async def _orders(
    bench: Bench,
    name: str,
    asks: Asks,
    floor: bytes,
    *,
    at_least: float | None = None,
    p99_ms: float | None = None,
    rounds: int = 0,
) -> None:
    """Rounds in shops of their own: else each would begin with the mails of the one before."""
    seconds, clients = bench.seconds * ORDER_ROUND, bench.clients
    seen: list[_Round] = []

    async def of_floor() -> Tally:
        await bench.close()
        _, lowest, _ = await bench.opened()
        tally = await again_and_again(lowest.port, floor, clients, bench.seconds)
        tally.all_are(201)
        return tally

    async def of_shop() -> Tally:
        shop, _, _ = await bench.opened()
        # How many orders the round will need is told by a short one, whose figures are not used.
        warm = await share(shop.port, await asks(WARM_ORDERS), clients)
        await until_quiet(bench.shop_folder)
        asked = await asks(int(warm.per_second * seconds * 1.5))
        tally = await share(shop.port, asked, clients, seconds)
        tally.all_are(201)
        behind = backlog(bench.shop_folder)
        seen.append(_Round(tally, behind, await until_completed(bench.shop_folder)))
        return tally

    done = await bench.in_turn(of_floor, of_shop, rounds)
    bench.note_rounds(name, done, at_least=at_least, p99_ms=p99_ms)
    _note_pipeline(bench, name, seen)
    await _note_mails(bench, name)
    await bench.close()


def _note_pipeline(bench: Bench, name: str, rounds: list[_Round]) -> None:
    """Whether the work behind the orders keeps up: the worst of the rounds."""
    oldest = max(one.behind.oldest_seconds for one in rounds)
    completed = max(one.completed_seconds for one in rounds)
    all_the_way = median(r.tally.answers / (r.tally.elapsed + r.completed_seconds) for r in rounds)
    bench.note(f"{name}, all the way to COMPLETED", all_the_way, "/s")
    bench.note_cost(f"{name}: oldest unfinished at the end", oldest, "s", at_most=5)
    bench.note_cost(f"{name}: from the end until all are COMPLETED", completed, "s")


async def _note_mails(bench: Bench, name: str) -> None:
    """How fast mails are written while nobody orders, of those that the last round has left."""
    before = left = backlog(bench.shop_folder).mails
    started = perf_counter()
    while left and perf_counter() - started < MAIL_SECONDS:
        await asyncio.sleep(LOOK_SECONDS)
        left = backlog(bench.shop_folder).mails
    seconds = perf_counter() - started
    bench.note(f"{name}: mails written afterwards", (before - left) / seconds, "/s")


def _purchases(who: Customer, skus: list[str], times: list[float], random: Random) -> Scenario:
    while True:
        started = perf_counter()
        yield who.puts_in(random.choice(skus))
        answer = yield who.orders(new_key())
        if answer.status == 201:
            times.append(perf_counter() - started)
