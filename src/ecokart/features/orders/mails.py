"""The mails about an order, in the buyer's language: one for each thing that a buyer has to hear of.

A mail is a list of blocks; `core.letters` makes text and HTML of them.
"""

from __future__ import annotations

from functools import partial

from ecokart.core.i18n import format_date, format_money, gettext
from ecokart.core.letters import Block, Facts, Fine, Heading, Link, More, Paragraph, letter
from ecokart.core.ports import Letter
from ecokart.core.terms import Terms
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
from ecokart.features.orders.mail_parts import (
    Say,
    bill,
    how_to_pay,
    method_name,
    money_then,
    page_of,
    rights,
    transfer,
    where_to,
)
from ecokart.features.orders.model import ENDED, Awaited, Order, Reason

LAST_REMINDER = 3


def confirmation(order: Order, terms: Terms, event: OrderPlaced) -> Letter:
    """What was ordered, what it costs, how it is paid, where it goes, and the buyer's rights."""
    _ = _in(order)
    blocks: list[Block] = [
        Paragraph(
            _(
                "thank you for your order %(number)s of %(date)s.",
                number=order.id,
                date=format_date(order.placed_at, order.language),
            )
        ),
        bill(order, _),
        Heading(_("Payment")),
        *how_to_pay(order, terms, _),
        *where_to(order, _),
        More(_("How your order stands"), page_of(order, terms)),
        Fine(rights(terms, _)),
    ]
    return _mail(order, terms, _("Your order %(number)s", number=order.id), blocks)


def paid(order: Order, terms: Terms, event: PaymentSecured) -> Letter:
    """The provider has the money, or holds it for us."""
    _ = _in(order)
    said = _(
        "your payment of %(amount)s by %(method)s has been confirmed. We get your order ready now.",
        amount=format_money(order.total, order.language),
        method=method_name(order.payment.method, _),
    )
    return _mail(order, terms, _("Paid: order %(number)s", number=order.id), [Paragraph(said)])


def received(order: Order, terms: Terms, event: PaymentReceived) -> Letter:
    """A transfer has come: all of it, a part, or too late."""
    _ = _in(order)
    amount = format_money(event.captured, order.language)
    blocks: list[Block] = [
        Paragraph(
            _(
                "we have received %(amount)s for your order %(number)s.",
                amount=amount,
                number=order.id,
            )
        )
    ]
    if order.stage in ENDED:
        blocks.append(
            Paragraph(_("The order had been ended before. So the money goes back to you."))
        )
    elif order.owed.minor:
        owed = format_money(order.owed, order.language)
        blocks.append(Paragraph(_("%(amount)s are still missing.", amount=owed)))
        blocks += transfer(order, terms, order.owed, _)
    return _mail(order, terms, _("Money received: order %(number)s", number=order.id), blocks)


def reminder(order: Order, terms: Terms, event: PaymentReminded) -> Letter | None:
    """Money is due, for the last time with what comes next; unless it has come meanwhile."""
    if not order.owed.minor or order.stage in ENDED:
        return None
    _ = _in(order)
    if event.reminder >= LAST_REMINDER:
        subject = _("Last reminder: order %(number)s", number=order.id)
    else:
        subject = _("Reminder: order %(number)s", number=order.id)
    ordered = format_date(order.placed_at, order.language)
    due = format_date(event.pay_by, order.language)
    blocks: list[Block] = [
        Paragraph(
            _(
                "we haven't received your payment for order %(number)s of %(date)s yet. Please transfer"
                " %(amount)s by %(due)s.",
                number=order.id,
                date=ordered,
                amount=format_money(order.owed, order.language),
                due=due,
            )
        ),
        *transfer(order, terms, order.owed, _),
    ]
    if event.reminder >= LAST_REMINDER and order.awaits is Awaited.PREPAYMENT:
        blocks.append(Paragraph(_("After that day we have to cancel the order.")))
    blocks.append(Fine(_("If you have paid already, our mails have crossed: thank you.")))
    return _mail(order, terms, subject, blocks)


def reversal(order: Order, terms: Terms, event: PaymentReversed) -> Letter | None:
    """The buyer's bank took back what had come, and the parcel is gone: it is owed again."""
    if event.pay_by is None or not order.owed.minor:
        return None
    _ = _in(order)
    said = _(
        "your bank has taken back the payment for order %(number)s. Please transfer %(amount)s instead.",
        number=order.id,
        amount=format_money(order.owed, order.language),
    )
    blocks: list[Block] = [Paragraph(said), *transfer(order, terms, order.owed, _)]
    subject = _("Please pay again: order %(number)s", number=order.id)
    return _mail(order, terms, subject, blocks)


