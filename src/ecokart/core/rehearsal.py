"""What a pretend provider of payments has beside its port, so that every outcome can be tried.

It has no servers of its own: the shop shows its payment page, and fetches its notices.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

from ecokart.core.payments import Charge, Payment


class Outcome(StrEnum):
    """How a pretend payment goes. The shopper chooses on the payment page, or `Charge.email` does."""

    PAYS = "pays"
    SECURE = "secure"  # 3-D Secure: the shopper confirms it to the bank first, or refuses
    NO_FUNDS = "no_funds"  # declined; the shopper may try another card
    EXPIRED = "expired"  # declined, likewise
    REFUSED = "refused"  # nobody is let pay: `begin` is refused already
    SETTLES = "settles"  # a bank transfer that comes in later
    BOUNCES = "bounces"  # a bank transfer that fails later
    ANSWER_LOST = "answer_lost"  # every call has its effect, and the first answer to it is lost
    NOTICE_LATE = "notice_late"  # pays; the notice comes late, and twice
    NOTICE_LOST = "notice_lost"  # pays; no notice ever comes
    VANISHES = "vanishes"  # pays, and the browser never comes back
    CAPTURE_REFUSED = "capture_refused"  # pays; taking the money is refused
    REFUND_REFUSED = "refund_refused"  # pays; giving it back is refused


class Scene(msgspec.Struct, frozen=True):
    """The payment page: what is to be paid, and whether the bank is asking (3-D Secure)."""

    charge: Charge
    payment: Payment
    asking: bool


class SignedNotice(msgspec.Struct, frozen=True):
    """A request by which the provider would tell of a change."""

    id: str
    headers: dict[str, str]
    body: bytes


class Rehearsal(Protocol):
    """The pretend provider's own side."""

    async def scene(self, reference: str) -> Scene:
        """What the payment page shows. Raises `NotFound`."""
        ...

    async def choose(self, reference: str, outcome: Outcome) -> Scene:
        """The shopper pays with the test card of that outcome. Without effect once it is paid or over."""
        ...

    async def confirm(self, reference: str, *, agreed: bool) -> Scene:
        """The shopper answers the bank's question."""
        ...

    async def notices(self, *, limit: int = 20) -> list[SignedNotice]:
        """Notices that are due, the oldest first, until they are `delivered`."""
        ...

    async def delivered(self, notice_id: str) -> None:
        """The shop has taken the notice. Saying so twice is harmless."""
        ...
