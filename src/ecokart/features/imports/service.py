"""Takes over what files of invoice lines tell: products, customers, orders.

Ids are made from the file's own numbers, and whatever is here already stays as it is: running again
changes nothing, and completes what was interrupted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby, islice
from typing import NamedTuple, TypeVar

from ecokart.core.i18n import Text
from ecokart.core.ports import Ports
from ecokart.core.records import MAX_WRITES
from ecokart.core.transaction import Transaction, transact
from ecokart.features.accounts import service as accounts
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import Product, SkuTaken, TaxClass, Variant
from ecokart.features.imports.files import InvoiceFile
from ecokart.features.imports.model import Count, Reason, Reject, Sale, Tally
from ecokart.features.imports.sales import invoice_of, read
from ecokart.features.orders import past
from ecokart.features.orders.model import MAX_LINES, OrderLine
from ecokart.features.orders.past import OtherOrderHere, PastOrder

SOURCE = "import"
# What the file's own numbers are kept under, so that they are never this shop's.
ORDER = ARTICLE = "imp-"
CUSTOMER = "customer-"
CATEGORY = "imported"  # no room of the shop: imported products aren't for sale
PICTURE = "missing.svg"
IN_FLIGHT = 64  # commits under way at once: they share the engine's syncs
MOST_REJECTS = 1000  # held in memory
CUSTOMERS_A_COMMIT = MAX_WRITES
PRODUCTS_A_COMMIT = MAX_WRITES // 2  # a product, and its stock

T = TypeVar("T")
R = TypeVar("R")


async def take_over(
    ports: Ports,
    files: Iterable[InvoiceFile],
    *,
    currency: str,
    reject: Callable[[Reject], None],
    progress: Callable[[InvoiceFile, Tally], None],
    most_invoices: int | None = None,
) -> Tally:
    """Take over every sale of the files, one commit an order; `reject` gets every other line.

    Raises `UnreadableFile` and `Unavailable`; what was taken over until then stays.
    """
    run = _Run(ports, Tally(currency), most_invoices)
    for file in files:
        for batch in run.batches(file):
            for rejected in await run.take_over(batch):
                run.tally.rejects[rejected.reason] += 1
                reject(rejected)
            progress(file, run.tally)
    return run.tally


class _Part(NamedTuple):
    """An order to be: one customer's lines of one invoice, no more than an order may have."""

    order_id: str
    invoice: str
    sales: Sequence[Sale]


class _Batch(NamedTuple):
    """What is taken over together, and what was rejected beside it."""

    parts: list[_Part]
    rejects: list[Reject]


class _Run:
    """One run: what it counts, and whom and what it has made sure of already."""

    def __init__(self, ports: Ports, tally: Tally, most_invoices: int | None) -> None:
        self.tally = tally
        self._ports = ports
        self._invoices_left = most_invoices
        self._customers: set[str] = set()
        self._skus: set[str] = set()

    def batches(self, file: InvoiceFile) -> Iterator[_Batch]:
        """The file in portions, never a part of the lines of an invoice that stand together."""
        batch = _Batch([], [])
        # Orders of each invoice, counted file by file: the same file gives the same ids again.
        begun: Counter[str] = Counter()
        for invoice, rows in islice(groupby(file.rows(), key=invoice_of), self._invoices_left):
            lines = [read(row, self.tally.currency) for row in rows]
            self.tally.read += len(lines)
            self.tally.invoices += invoice not in begun
            before = begun.setdefault(invoice, 0)
            batch.parts.extend(_parts(invoice, lines, begun))
            self.tally.split += before < 2 <= begun[invoice]
            batch.rejects.extend(line for line in lines if isinstance(line, Reject))
            if self._invoices_left is not None:
                self._invoices_left -= 1
            if len(batch.parts) >= IN_FLIGHT or len(batch.rejects) >= MOST_REJECTS:
                yield batch
                batch = _Batch([], [])
        yield batch

    async def take_over(self, batch: _Batch) -> list[Reject]:
        """Write the batch down. Gives back its rejects with those that turned up now, by line."""
        sales = [sale for part in batch.parts for sale in part.sales]
        await self._add_customers({sale.customer for sale in sales if sale.customer})
        await self._add_products({sale.sku: sale for sale in reversed(sales)})  # the first stays
        differing = await _together(self._take_over_order, batch.parts)
        return sorted([*batch.rejects, *chain(*differing)], key=lambda one: one.row.line)

    async def _add_customers(self, customers: set[str]) -> None:
        missing = sorted(customers - self._customers)
        await self._add(_add_customers, missing, CUSTOMERS_A_COMMIT, self.tally.customers)
        self._customers |= customers

    async def _add_products(self, first_sales: dict[str, Sale]) -> None:
        missing = [sale for sku, sale in first_sales.items() if sku not in self._skus]
        await self._add(_add_products, missing, PRODUCTS_A_COMMIT, self.tally.products)
        self._skus |= first_sales.keys()

    async def _add(
        self,
        add: Callable[[Transaction, Sequence[T]], Awaitable[int]],
        items: Sequence[T],
        a_commit: int,
        count: Count,
    ) -> None:
        chunks = [items[start : start + a_commit] for start in range(0, len(items), a_commit)]
        new = sum(await _together(lambda chunk: transact(self._ports, add, chunk), chunks))
        count.add(new, new=True)
        count.add(len(items) - new, new=False)

    async def _take_over_order(self, part: _Part) -> list[Reject]:
        try:
            new = await transact(self._ports, past.take_over, _order(part))
        except OtherOrderHere:
            sentence = (
                f"Invoice {part.invoice} is here already, as {part.order_id} with other lines."
            )
            return [Reject(sale.row, Reason.DIFFERS, sentence) for sale in part.sales]
        tally = self.tally
        tally.orders.add(1, new=new)
        tally.lines.add(len(part.sales), new=new)
        tally.revenue_minor.add(
            sum([sale.price.minor * sale.quantity for sale in part.sales]), new=new
        )
        tally.anonymous += not part.sales[0].customer
        return []