def shipped(order: Order, terms: Terms, event: OrderShipped) -> Letter:
    """The parcel is on its way: with whom, where it can be followed, and what is still to be paid."""
    _ = _in(order)
    blocks: list[Block] = [
        Paragraph(_("your order %(number)s is on its way to you.", number=order.id))
    ]
    parcel = [(_("Carrier"), event.carrier), (_("Parcel number"), event.tracking)]
    if told := [(name, value) for name, value in parcel if value]:
        blocks.append(Facts(told))
    if event.url:
        blocks.append(Link(_("Follow the parcel"), event.url))
    blocks.append(
        Paragraph(
            "\n".join(f"{line.quantity} × {line.name[order.language]}" for line in order.lines)
        )
    )
    blocks += where_to(order, _)
    if event.pay_by:
        said = _(
            "The invoice is in the parcel. Please pay %(amount)s by %(due)s.",
            amount=format_money(order.owed, order.language),
            due=format_date(event.pay_by, order.language),
        )
        blocks += [Heading(_("Payment")), Paragraph(said), *transfer(order, terms, order.owed, _)]
    return _mail(order, terms, _("On its way: order %(number)s", number=order.id), blocks)


def cancelled(order: Order, terms: Terms, event: OrderCancelled) -> Letter:
    """The order is called off: by whom, and what becomes of the money."""
    _ = _in(order)
    why = {
        Reason.CUSTOMER: _(
            "as you wished, we have cancelled your order %(number)s.", number=order.id
        ),
        Reason.UNPAID: _(
            "no payment has come for your order %(number)s, so we have cancelled it.",
            number=order.id,
        ),
        Reason.PROVIDER_AWAY: _(
            "we couldn't take your payment for order %(number)s, which wasn't your fault. So we had to"
            " cancel it. We are sorry.",
            number=order.id,
        ),
    }.get(
        Reason(event.reason),
        _("we had to cancel your order %(number)s. We are sorry.", number=order.id),
    )
    blocks: list[Block] = [Paragraph(why)]
    if event.note:
        blocks.append(Paragraph(event.note))
    blocks += [Paragraph(money_then(order, _)), Link(_("To the shop"), terms.public_url)]
    return _mail(order, terms, _("Cancelled: order %(number)s", number=order.id), blocks)


def failed(order: Order, terms: Terms, event: OrderFailed) -> Letter:
    """The order can't be carried out. The provider's own word for it is for the office, not for the buyer."""
    _ = _in(order)
    payment = {Reason.REFUSED, Reason.OTHER_AMOUNT, Reason.CAPTURE_REFUSED, Reason.REVERSED}
    if Reason(event.reason) in payment:
        why = _(
            "the payment for your order %(number)s by %(method)s didn't work, so we can't send it.",
            number=order.id,
            method=method_name(order.payment.method, _),
        )
        then = _("You are welcome to order again, and to pay in another way.")
    else:
        why = _("we can't carry out your order %(number)s. We are sorry.", number=order.id)
        then = _("You are welcome to order again.")
    blocks: list[Block] = [
        Paragraph(why),
        Paragraph(money_then(order, _)),
        Paragraph(then),
        Link(_("To the shop"), terms.public_url),
    ]
    return _mail(order, terms, _("Not possible: order %(number)s", number=order.id), blocks)


def refunded(order: Order, terms: Terms, event: OrderRefunded) -> Letter:
    """Money went back: how much, and which way."""
    _ = _in(order)
    amount = format_money(event.amount, order.language)
    if not order.by_transfer:
        said = _(
            "we have sent %(amount)s for your order %(number)s back the way you paid, by %(method)s. It"
            " may take your bank a few days to show it.",
            amount=amount,
            number=order.id,
            method=method_name(order.payment.method, _),
        )
    else:
        said = _(
            "we have transferred %(amount)s for your order %(number)s back to your account.",
            amount=amount,
            number=order.id,
        )
    return _mail(
        order, terms, _("Money back: order %(number)s", number=order.id), [Paragraph(said)]
    )


def _in(order: Order) -> Say:
    return partial(gettext, order.language)


def _mail(order: Order, terms: Terms, subject: str, blocks: list[Block]) -> Letter:
    name = order.address.name if order.address else ""
    _ = _in(order)
    hello = _("Hello %(name)s,", name=name) if name else _("Hello,")
    return letter(
        to=order.email,
        name=name,
        language=order.language,
        subject=subject,
        blocks=[Paragraph(hello), *blocks],
        sender=terms.signature,
    )
