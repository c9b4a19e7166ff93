"""Faulty payments: a call that failed did nothing, one whose answer was lost did it, notices come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ecokart.core.errors import Unavailable
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Payment, PaymentState
from ecokart.core.rehearsal import Outcome
from ecokart.engines.faulty import Chaos, Faults
from ecokart.engines.faulty_payments import FaultyPayments
from ecokart.engines.payments_scripted import ScriptedPayments
from ecokart.engines.payments_scripted_book import PRETEND_NOTICES, PRETEND_PAYMENTS
from ecokart.engines.records_sqlite import SqliteRecords
from tests.clock import ManualClock

TOTAL = Money(1990)


@pytest.fixture
async def sound(tmp_path: Path, clock: ManualClock) -> AsyncIterator[ScriptedPayments]:
    records = SqliteRecords(tmp_path / "records", [PRETEND_PAYMENTS, PRETEND_NOTICES], clock)
    yield ScriptedPayments("scripted:", records, clock, public_url="", secret="of the tests")
    await records.close()


@pytest.fixture
def chaos() -> Chaos:
    return Chaos(7)


@pytest.fixture
async def held(sound: ScriptedPayments) -> Payment:
    """A payment whose money is held."""
    charge = Charge(
        order_id="EK-1",
        amount=TOTAL,
        method="card",
        email="jo@example.com",
        language="en",
        return_url="/",
    )
    payment = await sound.begin(charge, key="begin")
    scene = await sound.choose(payment.reference, Outcome.PAYS)
    assert scene.payment.state is PaymentState.AUTHORISED
    return payment


async def test_a_call_that_fails_did_nothing(
    sound: ScriptedPayments, chaos: Chaos, held: Payment
) -> None:
    chaos.faults = Faults(payment_fails=1)
    with pytest.raises(Unavailable):
        await FaultyPayments(sound, chaos).capture(held.reference, TOTAL, key="capture")
    assert (await sound.look(held.reference)).state is PaymentState.AUTHORISED


async def test_a_call_whose_answer_is_lost_was_done_and_its_repeat_finds_it(
    sound: ScriptedPayments, chaos: Chaos, held: Payment
) -> None:
    unsound = FaultyPayments(sound, chaos)
    chaos.faults = Faults(payment_answer_lost=1)
    with pytest.raises(Unavailable):
        await unsound.capture(held.reference, TOTAL, key="capture")
    chaos.faults = Faults()
    assert (await unsound.capture(held.reference, TOTAL, key="capture")).captured == TOTAL


async def test_a_call_can_hang(sound: ScriptedPayments, chaos: Chaos, held: Payment) -> None:
    chaos.faults = Faults(payment_hangs=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await FaultyPayments(sound, chaos).look(held.reference)


async def test_a_notice_that_was_taken_can_come_again(
    sound: ScriptedPayments, chaos: Chaos, held: Payment
) -> None:
    rehearsal = FaultyPayments(sound, chaos).rehearsal
    assert rehearsal
    (notice,) = await rehearsal.notices()
    chaos.faults = Faults(notice_repeated=1)
    await rehearsal.delivered(notice.id)
    assert [again.id for again in await rehearsal.notices()] == [notice.id]
    chaos.faults = Faults()
    await rehearsal.delivered(notice.id)
    assert await rehearsal.notices() == []