def _parts(invoice: str, lines: Sequence[Sale | Reject], begun: Counter[str]) -> Iterator[_Part]:
    sales = [line for line in lines if isinstance(line, Sale)]
    for _, group in groupby(sales, key=lambda sale: sale.customer):
        of_customer = list(group)
        for start in range(0, len(of_customer), MAX_LINES):
            begun[invoice] += 1
            suffix = f"-{begun[invoice]}" if begun[invoice] > 1 else ""
            part = of_customer[start : start + MAX_LINES]
            yield _Part(f"{ORDER}{invoice}{suffix}", invoice, part)


def _order(part: _Part) -> PastOrder:
    first = part.sales[0]
    return PastOrder(
        id=part.order_id,
        owner=f"{CUSTOMER}{first.customer}" if first.customer else None,
        country=first.country,
        lines=tuple([_line(sale) for sale in part.sales]),
        placed_at=first.at,
        source=SOURCE,
        reference=part.invoice,
    )


def _line(sale: Sale) -> OrderLine:
    return OrderLine(
        sku=f"{ARTICLE}{sale.sku}",
        product_id=f"{ARTICLE}{sale.sku}",
        name=Text(sale.name, sale.name),
        picture=PICTURE,
        price=sale.price,
        tax=TaxClass.NONE,
        quantity=sale.quantity,
    )


async def _add_customers(tx: Transaction, customers: Sequence[str]) -> int:
    """Accounts for those who have none yet; says how many."""
    added = [
        await accounts.take_over(tx, f"{CUSTOMER}{customer}", name=customer)
        for customer in customers
    ]
    return sum(added)


async def _add_products(tx: Transaction, first_sales: Sequence[Sale]) -> int:
    """Products for articles that are none yet, called and priced as at first; says how many."""
    new = 0
    for sale in first_sales:
        with suppress(SkuTaken):  # it is here already
            await catalog.add(tx, _product(tx, sale), {})
            new += 1
    return new


def _product(tx: Transaction, sale: Sale) -> Product:
    name = Text(sale.name, sale.name)
    return Product(
        id=f"{ARTICLE}{sale.sku}",
        category=CATEGORY,
        name=name,
        summary=Text("", ""),
        description=Text("", ""),
        picture=PICTURE,
        picture_alt=name,
        price=sale.price,
        tax=TaxClass.NONE,
        variants=(Variant(sku=f"{ARTICLE}{sale.sku}"),),
        active=False,
        created_at=tx.now,
        changed_at=tx.now,
    )


async def _together(work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """The results of `work` for each, so many at once that their commits share the engine's syncs."""
    results: list[R] = []
    for start in range(0, len(items), IN_FLIGHT):
        results += await asyncio.gather(*map(work, items[start : start + IN_FLIGHT]))
    return results
