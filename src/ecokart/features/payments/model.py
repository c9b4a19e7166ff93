"""The inbox: what the provider has told us, so that what it tells twice is heard once."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from ecokart.core.records import Table

# Stripe sends a notice again for three days, and shows it for thirty.
KEPT = timedelta(days=90)


class InboxNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A notice that was taken. `id` is the provider's own."""

    id: str
    order_id: str
    kind: str
    taken_at: datetime
    expires_at: datetime


INBOX = Table("payment_inbox", InboxNotice, key="id", expires="expires_at")
