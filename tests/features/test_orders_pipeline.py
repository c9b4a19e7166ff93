"""From order to parcel: every way an order can go, and the races on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ecokart.core.errors import Unavailable
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Payment, Payments, PaymentState
from ecokart.core.rehearsal import Outcome
from ecokart.core.transaction import transact
from ecokart.features.orders import office, paying, pipeline, service
from ecokart.features.orders.events import OrderPlaced
from ecokart.features.orders.model import (
    Awaited,
    Method,
    Order,
    OrderMoved,
    Reason,
    Shipment,
    Stage,
    TooLateToCancel,
)
from tests.clock import ManualClock
from tests.features.till import PIECES, TOTAL, Till

HELD = [Method.CARD, Method.PAYPAL, Method.KLARNA]
TAKEN_AT_ONCE = [Method.SEPA, Method.TWINT]


class Provider:
    """The pretend provider with somebody in between: before and after a call of that name, something happens."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self.calls: list[str] = []
        self.before: dict[str, Callable[[], Awaitable[Any]]] = {}
        self.after: dict[str, Callable[[], Awaitable[Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._payments, name)

    async def begin(self, charge: Charge, *, key: str) -> Payment:
        return await self._through("begin", self._payments.begin(charge, key=key))

    async def look(self, reference: str) -> Payment:
        return await self._through("look", self._payments.look(reference))

    async def capture(self, reference: str, amount: Money, *, key: str) -> Payment:
        return await self._through("capture", self._payments.capture(reference, amount, key=key))

    async def cancel(self, reference: str, *, key: str) -> Payment:
        return await self._through("cancel", self._payments.cancel(reference, key=key))

    async def refund(self, reference: str, amount: Money, *, key: str) -> Payment:
        return await self._through("refund", self._payments.refund(reference, amount, key=key))

    async def _through(self, name: str, call: Awaitable[Payment]) -> Payment:
        self.calls.append(name)
        if meanwhile := self.before.get(name):
            try:
                await meanwhile()
            except Unavailable:
                asyncio.ensure_future(call).cancel()
                raise
        payment = await call
        if meanwhile := self.after.get(name):
            await meanwhile()
        return payment


async def _away() -> None:
    raise Unavailable("The provider is away.")


@pytest.fixture
async def provider() -> list[Provider]:
    return []


@pytest.fixture(params=["automatic"])
async def till(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, provider: list[Provider]
) -> AsyncIterator[Till]:
    def through(payments: Payments) -> Payments:
        provider.append(Provider(payments))
        return provider[0]

    till = Till(tmp_path, clock, request.param, through)
    await till.open()
    yield till
    await till.close()


by_people = pytest.mark.parametrize("till", ["office"], indirect=True)


async def _cancel(till: Till, order: Order) -> Order:
    return await transact(till.ports, service.cancel, order.owner, order.id)


# The straight way.


async def test_an_invoice_goes_with_the_parcel(till: Till) -> None:
    order = await till.place()
    await till.work()
    done = await till.order(order)
    assert done.stage is Stage.COMPLETED
    assert [step.stage for step in done.steps] == list(Stage)[:6]
    assert (done.awaits, done.owed) == (Awaited.INVOICE, TOTAL)
    assert await till.facts(order) == [
        "order.placed", "order.processing", "order.picked", "order.captured", "order.shipped", "order.completed"
    ]  # fmt: skip


@pytest.mark.parametrize("method", HELD + TAKEN_AT_ONCE)
async def test_what_is_paid_online_is_sent(till: Till, method: Method) -> None:
    order = await till.place(method, "pays")
    await till.work()
    done, payment = await till.order(order), await till.payment(order)
    assert done.stage is Stage.COMPLETED
    assert done.payment.captured == payment.captured == TOTAL
    assert done.awaits is None


async def test_who_has_to_act_is_told_where(till: Till) -> None:
    order = await till.place(Method.CARD)
    await till.work()
    waiting = await till.order(order)
    assert (waiting.stage, waiting.awaits) == (Stage.PLACED, Awaited.PAYMENT)
    assert waiting.payment.reference in waiting.payment.url


async def test_a_transfer_is_waited_for_and_may_come_in_parts(till: Till) -> None:
    order = await till.place(Method.PREPAYMENT)
    await till.work()
    await till.act(office.receive, order, Money(2000), till.terms)
    assert (await till.order(order)).stage is Stage.PLACED
    await till.act(office.receive, order, Money(500), till.terms)
    done = await till.order(order)
    assert (done.stage, done.payment.captured) == (Stage.COMPLETED, Money(2500))
    assert done.refundable == Money(2500)


@by_people
async def test_people_pack_and_ship(till: Till) -> None:
    order = await till.place(Method.CARD, "pays")
    await till.work()
    assert (await till.payment(order)).state is PaymentState.AUTHORISED
    await till.act(office.pack, order, till.terms)
    await till.work()
    assert (await till.order(order)).stage is Stage.CAPTURED
    parcel = Shipment(carrier="DHL", tracking="00340", url="https://example.com/00340")
    await till.act(office.ship, order, parcel, till.terms)
    done = await till.order(order)
    assert (done.stage, done.shipment) == (Stage.COMPLETED, parcel)


@by_people
async def test_an_order_that_moved_meanwhile_is_looked_at_again(till: Till) -> None:
    order = await till.place()
    await till.work()
    seen = (await till.order(order)).facts
    await transact(till.ports, office.pack, order.id, seen, till.terms)
    with pytest.raises(OrderMoved):
        await transact(till.ports, office.receive, order.id, seen, TOTAL, till.terms)
    with pytest.raises(OrderMoved):
        await transact(till.ports, office.ship, order.id, seen, Shipment(), till.terms)
    with pytest.raises(OrderMoved):
        await till.act(office.pack, order, till.terms)


@by_people
async def test_where_the_shop_packs_by_itself_again_what_stands_goes_on(till: Till) -> None:
    order = await till.place()
    await till.work()
    assert (await till.order(order)).stage is Stage.AUTHORISED
    by_itself = Till(till.folder, till.clock)
    await by_itself.work(minutes=2)
    assert (await till.order(order)).stage is Stage.COMPLETED
    await by_itself.ports.close()


# What goes wrong.


@pytest.mark.parametrize(
    ("outcome", "word"),
    [("refused", "do_not_honor"), ("no_funds", "insufficient_funds"), ("expired", "expired_card")],
)
async def test_what_is_refused_is_undone(till: Till, outcome: str, word: str) -> None:
    order = await till.place(Method.CARD, outcome)
    await till.work()
    over = await till.order(order)
    assert (over.stage, over.awaits) == (Stage.FAILED, None)
    (why,) = [fact for fact in await till.stated(order) if fact["name"] == "order.failed"]
    assert (why["reason"], why["note"]) == (Reason.REFUSED, word)
    assert await till.available() == PIECES


async def test_money_that_cannot_be_taken_lets_no_parcel_go(till: Till) -> None:
    order = await till.place(Method.CARD, "capture_refused")
    await till.work()
    over = await till.order(order)
    assert over.stage is Stage.FAILED
    assert (await till.payment(order)).state is PaymentState.CANCELLED
    assert over.awaits is None
    assert "order.shipped" not in await till.facts(order)


@pytest.mark.parametrize("method", HELD + TAKEN_AT_ONCE)
async def test_answers_that_are_lost_charge_nobody_twice(till: Till, method: Method) -> None:
    order = await till.place(method, "answer_lost")
    await till.work()
    await till.until_idle()
    assert (await till.order(order)).stage is Stage.COMPLETED
    assert (await till.payment(order)).captured == TOTAL


async def test_a_direct_debit_is_waited_for_even_if_no_notice_comes(till: Till) -> None:
    order = await till.place(Method.SEPA, "settles")
    await till.work()
    waiting = await till.order(order)
    assert (waiting.stage, waiting.awaits) == (Stage.PLACED, Awaited.BANK)
    for notice in await till.provider.rehearsal.notices():  # type: ignore[union-attr]
        await till.provider.rehearsal.delivered(notice.id)  # type: ignore[union-attr]
    await till.work(days=1, seconds=1)
    assert (await till.order(order)).stage is Stage.COMPLETED


async def test_a_direct_debit_that_bounces_is_undone(till: Till) -> None:
    order = await till.place(Method.SEPA, "bounces")
    await till.work()
    await till.work(minutes=2)
    assert (await till.order(order)).stage is Stage.FAILED


async def test_nobody_pays(till: Till) -> None:
    order = await till.place(Method.CARD)
    await till.work()
    await till.work(hours=2, minutes=1)
    over = await till.order(order)
    assert (over.stage, over.awaits) == (Stage.CANCELLED, None)
    assert (await till.payment(order)).state is PaymentState.CANCELLED


async def test_who_paid_and_never_came_back_is_served(till: Till) -> None:
    order = await till.place(Method.CARD)
    await till.work()
    reference = (await till.order(order)).payment.reference
    await till.provider.rehearsal.choose(reference, Outcome.NOTICE_LOST)  # type: ignore[union-attr]
    await till.work()
    assert (await till.order(order)).stage is Stage.PLACED
    await till.work(hours=2, minutes=1)
    assert (await till.order(order)).stage is Stage.COMPLETED


async def test_while_the_provider_is_away_the_payment_follows(
    till: Till, provider: list[Provider]
) -> None:
    provider[0].before["begin"] = _away
    order = await till.place(Method.CARD)
    for _ in range(30):
        await till.work(hours=1)
    assert (await till.order(order)).stage is Stage.PLACED
    del provider[0].before["begin"]
    await till.work(minutes=10)
    found = await till.order(order)
    assert (found.stage, found.awaits) == (Stage.PLACED, Awaited.PAYMENT)
    assert found.payment.url
    assert found.due_at == till.clock.now() + service.PAYMENT_DUE


async def test_a_provider_that_is_away_for_three_days_loses_the_order(
    till: Till, provider: list[Provider]
) -> None:
    provider[0].before["begin"] = _away
    order = await till.place(Method.CARD)
    for _ in range(74):
        await till.work(hours=1)
    over = await till.order(order)
    assert (over.stage, over.awaits) == (Stage.CANCELLED, Awaited.RELEASE)
    provider[0].before.clear()
    await till.work(hours=4)
    assert (await till.order(order)).awaits is None


async def test_a_capture_whose_answers_were_all_lost_is_given_back(
    till: Till, provider: list[Provider]
) -> None:
    provider[0].after["capture"] = _away
    order = await till.place(Method.CARD, "notice_lost")
    await till.work()
    for _ in range(60):
        await till.work(minutes=6)
    over, payment = await till.order(order), await till.payment(order)
    assert over.stage is Stage.FAILED
    assert payment.captured == payment.refunded == over.payment.refunded == TOTAL
    assert not (await till.ports.queue.dead()).values


# Races.


async def test_called_off_before_the_provider_has_answered(
    till: Till, provider: list[Provider]
) -> None:
    order = await till.place(Method.CARD, "pays")
    provider[0].after["begin"] = lambda: _once(provider[0].after, "begin", _cancel(till, order))
    await till.work()
    over = await till.order(order)
    assert (over.stage, over.awaits) == (Stage.CANCELLED, None)
    assert (await till.payment(order)).state is PaymentState.CANCELLED


async def test_called_off_while_the_answer_to_opening_it_is_lost(
    till: Till, provider: list[Provider]
) -> None:
    order = await till.place(Method.TWINT, "pays")

    async def lost() -> None:
        await _once(provider[0].after, "begin", _cancel(till, order))
        await _away()

    provider[0].after["begin"] = lost
    await till.work()
    await till.until_idle()
    over, payment = await till.order(order), await till.payment(order)
    assert (over.stage, over.awaits) == (Stage.CANCELLED, None)
    assert payment.captured == payment.refunded == TOTAL


async def test_called_off_at_the_moment_it_is_paid(till: Till) -> None:
    order = await till.place(Method.CARD)
    await till.work()
    reference = (await till.order(order)).payment.reference
    await till.provider.rehearsal.choose(reference, Outcome.PAYS)  # type: ignore[union-attr]
    await _cancel(till, order)
    await till.work()
    assert (await till.payment(order)).state is PaymentState.CANCELLED
    assert (await till.order(order)).stage is Stage.CANCELLED


async def test_a_notice_before_the_answer_was_stored(till: Till, provider: list[Provider]) -> None:
    order = await till.place(Method.CARD, "pays")
    provider[0].after["begin"] = lambda: _once(
        provider[0].after, "begin", paying.follow(till.ports, order.id)
    )
    await till.work()
    assert (await till.order(order)).stage is Stage.COMPLETED
    assert (await till.facts(order)).count("payment.begun") == 1


async def test_everybody_follows_at_once(till: Till) -> None:
    order = await till.place(Method.CARD)
    await till.work()
    reference = (await till.order(order)).payment.reference
    await till.provider.rehearsal.choose(reference, Outcome.NOTICE_LATE)  # type: ignore[union-attr]
    await asyncio.gather(*[paying.follow(till.ports, order.id) for _ in range(8)])
    await till.work()
    await till.work(minutes=3)
    facts = await till.facts(order)
    assert len(facts) == len(set(facts))
    assert facts[-1] == "order.completed"


@by_people
async def test_called_off_while_the_money_is_being_taken(
    till: Till, provider: list[Provider]
) -> None:
    order = await till.place(Method.CARD, "pays")
    await till.work()
    await till.act(office.pack, order, till.terms)
    provider[0].after["capture"] = lambda: _once(
        provider[0].after, "capture", till.act(office.call_off, order, "sold out")
    )
    await till.work()
    over, payment = await till.order(order), await till.payment(order)
    assert (over.stage, over.awaits) == (Stage.CANCELLED, None)
    assert payment.captured == payment.refunded == TOTAL


@by_people
async def test_a_notice_of_the_capture_before_its_answer(
    till: Till, provider: list[Provider]
) -> None:
    order = await till.place(Method.CARD, "pays")
    await till.work()
    await till.act(office.pack, order, till.terms)
    provider[0].after["capture"] = lambda: _once(
        provider[0].after, "capture", paying.follow(till.ports, order.id)
    )
    await till.work()
    assert (await till.order(order)).stage is Stage.CAPTURED
    assert (await till.facts(order)).count("order.captured") == 1


@by_people
async def test_a_hold_that_is_gone_keeps_the_parcel_here(till: Till) -> None:
    order = await till.place(Method.CARD, "pays")
    await till.work()
    reference = (await till.order(order)).payment.reference
    await till.provider.cancel(reference, key="by hand")
    await till.work(seconds=6)
    assert (await till.order(order)).stage is Stage.FAILED


async def test_a_debit_that_is_taken_back_after_the_parcel_went_is_owed_again(
    till: Till, provider: list[Provider]
) -> None:
    order = await till.place(Method.SEPA, "pays")
    await till.work()

    async def bounced(reference: str) -> Payment:
        return replace(
            await till.provider.look(reference), state=PaymentState.FAILED, reason="dispute"
        )

    provider[0].look = bounced  # type: ignore[method-assign]
    for _ in range(2):
        await paying.follow(till.ports, order.id)
    owing = await till.order(order)
    assert (owing.stage, owing.awaits, owing.owed) == (Stage.COMPLETED, Awaited.INVOICE, TOTAL)
    await till.act(office.receive, order, TOTAL, till.terms)
    await paying.follow(till.ports, order.id)
    paid = await till.order(order)
    assert (paid.awaits, paid.payment.captured) == (None, TOTAL)
    assert (await till.facts(order)).count("payment.reversed") == 1


@by_people
async def test_its_buyer_calls_an_order_off_until_it_is_packed(till: Till) -> None:
    order, packed = await till.place(), await till.place()
    await till.work()
    await till.act(office.pack, packed, till.terms)
    await _cancel(till, order)
    with pytest.raises(TooLateToCancel):
        await _cancel(till, packed)
    assert (await till.order(order)).stage is Stage.CANCELLED
    assert (await till.order(packed)).stage is Stage.CAPTURED


async def test_what_has_been_packed_by_itself_is_not_called_off_by_its_buyer(till: Till) -> None:
    order = await till.place()
    await till.work()
    with pytest.raises(TooLateToCancel):
        await _cancel(till, order)


async def test_a_step_of_our_own_that_fails_for_good_is_undone(till: Till) -> None:
    order = await till.place()
    event = OrderPlaced(order_id=order.id)
    await pipeline.give_up_beginning(till.ports, event, "ValueError: broken")
    await till.work()
    over = await till.order(order)
    assert (over.stage, await till.available()) == (Stage.FAILED, PIECES)


async def _once(when: dict[str, Any], name: str, action: Awaitable[Any]) -> None:
    """Let it happen at the first call of that name alone."""
    del when[name]
    await action
