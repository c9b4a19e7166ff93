"""Taking the provider's notices."""

from __future__ import annotations

from ecokart.core.payments import Notice
from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact
from ecokart.features.payments.events import PaymentNoticed
from ecokart.features.payments.model import INBOX, KEPT, InboxNotice


async def take(tx: Transaction, notice: Notice) -> bool:
    """Hear a notice, in one commit with the fact of it. False if it was heard before."""
    if await tx.get(INBOX, notice.id):
        return False
    kept = InboxNotice(
        id=notice.id,
        order_id=notice.order_id,
        kind=notice.kind,
        taken_at=tx.now,
        expires_at=tx.now + KEPT,
    )
    tx.put(INBOX, kept)
    tx.emit(PaymentNoticed(order_id=notice.order_id, reference=notice.reference, kind=notice.kind))
    return True


async def fetch(ports: Ports) -> int:
    """Take what a pretend provider has to say; a real one sends it. Says how many notices there were."""
    rehearsal = ports.payments.rehearsal
    if rehearsal is None:
        return 0
    waiting = await rehearsal.notices()
    for signed in waiting:
        if notice := ports.payments.read_notice(signed.headers, signed.body):
            await transact(ports, take, notice)
        await rehearsal.delivered(signed.id)
    return len(waiting)
