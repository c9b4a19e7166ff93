"""Shoppers: each a few open tabs that do what people do, over a shop that fails and dies under them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ecokart.core.errors import Problem, Unavailable
from ecokart.core.idempotency import remember, replay
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction, transact
from ecokart.features.accounts.model import Address
from ecokart.features.cart import service as cart
from ecokart.features.catalog import service as catalog
from ecokart.features.orders import service as orders
from ecokart.features.orders.model import Stage
from ecokart.features.orders.service import Buyer
from tests.simulation.world import GOODS, Killed, World

ADDRESS = Address(name="Sim Shopper", street="Würfelweg 6", postal_code="10115", city="Berlin")
LONGEST_PAUSE_SECONDS = 2.0
PAUSE_AFTER_FAILURE_SECONDS = 0.3


class Broken(Exception):
    """No answer came, or one that says to try again: it isn't known whether anything was done."""


class Shopper:
    """Somebody who buys, as a guest first and then by name."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.random = world, world.random
        self.guest, self.name = f"guest:{number:032x}", f"user-{number}"
        self._keys = 0
        self._orders: list[tuple[str, str]] = []  # those acknowledged, and the key of each

    async def shop(self, actions: int) -> None:
        """One tab: so many things one after the other, with pauses."""
        for _ in range(actions):
            await asyncio.sleep(self.random.random() * LONGEST_PAUSE_SECONDS)
            act = self.random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            self.world.story.happened.append(
                f"{asyncio.get_running_loop().time():.3f} {self.name} {act.__name__}"
            )
            try:
                await act(self)
            except (Problem, Broken):
                continue  # refused, or nobody knows: people go on

    async def look(self) -> None:
        await self._ask(catalog.offer, sku=self._some_sku())

    async def put_in(self) -> None:
        await self._ask(cart.add, self.name, self.random.randint(1, 3), sku=self._some_sku())

    async def put_in_as_guest(self) -> None:
        await self._ask(cart.add, self.guest, self.random.randint(1, 3), sku=self._some_sku())

    async def change(self) -> None:
        await self._ask(cart.set_quantity, self.name, self._some_sku(), self.random.randint(1, 4))

    async def take_out(self) -> None:
        await self._ask(cart.remove, self.name, self._some_sku())

    async def sign_in(self) -> None:
        await self._ask(cart.merge, self.guest, self.name)

    async def order(self) -> None:
        """Place the order, now and then with a double click, and again until it is answered."""
        self._keys += 1
        key = f"{self.name}-{self._keys}"
        clicks = self.random.choice([1, 1, 2])
        await asyncio.gather(*[self._order(key) for _ in range(clicks)], return_exceptions=True)

    async def regret(self) -> None:
        """Place an order and call it off while it is still warm."""
        await self.order()
        if self._orders:
            await self._call_off(self._orders[-1][0])

    async def order_again(self) -> None:
        """A late duplicate of a request that was answered: it must get the same answer."""
        if self._orders:
            await self._order(self.random.choice(self._orders)[1])

    async def call_off(self) -> None:
        if self._orders:
            await self._call_off(self.random.choice(self._orders)[0])

    async def _order(self, key: str) -> None:
        order_id = await self._until_answered(_place, self.name, key)
        known = self.world.story.acknowledged.setdefault(key, order_id)
        if known != order_id:
            self.world.story.blame([f"{key} made two orders, {known} and {order_id}."])
        if (order_id, key) not in self._orders:
            self._orders.append((order_id, key))

    async def _call_off(self, order_id: str) -> None:
        called_off = await self._until_answered(orders.cancel, self.name, order_id)
        assert called_off.stage is Stage.CANCELLED
        self.world.story.cancelled.add(order_id)

    async def _until_answered(self, service: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        while True:
            try:
                return await self._ask(service, *args)
            except Broken:
                await asyncio.sleep(self.random.random() * PAUSE_AFTER_FAILURE_SECONDS)

    async def _ask(self, service: Callable[..., Awaitable[Any]], *args: Any, **named: Any) -> Any:
        """A request to whatever process lives now. Raises `Broken`, or the problem that is the answer."""
        try:
            return await transact(self.world.life.ports, service, *args, **named)
        except (Unavailable, Killed):
            self.world.story.lost_answers += 1
            raise Broken from None

    def _some_sku(self) -> str:
        return self.random.choice(list(GOODS))


# What people do, and how often.
ACTIONS: dict[Callable[[Shopper], Awaitable[None]], int] = {
    Shopper.look: 2,
    Shopper.put_in: 6,
    Shopper.put_in_as_guest: 2,
    Shopper.change: 2,
    Shopper.take_out: 1,
    Shopper.sign_in: 1,
    Shopper.order: 4,
    Shopper.regret: 2,
    Shopper.order_again: 1,
    Shopper.call_off: 1,
}


async def _place(tx: Transaction, owner: str, key: str) -> str:
    """What `POST /api/orders` does with an Idempotency-Key: order and mark in one commit."""
    if mark := await replay(tx, key, "the body"):
        return str(msgspec.json.decode(mark.answer)["id"])
    placed = await orders.place(tx, Buyer(owner, f"{owner}@sim.example", ADDRESS, "en"), Terms())
    remember(tx, key, "the body", 201, msgspec.json.encode({"id": placed.id}))
    return placed.id
