"""The mail to the office about an article that runs out, in the shop's first language."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from ecokart.core.i18n import DEFAULT, gettext
from ecokart.core.letters import Link, Paragraph, letter
from ecokart.core.ports import Letter
from ecokart.core.terms import Terms
from ecokart.features.catalog.events import StockLow


def runs_out(event: StockLow, terms: Terms) -> Letter:
    """Which article it is, and how many pieces can still be bought."""
    _ = partial(gettext, DEFAULT)
    left = _(
        "Of %(sku)s, %(count)s pieces can still be bought.", sku=event.sku, count=event.available
    )
    return letter(
        to=terms.office_email,
        name="",
        language=DEFAULT,
        subject=_("%(sku)s is running out", sku=event.sku),
        blocks=[
            Paragraph(left),
            Link(_("To the stock"), f"{terms.public_url}/admin/stock?q={quote(event.sku)}"),
        ],
        sender=terms.signature,
    )
