"""Customers, their addresses, their sessions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from ecokart.core.errors import Conflict, FieldError, Invalid, NotFound, Unauthenticated
from ecokart.core.records import Table

SESSION_LENGTH = timedelta(days=7)
MAX_ADDRESSES = 20

_CONTROLS = r"\x00-\x1f\x7f-\x9f"
_END = r"(?![\s\S])"  # a `$` would let a line break through
# What a mail address may hold without quotes; the rest only a mail that arrives can tell.
_SIGN = rf"[^\s{_CONTROLS}@.<>()\[\]\\,;:\"]"
_EMAIL = rf"^(?:{_SIGN}|\.)+@(?:{_SIGN}+\.)+{_SIGN}+{_END}"
_LINE = rf"^[^{_CONTROLS}]*[^\s{_CONTROLS}][^{_CONTROLS}]*{_END}"

Email = Annotated[str, Meta(max_length=254, pattern=_EMAIL)]  # RFC 5321 allows 254
Password = Annotated[str, Meta(min_length=8, max_length=256)]
ShortText = Annotated[str, Meta(min_length=1, max_length=100, pattern=_LINE)]
Country = Literal["DE", "AT", "CH"]
COUNTRIES: tuple[str, ...] = get_args(Country)
POSTAL_CODE_DIGITS: dict[Country, int] = {"DE": 5, "AT": 4, "CH": 4}


class EmailTaken(Conflict):
    """There is an account with this e-mail address already."""


class WrongCredentials(Unauthenticated):
    """E-mail address or password is wrong."""


class SessionEnded(Unauthenticated):
    """This session has ended. Please sign in again."""


class NoSuchAddress(NotFound):
    """There is no such address."""


class TooManyAddresses(Conflict):
    """The address book is full."""


class WrongPostalCode(Invalid):
    """This postal code isn't one of that country."""


class Address(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where parcels go. `country` is an ISO 3166-1 code of a country we deliver to."""

    name: ShortText
    company: Annotated[str, Meta(max_length=100, pattern=rf"^[^{_CONTROLS}]*{_END}")] = ""
    street: ShortText
    postal_code: Annotated[str, Meta(pattern=rf"^[0-9]{{4,5}}{_END}")]
    city: ShortText
    country: Country = "DE"

    def check(self, within: str = "") -> None:
        """Raises `WrongPostalCode`, which names the field of the struct that is `within` a request.

        For what somebody gives now; addresses from before this rule are shown and used as they are.
        """
        digits = POSTAL_CODE_DIGITS[self.country]
        if len(self.postal_code) != digits:
            error = FieldError(f"{within}postalCode", f"Takes {digits} digits in {self.country}.")
            raise WrongPostalCode(errors=(error,))


class SavedAddress(msgspec.Struct, frozen=True):
    """An address in a customer's address book."""

    id: str
    address: Address


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with an account. `email` is as they wrote it; comparing is `folded`'s business.

    An imported customer has neither e-mail address nor password, only a number for a name.
    """

    id: str
    email: str
    name: str
    password_hash: str
    role: str = "customer"
    language: str = "de"
    addresses: tuple[SavedAddress, ...] = ()
    created_at: datetime


class EmailClaim(msgspec.Struct, frozen=True):
    """Makes an address unique: a record of its own, put only if there is none."""

    folded: str
    customer_id: str


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody is signed in somewhere. Without this record a token opens nothing.

    It knows what most requests of its customer ask for, so that they need no second read.
    """

    id: str
    customer_id: str
    role: str
    email: str
    created_at: datetime
    expires_at: datetime


def folded(email: str) -> str:
    """The form in which two spellings of one address are equal."""
    return email.strip().casefold()


CUSTOMERS = Table("customers", Customer, key="id")
EMAILS = Table("emails", EmailClaim, key="folded")
SESSIONS = Table(
    "sessions",
    Session,
    key="id",
    indexes={"by_customer": ("customer_id", "created_at")},
    expires="expires_at",
)
