"""A month of a real shop, counted once by the import and once by this test."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from ecokart.app import open_ports
from ecokart.core.ports import Ports
from ecokart.features.catalog.model import STOCK
from ecokart.settings import load
from tests.features.invoices import Outcome, everything, import_files, orders

ROOT = Path(__file__).parents[2]
MONTH = ROOT.parent / "shared" / "data" / "online-retail" / "2010-12.csv.gz"
LINES, INVOICES = 42_481, 2_025
CHARGES = {"POST", "DOT", "C2", "M", "D", "S", "B", "AMAZONFEE", "BANK CHARGES", "CRUK", "PADS"}

pytestmark = pytest.mark.skipif(not MONTH.exists(), reason=f"{MONTH.name} isn't at ../shared/data")

Imported = tuple[Ports, Outcome]


@pytest.fixture(scope="module")
async def imported(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Imported]:
    folder = tmp_path_factory.mktemp("month")
    ports = open_ports(load({"ECOKART_DATA_DIR": str(folder)}))
    yield ports, await import_files(ports, MONTH)
    await ports.records.close()


async def test_every_line_is_accounted_for(imported: Imported) -> None:
    tally = imported[1].tally
    assert (tally.read, tally.invoices) == (LINES, INVOICES)
    assert tally.lines.new + tally.rejected == LINES
    stored = sum(len(order.lines) for order in (await orders(imported[0])).values())
    assert stored == tally.lines.new


async def test_sold_per_sku_is_what_the_file_says(imported: Imported) -> None:
    sold: Counter[str] = Counter()
    for order in (await orders(imported[0])).values():
        for one in order.lines:
            sold[one.sku] += one.quantity
    counted: Counter[str] = Counter()
    for record in records():
        if is_sale(record):
            counted[f"imp-{record['StockCode'].upper()}"] += int(record["Quantity"])
    assert sold == counted


async def test_the_revenue_is_what_the_file_says(imported: Imported) -> None:
    made = (await orders(imported[0])).values()
    counted = sum(
        int(record["Quantity"]) * Decimal(record["UnitPrice"])
        for record in records()
        if is_sale(record)
    )
    assert sum(order.total.amount for order in made) == counted


async def test_the_rejects_are_exactly_the_other_lines(imported: Imported) -> None:
    others = [line for line, record in enumerate(records(), 2) if not is_sale(record)]
    assert [reject.row.line for reject in imported[1].rejects] == others


async def test_orders_bear_their_invoices(imported: Imported) -> None:
    made = (await orders(imported[0])).values()
    invoices = {record["InvoiceNo"] for record in records() if is_sale(record)}
    assert {order.reference for order in made} == invoices
    assert max(len(order.lines) for order in made) == 80


async def test_the_stock_is_conserved(imported: Imported) -> None:
    stocks = [stock for stock, _ in await everything(imported[0], STOCK)]
    assert len(stocks) == imported[1].tally.products.new
    assert {(stock.stock, stock.reserved, stock.available) for stock in stocks} == {(0, 0, 0)}


def records() -> list[dict[str, str]]:
    with gzip.open(MONTH, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_sale(record: dict[str, str]) -> bool:
    code = record["StockCode"].upper()
    return (
        not record["InvoiceNo"].startswith("C")
        and code not in CHARGES
        and not code.startswith("GIFT_")
        and int(record["Quantity"]) > 0
        and Decimal(record["UnitPrice"]) > 0
    )
