"""`ecokart partner add`: a partner with its first key, for who has a shell at hand and no office."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click
import msgspec

from ecokart.app import open_ports
from ecokart.core.events import actor
from ecokart.core.transaction import Transaction, transact
from ecokart.features.accounts.model import Email, ShortText
from ecokart.features.partners import service
from ecokart.features.partners.model import Scope
from ecokart.settings import BadSetting, Settings


async def add(settings: Settings, name: str, email: str, days: int) -> None:
    """Print the key of a new partner, good for everything. It can't be shown again.

    Raises `BadSetting` for a name or an address that can't be one.
    """
    _check("NAME", name, ShortText)
    if email:
        _check("--email", email, Email)
    actor.set("command")
    ports = open_ports(settings)
    try:
        issued = await transact(ports, _added, name, email, days)
    finally:
        await ports.close()
    click.echo(issued.text)
    click.echo(f"{name} may use it for {days} days; its limits are in the office.", err=True)


def _check(place: str, given: str, kind: Any) -> None:
    try:
        msgspec.convert(given, kind)
    except msgspec.ValidationError:
        raise BadSetting(f"{place} is {given!r}, which can't be used.") from None


async def _added(tx: Transaction, name: str, email: str, days: int) -> service.Issued:
    partner = await service.add(tx, service.Details(name=name, email=email))
    return await service.issue(
        tx, partner.id, name="first", scopes=Scope, holds=timedelta(days=days)
    )
