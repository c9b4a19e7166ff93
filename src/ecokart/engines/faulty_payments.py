"""Payments that fail on purpose: before a call, or after it has had its effect; and notices that come twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING

from ecokart.core.errors import Unavailable
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Notice, Payment, Payments
from ecokart.core.rehearsal import Outcome, Rehearsal, Scene, SignedNotice

if TYPE_CHECKING:
    from ecokart.engines.faulty import Chaos

# A call is over by then, answered or not.
LONGEST_CALL_SECONDS = 10.0


class FaultyPayments:
    """`Payments` whose calls fail with nothing done, or are done and their answer is lost; some hang first."""

    def __init__(self, payments: Payments, chaos: Chaos) -> None:
        self._payments, self._chaos = payments, chaos

    @property
    def methods(self) -> tuple[str, ...]:
        return self._payments.methods

    @property
    def rehearsal(self) -> Rehearsal | None:
        found = self._payments.rehearsal
        return FaultyRehearsal(found, self._chaos) if found else None

    async def begin(self, charge: Charge, *, key: str) -> Payment:
        await self._before()
        return await self._answer(self._payments.begin(charge, key=key))

    async def look(self, reference: str) -> Payment:
        await self._before()
        return await self._payments.look(reference)

    async def capture(self, reference: str, amount: Money, *, key: str) -> Payment:
        await self._before()
        return await self._answer(self._payments.capture(reference, amount, key=key))

    async def cancel(self, reference: str, *, key: str) -> Payment:
        await self._before()
        return await self._answer(self._payments.cancel(reference, key=key))

    async def refund(self, reference: str, amount: Money, *, key: str) -> Payment:
        await self._before()
        return await self._answer(self._payments.refund(reference, amount, key=key))

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice | None:
        return self._payments.read_notice(headers, body)

    async def ping(self) -> str:
        await self._before()
        return await self._payments.ping()

    async def close(self) -> None:
        await self._payments.close()

    async def _before(self) -> None:
        await self._chaos.may_delay()
        await self._may_hang()
        self._chaos.may_fail(self._chaos.faults.payment_fails, "The provider")

    async def _answer(self, call: Awaitable[Payment]) -> Payment:
        payment = await call
        if self._chaos.strikes(self._chaos.faults.payment_answer_lost):
            await self._may_hang()
            raise Unavailable("The provider's answer was lost on purpose.")
        return payment

    async def _may_hang(self) -> None:
        if self._chaos.strikes(self._chaos.faults.payment_hangs):
            await asyncio.sleep(LONGEST_CALL_SECONDS)
            raise Unavailable("The provider hung on purpose.")


class FaultyRehearsal:
    """A `Rehearsal` whose notices come in any order, and again after they were taken."""

    def __init__(self, rehearsal: Rehearsal, chaos: Chaos) -> None:
        self._rehearsal, self._chaos = rehearsal, chaos

    async def scene(self, reference: str) -> Scene:
        return await self._rehearsal.scene(reference)

    async def choose(self, reference: str, outcome: Outcome) -> Scene:
        return await self._rehearsal.choose(reference, outcome)

    async def confirm(self, reference: str, *, agreed: bool) -> Scene:
        return await self._rehearsal.confirm(reference, agreed=agreed)

    async def notices(self, *, limit: int = 20) -> list[SignedNotice]:
        due = await self._rehearsal.notices(limit=limit)
        if self._chaos.strikes(self._chaos.faults.reordered):
            self._chaos.random.shuffle(due)
        return due

    async def delivered(self, notice_id: str) -> None:
        if not self._chaos.strikes(self._chaos.faults.notice_repeated):
            await self._rehearsal.delivered(notice_id)
