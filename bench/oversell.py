"""`python -m bench.oversell`: more buyers than pieces, all at once, over real HTTP.

Three sales, each on a shop of its own:

one      everybody puts the one product into the cart and orders it
baskets  everybody wants several of a few products, and orders what they got
late     everybody's reservation has ended, so that the order itself must find all of the pieces

While it goes on the auditor reads the books again and again, and at the end once more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random, randrange

from bench import places
from bench.auditor import Auditor
from bench.books import Books, imbalances, pieces, unfinished
from bench.crowd import Basket, Customer
from bench.ledger import forgotten
from bench.load import Scenario, run
from bench.places import ENGINES, Place, place
from bench.processes import free_port
from ecokart.core.transaction import Transaction, transact
from ecokart.features.cart import service as cart
from ecokart.features.catalog import service as catalog

SALES = ("one", "baskets", "late")
GOODS = ("EK-001", "EK-003", "EK-006", "EK-010", "EK-013")
SAMPLE_SECONDS = 0.03


class HoursAgo:
    """A clock that is three hours slow: carts filled by it are past their time."""

    def now(self) -> datetime:
        return datetime.now(UTC) - timedelta(hours=3)


@dataclass
class Sale:
    """How it went. `wrong` holds a sentence for everything that isn't as it must be."""

    kind: str
    baskets: list[Basket]
    supplied: dict[str, int] = field(default_factory=dict)
    ordered: dict[str, Counter[str]] = field(default_factory=dict)  # acknowledged, by order id
    refused: list[Basket] = field(default_factory=list)
    audits: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def sold(self) -> Counter[str]:
        return sum(self.ordered.values(), Counter())

    def __str__(self) -> str:
        verdict = "\n  ".join(["", *self.wrong[:10]]) if self.wrong else " the books balance."
        return (
            f"{self.kind}: {len(self.baskets)} buyers, {self.sold.total()} pieces sold in"
            f" {len(self.ordered)} orders, {self.audits} audits meanwhile:{verdict}"
        )


async def sell(
    kind: str, buyers: int, stock: int, seed: int, *, engine: str = "sqlite", processes: int = 1
) -> Sale:
    """Hold a sale with so many pieces of each of the goods, in a shop of so many processes."""
    random = Random(seed)
    sale = Sale(kind, [_basket(kind, random) for _ in range(buyers)])
    with place(engine) as where:
        auditor = where.auditor()
        shop = where.serve(free_port(), processes)
        try:
            customers = await _prepare(sale, where, stock)
            sale.supplied = (await auditor.books()).supplied()
            await _rush(sale, shop.port, auditor, customers)
            await auditor.quiet()
        finally:
            shop.stop()
        books = await auditor.books()
        sale.wrong += imbalances(books, sale.supplied) + forgotten(books)
        sale.wrong += unfinished(books, where.folder)
        sale.wrong += _misled(sale, books)
    return sale


def _basket(kind: str, random: Random) -> Basket:
    if kind == "one":
        return [(GOODS[0], 1)]
    most = 2 if kind == "late" else 1
    return [(sku, random.randint(1, most)) for sku in random.sample(GOODS, random.randint(2, 4))]


async def _prepare(sale: Sale, where: Place, stock: int) -> list[Customer]:
    """The customers, and so much of the goods. In a late sale the carts are filled, but hold nothing."""
    late = sale.kind == "late"
    async with where.crowd(HoursAgo() if late else None) as earlier:
        await earlier.stock_up()
        customers = await earlier.come(sale.baskets if late else [[]] * len(sale.baskets))
    async with where.crowd() as now:
        if late:
            await asyncio.gather(
                *(transact(now.ports, cart.expire, customer.id) for customer in customers)
            )
        await transact(now.ports, _leave, stock)
    return customers


async def _leave(tx: Transaction, stock: int) -> None:
    for sku in GOODS:
        catalog.restock(tx, sku, stock - (await catalog.stock_of(tx, sku)).available)


async def _rush(sale: Sale, port: int, auditor: Auditor, customers: list[Customer]) -> None:
    """Everybody at once, and the auditor among them."""
    over = asyncio.Event()

    async def audit() -> None:
        while not over.is_set():
            sale.wrong += auditor.wrong(await auditor.books(), sale.supplied)
            sale.audits += 1
            await asyncio.sleep(SAMPLE_SECONDS)

    auditing = asyncio.create_task(audit())
    try:
        buyers = zip(customers, sale.baskets, strict=True)
        tally = await run(port, [_buyer(sale, who, basket) for who, basket in buyers])
    finally:
        over.set()
        await auditing
    if set(tally.statuses) - {200, 201, 409, 503}:
        sale.wrong.append(f"Unexpected answers: {dict(tally.statuses)}.")


def _buyer(sale: Sale, who: Customer, basket: Basket) -> Scenario:
    """Takes what can be had of the basket, and orders it. In a late sale the cart is full already."""
    had = Counter(dict(basket)) if sale.kind == "late" else Counter[str]()
    for sku, quantity in [] if had else basket:
        answer = yield who.puts_in(sku, quantity)
        if answer.status == 200:
            had[sku] += quantity
    answer = yield who.orders(f"rush-{who.id}")
    while answer.status == 503:  # too many at once, it says, and to try again
        answer = yield who.orders(f"rush-{who.id}")
    if answer.status == 201:
        order_id = json.loads(answer.body)["id"]
        if order_id in sale.ordered:
            sale.wrong.append(f"{order_id} was given to two buyers.")
        sale.ordered[order_id] = had
        return
    sale.refused.append(basket)
    if had and sale.kind != "late":
        sale.wrong.append(f"{who.id} had {dict(had)} in the cart, but couldn't order it.")


def _misled(sale: Sale, books: Books) -> list[str]:
    """What the buyers were told against what is written; and nobody was refused what is there."""
    written = {order_id: pieces(order) for order_id, order in books.orders.items()}
    wrong = [] if written == sale.ordered else ["The orders aren't those that were acknowledged."]
    left = {sku: books.stock[sku].stock for sku in GOODS}
    if sale.kind == "late":
        there = [basket for basket in sale.refused if all(left[sku] >= n for sku, n in basket)]
        return wrong + [f"{basket} was refused, though it is there." for basket in there]
    wanted = sum([Counter(dict(basket)) for basket in sale.baskets], Counter[str]())
    return wrong + [
        f"{count} of {sku} are left, and {wanted[sku]} were wanted."
        for sku, count in left.items()
        if count != max(0, sale.supplied[sku] - wanted[sku])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.oversell")
    parser.add_argument("--buyers", type=int, default=512)
    parser.add_argument("--stock", type=int, default=10, help="pieces of each of the goods")
    parser.add_argument("--engine", choices=ENGINES, default="sqlite")
    parser.add_argument("--processes", type=int, default=1, help="of the shop, behind one port")
    parser.add_argument("--sales", nargs="+", choices=SALES, default=SALES)
    parser.add_argument("--seed", type=int, default=randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    kept = True
    for kind in options.sales:
        sale = places.run(
            sell(
                kind,
                options.buyers,
                options.stock,
                options.seed,
                engine=options.engine,
                processes=options.processes,
            )
        )
        print(sale)
        kept = kept and not sale.wrong
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
