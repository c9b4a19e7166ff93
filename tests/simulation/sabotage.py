"""Shops that are broken on purpose, each in one place; and the sentence by which that must be found out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import pytest

from ecokart.core import log
from ecokart.core.events import Event
from ecokart.core.money import Money
from ecokart.core.payments import Payment, PaymentState
from ecokart.core.ports import Delivery, Letter
from ecokart.core.records import Adjust
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction
from ecokart.engines.mail_disk import DiskMail
from ecokart.engines.payments_scripted import ScriptedPayments
from ecokart.engines.queue_records import RecordsQueue
from ecokart.engines.records_sqlite import SqliteRecords
from ecokart.features.catalog import service as catalog
from ecokart.features.orders import history, paying, pipeline, refunds, service
from ecokart.features.orders.events import (
    OrderPicked,
    OrderShipped,
    PaymentReceived,
    PaymentSecured,
    RefundRequested,
)
from ecokart.features.orders.history import record
from ecokart.features.orders.model import ENDED, ORDERS, Order, Refund, Stage
from ecokart.features.webhooks import deliveries
from tests.simulation import partners, shoppers

Sabotage = Callable[[pytest.MonkeyPatch], None]
EFFECTS: dict[Any, Any] = history._EFFECTS


def _nothing(*args: Any, **named: Any) -> None:
    """What was to be done here is left out."""


async def _nothing_at_last(*args: Any, **named: Any) -> None:
    """Likewise."""


# Stock.


def without_reservations(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(catalog, "reserve", _nothing)


def without_restocking(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(catalog, "restock", _nothing)


def with_failures_that_keep_the_goods(patch: pytest.MonkeyPatch) -> None:
    """Giving up compensates all but the stock."""
    end = service._end

    def keeping(tx: Transaction, order: Order, fact: Any) -> Order:
        failed = type(fact).__name__ == "OrderFailed"
        return end(tx, msgspec.structs.replace(order, restocked=failed or order.restocked), fact)

    patch.setattr(service, "_end", keeping)


# Commits, marks and facts.


def without_marks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shoppers, "remember", _nothing)
    patch.setattr(partners, "remember", _nothing)


def without_events(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "emit", _nothing)


def with_half_commits(patch: pytest.MonkeyPatch) -> None:
    """Orders are stored without their stock movements."""
    whole = SqliteRecords.commit

    async def half(self: SqliteRecords, writes: Any) -> None:
        if any(write.table is ORDERS for write in writes):
            writes = [write for write in writes if type(write) is not Adjust]
        await whole(self, writes)

    patch.setattr(SqliteRecords, "commit", half)


def with_commits_that_are_lost(patch: pytest.MonkeyPatch) -> None:
    """Now and then one with an order is acknowledged, and nothing is written."""
    commit, number = SqliteRecords.commit, count(1)

    async def lossy(self: SqliteRecords, writes: Any) -> None:
        if all(write.table is not ORDERS for write in writes) or next(number) % 20:
            await commit(self, writes)

    patch.setattr(SqliteRecords, "commit", lossy)


def with_blind_steps(patch: pytest.MonkeyPatch) -> None:
    """A step of the pipeline that doesn't look whether it was made already."""

    async def blind(tx: Transaction, order_id: str, stage: Stage) -> Order:
        order = await tx.get(ORDERS, order_id)
        assert order
        return order

    patch.setattr(pipeline, "_in", blind)
    patch.setattr(Order, "allows", lambda order, stage: True)


def with_a_log_that_forgets(patch: pytest.MonkeyPatch) -> None:
    """The last fact that a commit states of a stream isn't kept, if there are several."""
    stated = log.statements

    def forgetting(*args: Any) -> Any:
        entry, kept = stated(*args)
        return entry, [
            msgspec.structs.replace(one, facts=one.facts[: max(len(one.facts) - 1, 1)])
            for one in kept
        ]

    patch.setattr("ecokart.core.transaction.statements", forgetting)


