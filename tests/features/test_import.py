"""What an import leaves in the shop; that a second one changes nothing, and a broken one is completed."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ecokart.app import open_ports
from ecokart.core.errors import Unavailable
from ecokart.core.events import OUTBOX
from ecokart.core.money import Money
from ecokart.core.ports import Ports
from ecokart.core.transaction import transact
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.features.accounts import service as accounts
from ecokart.features.accounts.model import CUSTOMERS, WrongCredentials
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import PRODUCTS, STOCK, NoSuchProduct
from ecokart.features.imports.files import UnreadableFile
from ecokart.features.orders.model import ORDERS, Status
from ecokart.settings import load
from tests.clock import ManualClock
from tests.features.invoices import everything, import_files, kept, line, orders, write


@pytest.fixture
async def ports(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Ports]:
    ports = open_ports(load({"ECOKART_DATA_DIR": str(tmp_path / "data")}), clock)
    yield ports
    await ports.records.close()


def many(count: int, **changes: str) -> list[dict[str, str]]:
    return [line(StockCode=str(10000 + number), **changes) for number in range(count)]


async def test_an_invoice_becomes_a_complete_order(ports: Ports, tmp_path: Path) -> None:
    path = write(tmp_path, line(), line(StockCode="71053", Quantity="2", UnitPrice="3.39"))
    outcome = await import_files(ports, path)
    order = (await orders(ports))["imp-536365"]
    assert order.owner == "customer-17850"
    assert order.country == "United Kingdom"
    assert order.address is None
    assert order.placed_at == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert order.status is Status.COMPLETED
    assert (order.source, order.reference) == ("import", "536365")
    assert [(one.sku, one.quantity, one.price.minor) for one in order.lines] == [
        ("imp-85123A", 6, 255),
        ("imp-71053", 2, 339),
    ]
    assert order.goods == order.total == Money(6 * 255 + 2 * 339)
    assert [tax.tax for tax in order.taxes] == [Money(0)]
    assert not outcome.rejects


async def test_its_articles_are_products_that_are_not_for_sale(
    ports: Ports, tmp_path: Path
) -> None:
    later = line(InvoiceNo="536366", UnitPrice="9.99", Description="renamed")
    await import_files(ports, write(tmp_path, line(), later))
    (product, _), *others = await everything(ports, PRODUCTS)
    assert not others
    assert (product.name.en, product.price) == (line()["Description"], Money(255))
    with pytest.raises(NoSuchProduct):
        await transact(ports, catalog.offer, sku="imp-85123A")


async def test_the_stock_is_what_it_was(ports: Ports, tmp_path: Path) -> None:
    await import_files(ports, write(tmp_path, line(), line(Quantity="30"), line(Quantity="1")))
    stocks = [stock for stock, _ in await everything(ports, STOCK)]
    assert [(stock.stock, stock.reserved, stock.available) for stock in stocks] == [(0, 0, 0)]


async def test_a_customer_is_an_account_that_nobody_can_sign_in_to(
    ports: Ports, tmp_path: Path
) -> None:
    await import_files(ports, write(tmp_path, line(), line(InvoiceNo="536366")))
    people = [customer for customer, _ in await everything(ports, CUSTOMERS)]
    assert [(one.id, one.name, one.email) for one in people] == [("customer-17850", "17850", "")]
    with pytest.raises(WrongCredentials):
        await accounts.sign_in(ports, "", "")


async def test_without_a_customer_the_order_belongs_to_nobody(ports: Ports, tmp_path: Path) -> None:
    outcome = await import_files(ports, write(tmp_path, line(CustomerID="")))
    assert (await orders(ports))["imp-536365"].owner is None
    assert outcome.tally.anonymous == 1
    assert not (await ports.records.query(ORDERS, "by_owner", "")).values
    assert not await everything(ports, CUSTOMERS)


async def test_orders_of_nobody_from_before_are_read(ports: Ports, tmp_path: Path) -> None:
    await import_files(ports, write(tmp_path, line(CustomerID="")))
    order = (await orders(ports))["imp-536365"]
    as_it_was = msgspec.json.decode(msgspec.json.encode(order)) | {"owner": ""}
    as_it_was["status"] = as_it_was.pop("stage")
    as_it_was["steps"] = [{"status": s["stage"], "at": s["at"]} for s in as_it_was["steps"]]
    # Nothing was logged of those.
    assert ORDERS.load_body(1, msgspec.json.encode(as_it_was)) == replace(order, facts=0)


async def test_a_repeated_article_stays_several_lines(ports: Ports, tmp_path: Path) -> None:
    path = write(tmp_path, line(), line(), line(StockCode="85123a", UnitPrice="2.10"))
    await import_files(ports, path)
    order = (await orders(ports))["imp-536365"]
    assert [(one.sku, one.price.minor) for one in order.lines] == [
        ("imp-85123A", 255),
        ("imp-85123A", 255),
        ("imp-85123A", 210),
    ]


async def test_a_long_invoice_becomes_several_orders_that_name_it(
    ports: Ports, tmp_path: Path
) -> None:
    outcome = await import_files(ports, write(tmp_path, *many(675)))
    made = await orders(ports)
    assert sorted(made) == ["imp-536365", *(f"imp-536365-{n}" for n in range(2, 10))]
    assert {order.reference for order in made.values()} == {"536365"}
    assert [len(made[key].lines) for key in sorted(made)] == [80] * 8 + [35]
    assert outcome.tally.split == outcome.tally.invoices == 1


async def test_lines_that_stand_apart_are_another_order_of_the_invoice(
    ports: Ports, tmp_path: Path
) -> None:
    cancelled = line(InvoiceNo="C1")
    path = write(tmp_path, line(), cancelled, line(Quantity="1"), cancelled, line(InvoiceNo="2"))
    outcome = await import_files(ports, path)
    assert sorted(await orders(ports)) == ["imp-2", "imp-536365", "imp-536365-2"]
    assert (outcome.tally.invoices, outcome.tally.split) == (3, 1)


async def test_two_customers_of_one_invoice_have_an_order_each(
    ports: Ports, tmp_path: Path
) -> None:
    await import_files(ports, write(tmp_path, line(), line(CustomerID="2"), line(CustomerID="2")))
    made = await orders(ports)
    assert {key: (order.owner, len(order.lines)) for key, order in made.items()} == {
        "imp-536365": ("customer-17850", 1),
        "imp-536365-2": ("customer-2", 2),
    }


async def test_rejected_lines_leave_the_rest_of_the_invoice(ports: Ports, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        line(StockCode="POST"),
        line(),
        line(Quantity="0"),
        line(UnitPrice="0"),
        line(UnitPrice="?"),
        line(InvoiceNo="C1"),
    )
    outcome = await import_files(ports, path)
    assert outcome.reasons == [
        (2, "not_goods"),
        (4, "no_quantity"),
        (5, "no_price"),
        (6, "unreadable"),
        (7, "cancellation"),
    ]
    assert len((await orders(ports))["imp-536365"].lines) == 1


async def test_a_second_run_changes_nothing(ports: Ports, tmp_path: Path) -> None:
    path = write(tmp_path, *many(200), line(InvoiceNo="2"), line(InvoiceNo="3", StockCode="POST"))
    first = await import_files(ports, path)
    before = await kept(ports)
    second = await import_files(ports, path)
    assert await kept(ports) == before
    assert second.reasons == first.reasons
    for counted, again in (
        (first.tally.lines, second.tally.lines),
        (first.tally.orders, second.tally.orders),
        (first.tally.customers, second.tally.customers),
        (first.tally.products, second.tally.products),
        (first.tally.revenue_minor, second.tally.revenue_minor),
    ):
        assert (again.new, again.known) == (0, counted.new)


async def test_files_that_overlap_count_once(ports: Ports, tmp_path: Path) -> None:
    one, two, three = line(), line(InvoiceNo="2"), line(InvoiceNo="3")
    early = write(tmp_path, one, two, name="early.csv")
    late = write(tmp_path, two, three, name="late.csv")
    outcome = await import_files(ports, early, late, early)
    assert (outcome.tally.orders.new, outcome.tally.orders.known) == (3, 3)


async def test_an_invoice_that_has_become_another_is_rejected(ports: Ports, tmp_path: Path) -> None:
    await import_files(ports, write(tmp_path, line(), line(InvoiceNo="2")))
    before = await kept(ports)
    path = write(tmp_path, line(InvoiceNo="C0"), line(Quantity="7"), line(InvoiceNo="2"))
    outcome = await import_files(ports, path)
    assert outcome.reasons == [(2, "cancellation"), (3, "differs")]
    assert "as imp-536365 with other lines" in outcome.rejects[1].sentence
    assert await kept(ports) == before


async def test_a_limit_ends_between_invoices(ports: Ports, tmp_path: Path) -> None:
    one = write(tmp_path, line(), line(), line(InvoiceNo="2"), name="one.csv")
    two = write(tmp_path, line(InvoiceNo="3"), line(InvoiceNo="4"), name="two.csv")
    limited = await import_files(ports, one, two, most_invoices=3)
    assert limited.tally.read == 4
    whole = await import_files(ports, one, two)
    assert (whole.tally.orders.new, whole.tally.orders.known) == (1, 3)


async def test_an_empty_file_of_lines_imports_nothing(ports: Ports, tmp_path: Path) -> None:
    assert (await import_files(ports, write(tmp_path))).tally.read == 0


async def test_each_order_is_stated_as_a_fact(ports: Ports, tmp_path: Path) -> None:
    await import_files(ports, write(tmp_path, line(), line(InvoiceNo="2")))
    entries = [entry for entry, _ in await everything(ports, OUTBOX)]
    names = [event.name for entry in entries for event in entry.events]
    assert names == ["order.imported"] * 2


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_fails_on_the_way_running_again_completes_it(
    ports: Ports, tmp_path: Path, clock: ManualClock, seed: int
) -> None:
    lines = [one for number in range(150) for one in many(3, InvoiceNo=str(number))]
    path = write(tmp_path, *lines, *many(300))
    chaos = Chaos(seed, Faults(commit_fails=0.01, answer_lost=0.01, read_fails=0.001))
    shaky, failures = faulty(ports, chaos), 0
    while True:
        try:
            await import_files(shaky, path)
        except Unavailable:
            failures += 1
            continue
        break
    assert failures
    entries = [entry for entry, _ in await everything(ports, OUTBOX)]
    assert sum(len(entry.events) for entry in entries) == len(await orders(ports))

    untroubled = open_ports(load({"ECOKART_DATA_DIR": str(tmp_path / "other")}), clock)
    try:
        await import_files(untroubled, path)
        assert _values(await kept(untroubled)) == _values(await kept(ports))
    finally:
        await untroubled.records.close()


async def test_two_imports_at_once_are_as_good_as_one(ports: Ports, tmp_path: Path) -> None:
    lines = [one for number in range(100) for one in many(5, InvoiceNo=str(number))]
    path = write(tmp_path, *lines)
    outcomes = await asyncio.gather(*[import_files(ports, path) for _ in range(3)])
    assert sum(outcome.tally.orders.new for outcome in outcomes) == 100
    assert sum(outcome.tally.products.new for outcome in outcomes) == 5
    assert len(await orders(ports)) == 100


async def test_a_file_that_breaks_off_leaves_no_half_invoice(ports: Ports, tmp_path: Path) -> None:
    lines = [one for number in range(400) for one in many(9, InvoiceNo=str(number))]
    whole = write(tmp_path, *lines)
    broken = tmp_path / "broken.csv.gz"
    packed = gzip.compress(whole.read_bytes())
    broken.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UnreadableFile):
        await import_files(ports, broken)
    assert {len(order.lines) for order in (await orders(ports)).values()} == {9}
    assert (await import_files(ports, whole)).tally.orders.total == 400


def _values(found: dict[str, list[tuple[Any, int]]]) -> dict[str, list[Any]]:
    """Without the versions, which tell when a record was written."""
    return {table: [value for value, _ in records] for table, records in found.items()}
