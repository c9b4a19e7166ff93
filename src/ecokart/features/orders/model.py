"""The order, its states, and what it adds up to."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from ecokart.core.errors import Conflict, Invalid, NotFound
from ecokart.core.i18n import Text
from ecokart.core.money import Money
from ecokart.core.payments import PaymentState
from ecokart.core.records import Table
from ecokart.features.accounts.model import Address
from ecokart.features.catalog.model import TaxClass
from ecokart.features.orders.shapes import UPGRADES
from ecokart.features.orders.taxes import TaxLine

# Crockford's base 32: no letter that looks like a digit.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
MAX_LINES = 80
# How often a step is tried: with the pauses between, for about two hours.
PATIENCE = 40


class NoSuchOrder(NotFound):
    """This order doesn't exist."""


class CartEmpty(Conflict):
    """There is nothing in the basket."""


class EmailNeeded(Invalid):
    """We need an e-mail address to confirm the order to."""


class TooLateToCancel(Conflict):
    """This order can't be cancelled any more."""


class OrderMoved(Conflict):
    """This order has moved on meanwhile. Please look at it again."""


class NothingToRefund(Conflict):
    """So much can't be given back.

    `left` is what can, as `12.90`.
    """


class NoMoneyExpected(Conflict):
    """No money is expected for this order by transfer."""


class MethodNotOffered(Invalid):
    """This way of paying isn't offered."""


class Stage(StrEnum):
    """Where an order stands, as the office sees it."""

    PLACED = "PLACED"  # taken, with its stock; not paid for, or not known to be
    AUTHORISED = "AUTHORISED"  # the money is held, has come, or is owed by invoice
    PICKED = "PICKED"  # packed
    CAPTURED = "CAPTURED"  # the money was taken, or the invoice written
    SHIPPED = "SHIPPED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"  # called off by the customer, by us, or by time
    FAILED = "FAILED"  # a step couldn't be done; what went before was undone
    REFUNDED = "REFUNDED"  # all of the money went back


# Every way an order may go. What isn't here doesn't happen.
TRANSITIONS: dict[Stage, frozenset[Stage]] = {
    Stage.PLACED: frozenset({Stage.AUTHORISED, Stage.CANCELLED, Stage.FAILED}),
    Stage.AUTHORISED: frozenset({Stage.PICKED, Stage.CANCELLED, Stage.FAILED}),
    Stage.PICKED: frozenset({Stage.CAPTURED, Stage.CANCELLED, Stage.FAILED}),
    Stage.CAPTURED: frozenset({Stage.SHIPPED, Stage.CANCELLED, Stage.FAILED, Stage.REFUNDED}),
    Stage.SHIPPED: frozenset({Stage.COMPLETED, Stage.REFUNDED}),
    Stage.COMPLETED: frozenset({Stage.REFUNDED}),
    Stage.CANCELLED: frozenset(),
    Stage.FAILED: frozenset(),
    Stage.REFUNDED: frozenset(),
}


class Status(StrEnum):
    """Where an order stands, in the words of the API."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"
    FAILED = "FAILED"


STATUS = {
    Stage.PLACED: Status.PENDING,
    Stage.AUTHORISED: Status.PROCESSING,
    Stage.PICKED: Status.PROCESSING,
    Stage.CAPTURED: Status.PROCESSING,
    Stage.SHIPPED: Status.PROCESSING,
    Stage.COMPLETED: Status.COMPLETED,
    Stage.CANCELLED: Status.CANCELLED,
    Stage.FAILED: Status.FAILED,
    Stage.REFUNDED: Status.REFUNDED,
}
# Where nothing more happens by itself.
FINAL = frozenset({Stage.COMPLETED, Stage.CANCELLED, Stage.FAILED, Stage.REFUNDED})
# Where nobody wants the order any more.
ENDED = FINAL - {Stage.COMPLETED}


class Method(StrEnum):
    """How an order is paid. The first two are between the buyer and us, the others go by the provider."""

    INVOICE = "invoice"
    PREPAYMENT = "prepayment"
    CARD = "card"
    PAYPAL = "paypal"
    KLARNA = "klarna"
    SEPA = "sepa"
    TWINT = "twint"

    @property
    def online(self) -> bool:
        return self not in (Method.INVOICE, Method.PREPAYMENT)


class Awaited(StrEnum):
    """What an order waits for until its `due_at`."""

    PAYMENT = "payment"  # that the buyer pays online
    BANK = "bank"  # that the bank says whether it pays; then the provider is asked again
    PREPAYMENT = "prepayment"  # that the money comes, before anything is sent
    INVOICE = "invoice"  # that the money comes, after it was sent
    OVERDUE = "overdue"  # likewise, and all reminders were in vain: people decide what is done
    RELEASE = "release"  # it has ended, and what may be held for it isn't known to be let go


class Refunding(StrEnum):
    """What an order's refunds want of the office."""

    ASKED = "asked"  # some are on their way, or people have to send the money
    FAILED = "failed"  # the provider wouldn't


class Reason(StrEnum):
    """Why an order was called off, or failed."""

    CUSTOMER = "customer"  # its buyer called it off
    OFFICE = "office"  # we did
    UNPAID = "unpaid"  # nobody paid in time
    PROVIDER_AWAY = "provider_away"  # the provider of payments was away for too long
    REFUSED = "payment_refused"  # it refused the payment, or the buyer's bank did
    OTHER_AMOUNT = "other_amount"  # another amount was paid than the order's
    CAPTURE_REFUSED = "capture_refused"  # what was held couldn't be taken
    REVERSED = "payment_reversed"  # what was held or had come is gone, before the parcel went
    STEP = "step"  # a step of our own failed for good


