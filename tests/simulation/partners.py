"""A partner: its program orders for customers of its own, and its server hears of what becomes of that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import ClassVar

import msgspec

from ecokart.core.idempotency import remember, replay
from ecokart.core.money import Money
from ecokart.core.targets import Answer, Failure, TargetBusy
from ecokart.core.transaction import Transaction
from ecokart.features.orders import direct
from ecokart.features.orders.direct import DirectOrder, Wanted
from ecokart.features.orders.model import Stage
from tests.simulation.people import Person
from tests.simulation.shoppers import ADDRESS
from tests.simulation.world import GOODS, World, price_of

CUSTOMERS = 2
SLOWEST_SECONDS = 10.0


class PartnersServer:
    """`Targets` as far as a simulation goes: one stranger's server, which doesn't always do as it should."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.well = False  # from then on it takes everything
        self.heard: dict[str, list[bytes]] = {}  # by webhook-id, once for each time

    def check(self, url: str) -> None:
        """Any will do."""

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, party: str
    ) -> Answer:
        if not self.well:
            if self._random.random() < 0.1:
                raise TargetBusy
            if self._random.random() < 0.2:
                return Answer(failure=Failure.NO_CONNECTION)
            await asyncio.sleep(self._random.random() ** 8 * SLOWEST_SECONDS)
        self.heard.setdefault(headers["webhook-id"], []).append(body)
        if not self.well and self._random.random() < 0.2:
            return self._random.choice(
                [Answer(failure=Failure.TIMEOUT), Answer(failure=Failure.ANSWER, status=500)]
            )
        return Answer(status=204)

    async def ping(self) -> str:
        return "a partner's server"

    async def close(self) -> None:
        """Nothing is held."""


class PartnersProgram(Person):
    """A program of the partner's: it orders, repeats what wasn't answered, and calls off."""

    def __init__(self, world: World, partner_id: str) -> None:
        super().__init__(world, "partner")
        self._partner_id = partner_id
        self._keys = 0
        self._orders: list[tuple[str, DirectOrder]] = []  # those acknowledged, with their keys

    async def order(self) -> None:
        self._keys += 1
        await self._order(f"partner-{self._keys}", self._direct_order())

    async def order_again(self) -> None:
        """A late repeat: it must get the same answer."""
        if self._orders:
            await self._order(*self.random.choice(self._orders))

    async def order_at_an_old_price(self) -> None:
        """Which is refused."""
        order = self._direct_order()
        wanted = (msgspec.structs.replace(order.wanted[0], price=Money(1)), *order.wanted[1:])
        await self._order("never", msgspec.structs.replace(order, wanted=wanted))
        self.world.story.blame(["A partner's price that isn't ours was taken."])

    async def call_off(self) -> None:
        if self._orders:
            key = self.random.choice(self._orders)[0]
            order_id = self.world.story.acknowledged[key]
            order = await self.until_answered(direct.cancel, self._partner_id, order_id)
            assert order.stage is Stage.CANCELLED
            self.world.story.cancelled.add(order_id)

    async def _order(self, key: str, order: DirectOrder) -> None:
        order_id = await self.until_answered(_place, key, order)
        self.world.story.acknowledge(key, order_id)
        if (key, order) not in self._orders:
            self._orders.append((key, order))

    def _direct_order(self) -> DirectOrder:
        skus = self.random.sample(list(GOODS), self.random.randint(1, 2))
        wanted = tuple(
            Wanted(sku.lower(), sku, self.random.randint(1, 2), price_of(sku), f"items[{place}]")
            for place, sku in enumerate(skus)
        )
        total = sum(item.price.minor * item.quantity for item in wanted)
        return DirectOrder(
            partner_id=self._partner_id,
            customer_id=f"c-{self.random.randrange(CUSTOMERS)}",
            reference=f"r-{self._keys}",
            email="partner@sim.example",
            address=ADDRESS,
            language="de",
            wanted=wanted,
            total=Money(total),
        )

    acts: ClassVar = {order: 5, order_again: 1, order_at_an_old_price: 1, call_off: 1}


async def _place(tx: Transaction, key: str, order: DirectOrder) -> str:
    """What `POST /orders` does with an Idempotency-Key: order and mark in one commit."""
    if mark := await replay(tx, key, "the body"):
        return str(msgspec.json.decode(mark.answer)["id"])
    placed = await direct.place(tx, order)
    remember(tx, key, "the body", 201, msgspec.json.encode({"id": placed.id}))
    return placed.id
