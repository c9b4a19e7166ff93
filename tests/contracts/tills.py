"""Each provider of payments with its other side: what shoppers and banks do there, and what it sends.

A new engine is a new entry in `TILLS`, and the tests of the port hold it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from ecokart.core.payments import Charge, Payments
from ecokart.core.rehearsal import Outcome
from ecokart.engines.faulty import Chaos
from ecokart.engines.faulty_payments import FaultyPayments
from ecokart.engines.payments_guarded import GuardedPayments
from ecokart.engines.payments_scripted import ScriptedPayments
from ecokart.engines.payments_scripted_book import PRETEND_NOTICES, PRETEND_PAYMENTS
from ecokart.engines.records_sqlite import SqliteRecords
from tests.clock import ManualClock
from tests.stripe_fake import Fault, StripeFake, signed

Sent = tuple[dict[str, str], bytes]


class Till(Protocol):
    """A provider and its other side."""

    payments: Payments

    async def act(self, reference: str, what: str) -> None:
        """The shopper does this on the payment page: `pay`, `decline`, `secure`, `confirm`, `refuse`."""

    async def transfer(self, reference: str, *, comes: bool) -> None:
        """The shopper orders a transfer, of which the bank has yet to decide."""

    async def bank_decides(self, reference: str) -> None:
        """The transfer comes, or not."""

    async def sent(self) -> list[Sent]:
        """Every notice so far that wasn't asked for before."""
        ...

    def losing(self, charge: Charge) -> Charge:
        """From here on, the first answer to each change of this charge's payment is lost."""
        ...


class ScriptedTill:
    """The pretend provider."""

    def __init__(self, scripted: ScriptedPayments, payments: Payments, clock: ManualClock) -> None:
        self.payments = payments
        self._scripted, self._clock = scripted, clock

    async def act(self, reference: str, what: str) -> None:
        if what in ("confirm", "refuse"):
            await self._scripted.confirm(reference, agreed=what == "confirm")
        else:
            names = {"pay": Outcome.PAYS, "decline": Outcome.NO_FUNDS, "secure": Outcome.SECURE}
            await self._scripted.choose(reference, names[what])

    async def transfer(self, reference: str, *, comes: bool) -> None:
        await self._scripted.choose(reference, Outcome.SETTLES if comes else Outcome.BOUNCES)

    async def bank_decides(self, reference: str) -> None:
        self._clock.advance(minutes=1)

    async def sent(self) -> list[Sent]:
        due = await self._scripted.notices()
        for notice in due:
            await self._scripted.delivered(notice.id)
        return [(notice.headers, notice.body) for notice in due]

    def losing(self, charge: Charge) -> Charge:
        return replace(charge, email="jo+answer_lost@example.com")


class StripeTill:
    """Stripe, pretended by a server of ours."""

    def __init__(self, stripe: StripeFake, payments: Payments) -> None:
        self.payments = payments
        self._stripe = stripe
        self._comes: dict[str, bool] = {}

    async def act(self, reference: str, what: str) -> None:
        self._stripe.book.act(reference, what)

    async def transfer(self, reference: str, *, comes: bool) -> None:
        self._comes[reference] = comes
        self._stripe.book.act(reference, "transfer")

    async def bank_decides(self, reference: str) -> None:
        self._stripe.book.act(reference, "settle" if self._comes[reference] else "bounce")

    async def sent(self) -> list[Sent]:
        bodies = list(self._stripe.events)
        self._stripe.events.clear()
        return [(signed(body), body) for body in bodies]

    def losing(self, charge: Charge) -> Charge:
        self._stripe.losing = Fault.DROPPED
        return charge


@asynccontextmanager
async def open_scripted(
    folder: Path, clock: ManualClock, around: Callable[[Payments], Payments] = lambda inner: inner
) -> AsyncIterator[Till]:
    records = SqliteRecords(folder / "records", [PRETEND_PAYMENTS, PRETEND_NOTICES], clock)
    scripted = ScriptedPayments(
        "scripted:", records, clock, public_url="http://shop.example", secret="of the tests"
    )
    yield ScriptedTill(scripted, around(scripted), clock)
    await records.close()


@asynccontextmanager
async def open_stripe(folder: Path, clock: ManualClock) -> AsyncIterator[Till]:
    """Behind its circuit breaker, as the shop has it."""
    async with StripeFake() as stripe:
        payments = GuardedPayments(stripe.engine())
        yield StripeTill(stripe, payments)
        await payments.close()


TILLS: dict[str, Callable[[Path, ManualClock], AbstractAsyncContextManager[Till]]] = {
    "scripted": open_scripted,
    "faulty": lambda folder, clock: open_scripted(
        folder, clock, lambda inner: FaultyPayments(inner, Chaos(1))
    ),
    "stripe": open_stripe,
}