class OrderPayment(msgspec.Struct, frozen=True, kw_only=True):
    """How an order is paid and what has been paid. `captured` is all that came, `refunded` what of it went back.

    `reference` names the payment at the provider, `url` is where the buyer pays while it is OPEN.
    `reversed` says that the bank took back what had come by the provider.
    """

    method: Method = Method.INVOICE
    state: PaymentState = PaymentState.OPEN
    reference: str = ""
    url: str = ""
    captured: Money
    refunded: Money
    reminders: int = 0
    reversed: bool = False


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money that goes back: asked for, and then given or not.

    `reason` is the office's own word, or a `Reason` where the order ended; `failed` is the provider's
    word for why it wouldn't.
    """

    id: str
    amount: Money
    reason: str
    asked_at: datetime
    given_at: datetime | None = None
    failed: str = ""

    @property
    def open(self) -> bool:
        return self.given_at is None and not self.failed


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    """The parcel: who carries it, under which number, and where that can be followed."""

    carrier: str = ""
    tracking: str = ""
    url: str = ""


class OrderLine(msgspec.Struct, frozen=True, kw_only=True):
    """What was bought, at the price and under the name it had."""

    sku: str
    product_id: str
    name: Text
    picture: str
    price: Money
    tax: TaxClass
    quantity: int

    @property
    def total(self) -> Money:
        return self.price * self.quantity


class Step(msgspec.Struct, frozen=True):
    """A stage the order came to, and when."""

    stage: Stage
    at: datetime


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `owner` is who placed it: a customer's id, `guest:…`, `partner:<partner id>:<its
    customer>`, or None where nobody knows.

    Totals are gross; `taxes` says what is in them. `source` is where it was placed and `reference` names
    it there; `country` is where it went as that source writes it, for orders whose address isn't known.
    `restocked` says that its pieces are in the stock again. It only ever changes by a fact
    (`history.record`); `facts` counts them.
    """

    id: str
    owner: str | None
    email: str
    language: str = "de"
    address: Address | None
    country: str = ""
    lines: tuple[OrderLine, ...]
    goods: Money
    shipping: Money
    total: Money
    taxes: tuple[TaxLine, ...]
    stage: Stage = Stage.PLACED
    steps: tuple[Step, ...]
    payment: OrderPayment
    awaits: Awaited | None = None
    due_at: datetime | None = None
    shipment: Shipment | None = None
    refunds: tuple[Refund, ...] = ()
    refunding: Refunding | None = None
    restocked: bool = False
    placed_at: datetime
    source: str = "shop"
    partner_id: str | None = None
    reference: str = ""
    facts: int = 1

    @property
    def status(self) -> Status:
        return STATUS[self.stage]

    @property
    def refundable(self) -> Money:
        """What can be given back: what has come and neither went back nor is to go back.

        While a parcel is still to go, only what came beyond the total: the rest goes back by
        calling the order off.
        """
        return self.refundable_beside("")

    def refundable_beside(self, refund_id: str) -> Money:
        """The same, as if that refund weren't there. One that failed still is to go back, by hand or asked again."""
        asked = sum(refund.amount.minor for refund in self.refunds if refund.id != refund_id)
        left = self.payment.captured.minor - asked
        if self.stage in (Stage.PLACED, Stage.AUTHORISED, Stage.PICKED):
            left -= self.total.minor
        return Money(max(left, 0), self.total.currency)

    @property
    def owed(self) -> Money:
        """What is still to be paid."""
        owed = self.total.minor - self.payment.captured.minor
        return Money(max(owed, 0), self.total.currency)

    @property
    def cancellable(self) -> bool:
        """Whether its buyer can still call it off: nobody has packed anything yet."""
        return self.stage in (Stage.PLACED, Stage.AUTHORISED)

    @property
    def by_transfer(self) -> bool:
        """Whether money comes and goes back by transfer, between the buyer and us."""
        return not self.payment.method.online or self.payment.reversed

    def allows(self, stage: Stage) -> bool:
        return stage in TRANSITIONS[self.stage]

    def to(self, stage: Stage, at: datetime) -> Order:
        """The order in its next stage, which must be allowed."""
        if not self.allows(stage):
            raise ValueError(f"{self.id} can't go from {self.stage} to {stage}")
        return replace(self, stage=stage, steps=(*self.steps, Step(stage, at)))


def new_order_id(day: datetime, random_id: str) -> str:
    """`EK-261120-7K3MQ9`: the day for people, thirty bits of `random_id` so that nobody can count our orders.

    Two of a day may collide; the second one's transaction then runs again with another.
    """
    number = int(random_id[-8:], 16)
    letters = _PAIRS[number >> 20 & 1023] + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]
    return f"EK-{day.year % 100:02}{day.month:02}{day.day:02}-{letters}"


ORDERS = Table(
    "orders",
    Order,
    key="id",
    indexes={
        "by_owner": ("owner", "-placed_at"),
        "by_stage": ("stage", "-placed_at"),
        "by_partner": ("partner_id", "-placed_at"),
        "by_due": ("awaits", "due_at"),
        "by_refunding": ("refunding", "-placed_at"),
    },
    shape=3,
    upgrades=UPGRADES,
)
