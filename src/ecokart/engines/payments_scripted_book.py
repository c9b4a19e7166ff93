"""The pretend provider's own book: what it keeps of a payment, and how a payment may go on there."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from ecokart.core.money import Money
from ecokart.core.payments import Charge, Payment, PaymentRefused, PaymentState
from ecokart.core.records import Table
from ecokart.core.rehearsal import Outcome

# A transfer or a direct debit comes in, or fails, this long after the shopper has agreed to it.
SETTLING = timedelta(minutes=1)
LATE = timedelta(minutes=2)
# What a hold isn't possible for: the money is taken when the shopper pays.
TAKEN_AT_ONCE = frozenset({"sepa", "twint"})
DECLINED = {Outcome.NO_FUNDS: "insufficient_funds", Outcome.EXPIRED: "expired_card"}


class PretendPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment at the pretend provider. `done` tells for each key what it did."""

    reference: str
    charge: Charge
    state: PaymentState = PaymentState.OPEN
    outcome: Outcome | None = None
    asking: bool = False
    captured: int = 0
    refunded: int = 0
    reason: str = ""
    settles_at: datetime | None = None
    done: dict[str, str] = {}

    def as_of(self, now: datetime) -> PretendPayment:
        """The payment at that time: what the bank was at may be decided by then."""
        if self.state is not PaymentState.WAITING or (self.settles_at and self.settles_at > now):
            return self
        if self.outcome is Outcome.BOUNCES:
            return replace(self, state=PaymentState.FAILED, reason="debit_not_authorized")
        return self._taken(self.charge.amount.minor)

    def pay(self, outcome: Outcome, now: datetime) -> PretendPayment:
        """The shopper pays with a card, or an account, that goes that way."""
        if self.state is not PaymentState.OPEN:
            return self
        chosen = replace(self, outcome=outcome, asking=False, reason=DECLINED.get(outcome, ""))
        if outcome is Outcome.SECURE:
            return replace(chosen, asking=True)
        if outcome in DECLINED:
            return chosen
        if outcome in (Outcome.SETTLES, Outcome.BOUNCES):
            return replace(chosen, state=PaymentState.WAITING, settles_at=now + SETTLING)
        return chosen._paid()

    def answer(self, *, agreed: bool) -> PretendPayment:
        """What the shopper says to the bank's question."""
        if not self.asking:
            return self
        answered = replace(self, asking=False)
        return answered._paid() if agreed else replace(answered, reason="authentication_failed")

    def give_up(self) -> PretendPayment:
        """Nobody will try another card: a declined payment has failed for good."""
        return replace(self, state=PaymentState.FAILED) if self.reason else self

    def capture(self, amount: Money) -> PretendPayment:
        """Raises `PaymentRefused`."""
        if self.state is PaymentState.CAPTURED:
            return self
        if self.state is not PaymentState.AUTHORISED:
            raise PaymentRefused(f"Nothing is held: the payment is {self.state}.")
        if self.outcome is Outcome.CAPTURE_REFUSED:
            raise PaymentRefused("authorization_expired")
        if not 0 < amount.minor <= self.charge.amount.minor:
            raise PaymentRefused(f"{self.charge.amount.amount} is held, not {amount.amount}.")
        return self._taken(amount.minor)

    def cancel(self) -> PretendPayment:
        if self.state in (PaymentState.OPEN, PaymentState.AUTHORISED):
            return replace(self, state=PaymentState.CANCELLED, asking=False)
        return self

    def refund(self, amount: Money) -> PretendPayment:
        """Raises `PaymentRefused`."""
        if self.outcome is Outcome.REFUND_REFUSED:
            raise PaymentRefused("refund_not_possible")
        left = Money(self.captured - self.refunded, self.charge.amount.currency)
        if not 0 < amount.minor <= left.minor:
            raise PaymentRefused(f"{left.amount} can be given back, not {amount.amount}.")
        return replace(self, refunded=self.refunded + amount.minor)

    def seen(self, url: str) -> Payment:
        """What the shop is told. `url` is the payment page."""
        currency = self.charge.amount.currency
        return Payment(
            reference=self.reference,
            order_id=self.charge.order_id,
            state=self.state,
            amount=self.charge.amount,
            captured=Money(self.captured, currency),
            refunded=Money(self.refunded, currency),
            url=url if self.state is PaymentState.OPEN else "",
            reason=self.reason,
        )

    def _paid(self) -> PretendPayment:
        if self.charge.method in TAKEN_AT_ONCE:
            return self._taken(self.charge.amount.minor)
        return replace(self, state=PaymentState.AUTHORISED)

    def _taken(self, minor: int) -> PretendPayment:
        return replace(self, state=PaymentState.CAPTURED, captured=minor)


class PretendNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A notice that waits to be fetched. One that is sent twice is two of these, with one `notice_id`."""

    id: str
    notice_id: str
    reference: str
    order_id: str
    kind: str
    due_at: datetime
    box: str = "shop"


PRETEND_PAYMENTS = Table("pretend_payments", PretendPayment, key="reference")
PRETEND_NOTICES = Table(
    "pretend_notices", PretendNotice, key="id", indexes={"due": ("box", "due_at")}
)


def notices_of(before: PretendPayment, after: PretendPayment, now: datetime) -> list[PretendNotice]:
    """What the shop is to hear of that change, and when."""
    if after.state is before.state and after.refunded == before.refunded:
        return []
    told = [_notice(after, _kind(after), now, "")]
    if after.state is PaymentState.WAITING and after.settles_at:
        kind = "payment.failed" if after.outcome is Outcome.BOUNCES else "payment.captured"
        told.append(_notice(after, kind, after.settles_at, ""))
    if after.outcome is Outcome.NOTICE_LOST:
        return []
    if after.outcome is Outcome.NOTICE_LATE:
        late = [replace(notice, due_at=notice.due_at + LATE) for notice in told]
        return [*late, *[replace(notice, id=f"{notice.id}.again") for notice in late]]
    return told


def _kind(payment: PretendPayment) -> str:
    if payment.refunded:
        return f"payment.refunded.{payment.refunded}"
    return f"payment.{payment.state.lower()}"


def _notice(payment: PretendPayment, kind: str, due_at: datetime, again: str) -> PretendNotice:
    notice_id = f"{payment.reference}.{kind}"
    return PretendNotice(
        id=f"{notice_id}{again}",
        notice_id=notice_id,
        reference=payment.reference,
        order_id=payment.charge.order_id,
        kind=kind,
        due_at=due_at,
    )
