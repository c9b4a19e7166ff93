"""What whoever started an import gets to see: how far it is, what became of it, and the rejects."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from ecokart.core.errors import Invalid
from ecokart.core.i18n import format_money
from ecokart.core.money import Money
from ecokart.features.imports.files import COLUMNS, InvoiceFile
from ecokart.features.imports.model import Reason, Reject, Tally
from ecokart.features.orders.model import MAX_LINES

MEANING = {
    Reason.UNREADABLE: "a column is missing, or isn't what it should be",
    Reason.CANCELLATION: "takes an earlier sale back; returns aren't imported",
    Reason.NOT_GOODS: "postage, fees, discounts, vouchers, corrections",
    Reason.NO_QUANTITY: "a quantity of zero or less: nothing was sold",
    Reason.NO_PRICE: "a price of zero or less: nothing was paid",
    Reason.DIFFERS: "its invoice is here already, with other lines",
}


class UnwritableFile(Invalid):
    """This file can't be written."""


class RejectsFile:
    """A CSV of the lines that weren't imported: where they are, why, and what they say."""

    def __init__(self, path: Path, inputs: Sequence[InvoiceFile]) -> None:
        try:
            if path.exists() and any(path.samefile(file.path) for file in inputs):
                raise UnwritableFile(f"{path} is imported, so the rejects can't go there.")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise UnwritableFile(f"{path} can't be written: {error.strerror}.") from None
        self.path = path
        self._write = csv.writer(self._file).writerow
        self._write(("file", "line", "reason", "sentence", *COLUMNS))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, reject: Reject) -> None:
        row = reject.row
        self._write((row.file, row.line, reject.reason, reject.sentence, *row.values))


@contextmanager
def progress_bar(files: Sequence[InvoiceFile]) -> Iterator[Callable[[InvoiceFile, Tally], None]]:
    """A bar over the bytes of all files, on a terminal; elsewhere nothing."""
    console = Console(stderr=True)
    ends = accumulate(file.size_bytes for file in files)
    begins = {file: end - file.size_bytes for file, end in zip(files, ends, strict=True)}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[orders]:,} orders"),
        TimeRemainingColumn(),
    )
    on_terminal = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not on_terminal) as bar:
        task = bar.add_task("", total=sum(file.size_bytes for file in files), orders=0)

        def show(file: InvoiceFile, tally: Tally) -> None:
            done = begins[file] + file.position_bytes
            bar.update(task, description=file.path.name, completed=done, orders=tally.orders.total)

        yield show


def show_summary(tally: Tally, rejects_path: Path, *, seconds: float) -> None:
    """What became of every line, and what was decided on the way."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    known = f" {tally.lines.known:,} here already," if tally.lines.known else ""
    console.print(
        f"Read {tally.read:,} lines of {tally.invoices:,} invoices in {seconds:.1f} s:"
        f" {tally.lines.new:,} imported,{known} {tally.rejected:,} rejected.\n"
    )
    console.print(_imported(tally))
    if tally.rejected:
        console.print(_rejected(tally))
    for sentence in _decisions(tally):
        console.print(f"- {sentence}")
    console.print(f"\nThe rejected lines, each with its reason: {rejects_path}")


def _imported(tally: Tally) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0))
    table.add_column("Imported")
    table.add_column("new", justify="right")
    table.add_column("here already", justify="right")
    counts = {
        "lines": tally.lines,
        "orders": tally.orders,
        "customers": tally.customers,
        "products": tally.products,
    }
    for name, count in counts.items():
        table.add_row(name, f"{count.new:,}", f"{count.known:,}")
    revenue = tally.revenue_minor
    table.add_row("revenue", _amount(revenue.new, tally), _amount(revenue.known, tally))
    table.add_row()
    return table


def _rejected(tally: Tally) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0))
    table.add_column("Rejected")
    table.add_column("lines", justify="right")
    table.add_column("")
    for reason in Reason:
        if count := tally.rejects[reason]:
            table.add_row(reason, f"{count:,}", MEANING[reason])
    table.add_row()
    return table


def _decisions(tally: Tally) -> Iterator[str]:
    yield (
        f"The files name no currency: amounts are taken as {tally.currency}, one for one, without"
        " VAT, and times as London's."
    )
    yield "Imported products aren't for sale, and the stock is what it was."
    if tally.anonymous:
        yield f"{tally.anonymous:,} orders belong to nobody, as their lines name no customer."
    if tally.split:
        yield (
            f"{tally.split:,} invoices became several orders: more than {MAX_LINES} lines,"
            " or lines that don't stand together."
        )


def _amount(minor: int, tally: Tally) -> str:
    return format_money(Money(minor, tally.currency), "en")
