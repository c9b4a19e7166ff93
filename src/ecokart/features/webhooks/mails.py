"""The mail about an endpoint that was disabled, in the partner's language."""

from __future__ import annotations

from functools import partial

from ecokart.core.i18n import gettext
from ecokart.core.letters import Paragraph, letter
from ecokart.core.ports import Letter
from ecokart.core.terms import Terms
from ecokart.features.partners.model import Partner
from ecokart.features.webhooks.events import EndpointDisabled
from ecokart.features.webhooks.model import Off


def disabled_endpoint(event: EndpointDisabled, partner: Partner, terms: Terms) -> Letter | None:
    """Why nothing comes any more, and what to do. None if nobody needs to be told, or nobody can be."""
    if event.because is Off.BY_HAND or not partner.email:
        return None
    _ = partial(gettext, partner.language)
    why = (
        _("It answered 410 Gone, by which a server asks us to stop.")
        if event.because is Off.GONE
        else _("It has taken nothing for five days, and every attempt failed.")
    )
    parts = [
        _("Hello %(name)s,", name=partner.name),
        _("we have stopped sending webhooks to this address of yours:"),
        event.url,
        why,
        _(
            "Once it is well again, please enable it by the API or ask us to. What it missed in the"
            " meantime is kept, and can be sent again; docs/webhooks.md says how."
        ),
    ]
    return letter(
        to=partner.email,
        name=partner.name,
        language=partner.language,
        subject=_("We have stopped sending webhooks to you"),
        blocks=[Paragraph(part) for part in parts],
        sender=terms.signature,
    )
