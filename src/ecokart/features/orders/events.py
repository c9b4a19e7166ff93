"""What happens to orders. The facts of an order, from the first one on, make the order: see `history`."""

from __future__ import annotations

from datetime import datetime

from ecokart.core.events import Event
from ecokart.core.money import Money


class OrderFact(Event, frozen=True, kw_only=True):
    """Something that happened to an order. `source` is where that was placed, for those who react."""

    order_id: str
    source: str = "shop"

    def about(self) -> str:
        return f"orders/{self.order_id}"


class OrderPlaced(OrderFact, frozen=True, kw_only=True, tag="order.placed"):
    """Somebody has ordered; the stock is taken. The log has the order with it."""


class OrderImported(OrderFact, frozen=True, kw_only=True, tag="order.imported"):
    """An order of the past was taken over from elsewhere. The log has the order with it."""


class PaymentBegun(OrderFact, frozen=True, kw_only=True, tag="payment.begun"):
    """The provider has opened the payment, or lets the buyer try again: at `url`, until `pay_by`."""

    reference: str
    url: str
    pay_by: datetime | None = None


class PaymentWaits(OrderFact, frozen=True, kw_only=True, tag="payment.waits"):
    """The buyer has done what there is to do; the bank hasn't yet, and is asked again at `look_at`."""

    look_at: datetime


class OrderAuthorised(OrderFact, frozen=True, kw_only=True, tag="order.processing"):
    """The money is sure, or owed by invoice; the order is being worked on. `captured` came at once."""

    captured: Money | None = None


class OrderPicked(OrderFact, frozen=True, kw_only=True, tag="order.picked"):
    """The goods are packed."""


class OrderCaptured(OrderFact, frozen=True, kw_only=True, tag="order.captured"):
    """The money that was held was taken, or the invoice is written; `captured` is what came."""

    captured: Money | None = None


class OrderShipped(OrderFact, frozen=True, kw_only=True, tag="order.shipped"):
    """The parcel is on its way. `pay_by` is there if money is still owed: until when it is to come."""

    carrier: str = ""
    tracking: str = ""
    url: str = ""
    pay_by: datetime | None = None


class OrderCompleted(OrderFact, frozen=True, kw_only=True, tag="order.completed"):
    """The order is done."""


class OrderCancelled(OrderFact, frozen=True, kw_only=True, tag="order.cancelled"):
    """The order was called off; its stock is free again. `reason` is a `Reason`, `note` the office's word.

    What had come of money goes back, by refunds of their own. `release_by` is there if some may be
    held at the provider: by then it is let go.
    """

    reason: str = ""
    note: str = ""
    release_by: datetime | None = None


class OrderFailed(OrderFact, frozen=True, kw_only=True, tag="order.failed"):
    """A step couldn't be done, for good; what went before was undone, as when an order is called off.

    `reason` is a `Reason`, `note` the provider's word for it, or the error's.
    """

    reason: str
    note: str = ""
    release_by: datetime | None = None


class PaymentReceived(OrderFact, frozen=True, kw_only=True, tag="payment.received"):
    """Money came outside the order's way: a transfer, or a payment for an order that was called off."""

    captured: Money


class PaymentReminded(OrderFact, frozen=True, kw_only=True, tag="payment.reminded"):
    """The buyer was reminded that money is due, for the so-many-th time, and has until `pay_by`."""

    reminder: int
    pay_by: datetime


class PaymentOverdue(OrderFact, frozen=True, kw_only=True, tag="payment.overdue"):
    """The last reminder was in vain; it is for people to decide what is done."""


class PaymentReleased(OrderFact, frozen=True, kw_only=True, tag="payment.released"):
    """Nothing is held any more for an order that ended, and nobody can pay for it."""


class PaymentReversed(OrderFact, frozen=True, kw_only=True, tag="payment.reversed"):
    """The bank took back what had come, as it may with a direct debit. If the parcel is gone, the
    money is owed again, until `pay_by`."""

    reason: str
    pay_by: datetime | None = None


class RefundRequested(OrderFact, frozen=True, kw_only=True, tag="refund.requested"):
    """Money shall go back to the buyer. `restock`: the pieces are back in the stock with it.

    It takes the place of the refund `replaces`, which failed.
    """

    refund_id: str
    amount: Money
    reason: str
    restock: bool = False
    replaces: str = ""


class OrderRefunded(OrderFact, frozen=True, kw_only=True, tag="order.refunded"):
    """Money went back to the buyer: all of it, or a part. By the provider, or somebody has sent it."""

    refund_id: str
    amount: Money


class RefundFailed(OrderFact, frozen=True, kw_only=True, tag="refund.failed"):
    """The provider wouldn't give the money back; somebody has to look at it."""

    refund_id: str
    reason: str


class PaymentNeeded(Event, frozen=True, kw_only=True, tag="payment.needed"):
    """A payment has to be opened at the provider."""

    order_id: str


class PaymentSecured(Event, frozen=True, kw_only=True, tag="payment.secured"):
    """The provider has the money or holds it for us: the buyer hears of it."""

    order_id: str


class CaptureNeeded(Event, frozen=True, kw_only=True, tag="capture.needed"):
    """The money that is held has to be taken."""

    order_id: str


class PaymentUnwanted(Event, frozen=True, kw_only=True, tag="payment.unwanted"):
    """An order ended that may be paid for all the same: what is held has to be let go."""

    order_id: str
