"""What we read of Stripe's objects, and what a Checkout Session means as a payment.

Names and values are those of Stripe's API reference.
"""

from __future__ import annotations

import msgspec

from ecokart.core.money import Money
from ecokart.core.payments import Notice, Payment, PaymentState

# The method names of the shop, the most usual first, and Stripe's.
STRIPE_METHODS = {
    "card": "card",
    "paypal": "paypal",
    "klarna": "klarna",
    "sepa": "sepa_debit",
    "twint": "twint",
}
# Methods whose money can be held until the parcel goes; of the others Stripe takes it at once.
HELD = frozenset({"card", "paypal", "klarna"})
# What a PaymentIntent's status says by itself.
STATES = {
    "succeeded": PaymentState.CAPTURED,
    "requires_capture": PaymentState.AUTHORISED,
    "processing": PaymentState.WAITING,
    "canceled": PaymentState.CANCELLED,
}


class PaymentError(msgspec.Struct):
    """Why the last try to pay failed; `decline_code` is the bank's word."""

    code: str | None = None
    decline_code: str | None = None


class StripeCharge(msgspec.Struct):
    """What was taken; `amount_refunded` in minor units."""

    amount_refunded: int = 0


class PaymentIntent(msgspec.Struct):
    """The payment itself. Amounts are in minor units of the session's currency."""

    id: str
    status: str
    amount_received: int = 0
    amount_capturable: int = 0
    last_payment_error: PaymentError | None = None
    latest_charge: StripeCharge | str | None = None


class Session(msgspec.Struct):
    """A Checkout Session, its `payment_intent` expanded. That is None until the shopper pays."""

    id: str
    status: str
    amount_total: int
    currency: str
    url: str | None = None
    metadata: dict[str, str] = {}
    payment_intent: PaymentIntent | None = None


class Refund(msgspec.Struct):
    """Money that went back, or is about to."""

    id: str
    status: str
    metadata: dict[str, str] = {}


class RefundList(msgspec.Struct):
    """The refunds of a payment."""

    data: list[Refund]


class EventObject(msgspec.Struct):
    """What an event is about; some of those have neither."""

    id: str = ""
    metadata: dict[str, str] | None = None


class EventData(msgspec.Struct):
    """What comes with an event."""

    object: EventObject


class StripeEvent(msgspec.Struct):
    """An event as Stripe sends it to our address for notices."""

    id: str
    type: str
    data: EventData


def payment_of(session: Session) -> Payment:
    """The session as a payment; its reference is the session's id."""
    currency, intent = session.currency.upper(), session.payment_intent
    error = intent.last_payment_error if intent else None
    charge = intent.latest_charge if intent else None
    state = _state(session)
    return Payment(
        reference=session.id,
        order_id=session.metadata.get("order_id", ""),
        state=state,
        amount=Money(session.amount_total, currency),
        captured=Money(intent.amount_received if intent else 0, currency),
        refunded=Money(charge.amount_refunded if isinstance(charge, StripeCharge) else 0, currency),
        url=(session.url or "") if state is PaymentState.OPEN else "",
        reason=((error.decline_code or error.code) if error else None) or "",
    )


def _state(session: Session) -> PaymentState:
    if session.status == "expired":
        return PaymentState.CANCELLED
    intent = session.payment_intent
    if intent and (state := STATES.get(intent.status)):
        return state
    if session.status == "open":
        return PaymentState.OPEN
    # The shopper has done what there was to do: the bank is at it, or has refused it afterwards.
    refused = intent is not None and intent.status == "requires_payment_method"
    return PaymentState.FAILED if refused else PaymentState.WAITING


def notice_of(body: bytes) -> Notice | None:
    """The event as a notice, if it is about a payment of ours: those carry their order's id."""
    event = msgspec.json.decode(body, type=StripeEvent)
    order_id = (event.data.object.metadata or {}).get("order_id", "")
    if not order_id:
        return None
    return Notice(id=event.id, reference=event.data.object.id, order_id=order_id, kind=event.type)
