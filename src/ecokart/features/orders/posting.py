"""From a fact of an order to a mail to its buyer; and what became of those that couldn't be sent."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from ecokart.core.errors import Invalid
from ecokart.core.events import Hopeless, on
from ecokart.core.ports import Letter, Ports, Records
from ecokart.core.records import Table
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction, transact
from ecokart.features.orders import service
from ecokart.features.orders.events import OrderFact, PaymentSecured
from ecokart.features.orders.model import Order

# With pauses that grow to five minutes: about four hours, so a mail server may be away for a while.
ATTEMPTS = 60
# No mail is given up before this, so one that goes out sooner has no failure to take back.
GIVEN_UP_AFTER = timedelta(minutes=1)

log = logging.getLogger("ecokart.orders")


class MailFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that didn't go out. `bounced`: the address or the mail was refused for good.

    What didn't bounce lies among the dead letters. It goes out when it is redriven, and this goes then.
    """

    id: str
    order_id: str
    kind: str
    to: str
    why: str
    bounced: bool
    at: datetime


MAIL_FAILURES = Table(
    "mail_failures", MailFailure, key="id", indexes={"by_order": ("order_id", "at")}
)

E = TypeVar("E", bound=OrderFact | PaymentSecured)
Reaction = Callable[[Ports, E], Awaitable[None]]


def by_mail(event: type[E], write: Callable[[Order, Terms, E], Letter | None]) -> Reaction[E]:
    """The reaction that sends what `write` makes of the order as it is then; None is no mail.

    The mail is named by the event and by `write`, so one that is sent again can be told from another.
    A mail that is refused for good holds up nothing: it is noted.
    """
    kind = write.__name__

    async def post(ports: Ports, event: E) -> None:
        order = await service.any_one(ports.records, event.order_id)
        letter = write(order, ports.terms, event) if order.email else None
        if letter is None:
            return
        mail_id = f"{event.id}.{kind}"
        try:
            await ports.mail.send(letter, message_id=mail_id)
        except Invalid as refusal:
            await transact(ports, _note, mail_id, order, kind, str(refusal), bounced=True)
            return
        if event.at and ports.clock.now() - event.at > GIVEN_UP_AFTER:
            await transact(ports, _take_back, mail_id)

    async def give_up(ports: Ports, event: E, why: str) -> None:
        order = await service.any_one(ports.records, event.order_id)
        await transact(ports, _note, f"{event.id}.{kind}", order, kind, why, bounced=False)
        raise Hopeless(why)  # among the dead letters it can still be redriven

    # A job's handler is known by its name.
    post.__name__, post.__module__ = kind, "ecokart.features.orders.jobs"
    return on(event, lane="mail", attempts=ATTEMPTS, give_up=give_up)(post)


async def failures(records: Records, order_id: str) -> list[MailFailure]:
    """The mails about an order that didn't go out, the first one first."""
    return (await records.query(MAIL_FAILURES, "by_order", order_id)).values


async def _note(
    tx: Transaction, mail_id: str, order: Order, kind: str, why: str, *, bounced: bool
) -> None:
    log.warning("mail not sent: %s", kind, extra={"order": order.id})
    failure = MailFailure(
        id=mail_id,
        order_id=order.id,
        kind=kind,
        to=order.email,
        why=why,
        bounced=bounced,
        at=tx.now,
    )
    tx.overwrite(MAIL_FAILURES, failure)


async def _take_back(tx: Transaction, mail_id: str) -> None:
    if await tx.get(MAIL_FAILURES, mail_id):
        tx.delete(MAIL_FAILURES, mail_id)