def with_effects_that_vary(patch: pytest.MonkeyPatch) -> None:
    """What a fact makes of an order isn't told by the fact alone."""
    number = count()
    shipped = EFFECTS[OrderShipped]

    def varying(order: Order, fact: Any, at: Any) -> Order:
        other = msgspec.structs.replace(fact, tracking=str(next(number)))
        changed: Order = shipped(order, other, at)
        return changed

    patch.setitem(EFFECTS, OrderShipped, varying)


# Money.


def with_a_new_key_for_each_begin(patch: pytest.MonkeyPatch) -> None:
    """As if the shop asked for a payment under another key whenever it asks again."""
    begin, number = ScriptedPayments.begin, count()

    async def anew(self: ScriptedPayments, charge: Any, *, key: str) -> Payment:
        return await begin(self, charge, key=f"{key}.{next(number)}")

    patch.setattr(ScriptedPayments, "begin", anew)


def with_a_new_key_for_each_refund(patch: pytest.MonkeyPatch) -> None:
    refund, number = ScriptedPayments.refund, count()

    async def anew(self: ScriptedPayments, reference: str, amount: Money, *, key: str) -> Payment:
        return await refund(self, reference, amount, key=f"{key}.{next(number)}")

    patch.setattr(ScriptedPayments, "refund", anew)


def with_captures_that_add_up(patch: pytest.MonkeyPatch) -> None:
    """The money is taken once more whenever the provider is asked once more."""

    async def again(self: ScriptedPayments, reference: str, amount: Money, *, key: str) -> Payment:
        change = self._change
        taken = await change(
            reference, lambda payment: payment._taken(payment.captured + amount.minor)
        )
        return self._answer(taken)

    patch.setattr(ScriptedPayments, "capture", again)


def with_refunds_that_never_leave(patch: pytest.MonkeyPatch) -> None:
    """The provider is asked, and does nothing."""

    async def looked_at(
        self: ScriptedPayments, reference: str, amount: Money, *, key: str
    ) -> Payment:
        return await self.look(reference)

    patch.setattr(ScriptedPayments, "refund", looked_at)


def with_refunds_that_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(EFFECTS, RefundRequested, lambda order, fact, at: order)


def with_ends_that_keep_the_money(patch: pytest.MonkeyPatch) -> None:
    """What has come for an order that has ended isn't given back."""
    ask_back = refunds.ask_back

    def unless_ended(tx: Transaction, order: Order, *args: Any, **named: Any) -> Order:
        return order if order.stage in ENDED else ask_back(tx, order, *args, **named)

    for module in (refunds, paying):
        patch.setattr(module, "ask_back", unless_ended)


def with_refunds_noted_without_looking(patch: pytest.MonkeyPatch) -> None:
    """A refund that was given is noted again when its job comes again."""
    patch.setattr(Refund, "open", property(lambda refund: True))


def with_notices_believed_blindly(patch: pytest.MonkeyPatch) -> None:
    """Whoever says so has paid: the provider isn't asked."""
    look = ScriptedPayments.look

    async def paid(self: ScriptedPayments, reference: str) -> Payment:
        found = await look(self, reference)
        return msgspec.structs.replace(found, state=PaymentState.CAPTURED, captured=found.amount)

    patch.setattr(ScriptedPayments, "look", paid)


def without_captures(patch: pytest.MonkeyPatch) -> None:
    """Parcels go while the money is only held."""

    def picked(tx: Transaction, order: Order, terms: Terms) -> Order:
        order = record(tx, order, OrderPicked(order_id=order.id, source=order.source))
        return pipeline.captured(tx, order, terms)

    patch.setattr(pipeline, "picked", picked)


