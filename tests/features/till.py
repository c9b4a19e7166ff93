"""A shop without its pages: orders are placed, paid, and brought on by the worker and the clock.

How a payment goes at the pretend provider is said by the buyer's address (`jo+no_funds@…`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from ecokart.app import open_ports
from ecokart.core import log
from ecokart.core.events import Reactions
from ecokart.core.i18n import Text
from ecokart.core.money import Money
from ecokart.core.payments import Payment, Payments, PaymentState
from ecokart.core.transaction import Transaction, transact
from ecokart.core.worker import Worker
from ecokart.features.accounts.model import Address
from ecokart.features.cart import service as cart
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import STOCK, Product, TaxClass, Variant
from ecokart.features.orders import service
from ecokart.features.orders.history import rebuilt
from ecokart.features.orders.model import ENDED, ORDERS, Method, Order, Stage
from ecokart.features.orders.service import Buyer
from ecokart.rooms import JOB_MODULES
from ecokart.settings import load
from tests.clock import ManualClock

SKU = "TEA-1"
PIECES = 100
PRICE = Money(1000)
TOTAL = Money(2490)  # two pieces and the parcel
HOME = Address(name="Jo", street="Markt 1", postal_code="5020", city="Salzburg", country="AT")


class Till:
    """The shop's ports, its worker, and what people do to it."""

    def __init__(
        self,
        folder: Path,
        clock: ManualClock,
        fulfilment: str = "automatic",
        through: Callable[[Payments], Payments] = lambda payments: payments,
    ) -> None:
        environ = {"DATA_DIR": str(folder), "ENVIRONMENT": "test", "FULFILMENT": fulfilment}
        settings = load({f"ECOKART_{name}": value for name, value in environ.items()})
        own = open_ports(settings, clock)
        self.ports = dataclasses.replace(own, payments=through(own.payments))
        self.terms, self.provider = own.terms, own.payments
        self.clock, self.folder = clock, folder
        self.worker = Worker(self.ports, Reactions(JOB_MODULES))
        self.buyers = 0
        self.by_hand: set[str] = set()  # orders of which a refund didn't go by the provider

    async def open(self) -> None:
        await transact(self.ports, _supply)

    async def place(self, method: Method = Method.INVOICE, outcome: str = "") -> Order:
        """An order of two pieces, not yet worked on."""
        self.buyers += 1
        owner, email = f"guest:{self.buyers}", f"jo{'+' if outcome else ''}{outcome}@example.com"
        buyer = Buyer(owner, email, HOME, "de", method)
        await transact(self.ports, cart.add, owner, 2, sku=SKU)
        return await transact(self.ports, service.place, buyer, self.terms)

    async def work(self, **later: float) -> None:
        """Time goes by; then every timer that is due runs, and all background work is done."""
        if later:
            self.clock.advance(**later)
        await self.worker.run_due_timers()
        await self.worker.drain()

    async def act(
        self, action: Callable[..., Awaitable[Order]], order: Order, *more: Any, **named: Any
    ) -> Order:
        """Somebody in the office acts, on the page as it is now."""
        facts = (await self.order(order)).facts
        return await transact(self.ports, action, order.id, facts, *more, **named)

    async def order(self, order: Order) -> Order:
        """The order as it is now."""
        return await service.any_one(self.ports.records, order.id)

    async def payment(self, order: Order) -> Payment:
        """The order's payment as its provider has it."""
        return await self.provider.look((await self.order(order)).payment.reference)

    async def facts(self, order: Order) -> list[str]:
        """What has happened to the order."""
        return [fact.name for fact in await log.stream(self.ports.records, f"orders/{order.id}")]

    async def stated(self, order: Order) -> list[dict[str, Any]]:
        """The same, with all that was said."""
        facts = await log.stream(self.ports.records, f"orders/{order.id}")
        return [msgspec.json.decode(fact.event) for fact in facts]

    async def until_idle(self) -> None:
        """An hour goes by, as jobs that failed are tried again."""
        for _ in range(12):
            await self.work(minutes=5)

    async def available(self) -> int:
        found = await self.ports.records.get(STOCK, SKU)
        assert found
        return found.value.available

    async def close(self) -> None:
        """Whatever happened: the books balance, and every order is the sum of its facts."""
        page = await self.ports.records.scan(ORDERS, limit=1000)
        out = sum(2 for order in page.values if not order.restocked)
        assert await self.available() == PIECES - out
        for order in page.values:
            facts = await log.stream(self.ports.records, f"orders/{order.id}")
            assert rebuilt(facts) == order
            await self._balances(order)
        await self.ports.close()

    async def _balances(self, order: Order) -> None:
        paid = order.payment
        if paid.reference and not order.by_transfer and order.id not in self.by_hand:
            there = await self.provider.look(paid.reference)
            assert (there.captured, there.refunded) == (paid.captured, paid.refunded)
            if order.stage in ENDED:
                assert there.state is not PaymentState.AUTHORISED
        given = sum(refund.amount.minor for refund in order.refunds if refund.given_at)
        assert given == paid.refunded.minor <= paid.captured.minor
        if order.stage in (Stage.CANCELLED, Stage.FAILED):
            asked = sum(refund.amount.minor for refund in order.refunds)
            assert asked == paid.captured.minor


async def _supply(tx: Transaction) -> None:
    name = Text("Tee", "Tea")
    product = Product(
        id="tea",
        category="all",
        name=name,
        summary=name,
        description=name,
        picture="missing.svg",
        picture_alt=name,
        price=PRICE,
        tax=TaxClass.STANDARD,
        variants=(Variant(sku=SKU),),
        created_at=tx.now,
        changed_at=tx.now,
    )
    await catalog.add(tx, product, {SKU: PIECES})
