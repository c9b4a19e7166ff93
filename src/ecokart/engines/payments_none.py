"""No provider of payments: the shop sells by invoice and prepayment alone."""

from __future__ import annotations

from collections.abc import Mapping

from ecokart.core.errors import Forbidden, NotFound
from ecokart.core.money import Money
from ecokart.core.payments import Charge, Notice, Payment, PaymentRefused
from ecokart.core.rehearsal import Rehearsal


class NoPayments:
    """`Payments` where nothing is set up: no method can be chosen, and no payment is there."""

    @property
    def methods(self) -> tuple[str, ...]:
        return ()

    @property
    def rehearsal(self) -> Rehearsal | None:
        return None

    async def begin(self, charge: Charge, *, key: str) -> Payment:
        raise PaymentRefused("No provider of payments is set up.")

    async def look(self, reference: str) -> Payment:
        raise NotFound(f"No provider of payments is set up that could know {reference}.")

    async def capture(self, reference: str, amount: Money, *, key: str) -> Payment:
        return await self.look(reference)

    async def cancel(self, reference: str, *, key: str) -> Payment:
        return await self.look(reference)

    async def refund(self, reference: str, amount: Money, *, key: str) -> Payment:
        return await self.look(reference)

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice | None:
        raise Forbidden("No provider of payments is set up.")

    async def ping(self) -> str:
        return "none"

    async def close(self) -> None:
        """Nothing is held."""
