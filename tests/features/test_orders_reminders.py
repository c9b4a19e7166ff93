"""What the clock brings: those who owe money are reminded, and at last it has consequences."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ecokart.core.money import Money
from ecokart.features.orders import deadlines, office
from ecokart.features.orders.model import Awaited, Method, Order, Reason, Stage
from tests.clock import ManualClock
from tests.features.till import PIECES, TOTAL, Till


@pytest.fixture
async def till(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Till]:
    till = Till(tmp_path, clock)
    await till.open()
    yield till
    await till.close()


async def _days(till: Till, count: int) -> None:
    for _ in range(count):
        await till.work(days=1, seconds=1)


async def _reminders(till: Till, order: Order) -> list[int]:
    said = await till.stated(order)
    return [fact["reminder"] for fact in said if fact["name"] == "payment.reminded"]


async def test_an_invoice_is_due_after_the_parcel_and_at_last_overdue(till: Till) -> None:
    order = await till.place()
    await _days(till, 13)
    assert await _reminders(till, order) == []
    await _days(till, 2)
    assert await _reminders(till, order) == [1]
    await _days(till, 15)
    assert await _reminders(till, order) == [1, 2, 3]
    await _days(till, 8)
    late = await till.order(order)
    assert (late.stage, late.awaits) == (Stage.COMPLETED, Awaited.OVERDUE)
    await till.act(office.receive, order, TOTAL, till.terms)
    paid = await till.order(order)
    assert (paid.awaits, paid.due_at, paid.owed) == (None, None, Money(0))


async def test_who_pays_is_reminded_no_more(till: Till) -> None:
    order = await till.place()
    await _days(till, 15)
    await till.act(office.receive, order, TOTAL, till.terms)
    await _days(till, 40)
    assert await _reminders(till, order) == [1]


async def test_who_pays_a_part_is_reminded_of_the_rest(till: Till) -> None:
    order = await till.place()
    await till.work()
    await till.act(office.receive, order, Money(100), till.terms)
    await _days(till, 15)
    assert await _reminders(till, order) == [1]


async def test_a_prepayment_that_never_comes_frees_the_goods(till: Till) -> None:
    order = await till.place(Method.PREPAYMENT)
    await _days(till, 6)
    assert await _reminders(till, order) == []
    await _days(till, 8)
    assert await _reminders(till, order) == [1, 2, 3]
    assert await till.available() == PIECES - 2
    await _days(till, 4)
    over = await till.order(order)
    assert (over.stage, over.awaits) == (Stage.CANCELLED, None)
    assert (await till.stated(order))[-1]["reason"] == Reason.UNPAID
    assert await till.available() == PIECES


async def test_a_run_is_bounded_and_the_rest_comes_next(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "MOST", 4)
    monkeypatch.setattr(deadlines, "PAGE", 2)
    orders = [await till.place(Method.PREPAYMENT) for _ in range(6)]
    await till.work(days=8)
    reminded = [order for order in orders if await _reminders(till, order)]
    assert len(reminded) == 4
    await till.work(minutes=2)
    assert [await _reminders(till, order) for order in orders] == [[1]] * 6
