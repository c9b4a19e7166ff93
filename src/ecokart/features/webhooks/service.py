"""Commands and queries of endpoints. Each takes the partner whose they are: another's isn't there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from ecokart.core.ports import Records
from ecokart.core.records import Cursor, Page
from ecokart.core.transaction import Transaction
from ecokart.features.partners import service as partners
from ecokart.features.webhooks.events import (
    EndpointAdded,
    EndpointChanged,
    EndpointDisabled,
    EndpointEnabled,
    EndpointRemoved,
    ReplayAsked,
    SecretRotated,
)
from ecokart.features.webhooks.model import (
    ENDPOINTS,
    MAX_ENDPOINTS,
    OVERLAP,
    Endpoint,
    EndpointOff,
    NoSuchEndpoint,
    Off,
    TooManyEndpoints,
    Topic,
    new_signing_secret,
)


async def add(tx: Transaction, partner_id: str, url: str, topics: Iterable[Topic]) -> Endpoint:
    """A new endpoint, whose URL `Targets.check` has let pass. Raises `NoSuchPartner` and `TooManyEndpoints`."""
    await partners.one(tx, partner_id)
    page = await tx.query(ENDPOINTS, "by_partner", partner_id, limit=MAX_ENDPOINTS)
    if len(page.values) >= MAX_ENDPOINTS:
        raise TooManyEndpoints
    endpoint = Endpoint(
        id=tx.new_id(),
        partner_id=partner_id,
        url=url,
        topics=frozenset(topics),
        secret=new_signing_secret(),
        created_at=tx.now,
    )
    tx.add(ENDPOINTS, endpoint)
    tx.emit(
        EndpointAdded(
            partner_id=partner_id, endpoint_id=endpoint.id, url=url, topics=_named(endpoint.topics)
        )
    )
    return endpoint


async def change(
    tx: Transaction, partner_id: str, endpoint_id: str, url: str, topics: Iterable[Topic]
) -> Endpoint:
    """Another URL, other topics; the secret stays. Raises `NoSuchEndpoint`."""
    before = await one(tx, partner_id, endpoint_id)
    endpoint = replace(before, url=url, topics=frozenset(topics))
    if endpoint == before:
        return before
    if url != before.url:
        endpoint = replace(endpoint, failing_since=None)
    tx.put(ENDPOINTS, endpoint)
    tx.emit(
        EndpointChanged(
            partner_id=partner_id, endpoint_id=endpoint_id, url=url, topics=_named(endpoint.topics)
        )
    )
    return endpoint


async def remove(tx: Transaction, partner_id: str, endpoint_id: str) -> None:
    """What waits for it isn't sent any more. Raises `NoSuchEndpoint`."""
    await one(tx, partner_id, endpoint_id)
    tx.delete(ENDPOINTS, endpoint_id)
    tx.emit(EndpointRemoved(partner_id=partner_id, endpoint_id=endpoint_id))


async def rotate(tx: Transaction, partner_id: str, endpoint_id: str) -> Endpoint:
    """A new secret. The one before signs beside it for a day, the one before that no more.

    Raises `NoSuchEndpoint`.
    """
    endpoint = await one(tx, partner_id, endpoint_id)
    until = tx.now + OVERLAP
    endpoint = replace(
        endpoint,
        secret=new_signing_secret(),
        previous_secret=endpoint.secret,
        previous_until=until,
    )
    tx.put(ENDPOINTS, endpoint)
    tx.emit(SecretRotated(partner_id=partner_id, endpoint_id=endpoint_id, overlap_until=until))
    return endpoint


async def disable(tx: Transaction, partner_id: str, endpoint_id: str) -> Endpoint:
    """Send it nothing until it is enabled. Raises `NoSuchEndpoint`."""
    endpoint = await one(tx, partner_id, endpoint_id)
    if endpoint.disabled_at:
        return endpoint
    endpoint = endpoint.off(Off.BY_HAND, tx.now)
    tx.put(ENDPOINTS, endpoint)
    tx.emit(was_disabled(endpoint))
    return endpoint


async def enable(tx: Transaction, partner_id: str, endpoint_id: str) -> Endpoint:
    """Send it what happens from now on; what it missed it gets by a replay. Raises `NoSuchEndpoint`."""
    endpoint = await one(tx, partner_id, endpoint_id)
    if endpoint.disabled_at is None:
        return endpoint
    endpoint = endpoint.on()
    tx.put(ENDPOINTS, endpoint)
    tx.emit(EndpointEnabled(partner_id=partner_id, endpoint_id=endpoint_id))
    return endpoint


async def ask_replay(
    tx: Transaction, partner_id: str, endpoint_id: str, since: datetime, *, everything: bool
) -> Endpoint:
    """Send once more what was told since then: what failed, or `everything`.

    Raises `NoSuchEndpoint` and `EndpointOff`.
    """
    endpoint = await one(tx, partner_id, endpoint_id)
    if endpoint.disabled_at:
        raise EndpointOff
    tx.emit(
        ReplayAsked(
            partner_id=partner_id, endpoint_id=endpoint_id, since=since, everything=everything
        )
    )
    return endpoint


async def one(tx: Transaction, partner_id: str, endpoint_id: str) -> Endpoint:
    """Raises `NoSuchEndpoint`."""
    endpoint = await tx.get(ENDPOINTS, endpoint_id)
    if endpoint is None or endpoint.partner_id != partner_id:
        raise NoSuchEndpoint
    return endpoint


async def any_one(records: Records, endpoint_id: str) -> Endpoint:
    """Any partner's endpoint, for the office. Raises `NoSuchEndpoint`."""
    found = await records.get(ENDPOINTS, endpoint_id)
    if found is None:
        raise NoSuchEndpoint
    return found.value


async def of_partner(records: Records, partner_id: str) -> list[Endpoint]:
    """All of a partner's, the oldest first."""
    page = await records.query(ENDPOINTS, "by_partner", partner_id, limit=MAX_ENDPOINTS)
    return page.values


async def every(
    records: Records, *, after: Cursor | None = None, limit: int = 50
) -> Page[Endpoint]:
    """Those of all partners, the newest first."""
    return await records.query(ENDPOINTS, "all", "all", after=after, limit=limit)


def was_disabled(endpoint: Endpoint) -> EndpointDisabled:
    return EndpointDisabled(
        partner_id=endpoint.partner_id,
        endpoint_id=endpoint.id,
        because=endpoint.disabled_because or Off.BY_HAND,
        url=endpoint.url,
    )


def _named(topics: Iterable[Topic]) -> tuple[str, ...]:
    return tuple(sorted(topics))
