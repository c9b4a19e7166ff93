"""A partner with a key, as tests need one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from ecokart.core.ports import Ports
from ecokart.core.transaction import transact
from ecokart.features.accounts.model import Address
from ecokart.features.partners import service
from ecokart.features.partners.model import Limits, Scope

ADDRESS = Address(name="Acme", street="Markt 1", postal_code="5020", city="Salzburg", country="AT")


class Known(NamedTuple):
    """A partner and the one key it has."""

    partner_id: str
    key_id: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key}


async def new_partner(
    ports: Ports,
    *,
    name: str = "Acme",
    scopes: Iterable[Scope] = Scope,
    address: Address | None = ADDRESS,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    holds: timedelta | None = timedelta(days=365),
) -> Known:
    """A partner whose key is good for a year and for everything, unless said otherwise."""
    details = service.Details(
        name=name, email="orders@acme.example", address=address, limits=limits
    )
    partner = await transact(ports, service.add, details)
    issued = await transact(
        ports, service.issue, partner.id, name="till", scopes=scopes, holds=holds
    )
    return Known(partner.id, issued.key.id, issued.text)
