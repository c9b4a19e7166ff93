"""Commands and queries of partners."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from ecokart.core.ports import Records
from ecokart.core.records import Cursor, Page
from ecokart.core.transaction import Transaction
from ecokart.features.accounts.model import Address
from ecokart.features.partners.events import (
    KeyIssued,
    KeyRestored,
    KeyRevoked,
    KeyRotated,
    PartnerActivated,
    PartnerAdded,
    PartnerChanged,
    PartnerDeactivated,
)
from ecokart.features.partners.model import (
    FORGOTTEN,
    KEY_USES,
    MAX_KEYS,
    PARTNERS,
    ApiKey,
    ApiKeyExpired,
    GivenKey,
    KeyEnded,
    KeyUse,
    Limits,
    NoSuchPartner,
    Partner,
    PartnerInactive,
    Scope,
    ScopeMissing,
    TooLateToRestore,
    TooManyKeys,
    WrongApiKey,
    hashed,
    key_text,
    new_key_id,
    new_partner_id,
    new_secret,
)


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What the office says of a partner."""

    name: str
    email: str = ""
    address: Address | None = None
    language: str = "de"
    limits: Limits = Limits()


class Issued(msgspec.Struct, frozen=True):
    """A new key, and its text: to be shown now, as nobody can find it out later."""

    key: ApiKey
    text: str


async def add(tx: Transaction, details: Details) -> Partner:
    """A new partner, without keys."""
    partner = Partner(id=new_partner_id(), created_at=tx.now, **msgspec.structs.asdict(details))
    tx.add(PARTNERS, partner)
    tx.emit(PartnerAdded(partner_id=partner.id, partner_name=partner.name))
    return partner


async def change(tx: Transaction, partner_id: str, details: Details) -> Partner:
    """Put these details in the place of the old ones. Raises `NoSuchPartner`."""
    before = await one(tx, partner_id)
    given = msgspec.structs.asdict(details)
    changed = tuple([field for field in given if getattr(before, field) != given[field]])
    if not changed:
        return before
    partner = replace(before, **given)
    tx.put(PARTNERS, partner)
    tx.emit(PartnerChanged(partner_id=partner_id, fields=changed))
    return partner


async def activate(tx: Transaction, partner_id: str, *, active: bool) -> Partner:
    """Switch the partner's access on or off, all keys at once. Raises `NoSuchPartner`."""
    partner = await one(tx, partner_id)
    if partner.active == active:
        return partner
    partner = replace(partner, active=active)
    tx.put(PARTNERS, partner)
    fact = PartnerActivated if active else PartnerDeactivated
    tx.emit(fact(partner_id=partner_id))
    return partner


async def issue(
    tx: Transaction,
    partner_id: str,
    *,
    name: str,
    scopes: Iterable[Scope],
    holds: timedelta | None,
) -> Issued:
    """A new key that holds so long, or for ever. Raises `NoSuchPartner` and `TooManyKeys`."""
    partner = await one(tx, partner_id)
    expires_at = tx.now + holds if holds else None
    partner, issued = _with_new_key(partner, name, frozenset(scopes), tx.now, expires_at)
    tx.put(PARTNERS, partner)
    tx.emit(
        KeyIssued(
            partner_id=partner_id,
            key_id=issued.key.id,
            scopes=tuple(sorted(issued.key.scopes)),
            expires_at=expires_at,
        )
    )
    return issued


async def rotate(tx: Transaction, partner_id: str, key_id: str, *, overlap: timedelta) -> Issued:
    """A successor for a key, which itself holds no longer than `overlap` from now on.

    The successor may the same, and holds as long as the old one was made for. Raises
    `NoSuchPartner`, `NoSuchKey`, `KeyEnded` and `TooManyKeys`.
    """
    partner = await one(tx, partner_id)
    old = partner.key(key_id)
    if old.ended_at(tx.now):
        raise KeyEnded
    expires_at = tx.now + (old.expires_at - old.created_at) if old.expires_at else None
    partner, issued = _with_new_key(partner, old.name, old.scopes, tx.now, expires_at)
    ends_at = min(old.expires_at or tx.now + overlap, tx.now + overlap)
    partner = partner.with_key(replace(old, expires_at=ends_at, successor=issued.key.id))
    tx.put(PARTNERS, partner)
    tx.emit(
        KeyRotated(partner_id=partner_id, key_id=key_id, successor=issued.key.id, ends_at=ends_at)
    )
    return issued


