"""The circuit breaker: a provider that is away is left alone, and asked again by one call at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ecokart.core.errors import NotFound, Unavailable
from ecokart.engines.payments_guarded import GuardedPayments
from tests.stripe_fake import StripeFake

AWAY_SECONDS = 0.2


@pytest.fixture
async def stripe() -> AsyncIterator[StripeFake]:
    async with StripeFake() as stripe:
        yield stripe


@pytest.fixture
async def payments(stripe: StripeFake) -> AsyncIterator[GuardedPayments]:
    payments = GuardedPayments(stripe.engine(), failures=3, away_seconds=AWAY_SECONDS)
    yield payments
    await payments.close()


async def fail(stripe: StripeFake, payments: GuardedPayments, times: int) -> None:
    stripe.away = True
    for _ in range(times):
        with pytest.raises(Unavailable):
            await payments.look("cs_test_1")


async def set_aside(payments: GuardedPayments) -> bool:
    try:
        await payments.look("cs_test_1")
    except Unavailable as error:
        return "set aside" in str(error)
    except NotFound:
        pass
    return False


async def test_after_some_failures_nobody_asks_any_more(
    stripe: StripeFake, payments: GuardedPayments
) -> None:
    await fail(stripe, payments, 3)
    asked = len(stripe.calls)
    assert await set_aside(payments)
    with pytest.raises(Unavailable, match="503"):  # and it is said why
        await payments.ping()
    assert len(stripe.calls) == asked


async def test_a_success_in_between_begins_the_count_anew(
    stripe: StripeFake, payments: GuardedPayments
) -> None:
    await fail(stripe, payments, 2)
    stripe.away = False
    assert not await set_aside(payments)
    await fail(stripe, payments, 2)
    assert not await set_aside(payments)


async def test_a_refusal_is_an_answer(stripe: StripeFake, payments: GuardedPayments) -> None:
    for _ in range(5):
        with pytest.raises(NotFound):
            await payments.look("cs_test_1")


async def test_once_it_is_back_the_calls_go_through_again(
    stripe: StripeFake, payments: GuardedPayments
) -> None:
    await fail(stripe, payments, 3)
    stripe.away = False
    async with asyncio.timeout(10):
        while await set_aside(payments):
            await asyncio.sleep(0.01)
    assert not await set_aside(payments)


async def test_one_call_at_a_time_finds_out_whether_it_is_back(
    stripe: StripeFake, payments: GuardedPayments
) -> None:
    await fail(stripe, payments, 3)
    asked = len(stripe.calls)
    async with asyncio.timeout(10):
        while len(stripe.calls) == asked:
            told = await asyncio.gather(*[set_aside(payments) for _ in range(10)])
            await asyncio.sleep(0.01)
    assert told.count(True) == 9
    assert await set_aside(payments)  # for another while
