"""What the provider of payments tells us."""

from __future__ import annotations

from ecokart.core.events import Event


class PaymentNoticed(Event, frozen=True, kw_only=True, tag="payment.noticed"):
    """The provider says that something about an order's payment has changed. What it is, looking tells."""

    order_id: str
    reference: str
    kind: str
