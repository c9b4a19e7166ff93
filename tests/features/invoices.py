"""Files of invoice lines for the import's tests, and what an import of them leaves behind."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecokart.core.ports import Ports
from ecokart.core.records import Cursor, T, Table
from ecokart.features.accounts.model import CUSTOMERS
from ecokart.features.catalog.model import PRODUCTS, STOCK
from ecokart.features.imports import service
from ecokart.features.imports.files import COLUMNS, InvoiceFile
from ecokart.features.imports.model import Reject, Tally
from ecokart.features.orders.model import ORDERS, Order

LINE = {
    "InvoiceNo": "536365",
    "StockCode": "85123A",
    "Description": "WHITE HANGING HEART T-LIGHT HOLDER",
    "Quantity": "6",
    "InvoiceDate": "2010-12-01 08:26:00",
    "UnitPrice": "2.55",
    "CustomerID": "17850.0",
    "Country": "United Kingdom",
}


def line(**changes: str) -> dict[str, str]:
    """An ordinary line, but for these columns."""
    assert changes.keys() <= LINE.keys()
    return LINE | changes


def text_of(*lines: dict[str, str], end: str = "\n") -> str:
    """The lines as a CSV with its header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator=end)
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def write(folder: Path, *lines: dict[str, str], name: str = "invoices.csv") -> Path:
    path = folder / name
    path.write_text(text_of(*lines), encoding="utf-8", newline="")
    return path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import counted, and the lines it rejected."""

    tally: Tally
    rejects: list[Reject]

    @property
    def reasons(self) -> list[tuple[int, str]]:
        return [(reject.row.line, reject.reason.value) for reject in self.rejects]


async def import_files(
    ports: Ports, *paths: Path, currency: str = "EUR", most_invoices: int | None = None
) -> Outcome:
    """Import the files. Whatever they hold, every line is accounted for."""
    rejects: list[Reject] = []
    files = [InvoiceFile(path) for path in paths]
    try:
        tally = await service.take_over(
            ports,
            files,
            currency=currency,
            reject=rejects.append,
            progress=lambda file, tally: None,
            most_invoices=most_invoices,
        )
    finally:
        for file in files:
            file.close()
    assert tally.lines.total + len(rejects) == tally.read
    assert tally.rejected == len(rejects)
    return Outcome(tally, rejects)


async def orders(ports: Ports) -> dict[str, Order]:
    return {order.id: order for order, _ in await everything(ports, ORDERS)}


async def kept(ports: Ports) -> dict[str, list[tuple[Any, int]]]:
    """Every record that an import may touch, with its version."""
    tables = (ORDERS, PRODUCTS, STOCK, CUSTOMERS)
    return {table.name: await everything(ports, table) for table in tables}


async def everything(ports: Ports, table: Table[T]) -> list[tuple[T, int]]:
    """All records of a table, with their versions."""
    found: list[tuple[T, int]] = []
    after: Cursor | None = None
    while True:
        page = await ports.records.scan(table, after=after, limit=500)
        found += zip(page.values, page.versions, strict=True)
        if (after := page.after) is None:
            return found
