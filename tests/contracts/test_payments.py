"""`Payments`: whoever takes the money, the same key takes it once, and what came less what went back adds up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ecokart.core.errors import Forbidden, NotFound, Unavailable
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Payment, PaymentRefused, Payments, PaymentState
from tests.clock import ManualClock
from tests.contracts.tills import TILLS, Till

TOTAL = Money(4980)
PART = Money(1200)
NOTHING = Money(0)


def charge(method: str = "card", order_id: str = "EK-260302-AAAAAA") -> Charge:
    return Charge(
        order_id=order_id,
        amount=TOTAL,
        method=method,
        email="jo@example.com",
        language="de",
        return_url=f"http://shop.example/account/orders/{order_id}/returned",
    )


@pytest.fixture(params=sorted(TILLS))
async def till(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Till]:
    async with TILLS[request.param](tmp_path, clock) as till:
        yield till


@pytest.fixture
def payments(till: Till) -> Payments:
    return till.payments


async def held(till: Till, of: Charge | None = None) -> Payment:
    """A payment whose money is held."""
    payment = await till.payments.begin(of or charge(), key="begin")
    await till.act(payment.reference, "pay")
    return await till.payments.look(payment.reference)


async def insisted(call: Callable[[], Awaitable[Payment]]) -> Payment:
    """The answer to a call whose first answers may be lost."""
    for _ in range(3):
        try:
            return await call()
        except Unavailable:
            continue
    return await call()


async def test_a_payment_begins_open_where_the_shopper_can_act(till: Till) -> None:
    payment = await till.payments.begin(charge(), key="begin")
    assert payment.state is PaymentState.OPEN
    assert payment.url.startswith("http")
    assert (payment.order_id, payment.amount) == ("EK-260302-AAAAAA", TOTAL)
    assert (payment.captured, payment.refunded) == (NOTHING, NOTHING)
    assert await till.payments.look(payment.reference) == payment


async def test_what_is_paid_is_held_and_taken_later(till: Till) -> None:
    payment = await held(till)
    assert (payment.state, payment.captured) == (PaymentState.AUTHORISED, NOTHING)
    assert payment.url == ""
    taken = await till.payments.capture(payment.reference, TOTAL, key="capture")
    assert (taken.state, taken.captured) == (PaymentState.CAPTURED, TOTAL)
    assert await till.payments.look(payment.reference) == taken


async def test_a_part_of_what_is_held_can_be_taken_and_that_is_all(till: Till) -> None:
    payment = await held(till)
    taken = await till.payments.capture(payment.reference, PART, key="capture")
    assert (taken.state, taken.captured) == (PaymentState.CAPTURED, PART)
    again = await till.payments.capture(payment.reference, TOTAL, key="another")
    assert again.captured == PART


@pytest.mark.parametrize("amount", [Money(TOTAL.minor + 1), NOTHING])
async def test_no_more_than_is_held_can_be_taken(till: Till, amount: Money) -> None:
    payment = await held(till)
    with pytest.raises(PaymentRefused):
        await till.payments.capture(payment.reference, amount, key="capture")
    assert (await till.payments.look(payment.reference)).captured == NOTHING


async def test_a_direct_debit_is_waited_for_and_then_ours(till: Till) -> None:
    payment = await till.payments.begin(charge("sepa"), key="begin")
    await till.transfer(payment.reference, comes=True)
    assert (await till.payments.look(payment.reference)).state is PaymentState.WAITING
    with pytest.raises(PaymentRefused):
        await till.payments.capture(payment.reference, TOTAL, key="capture")
    await till.bank_decides(payment.reference)
    came = await till.payments.look(payment.reference)
    assert (came.state, came.captured) == (PaymentState.CAPTURED, TOTAL)


async def test_a_direct_debit_that_bounces_has_failed(till: Till) -> None:
    payment = await till.payments.begin(charge("sepa"), key="begin")
    await till.transfer(payment.reference, comes=False)
    await till.bank_decides(payment.reference)
    failed = await till.payments.look(payment.reference)
    assert (failed.state, failed.captured) == (PaymentState.FAILED, NOTHING)
    assert failed.reason == "debit_not_authorized"


async def test_who_is_declined_may_try_another_card(till: Till) -> None:
    payment = await till.payments.begin(charge(), key="begin")
    await till.act(payment.reference, "decline")
    declined = await till.payments.look(payment.reference)
    assert (declined.state, declined.reason) == (PaymentState.OPEN, "insufficient_funds")
    await till.act(payment.reference, "pay")
    assert (await till.payments.look(payment.reference)).state is PaymentState.AUTHORISED


@pytest.mark.parametrize(
    ("answer", "state"), [("confirm", PaymentState.AUTHORISED), ("refuse", PaymentState.OPEN)]
)
async def test_three_d_secure(till: Till, answer: str, state: PaymentState) -> None:
    payment = await till.payments.begin(charge(), key="begin")
    await till.act(payment.reference, "secure")
    assert (await till.payments.look(payment.reference)).state is PaymentState.OPEN
    await till.act(payment.reference, answer)
    assert (await till.payments.look(payment.reference)).state is state


async def test_what_is_held_can_be_let_go(till: Till) -> None:
    payment = await held(till)
    gone = await till.payments.cancel(payment.reference, key="cancel")
    assert gone.state is PaymentState.CANCELLED
    assert (await till.payments.cancel(payment.reference, key="another")) == gone
    with pytest.raises(PaymentRefused):
        await till.payments.capture(payment.reference, TOTAL, key="capture")


async def test_what_is_called_off_nobody_pays_any_more(till: Till) -> None:
    payment = await till.payments.begin(charge(), key="begin")
    gone = await till.payments.cancel(payment.reference, key="cancel")
    assert (gone.state, gone.url) == (PaymentState.CANCELLED, "")


async def test_what_was_taken_stays_taken_when_it_is_called_off(till: Till) -> None:
    payment = await held(till)
    taken = await till.payments.capture(payment.reference, TOTAL, key="capture")
    assert await till.payments.cancel(payment.reference, key="cancel") == taken


async def test_what_the_bank_is_at_stays_so_when_it_is_called_off(till: Till) -> None:
    payment = await till.payments.begin(charge("sepa"), key="begin")
    await till.transfer(payment.reference, comes=True)
    waiting = await till.payments.cancel(payment.reference, key="cancel")
    assert waiting.state is PaymentState.WAITING


async def test_money_goes_back_in_parts_and_never_more_than_came(till: Till) -> None:
    payment = await held(till)
    await till.payments.capture(payment.reference, TOTAL, key="capture")
    first = await till.payments.refund(payment.reference, PART, key="first")
    assert (first.captured, first.refunded) == (TOTAL, PART)
    with pytest.raises(PaymentRefused):
        await till.payments.refund(payment.reference, TOTAL, key="too much")
    rest = await till.payments.refund(payment.reference, TOTAL - PART, key="rest")
    assert rest.captured - rest.refunded == NOTHING
    assert rest.state is PaymentState.CAPTURED


async def test_nothing_goes_back_of_what_did_not_come(till: Till) -> None:
    payment = await held(till)
    with pytest.raises(PaymentRefused):
        await till.payments.refund(payment.reference, PART, key="refund")


async def test_the_same_key_has_its_effect_once(till: Till) -> None:
    payment = await till.payments.begin(charge(), key="begin")
    again = await till.payments.begin(charge(), key="begin")
    assert again == payment
    await till.act(payment.reference, "pay")
    assert (await till.payments.begin(charge(), key="begin")).state is PaymentState.AUTHORISED
    for _ in range(2):
        await till.payments.capture(payment.reference, TOTAL, key="capture")
    for _ in range(2):
        back = await till.payments.refund(payment.reference, PART, key="refund")
    assert (back.captured, back.refunded) == (TOTAL, PART)


async def test_the_same_key_at_the_same_moment_has_its_effect_once(till: Till) -> None:
    payment = await held(till)
    await till.payments.capture(payment.reference, TOTAL, key="capture")
    await asyncio.gather(
        *[till.payments.refund(payment.reference, PART, key="refund") for _ in range(3)]
    )
    assert (await till.payments.look(payment.reference)).refunded == PART


async def test_a_key_of_another_charge_is_refused(payments: Payments) -> None:
    await payments.begin(charge(), key="begin")
    with pytest.raises(PaymentRefused):
        await payments.begin(charge(order_id="EK-260302-BBBBBB"), key="begin")


async def test_another_key_is_another_payment(payments: Payments) -> None:
    one = await payments.begin(charge(), key="one")
    other = await payments.begin(charge(), key="other")
    assert one.reference != other.reference


async def test_after_a_lost_answer_the_repeat_finds_the_effect(till: Till) -> None:
    lossy, payments = till.losing(charge()), till.payments
    payment = await insisted(lambda: payments.begin(lossy, key="begin"))
    await till.act(payment.reference, "pay")
    await insisted(lambda: payments.capture(payment.reference, TOTAL, key="capture"))
    back = await insisted(lambda: payments.refund(payment.reference, PART, key="refund"))
    assert (back.state, back.captured, back.refunded) == (PaymentState.CAPTURED, TOTAL, PART)


async def test_a_payment_that_nobody_began_is_not_found(payments: Payments) -> None:
    with pytest.raises(NotFound):
        await payments.look("nobody")
    with pytest.raises(NotFound):
        await payments.capture("nobody", TOTAL, key="capture")


async def test_a_method_that_is_not_there_is_refused(payments: Payments) -> None:
    assert "card" in payments.methods
    with pytest.raises(PaymentRefused):
        await payments.begin(charge("cheque"), key="begin")


async def test_a_change_is_told_of_by_a_signed_notice(till: Till) -> None:
    payment = await held(till)
    (headers, body), *_ = await till.sent()
    notice = till.payments.read_notice(headers, body)
    assert notice is not None
    assert (notice.order_id, notice.reference) == (payment.order_id, payment.reference)


async def test_each_notice_has_an_id_of_its_own_and_keeps_it(till: Till) -> None:
    payment = await till.payments.begin(charge("sepa"), key="begin")
    await till.transfer(payment.reference, comes=True)
    first = await till.sent()
    await till.bank_decides(payment.reference)
    sent = [*first, *await till.sent()]
    read = [till.payments.read_notice(headers, body) for headers, body in sent]
    ids = [notice.id for notice in read if notice]
    assert len(ids) == len(set(ids)) == 2
    assert [till.payments.read_notice(headers, body) for headers, body in sent] == read


async def test_what_the_provider_did_not_sign_is_forbidden(till: Till) -> None:
    await held(till)
    (headers, body), *_ = await till.sent()
    for wrong in ({}, dict.fromkeys(headers, "t=1,v1=abc"), dict.fromkeys(headers, "ä")):
        with pytest.raises(Forbidden):
            till.payments.read_notice(wrong, body)
    with pytest.raises(Forbidden):
        till.payments.read_notice(headers, body.replace(b"EK-260302", b"EK-260303"))
    with pytest.raises(Forbidden):
        till.payments.read_notice(headers, b"\xff")


async def test_the_provider_answers(payments: Payments) -> None:
    assert await payments.ping()
