"""Partners and their API keys."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest

import msgspec
from msgspec.structs import replace

from ecokart.core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from ecokart.core.records import Table
from ecokart.features.accounts.model import Address

PREFIX = "ek_live_"
# Letters and digits that can be told apart, in one case: a key is read out, and selected by a double click.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PARTNER_ID_LENGTH = 8
KEY_ID_LENGTH = 12  # the partner's id and four more
SECRET_LENGTH = 40  # of 32 letters: 200 bits
MAX_KEYS = 20
# A key that was revoked by mistake may come back so long; after that it never does.
RESTORABLE = timedelta(minutes=10)
# A key that ended so long ago makes room for a new one; the log tells of it for ever.
FORGOTTEN = timedelta(days=90)


class Scope(StrEnum):
    """What a key may be used for."""

    ORDERS_READ = "orders:read"
    ORDERS_WRITE = "orders:write"
    WEBHOOKS = "webhooks"


class NoSuchPartner(NotFound):
    """This partner doesn't exist."""


class NoSuchKey(NotFound):
    """This partner has no such API key."""


class TooManyKeys(Conflict):
    """This partner has as many API keys as one can have. Please revoke one first."""


class KeyEnded(Conflict):
    """This API key has ended already."""


class TooLateToRestore(Conflict):
    """This API key can't be brought back any more. Please issue a new one."""


class AddressNeeded(Invalid):
    """We need an address to send this to: the order's, or one that the partner always has."""


class KeyRefused(Unauthenticated):
    """This API key opens nothing."""

    # No registered scheme means a key in a header of its own.
    challenge = 'ApiKey header="X-API-Key"'


class MissingApiKey(KeyRefused):
    """This takes an API key in the header X-API-Key."""


class WrongApiKey(KeyRefused):
    """This API key isn't one of ours, or was revoked."""


class ApiKeyExpired(KeyRefused):
    """This API key has expired. Please use its successor or ask us for a new one."""


class ScopeMissing(Forbidden):
    """This API key may not be used for that.

    `scope` names what it would need.
    """


class PartnerInactive(Forbidden):
    """This partner's access is switched off. Please talk to us."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept: what it may, how long it holds, and the hash of its secret.

    A plain SHA-256 is enough: a secret of 200 random bits can't be guessed however fast one hashes.
    Slow hashes are for passwords, which people make up.
    """

    id: str
    name: str
    secret_hash: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    successor: str = ""

    def fits(self, secret: str) -> bool:
        """Whether this is its secret; takes as long whichever it is."""
        return compare_digest(self.secret_hash, hashed(secret))

    def ended_at(self, now: datetime) -> datetime | None:
        """When it stopped opening anything; None while it does."""
        if self.revoked_at:
            return self.revoked_at
        return self.expires_at if self.expires_at and self.expires_at <= now else None

    def restorable(self, now: datetime) -> bool:
        return self.revoked_at is not None and now - self.revoked_at <= RESTORABLE


class Limits(msgspec.Struct, frozen=True):
    """Requests a minute: for each key, and orders for each of the partner's customers. None: the shop's own."""

    per_key: int | None = None
    per_customer: int | None = None


class Partner(msgspec.Struct, frozen=True, kw_only=True):
    """A company whose programs order here. Its keys are in its record: one read tells all that a
    request needs, and whatever is changed holds from the next request on.

    `email` and `address` are those of its orders that name none; `address` is also where invoices go.
    `listed` is the same for all: the index over it lists partners by name.
    """

    id: str
    name: str
    email: str = ""
    address: Address | None = None
    language: str = "de"
    limits: Limits = Limits()
    keys: tuple[ApiKey, ...] = ()
    active: bool = True
    created_at: datetime
    listed: str = "all"

    @property
    def source(self) -> str:
        """Where its orders say they are from."""
        return f"partner:{self.id}"

    def key(self, key_id: str) -> ApiKey:
        """Raises `NoSuchKey`."""
        for key in self.keys:
            if key.id == key_id:
                return key
        raise NoSuchKey

    def valid_keys(self, now: datetime) -> list[ApiKey]:
        return [key for key in self.keys if key.ended_at(now) is None]

    def with_key(self, changed: ApiKey) -> Partner:
        """The partner with this key in the place of the one that has its id."""
        keys = tuple([changed if key.id == changed.id else key for key in self.keys])
        return replace(self, keys=keys)


class KeyUse(msgspec.Struct, frozen=True, kw_only=True):
    """When a key was used last, as of about a minute ago, and from where."""

    key_id: str
    at: datetime
    address: str


class GivenKey(msgspec.Struct, frozen=True):
    """What a request sends, taken apart. The id names the partner too, so one read finds both."""

    partner_id: str
    key_id: str
    secret: str


def given_key(text: str) -> GivenKey | None:
    """`ek_live_<id>_<secret>` taken apart; None for what can't be a key of ours."""
    key_id, _, secret = text.removeprefix(PREFIX).partition("_")
    shaped = text.startswith(PREFIX) and text.isascii()
    if not shaped or (len(key_id), len(secret)) != (KEY_ID_LENGTH, SECRET_LENGTH):
        return None
    return GivenKey(key_id[:PARTNER_ID_LENGTH], key_id, secret)


def new_partner_id() -> str:
    return _drawn(PARTNER_ID_LENGTH)


def new_key_id(partner_id: str) -> str:
    return partner_id + _drawn(KEY_ID_LENGTH - PARTNER_ID_LENGTH)


def new_secret() -> str:
    return _drawn(SECRET_LENGTH)


def key_text(key_id: str, secret: str) -> str:
    """The key as its partner keeps it. We don't: it is shown once."""
    return f"{PREFIX}{key_id}_{secret}"


def hashed(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _drawn(length: int) -> str:
    return "".join([secrets.choice(ALPHABET) for _ in range(length)])


PARTNERS = Table("partners", Partner, key="id", indexes={"by_name": ("listed", "name")})
KEY_USES = Table("key_uses", KeyUse, key="key_id")