def with_ends_that_let_nothing_go(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(service, "_may_be_held", lambda order: False)


def with_transfers_that_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(EFFECTS, PaymentReceived, lambda order, fact, at: order)


# What is given up.


def with_dead_letters_that_say_nothing(patch: pytest.MonkeyPatch) -> None:
    bury = RecordsQueue.bury

    async def silent(self: RecordsQueue, delivery: Delivery, *, error: str) -> None:
        await bury(self, delivery, error="")

    patch.setattr(RecordsQueue, "bury", silent)


def with_dead_letters_thrown_away(patch: pytest.MonkeyPatch) -> None:
    async def gone(self: RecordsQueue, delivery: Delivery, *, error: str) -> None:
        await self.done([delivery])

    patch.setattr(RecordsQueue, "bury", gone)


def with_captures_given_up_and_left(patch: pytest.MonkeyPatch) -> None:
    """When the provider stays away nothing is undone."""
    patch.setattr(pipeline, "_fail", _nothing_at_last)


# Who is told.


def with_nameless_mails(patch: pytest.MonkeyPatch) -> None:
    """A mail engine that can't tell that it sent this before."""
    send, number = DiskMail.send, count()

    async def nameless(self: DiskMail, letter: Letter, *, message_id: str) -> None:
        await send(self, letter, message_id=f"{message_id}.{next(number)}")

    patch.setattr(DiskMail, "send", nameless)


def with_mails_that_are_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DiskMail, "send", _nothing_at_last)


def with_payments_that_nobody_confirms(patch: pytest.MonkeyPatch) -> None:
    emit = Transaction.emit

    def mostly(self: Transaction, event: Event, **named: Any) -> None:
        if type(event) is not PaymentSecured:
            emit(self, event, **named)

    patch.setattr(Transaction, "emit", mostly)


def with_partners_who_are_told_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deliveries, "announce", _nothing_at_last)


def with_messages_under_new_ids(patch: pytest.MonkeyPatch) -> None:
    """A partner can't tell that it was told this before."""
    post, number = partners.PartnersServer.post, count()

    async def renamed(self: Any, url: str, headers: Any, body: bytes, *, party: str) -> Any:
        other = {**headers, "webhook-id": f"{headers['webhook-id']}.{next(number)}"}
        return await post(self, url, other, body, party=party)

    patch.setattr(partners.PartnersServer, "post", renamed)


def with_messages_that_vary(patch: pytest.MonkeyPatch) -> None:
    post, number = partners.PartnersServer.post, count()

    async def varied(self: Any, url: str, headers: Any, body: bytes, *, party: str) -> Any:
        return await post(self, url, headers, body + b" " * next(number), party=party)

    patch.setattr(partners.PartnersServer, "post", varied)


FINDINGS: dict[Sabotage, str] = {
    without_reservations: "are reserved, and carts hold",
    without_restocking: "were supplied",
    with_failures_that_keep_the_goods: "were supplied",
    without_marks: "made two orders",
    without_events: "went PLACED.",
    with_half_commits: "were supplied",
    with_commits_that_are_lost: "was acknowledged and is lost",
    with_blind_steps: "COMPLETED → AUTHORISED",
    with_a_log_that_forgets: "and the log has",
    with_effects_that_vary: "is another one by its facts",
    with_a_new_key_for_each_begin: "payments at the provider",
    with_a_new_key_for_each_refund: "which nobody asked for",
    with_refunds_noted_without_looking: "went back",
    with_notices_believed_blindly: "came by the order",
    without_captures: "It was delivered for 0",
    with_ends_that_let_nothing_go: "and its payment",
    with_transfers_that_are_forgotten: "by transfer, and has",
    with_captures_that_add_up: "was taken, and",
    with_refunds_that_never_leave: "went back by the order",
    with_refunds_that_are_forgotten: "were to go back for",
    with_ends_that_keep_the_money: "came, and 0 went back",
    with_dead_letters_that_say_nothing: "died without a word",
    with_dead_letters_thrown_away: "was sent 0 times",
    with_captures_given_up_and_left: "AUTHORISED → PICKED.",
    with_nameless_mails: "was sent 2 times",
    with_mails_that_are_lost: "was sent 0 times",
    with_payments_that_nobody_confirms: "the mail of its payment was sent 0 times",
    with_partners_who_are_told_nothing: "the partner never heard of",
    with_messages_under_new_ids: "the partner never heard of",
    with_messages_that_vary: "was told in",
}
