"""The measures: what is asked of the shop and of its floor, in turn, in one run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter

from bench import processes
from bench.cost import order_costs
from bench.failing import failing_payments
from bench.load import Tally, always, request, run
from bench.orders import orders, orders_of_one_product, partner_orders, purchase
from bench.postgresql import postgresql
from bench.processes import free_port
from bench.stand import LIST, PAGE, Bench, Rounds, again_and_again
from bench.sustained import sustained

SIGN_IN_CLIENTS = 8
STARTS = 5


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
    bench.note_rounds("product list", rounds, at_least=0.6)


async def product_page(bench: Bench) -> None:
    """The HTML page of a product, as a guest sees it."""
    await bench.opened()
    if "page" not in bench.recorded:
        bench.skipped.append(f"product page: {PAGE} isn't there yet")
        return
    rounds = await _same_request(bench, "/page", PAGE)
    bench.note_rounds("product page", rounds, at_least=min(0.05, 1500 / rounds.floor_per_second))


async def sign_in(bench: Bench) -> None:
    """What checking a password costs: on purpose a lot, and it must not cost the others their answers."""
    shop, _, buyers = await bench.opened()
    customers = await buyers.come([[]] * SIGN_IN_CLIENTS)
    asked = [one.signs_in() for one in customers]
    signed_in = await run(shop.port, map(always, asked), seconds=bench.seconds)
    signed_in.all_are(200)
    bench.note("sign-in, 8 clients", signed_in.per_second, "req/s")
    bench.note_cost("sign-in, p50", signed_in.milliseconds(50), "ms")


MEASURES: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "orders": orders,
    "hot": orders_of_one_product,
    "partner": partner_orders,
    "sustained": sustained,
    "failing": failing_payments,
    "cost": order_costs,
    "purchase": purchase,
    "signin": sign_in,
    "list": product_list,
    "page": product_page,
    "start": start,
    "postgresql": postgresql,
}


async def _same_request(bench: Bench, of_floor: str, of_shop: str) -> Rounds:
    shop, lowest, _ = await bench.opened()

    async def ask(port: int, path: str) -> Tally:
        tally = await again_and_again(port, request("GET", path), bench.clients, bench.seconds)
        tally.all_are(200)
        return tally

    return await bench.in_turn(lambda: ask(lowest.port, of_floor), lambda: ask(shop.port, of_shop))


def _run_seconds(code: str) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return perf_counter() - started
