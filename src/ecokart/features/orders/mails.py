"""The mails about an order, in the buyer's language."""

from __future__ import annotations

from functools import partial

from ecokart.core.i18n import format_date, format_money, gettext
from ecokart.core.ports import Letter
from ecokart.features.orders.model import Order


def confirmation(order: Order) -> Letter:
    """What was ordered, what it costs, where it goes. The sender is the mail engine's to set."""
    _ = partial(gettext, order.language)
    name = order.address.name if order.address else ""
    parts = [
        _("Hello %(name)s,", name=name),
        _(
            "thank you for your order %(number)s of %(date)s.",
            number=order.id,
            date=format_date(order.placed_at, order.language),
        ),
        _goods(order),
        _totals(order),
        _("You pay by invoice, which comes with the parcel."),
    ]
    if order.address:
        place = f"{order.address.postal_code} {order.address.city} ({order.address.country})"
        parts.append("\n".join([_("We deliver to:"), name, order.address.street, place]))
    return Letter(
        to=order.email,
        name=name,
        subject=_("Your order %(number)s", number=order.id),
        text="\n\n".join([*parts, "Ecokart"]) + "\n",
    )


def _goods(order: Order) -> str:
    return "\n".join(
        f"{line.quantity} × {line.name[order.language]}  {format_money(line.total, order.language)}"
        for line in order.lines
    )


def _totals(order: Order) -> str:
    _ = partial(gettext, order.language)
    rows = [(_("Shipping"), order.shipping), (_("Total"), order.total)]
    rows += [(_("VAT of %(rate)s %% in it", rate=tax.rate), tax.tax) for tax in order.taxes]
    return "\n".join(f"{label}: {format_money(amount, order.language)}" for label, amount in rows)
