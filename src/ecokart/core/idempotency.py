"""The mark a request leaves in the commit of its effect, so that sending it again answers the same.

By the manners of the `Idempotency-Key` header (IETF draft-ietf-httpapi-idempotency-key-header).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from ecokart.core.errors import Conflict, Invalid
from ecokart.core.records import Table
from ecokart.core.transaction import Transaction

KEPT = timedelta(hours=24)


class IdempotencyKeyReused(Invalid):
    """This Idempotency-Key was used for another request."""


class IdempotencyKeyInUse(Conflict):
    """The first request with this Idempotency-Key is still running."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a request was, and what it was answered."""

    id: str
    fingerprint: str
    status: int
    answer: msgspec.Raw
    expires_at: datetime


MARKS = Table("idempotency", Mark, key="id", expires="expires_at")


async def replay(tx: Transaction, mark_id: str, fingerprint: str) -> Mark | None:
    """The answer given before, if there was one. Raises `IdempotencyKeyReused`."""
    mark = await tx.get(MARKS, mark_id)
    if mark and mark.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    return mark


def remember(tx: Transaction, mark_id: str, fingerprint: str, status: int, answer: bytes) -> None:
    """Keep the answer for 24 hours. If there is one already, the transaction doesn't hold."""
    tx.add(
        MARKS,
        Mark(
            id=mark_id,
            fingerprint=fingerprint,
            status=status,
            answer=msgspec.Raw(answer),
            expires_at=tx.now + KEPT,
        ),
    )
