"""Shoppers: each a few open tabs that do what people do, over a shop that fails and dies under them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import ClassVar, NamedTuple

import msgspec

from ecokart.core.idempotency import remember, replay
from ecokart.core.payments import PaymentState
from ecokart.core.rehearsal import Outcome
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction
from ecokart.features.accounts.model import Address
from ecokart.features.cart import service as cart
from ecokart.features.catalog import service as catalog
from ecokart.features.orders import paying
from ecokart.features.orders import service as orders
from ecokart.features.orders.model import Method, Order, Stage
from ecokart.features.orders.service import Buyer
from tests.simulation.people import PAUSE_AFTER_FAILURE_SECONDS, Broken, Person
from tests.simulation.world import GOODS, World

ADDRESS = Address(name="Sim Shopper", street="Würfelweg 6", postal_code="10115", city="Berlin")
METHODS = {
    Method.INVOICE: 4,
    Method.PREPAYMENT: 2,
    Method.CARD: 5,
    Method.PAYPAL: 1,
    Method.SEPA: 2,
    Method.TWINT: 1,
}
# Every way in which a payment goes; half of those who pay without a browser get one by their address.
OUTCOMES = {outcome: 5 if outcome is Outcome.PAYS else 1 for outcome in Outcome}
TRIES = 4  # to open the payment's page
TIRED = 0.15  # is how many go away from the payment's page
LEAVES = {Outcome.VANISHES, Outcome.NOTICE_LATE}  # who pays and doesn't come back


class Purchase(NamedTuple):
    """How an order is paid, which its key stands for, and by whom."""

    method: Method
    email: str


class Shopper(Person):
    """Somebody who buys, as a guest first and then by name."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world, f"user-{number}")
        self.guest = f"guest:{number:032x}"
        self._purchases: dict[str, Purchase] = {}  # by key
        self._orders: list[tuple[str, str]] = []  # those acknowledged, and the key of each

    async def look(self) -> None:
        await self.ask(catalog.offer, sku=self._some_sku())

    async def put_in(self) -> None:
        await self.ask(cart.add, self.name, self.random.randint(1, 3), sku=self._some_sku())

    async def put_in_as_guest(self) -> None:
        await self.ask(cart.add, self.guest, self.random.randint(1, 3), sku=self._some_sku())

    async def change(self) -> None:
        await self.ask(cart.set_quantity, self.name, self._some_sku(), self.random.randint(1, 4))

    async def take_out(self) -> None:
        await self.ask(cart.remove, self.name, self._some_sku())

    async def sign_in(self) -> None:
        await self.ask(cart.merge, self.guest, self.name)

    async def order(self) -> None:
        """Place the order, now and then with a double click, and again until it is answered; then pay."""
        key = f"{self.name}-{len(self._purchases) + 1}"
        (method,) = self.random.choices(list(METHODS), list(METHODS.values()))
        self._purchases[key] = Purchase(method, self._address(method))
        clicks = self.random.choice([1, 1, 2])
        await asyncio.gather(*[self._order(key) for _ in range(clicks)], return_exceptions=True)
        for order_id, its_key in self._orders:
            if its_key == key and method.online:
                await self._pay(order_id)

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

    async def pay(self) -> None:
        """Follow the link to the payment's page, at last or once more."""
        if self._orders:
            await self._pay(self.random.choice(self._orders)[0])

    async def come_back(self) -> None:
        """The browser comes back from the provider, whatever was done there."""
        if self._orders:
            await self.call(paying.follow, self.ports, self.random.choice(self._orders)[0])

    async def _order(self, key: str) -> None:
        order_id = await self.until_answered(
            _place, self.name, key, self._purchases[key], self.ports.terms
        )
        self.world.story.acknowledge(key, order_id)
        if (order_id, key) not in self._orders:
            self._orders.append((order_id, key))

    async def _pay(self, order_id: str) -> None:
        """At the provider: pay, or not, and come back, or not."""
        order = await self._page_opened(order_id)
        if order is None or not order.payment.url or self.random.random() < TIRED:
            return
        outcome = self.random.choices(list(OUTCOMES), list(OUTCOMES.values()))[0]
        await self._choose(order.payment.reference, outcome)
        if outcome not in LEAVES:
            await self.call(paying.follow, self.ports, order_id)

    async def _page_opened(self, order_id: str) -> Order | None:
        """The order with its payment open. Who can't get there goes away: the payment follows."""
        for _ in range(TRIES):
            with suppress(Broken):
                order: Order = await self.call(paying.begin, self.ports, order_id)
                return order
            await asyncio.sleep(self.random.random() * PAUSE_AFTER_FAILURE_SECONDS)
        return None

    async def _choose(self, reference: str, outcome: Outcome) -> None:
        """The provider's own page, which is no part of the shop and doesn't die with it."""
        rehearsal = self.world.outside.payments.rehearsal
        assert rehearsal
        scene = await rehearsal.choose(reference, outcome)
        if scene.asking:
            scene = await rehearsal.confirm(reference, agreed=self.random.random() < 0.7)
        if scene.payment.state is PaymentState.OPEN and self.random.random() < 0.6:
            await rehearsal.choose(reference, Outcome.PAYS)

    async def _call_off(self, order_id: str) -> None:
        called_off = await self.until_answered(orders.cancel, self.name, order_id)
        assert called_off.stage is Stage.CANCELLED
        self.world.story.cancelled.add(order_id)

    def _address(self, method: Method) -> str:
        """Where mails go; at the pretend provider it may also say how the payment goes, as for a program."""
        if method.online and self.random.random() < 0.3:
            return f"{self.name}+{self.random.choice(list(Outcome))}@sim.example"
        return f"{self.name}@sim.example"

    def _some_sku(self) -> str:
        return self.random.choice(list(GOODS))

    # What people do, and how often.
    acts: ClassVar = {
        look: 2,
        put_in: 6,
        put_in_as_guest: 2,
        change: 2,
        take_out: 1,
        sign_in: 1,
        order: 5,
        regret: 2,
        order_again: 1,
        call_off: 1,
        pay: 2,
        come_back: 1,
    }


async def _place(tx: Transaction, owner: str, key: str, purchase: Purchase, terms: Terms) -> str:
    """What `POST /api/orders` does with an Idempotency-Key: order and mark in one commit."""
    if mark := await replay(tx, key, "the body"):
        return str(msgspec.json.decode(mark.answer)["id"])
    buyer = Buyer(owner, purchase.email, ADDRESS, "en", purchase.method)
    placed = await orders.place(tx, buyer, terms)
    remember(tx, key, "the body", 201, msgspec.json.encode({"id": placed.id}))
    return placed.id