async def revoke(tx: Transaction, partner_id: str, key_id: str) -> None:
    """Let a key open nothing any more, from the next request on. Once more changes nothing.

    Raises `NoSuchPartner` and `NoSuchKey`.
    """
    partner = await one(tx, partner_id)
    key = partner.key(key_id)
    if key.revoked_at:
        return
    tx.put(PARTNERS, partner.with_key(replace(key, revoked_at=tx.now)))
    tx.emit(KeyRevoked(partner_id=partner_id, key_id=key_id))


async def restore(tx: Transaction, partner_id: str, key_id: str) -> None:
    """Undo a revocation of just now. Raises `NoSuchPartner`, `NoSuchKey` and `TooLateToRestore`."""
    partner = await one(tx, partner_id)
    key = partner.key(key_id)
    if not key.restorable(tx.now):
        raise TooLateToRestore
    tx.put(PARTNERS, partner.with_key(replace(key, revoked_at=None)))
    tx.emit(KeyRestored(partner_id=partner_id, key_id=key_id))


async def named_by(records: Records, given: GivenKey | None) -> Partner | None:
    """Whose key this says it is, read anew each time: what was revoked a moment ago opens nothing."""
    found = await records.get(PARTNERS, given.partner_id) if given else None
    return found.value if found else None


def check(partner: Partner | None, given: GivenKey | None, scope: str, now: datetime) -> ApiKey:
    """The key, if it is one of the partner's and may be used for this.

    Raises `WrongApiKey`, `ApiKeyExpired`, `PartnerInactive` and `ScopeMissing`.
    """
    keys = partner.keys if partner else ()
    key = next((key for key in keys if given and key.id == given.key_id), None)
    if partner is None or given is None or key is None or not key.fits(given.secret):
        raise WrongApiKey
    if key.revoked_at:
        raise WrongApiKey
    if key.ended_at(now):
        raise ApiKeyExpired
    if not partner.active:
        raise PartnerInactive
    if scope not in key.scopes:
        raise ScopeMissing(f"It needs {scope}.", scope=scope)
    return key


async def one(tx: Transaction, partner_id: str) -> Partner:
    """Raises `NoSuchPartner`."""
    partner = await tx.get(PARTNERS, partner_id)
    if partner is None:
        raise NoSuchPartner
    return partner


async def every(records: Records, *, after: Cursor | None = None, limit: int = 50) -> Page[Partner]:
    """The partners by name."""
    return await records.query(PARTNERS, "by_name", "all", after=after, limit=limit)


async def uses(records: Records, keys: Iterable[ApiKey]) -> dict[str, KeyUse]:
    """When each of these keys was used last, for those that were."""
    found = [await records.get(KEY_USES, key.id) for key in keys]
    return {use.value.key_id: use.value for use in found if use}


def _with_new_key(
    partner: Partner,
    name: str,
    scopes: frozenset[Scope],
    now: datetime,
    expires_at: datetime | None,
) -> tuple[Partner, Issued]:
    """The partner with one key more, and without those that have long ended."""
    kept = [
        key
        for key in partner.keys
        if (ended_at := key.ended_at(now)) is None or now - ended_at <= FORGOTTEN
    ]
    if len(kept) >= MAX_KEYS:
        raise TooManyKeys
    secret = new_secret()
    key = ApiKey(
        id=new_key_id(partner.id),
        name=name,
        secret_hash=hashed(secret),
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
    )
    return replace(partner, keys=(*kept, key)), Issued(key, key_text(key.id, secret))
