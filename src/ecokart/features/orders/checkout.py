"""Ordering from the checkout's page: what was seen there is what is ordered, and only once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from typing import Protocol

import msgspec

from ecokart.core.errors import Conflict
from ecokart.core.idempotency import remember, replay
from ecokart.core.money import Money
from ecokart.core.ports import Ports
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction
from ecokart.features.accounts import service as accounts
from ecokart.features.accounts.model import TooManyAddresses
from ecokart.features.orders import paying, service
from ecokart.features.orders.model import CartEmpty, Method, MethodNotOffered
from ecokart.features.orders.service import Buyer


class BasketChanged(Conflict):
    """What is in the basket has changed since."""


class Seen(Protocol):
    """A line as far as a buyer agrees to it."""

    @property
    def sku(self) -> str: ...
    @property
    def quantity(self) -> int: ...
    @property
    def price(self) -> Money: ...


def method_named(name: str) -> Method:
    """The way to pay that a form names, or an invoice where it names none. Raises `MethodNotOffered`."""
    try:
        return Method(name or Method.INVOICE)
    except ValueError:
        raise MethodNotOffered from None


def refuse_method(ports: Ports, method: Method, country: str) -> None:
    """Raises `MethodNotOffered` for a way to pay that isn't there, or not where the order goes.

    TWINT is an app of the Swiss banks: nobody else has it.
    """
    if method not in paying.offered(ports) or (method is Method.TWINT and country != "CH"):
        raise MethodNotOffered(f"Not {method} for {country}.")


def seen(lines: Iterable[Seen]) -> str:
    """A word for these articles, quantities and prices: the form carries it, the order must equal it."""
    told = msgspec.json.encode(sorted((line.sku, line.quantity, line.price) for line in lines))
    return blake2b(told, digest_size=12).hexdigest()


async def order_once(
    tx: Transaction, buyer: Buyer, terms: Terms, *, form: str, agreed: str, keep_address: bool
) -> str:
    """The id of the order made of the basket, or of the one that this form made before.

    `form` names the page from which it is sent, `agreed` is what `seen` said there. Raises
    `CartEmpty`, `OutOfStock` and `BasketChanged`.
    """
    name = blake2b(f"{buyer.owner}\n{form}".encode(), digest_size=24).hexdigest()
    mark = await replay(tx, name, "checkout")
    try:
        order = await service.place(tx, buyer, terms)
    except CartEmpty:
        if mark is None:
            raise
        return msgspec.json.decode(mark.answer, type=str)
    if seen(order.lines) != agreed:
        raise BasketChanged
    if keep_address and not buyer.owner.startswith("guest:"):
        with suppress(TooManyAddresses):  # the order is what matters
            await accounts.add_address(tx, buyer.owner, buyer.address)
    remember(tx, name, "checkout", 303, msgspec.json.encode(order.id))
    return order.id
