"""Customers with tokens and filled carts, made through the shop's own services beside the running shop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from bench.auditor import auditor
from bench.load import request
from bench.processes import settings_of
from ecokart.app import open_ports
from ecokart.core.clock import Clock
from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact
from ecokart.features.accounts import passwords
from ecokart.features.accounts import service as accounts
from ecokart.features.accounts.model import Session
from ecokart.features.accounts.tokens import Tokens
from ecokart.features.cart import service as cart
from ecokart.features.catalog import service as catalog

PASSWORD = "a password of the bench"  # noqa: S105 (of customers who exist for a minute)
ADDRESS = {"name": "Bea Bench", "street": "Messweg 1", "postalCode": "10115", "city": "Berlin"}
ORDER = json.dumps({"address": ADDRESS}).encode()
PLENTY = 10_000_000
PER_TRANSACTION = 15  # customers; with their carts and the stock they reserve under 100 writes
AT_ONCE = 8  # transactions, so that they share their syncs


class Customer(NamedTuple):
    """Somebody with an account and a session; what they ask, ready to be sent."""

    id: str
    email: str
    token: str

    def signs_in(self) -> bytes:
        return _post("/auth/login", {"email": self.email, "password": PASSWORD})

    def puts_in(self, sku: str, quantity: int = 1) -> bytes:
        return _post("/api/cart", {"sku": sku, "quantity": quantity}, token=self.token)

    def looks(self) -> bytes:
        return request("GET", "/api/cart", token=self.token)

    def orders(self, key: str) -> bytes:
        return request("POST", "/api/orders", ORDER, token=self.token, key=key)


def _post(path: str, body: dict[str, object], *, token: str = "") -> bytes:
    return request("POST", path, json.dumps(body).encode(), token=token)


Basket = Sequence[tuple[str, int]]


class Crowd:
    """Makes customers in the shop of a folder, each with a session of its own."""

    def __init__(self, ports: Ports, tokens: Tokens, skus: list[str], password_hash: str) -> None:
        self.ports, self.skus = ports, skus
        self._tokens, self._hash, self._made = tokens, password_hash, 0

    async def come(self, baskets: Sequence[Basket]) -> list[Customer]:
        """As many customers as baskets, each with that basket in the cart, reserved."""
        parts = [
            baskets[at : at + PER_TRANSACTION] for at in range(0, len(baskets), PER_TRANSACTION)
        ]
        customers: list[Customer] = []
        for at in range(0, len(parts), AT_ONCE):
            come = [
                transact(self.ports, self._come, part, self._emails(len(part)))
                for part in parts[at : at + AT_ONCE]
            ]
            for sessions in await asyncio.gather(*come):
                customers += [
                    Customer(session.customer_id, email, self._tokens.issue(session))
                    for email, session in sessions
                ]
        return customers

    def baskets(self, count: int, random: Random) -> list[Basket]:
        """Baskets of one to three articles from all over the shop, one or two pieces of each."""
        return [
            [(sku, random.randint(1, 2)) for sku in random.sample(self.skus, random.randint(1, 3))]
            for _ in range(count)
        ]

    async def stock_up(self, pieces: int = PLENTY) -> None:
        """So much of everything that nothing runs out."""

        async def delivered(tx: Transaction) -> None:
            for sku in self.skus:
                catalog.restock(tx, sku, pieces)

        await transact(self.ports, delivered)

    async def _come(
        self, tx: Transaction, baskets: Sequence[Basket], emails: Sequence[str]
    ) -> list[tuple[str, Session]]:
        sessions = []
        for basket, email in zip(baskets, emails, strict=True):
            customer = await accounts.add_customer(
                tx, email, self._hash, name="Bea Bench", language="de", role="customer"
            )
            for sku, quantity in basket:
                await cart.add(tx, customer.id, quantity, sku=sku)
            sessions.append((email, await accounts.begin_session(tx, customer.id, None)))
        return sessions

    def _emails(self, count: int) -> list[str]:
        self._made += count
        return [f"b{number}@bench.example" for number in range(self._made - count, self._made)]


@asynccontextmanager
async def crowd(folder: Path, clock: Clock | None = None, **more: str) -> AsyncIterator[Crowd]:
    """The crowd of the shop in that folder, which has been started once. `more` are its settings."""
    settings, _ = settings_of(folder, 0, **more)
    ports = open_ports(settings, clock)
    skus = sorted((await auditor(settings).books()).stock)
    try:
        yield Crowd(ports, Tokens(settings.secret), skus, await passwords.hashed(PASSWORD))
    finally:
        await ports.records.close()
