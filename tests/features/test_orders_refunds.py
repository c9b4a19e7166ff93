"""Money that goes back: never more than came, once however often it is tried, and by hand where it has to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from ecokart.core.errors import Unavailable
from ecokart.core.money import Money
from ecokart.core.transaction import transact
from ecokart.engines.faulty import Chaos, Faults
from ecokart.engines.faulty_payments import FaultyPayments
from ecokart.features.orders import office
from ecokart.features.orders.model import (
    Method,
    NoMoneyExpected,
    NothingToRefund,
    Order,
    OrderMoved,
    Refunding,
    Stage,
)
from tests.clock import ManualClock
from tests.features.till import PIECES, TOTAL, Till

HALF = Money(1245)


@pytest.fixture
def chaos() -> Chaos:
    return Chaos(seed=4)


@pytest.fixture
async def till(tmp_path: Path, clock: ManualClock, chaos: Chaos) -> AsyncIterator[Till]:
    till = Till(tmp_path, clock, through=lambda payments: FaultyPayments(payments, chaos))
    await till.open()
    yield till
    await till.close()


async def _paid(till: Till, outcome: str = "pays") -> Order:
    order = await till.place(Method.CARD, outcome)
    await till.work()
    return await till.order(order)


async def _refund(
    till: Till, order: Order, amount: Money, *, restock: bool = False, replaces: str = ""
) -> Order:
    return await till.act(
        office.refund, order, amount, "broken", restock=restock, replaces=replaces
    )


async def test_a_part_goes_back_and_then_the_rest(till: Till) -> None:
    order = await _paid(till)
    asked = await _refund(till, order, HALF)
    assert (asked.refunding, asked.refundable) == (Refunding.ASKED, TOTAL - HALF)
    await till.work()
    given = await till.order(order)
    assert (given.stage, given.refunding) == (Stage.COMPLETED, None)
    await _refund(till, order, given.refundable, restock=True)
    await till.work()
    over = await till.order(order)
    assert (over.stage, over.payment.refunded) == (Stage.REFUNDED, TOTAL)
    assert await till.available() == PIECES


@pytest.mark.parametrize("amount", [Money(0), Money(-1), TOTAL + Money(1), Money(100, "CHF")])
async def test_no_more_than_came(till: Till, amount: Money) -> None:
    order = await _paid(till)
    with pytest.raises(NothingToRefund):
        await _refund(till, order, amount)


async def test_asked_twice_at_once_it_goes_back_once(till: Till) -> None:
    order = await _paid(till)
    ask = partial(office.refund, restock=True, replaces="")
    answers = await asyncio.gather(
        *[transact(till.ports, ask, order.id, order.facts, TOTAL, "twice") for _ in range(3)],
        return_exceptions=True,
    )
    assert sum(isinstance(answer, OrderMoved) for answer in answers) == 2
    await till.work()
    assert (await till.payment(order)).refunded == TOTAL


async def test_a_parcel_that_is_still_to_go_is_called_off_instead(
    tmp_path: Path, clock: ManualClock
) -> None:
    till = Till(tmp_path, clock, "office")
    await till.open()
    order = await till.place(Method.TWINT, "pays")
    await till.work()
    with pytest.raises(NothingToRefund):
        await _refund(till, order, HALF)
    await till.act(office.call_off, order, "sold out")
    await till.work()
    over = await till.order(order)
    assert (over.stage, over.payment.refunded) == (Stage.CANCELLED, TOTAL)
    await till.close()


async def test_an_answer_that_is_lost_gives_back_once(till: Till, chaos: Chaos) -> None:
    order = await _paid(till)
    await _refund(till, order, HALF)
    chaos.faults = Faults(payment_answer_lost=1)
    await till.work()
    assert (await till.order(order)).refunding is Refunding.ASKED
    chaos.faults = Faults()
    await till.until_idle()
    assert (await till.payment(order)).refunded == HALF
    assert (await till.order(order)).payment.refunded == HALF


async def test_a_provider_that_stays_away_leaves_a_dead_letter_that_is_redriven(
    till: Till, chaos: Chaos
) -> None:
    order = await _paid(till)
    await _refund(till, order, HALF)
    chaos.faults = Faults(payment_fails=1)
    for _ in range(45):
        await till.work(minutes=6)
    letters = (await till.ports.queue.dead()).values
    (dead,) = [job for job in letters if job.handler == "orders.refunds.give_back"]
    assert dead.error.startswith(Unavailable.__name__)
    chaos.faults = Faults()
    await till.ports.queue.redrive([dead.id])
    await till.work()
    assert (await till.payment(order)).refunded == HALF


async def test_what_the_provider_refuses_is_sent_by_hand_or_asked_again(till: Till) -> None:
    order = await _paid(till, "refund_refused")
    await _refund(till, order, HALF)
    await till.work()
    failed = await till.order(order)
    assert failed.refunding is Refunding.FAILED
    assert failed.refundable == TOTAL - HALF  # the other half is still to go back
    with pytest.raises(NothingToRefund):
        await _refund(till, order, TOTAL)
    with pytest.raises(OrderMoved):
        await _refund(till, order, HALF, replaces="one that there isn't")
    assert failed.refunds[0].failed == "refund_not_possible"
    again = await _refund(till, order, HALF, replaces=failed.refunds[0].id)
    assert len(again.refunds) == 1
    await till.work()
    await till.act(office.confirm_refund, order, (await till.order(order)).refunds[0].id)
    by_hand = await till.order(order)
    assert (by_hand.refunding, by_hand.payment.refunded) == (None, HALF)
    with pytest.raises(OrderMoved):
        await till.act(office.confirm_refund, order, by_hand.refunds[0].id)
    till.by_hand.add(order.id)


async def test_what_came_by_transfer_is_sent_by_somebody(till: Till) -> None:
    order = await till.place(Method.PREPAYMENT)
    await till.act(office.receive, order, TOTAL, till.terms)
    await _refund(till, order, TOTAL)
    await till.work()
    assert (await till.order(order)).refunding is Refunding.ASKED
    await till.act(office.confirm_refund, order, (await till.order(order)).refunds[0].id)
    assert (await till.order(order)).stage is Stage.REFUNDED


async def test_what_comes_for_an_order_that_has_ended_goes_back(till: Till) -> None:
    order = await till.place(Method.PREPAYMENT)
    await till.act(office.call_off, order, "")
    over = await till.act(office.receive, order, HALF, till.terms)
    assert (over.stage, over.refunds[0].amount, over.refunding) == (
        Stage.CANCELLED,
        HALF,
        Refunding.ASKED,
    )


async def test_a_part_of_a_prepayment_goes_back_when_the_order_ends(till: Till) -> None:
    order = await till.place(Method.PREPAYMENT)
    await till.act(office.receive, order, HALF, till.terms)
    over = await till.act(office.call_off, order, "")
    assert [refund.amount for refund in over.refunds] == [HALF]


async def test_nobody_transfers_what_the_provider_takes(till: Till) -> None:
    order = await _paid(till)
    with pytest.raises(NoMoneyExpected):
        await till.act(office.receive, order, HALF, till.terms)


async def test_a_direct_debit_for_an_order_that_has_ended_goes_back(till: Till) -> None:
    order = await till.place(Method.SEPA, "settles")
    await till.work()
    await till.act(office.call_off, order, "")
    await till.work()
    assert (await till.payment(order)).captured == Money(0)
    await till.work(minutes=2)
    over, payment = await till.order(order), await till.payment(order)
    assert (over.stage, over.awaits) == (Stage.CANCELLED, None)
    assert payment.captured == payment.refunded == TOTAL
