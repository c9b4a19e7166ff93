"""What a guest brings along when they sign in. Accounts don't know what it is; `app.py` does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact


class AtSignIn(msgspec.Struct, frozen=True):
    """Run in a transaction with the owner that the guest was and the owner they are now."""

    run: Callable[[Transaction, str, str], Awaitable[object]]


async def bring_along(
    ports: Ports, at_sign_in: AtSignIn, guest_id: str | None, customer_id: str
) -> None:
    """Hand what was the guest's to the customer. Nobody's guest brings nothing."""
    if guest_id:
        await transact(ports, at_sign_in.run, f"guest:{guest_id}", customer_id)
