"""The port by which money is taken, and what passes through it.

Card data never does: the shopper types it at the provider, at the payment's `url`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

from ecokart.core.errors import Conflict
from ecokart.core.money import Money
from ecokart.core.port import Port

if TYPE_CHECKING:
    from ecokart.core.rehearsal import Rehearsal


class PaymentRefused(Conflict):
    """The payment was refused.

    The detail is the provider's word for why. Asking again doesn't help.
    """


class PaymentState(StrEnum):
    """Where a payment stands at its provider."""

    OPEN = "OPEN"  # the shopper has to act, at `url`
    WAITING = "WAITING"  # the bank is at it; a notice will come
    AUTHORISED = "AUTHORISED"  # the money is held for us
    CAPTURED = "CAPTURED"  # the money is ours, less what was refunded
    FAILED = "FAILED"  # for good: nothing is held
    CANCELLED = "CANCELLED"  # called off: nothing is held


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What a shopper is to pay. `method` is one of the provider's `methods`, `language` de or en.

    After acting at the provider the browser comes back to `return_url`.
    """

    order_id: str
    amount: Money
    method: str
    email: str
    language: str
    return_url: str


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as its provider has it now. `reference` names it there.

    `captured` counts what was taken in all, `refunded` what of it went back. `url` is where the shopper
    acts while it is OPEN; `reason` is the provider's word for why it failed, or the last try of it did.
    """

    reference: str
    order_id: str
    state: PaymentState
    amount: Money
    captured: Money
    refunded: Money
    url: str = ""
    reason: str = ""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's word that something about an order's payment has changed.

    `id` is its own, and repeats when the notice does. `reference` is what it is about: the payment, or a
    part of it. What has changed says `Payments.look`.
    """

    id: str
    reference: str
    order_id: str
    kind: str


class Payments(Port, Protocol):
    """Takes money by a provider. Amounts are gross, in the order's currency.

    Every call that changes something carries a `key`: the same key has its effect once, and a repeat is
    answered with the payment as it is by then, whatever became of the first answer. So a call that
    raised `Unavailable`, which may have had its effect, is repeated with its key. A key is for one thing:
    another charge under it is refused. A call is over within ten seconds.
    """

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that can be chosen, the most usual first; none where nothing is set up."""
        ...

    @property
    def rehearsal(self) -> Rehearsal | None:
        """The other side of a pretend provider; None where the provider is a real one."""
        ...

    async def begin(self, charge: Charge, *, key: str) -> Payment:
        """Open a payment. Raises `PaymentRefused` if the provider won't have it."""
        ...

    async def look(self, reference: str) -> Payment:
        """The payment as it is now. Raises `NotFound`."""
        ...

    async def capture(self, reference: str, amount: Money, *, key: str) -> Payment:
        """Take the amount, at most what is held. What was captured already is answered as it is.

        Raises `PaymentRefused` if it can't be taken any more.
        """
        ...

    async def cancel(self, reference: str, *, key: str) -> Payment:
        """Let go of what is held, and let nobody pay any more. One that is WAITING or over stays so."""
        ...

    async def refund(self, reference: str, amount: Money, *, key: str) -> Payment:
        """Give back a part of what was captured, or all. Raises `PaymentRefused` for more than is left."""
        ...

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice | None:
        """The notice in a request of the provider, whose header names are in lower case.

        None if it isn't about a payment of ours; raises `Forbidden` if the provider didn't sign it.
        """
        ...
