"""What happens beside an order's way: its buyer hears of it by mail."""

from __future__ import annotations

from ecokart.features.orders import mails
from ecokart.features.orders.events import (
    OrderCancelled,
    OrderFailed,
    OrderPlaced,
    OrderRefunded,
    OrderShipped,
    PaymentReceived,
    PaymentReminded,
    PaymentReversed,
    PaymentSecured,
)
from ecokart.features.orders.posting import by_mail

confirmation = by_mail(OrderPlaced, mails.confirmation)
paid = by_mail(PaymentSecured, mails.paid)
received = by_mail(PaymentReceived, mails.received)
reminder = by_mail(PaymentReminded, mails.reminder)
reversal = by_mail(PaymentReversed, mails.reversal)
shipped = by_mail(OrderShipped, mails.shipped)
cancelled = by_mail(OrderCancelled, mails.cancelled)
failed = by_mail(OrderFailed, mails.failed)
refunded = by_mail(OrderRefunded, mails.refunded)
