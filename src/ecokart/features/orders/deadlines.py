"""What the clock brings: reminders, payments that nobody finished, and whatever stands still.

Each timer works through what is due by an index, oldest first and a bounded number at a time. The
index may lag, so what is done is decided on the order itself.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import timedelta

from ecokart.core.errors import Unavailable
from ecokart.core.events import every
from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact
from ecokart.features.orders import paying, pipeline, service
from ecokart.features.orders.events import PaymentOverdue, PaymentReminded
from ecokart.features.orders.history import record
from ecokart.features.orders.model import ORDERS, Awaited, Order, Reason, Stage

REMINDERS = 3
# How long a buyer has after each reminder.
PAUSES = {Awaited.PREPAYMENT: timedelta(days=3), Awaited.INVOICE: timedelta(days=7)}
# A provider that is away for so long after the order loses it.
LONGEST_AWAY = timedelta(days=3)
MOST = 500  # orders of a kind in one run
PAGE = 100

log = logging.getLogger("ecokart.orders")


@every(minutes=1)
async def remind(ports: Ports) -> None:
    """Remind those who owe money; after the last time a prepaid order is called off, an invoice is overdue."""
    for awaited in PAUSES:
        async for order in _due(ports, awaited):
            await transact(ports, _remind, order.id, awaited)


async def _remind(tx: Transaction, order_id: str, awaited: Awaited) -> None:
    order = await _still_due(tx, order_id, awaited)
    if order is None:
        return
    reminder = order.payment.reminders + 1
    if reminder <= REMINDERS:
        pay_by = tx.now + PAUSES[awaited]
        fact = PaymentReminded(
            order_id=order.id, source=order.source, reminder=reminder, pay_by=pay_by
        )
        record(tx, order, fact)
    elif awaited is Awaited.PREPAYMENT:
        service.call_off(tx, order, Reason.UNPAID)
    else:
        record(tx, order, PaymentOverdue(order_id=order.id, source=order.source))


@every(minutes=1)
async def ask_the_provider(ports: Ports) -> None:
    """Follow the payments that are due: unfinished, at the bank, or unwanted. Ends while the provider is away."""
    for awaited in (Awaited.RELEASE, Awaited.BANK, Awaited.PAYMENT):
        async for order in _due(ports, awaited):
            try:
                await _ask(ports, order)
            except Unavailable as error:
                log.warning("the provider of payments is asked again in a minute: %s", error)
                return
            except Exception:  # one payment that can't be followed holds up no other
                log.exception("a payment can't be followed", extra={"order": order.id})


async def _ask(ports: Ports, order: Order) -> None:
    """Follow a payment; an order that nobody paid, or could pay, is called off."""
    reason = Reason.UNPAID
    try:
        await paying.follow(ports, order.id)
    except Unavailable:
        if (
            order.awaits is not Awaited.PAYMENT
            or order.placed_at + LONGEST_AWAY > ports.clock.now()
        ):
            raise
        reason = Reason.PROVIDER_AWAY
    await transact(ports, _expire, order.id, reason)


async def _expire(tx: Transaction, order_id: str, reason: Reason) -> None:
    order = await _still_due(tx, order_id, Awaited.PAYMENT)
    if order and order.stage is Stage.PLACED:
        service.call_off(tx, order, reason)


@every(minutes=1)
async def carry_on(ports: Ports) -> None:
    """Where the shop packs and ships by itself: bring on what stands, from other terms or another release."""
    if ports.terms.fulfilment != "automatic":
        return
    for stage in (Stage.AUTHORISED, Stage.CAPTURED):
        standing = await service.in_stage(ports.records, stage, limit=MOST)
        for order in standing.values:
            await transact(ports, pipeline.carry_on, order.id, ports.terms)


async def _due(ports: Ports, awaited: Awaited) -> AsyncIterator[Order]:
    """Orders whose time for this has come, the most overdue first."""
    now, after = ports.clock.now(), None
    for _ in range(MOST // PAGE):
        page = await service.awaiting(ports.records, awaited, after=after, limit=PAGE)
        for order in page.values:
            if order.due_at is None or order.due_at > now:
                return
            yield order
        if (after := page.after) is None:
            return


async def _still_due(tx: Transaction, order_id: str, awaited: Awaited) -> Order | None:
    order = await tx.get(ORDERS, order_id)
    if order is None or order.awaits is not awaited:
        return None
    return order if order.due_at and order.due_at <= tx.now else None
