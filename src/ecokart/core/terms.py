"""What the owner has decided about how the shop does business. Told by the settings, known to every room."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

import msgspec

IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")


class Bank(msgspec.Struct, frozen=True, kw_only=True):
    """The account to which transfers go. `iban` has no spaces (ISO 13616); `bic` may be empty within SEPA."""

    holder: str
    iban: str
    bic: str = ""

    @property
    def iban_in_fours(self) -> str:
        """As people read and type it: `DE02 1203 0000 0000 2020 51`."""
        return " ".join(self.iban[start : start + 4] for start in range(0, len(self.iban), 4))


def is_iban(text: str) -> bool:
    """Whether its form and its check digits are right (ISO 13616, ISO 7064 MOD 97-10)."""
    iban = text.replace(" ", "")
    if not IBAN.fullmatch(iban):
        return False
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """`fulfilment`: "automatic" packs and ships by itself, "office" waits for people who do.

    A transfer is to come within `prepayment_days` of the order, an invoice's within `invoice_days` of
    the parcel; without a `bank` there is no prepayment. `public_url` is how shoppers reach the shop,
    without a slash at its end. `shop_owner` says in a line who runs it and where, `contact_email` is where
    customers write to, `office_email` where the office reads what it has to know, "" for nowhere. An
    article with `stock_low_at` free pieces or fewer runs out. `webhooks_kept` is how long it is known
    what partners were told.
    """

    fulfilment: Literal["automatic", "office"] = "automatic"
    prepayment_days: int = 7
    invoice_days: int = 14
    bank: Bank | None = None
    public_url: str = ""
    shop_name: str = "Ecokart"
    shop_owner: str = ""
    contact_email: str = ""
    office_email: str = ""
    stock_low_at: int = 5
    webhooks_kept: timedelta = timedelta(days=30)

    @property
    def signature(self) -> str:
        """Who writes a mail: the shop, who runs it and where, and its address, a line each."""
        return "\n".join(filter(None, [self.shop_name, self.shop_owner, self.contact_email]))
