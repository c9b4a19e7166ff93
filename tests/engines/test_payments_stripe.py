"""Stripe, where it is more than the port says: what is asked of it, and what becomes of its failures."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from ecokart.core.errors import Forbidden, Unavailable
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Payment, PaymentRefused, PaymentState
from ecokart.engines.payments_stripe import StripePayments
from tests.stripe_fake import SECRET_KEY, Fault, StripeFake, signed

TOTAL = Money(4980)
CHARGE = Charge(
    order_id="EK-260302-AAAAAA",
    amount=TOTAL,
    method="card",
    email="jo@example.com",
    language="de",
    return_url="http://shop.example/returned",
)


@pytest.fixture
async def stripe() -> AsyncIterator[StripeFake]:
    async with StripeFake() as stripe:
        yield stripe


@pytest.fixture
async def payments(stripe: StripeFake) -> AsyncIterator[StripePayments]:
    payments = stripe.engine("card,sepa,twint", timeout_seconds=0.3)
    yield payments
    await payments.close()


async def held(stripe: StripeFake, payments: StripePayments) -> Payment:
    payment = await payments.begin(CHARGE, key="begin")
    stripe.book.act(payment.reference, "pay")
    return payment


async def test_the_key_of_a_call_is_its_idempotency_key(
    stripe: StripeFake, payments: StripePayments
) -> None:
    payment = await held(stripe, payments)
    await payments.capture(payment.reference, TOTAL, key="event-1")
    await payments.refund(payment.reference, TOTAL, key="event-2")
    assert stripe.keys == ["begin", "event-1", "event-2"]


@pytest.mark.parametrize(
    ("method", "capture"), [("card", "manual"), ("sepa", "automatic"), ("twint", "automatic")]
)
async def test_money_is_held_where_the_method_can(
    stripe: StripeFake, payments: StripePayments, method: str, capture: str
) -> None:
    payment = await payments.begin(replace(CHARGE, method=method), key="begin")
    assert stripe.book.sessions[payment.reference]["capture_method"] == capture


async def test_a_buyer_without_an_address_can_pay(payments: StripePayments) -> None:
    payment = await payments.begin(replace(CHARGE, email=""), key="begin")
    assert payment.state is PaymentState.OPEN


async def test_an_answer_that_never_comes_is_asked_for_again(
    stripe: StripeFake, payments: StripePayments
) -> None:
    payment = await held(stripe, payments)
    stripe.faults.append(Fault.HUNG)
    taken = await payments.capture(payment.reference, TOTAL, key="capture")
    assert taken.captured == TOTAL
    assert stripe.keys[-2:] == ["capture", "capture"]


async def test_a_key_that_is_in_use_elsewhere_is_tried_again(
    stripe: StripeFake, payments: StripePayments
) -> None:
    stripe.faults.append(Fault.IN_USE)
    assert (await payments.begin(CHARGE, key="begin")).state is PaymentState.OPEN
    assert stripe.keys == ["begin", "begin"]


async def test_who_says_nothing_at_all_is_unavailable_in_time(
    stripe: StripeFake, payments: StripePayments
) -> None:
    stripe.silent = True
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await payments.begin(CHARGE, key="begin")
    assert time.monotonic() - began < 5


async def test_a_failure_that_is_kept_under_the_key_is_not_for_ever(
    stripe: StripeFake, payments: StripePayments
) -> None:
    payment = await held(stripe, payments)
    stripe.faults.append(Fault.BROKEN)
    with pytest.raises(Unavailable):
        await payments.capture(payment.reference, TOTAL, key="capture")
    taken = await payments.capture(payment.reference, TOTAL, key="capture")
    assert taken.captured == TOTAL
    assert stripe.keys[-3:] == ["capture", "capture", "capture:1"]


async def test_a_refund_whose_key_is_forgotten_is_found_all_the_same(
    stripe: StripeFake, payments: StripePayments
) -> None:
    payment = await held(stripe, payments)
    await payments.capture(payment.reference, TOTAL, key="capture")
    await payments.refund(payment.reference, Money(500), key="refund")
    stripe.forget_keys()  # a day later
    back = await payments.refund(payment.reference, Money(500), key="refund")
    assert back.refunded == Money(500)


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.BUSY])
async def test_its_own_failure_is_unavailable(
    stripe: StripeFake, payments: StripePayments, fault: Fault
) -> None:
    stripe.faults.append(fault)
    with pytest.raises(Unavailable):
        await payments.begin(CHARGE, key="begin")


async def test_nobody_listens_is_unavailable() -> None:
    async with StripeFake() as stripe:
        payments = stripe.engine()
    with pytest.raises(Unavailable):
        await payments.begin(CHARGE, key="begin")
    await payments.close()


async def test_a_key_that_stripe_refuses_loses_no_order(stripe: StripeFake) -> None:
    payments = StripePayments(
        f"stripe:?api_base={stripe.url}", secret_key="sk_test_wrong", webhook_secrets=("whsec",)
    )
    with pytest.raises(Unavailable, match="key") as refused:
        await payments.begin(CHARGE, key="begin")
    assert "sk_test_wrong" not in str(refused.value)
    await payments.close()


async def test_who_pays_at_the_moment_it_is_called_off_gets_the_money_back(
    stripe: StripeFake, payments: StripePayments
) -> None:
    payment = await payments.begin(CHARGE, key="begin")

    def pay_first(call: str) -> None:
        if call.endswith("/expire"):
            stripe.book.act(payment.reference, "pay")

    stripe.meanwhile = pay_first
    gone = await payments.cancel(payment.reference, key="cancel")
    assert gone.state is PaymentState.CANCELLED
    (intent,) = stripe.book.intents.values()
    assert intent["status"] == "canceled"


async def test_an_event_that_is_about_no_payment_of_ours_is_none(payments: StripePayments) -> None:
    for about in ({"object": "balance"}, {"id": "cs_1", "metadata": {}}, {"metadata": None}):
        event = {"id": "evt_1", "type": "balance.available", "data": {"object": about}}
        body = json.dumps(event).encode()
        assert payments.read_notice(signed(body), body) is None


async def test_any_of_the_secrets_may_have_signed_and_five_minutes_ago_at_most(
    stripe: StripeFake, payments: StripePayments
) -> None:
    await held(stripe, payments)
    (body,) = stripe.events
    now = int(time.time())
    assert payments.read_notice(signed(body, "whsec_of_yesterday"), body)
    assert payments.read_notice(signed(body, at=now - 290), body)
    for headers in (signed(body, at=now - 310), signed(body, "whsec_of_others")):
        with pytest.raises(Forbidden):
            payments.read_notice(headers, body)


async def test_being_asked_how_it_is_asks_stripe_once_a_minute(
    stripe: StripeFake, payments: StripePayments
) -> None:
    for _ in range(3):
        assert (await payments.ping()).startswith("Stripe 20")
    assert stripe.calls == ["GET checkout/sessions"]


async def test_a_method_that_is_not_switched_on_is_refused(payments: StripePayments) -> None:
    with pytest.raises(PaymentRefused):
        await payments.begin(replace(CHARGE, method="klarna"), key="begin")


@pytest.mark.parametrize("query", ["methods=cheque", "methods=", "method=card", "nonsense"])
def test_a_url_that_makes_no_sense_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        StripePayments(f"stripe:?{query}", secret_key=SECRET_KEY, webhook_secrets=("whsec",))
