"""What several mails about an order say: its bill, how it is paid, where it goes, what becomes of its money."""

from __future__ import annotations

from collections.abc import Callable

from ecokart.core.i18n import format_date, format_decimal, format_money
from ecokart.core.letters import Bill, Block, Facts, Heading, Link, Paragraph, Row
from ecokart.core.money import Money
from ecokart.core.payments import PaymentState
from ecokart.core.terms import Terms
from ecokart.features.orders.model import Method, Order

# A sentence in the buyer's language, with its places filled in.
Say = Callable[..., str]


def bill(order: Order, _: Say) -> Bill:
    def money(amount: Money) -> str:
        return format_money(amount, order.language)

    goods = [
        Row(f"{line.quantity} × {line.name[order.language]}", money(line.total))
        for line in order.lines
    ]
    taxes = [
        Row(
            _("VAT of %(rate)s %% in it", rate=format_decimal(float(tax.rate), order.language)),
            money(tax.tax),
        )
        for tax in order.taxes
    ]
    sums = [
        Row(_("Goods"), money(order.goods)),
        Row(_("Shipping"), money(order.shipping)),
        Row(_("Total"), money(order.total), strong=True),
        *taxes,
    ]
    return Bill(goods, sums)


def how_to_pay(order: Order, terms: Terms, _: Say) -> list[Block]:
    """What the buyer has agreed to, and what is to be done next for it."""
    payment = order.payment
    if payment.method is Method.INVOICE:
        return [Paragraph(_("You pay by invoice, which comes with the parcel."))]
    if payment.method is Method.PREPAYMENT:
        due = format_date(order.due_at, order.language) if order.due_at else ""
        said = _(
            "You pay in advance. Please transfer %(amount)s by %(due)s; we send the goods as soon as the"
            " money has come.",
            amount=format_money(order.total, order.language),
            due=due,
        )
        return [Paragraph(said), *transfer(order, terms, order.total, _)]
    method = method_name(payment.method, _)
    if payment.state is not PaymentState.OPEN:
        return [Paragraph(_("You pay by %(method)s.", method=method))]
    said = _(
        "You pay by %(method)s. If you haven't done so yet, you can do it here.", method=method
    )
    return [Paragraph(said), Link(_("Pay now"), payment.url or page_of(order, terms))]


def transfer(order: Order, terms: Terms, amount: Money, _: Say) -> list[Block]:
    """Where a transfer goes, and what it has to say so that we know it."""
    if terms.bank is None:
        return []
    pairs = [
        (_("Account holder"), terms.bank.holder),
        ("IBAN", terms.bank.iban_in_fours),
        ("BIC", terms.bank.bic),
        (_("Amount"), format_money(amount, order.language)),
        (_("Reference"), order.id),
    ]
    return [Facts([(name, value) for name, value in pairs if value])]


def where_to(order: Order, _: Say) -> list[Block]:
    if order.address is None:
        return []
    to = order.address
    place = f"{to.postal_code} {to.city} ({to.country})"
    lines = filter(None, [to.name, to.company, to.street, place])
    return [Heading(_("We deliver to")), Paragraph("\n".join(lines))]


def money_then(order: Order, _: Say) -> str:
    """What becomes of the money of an order that has ended."""
    kept = order.payment.captured.minor - order.payment.refunded.minor
    if kept > 0:
        amount = format_money(Money(kept, order.total.currency), order.language)
        return _(
            "The %(amount)s that you paid go back to you. We write to you when they are on their way.",
            amount=amount,
        )
    if order.payment.method.online:
        return _(
            "Nothing was charged. If your bank has set an amount aside, it lets go of it by itself."
        )
    return _("There is nothing for you to pay.")


def rights(terms: Terms, _: Say) -> str:
    """What the law gives a buyer (BGB §§ 312g, 355, 437): the shop's own terms say it at length."""
    return _(
        "You may withdraw from this contract within fourteen days of receiving the goods, without giving a"
        " reason: a message to %(email)s with your order number is enough. If something is faulty, you have"
        " your rights by law.",
        email=terms.contact_email,
    )


def method_name(method: Method, _: Say) -> str:
    """What people call a way of paying."""
    return {
        Method.INVOICE: _("invoice"),
        Method.PREPAYMENT: _("advance payment"),
        Method.CARD: _("card"),
        Method.PAYPAL: "PayPal",
        Method.KLARNA: "Klarna",
        Method.SEPA: _("SEPA direct debit"),
        Method.TWINT: "TWINT",
    }[method]


def page_of(order: Order, terms: Terms) -> str:
    return f"{terms.public_url}/account/orders/{order.id}"
