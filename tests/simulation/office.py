"""The office: packs, ships, calls off, notes the transfers that come, and gives money back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from ecokart.core.errors import Problem
from ecokart.core.money import Money
from ecokart.core.ports import Ports
from ecokart.core.transaction import transact
from ecokart.features.orders import office, service
from ecokart.features.orders.model import Awaited, Method, Order, Refunding, Shipment, Stage
from tests.simulation.people import Broken, Person
from tests.simulation.world import World

PARCEL = Shipment(carrier="Sim", tracking="S1")


class Office(Person):
    """Somebody at a desk, who looks at an order and then does something with it."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "office")
        self._refunds = 0

    async def pack(self) -> None:
        if order := await self._one_in(Stage.AUTHORISED):
            await self.ask(office.pack, order.id, order.facts, self.ports.terms)

    async def ship(self) -> None:
        if order := await self._one_in(Stage.CAPTURED):
            await self.ask(office.ship, order.id, order.facts, PARCEL, self.ports.terms)

    async def call_off(self) -> None:
        stages = [Stage.PLACED, Stage.AUTHORISED, Stage.PICKED, Stage.CAPTURED]
        if order := await self._one_in(self.random.choice(stages)):
            await self.ask(office.call_off, order.id, order.facts, "called off by the simulation")
            self.world.story.cancelled.add(order.id)

    async def note_a_transfer(self) -> None:
        """For a prepayment or an invoice: all of it, a part, or more."""
        awaited = self.random.choice([Awaited.PREPAYMENT, Awaited.INVOICE])
        page = await self.call(service.awaiting, self.ports.records, awaited)
        if not page.values:
            return
        order = self.random.choice(page.values)
        share = self.random.choice([1.0, 1.0, 0.5, 1.2])
        amount = Money(max(int(order.owed.minor * share), 1), order.total.currency)
        await self._receive(order, amount)

    async def note_a_late_transfer(self) -> None:
        """For an order that has ended."""
        order = await self._one_in(Stage.CANCELLED)
        if order and order.payment.method is Method.PREPAYMENT:
            await self._receive(order, order.total)

    async def refund(self) -> None:
        """A part, or all that can be given back; the goods come back, or not."""
        order = await self._one_in(self.random.choice([Stage.COMPLETED, Stage.CAPTURED]))
        if order is None or not order.refundable.minor:
            return
        part = self.random.choice([1, 1, 2, 3])
        amount = Money(max(order.refundable.minor // part, 1), order.total.currency)
        self._refunds += 1
        reason = f"refund {self._refunds}"
        await self.ask(
            office.refund,
            order.id,
            order.facts,
            amount,
            reason,
            restock=self.random.random() < 0.5,
            replaces="",
        )
        self.world.story.refunds[reason] = order.id, amount.minor

    async def see_to_refunds(self) -> None:
        """Send what goes by transfer; what the provider wouldn't give back is sent, too."""
        state = self.random.choice(list(Refunding))
        page = await self.call(service.refunding, self.ports.records, state)
        if page.values:
            order = self.random.choice(page.values)
            for refund in by_hand(order)[:1]:
                await self.ask(office.confirm_refund, order.id, order.facts, refund)

    async def ask_again(self) -> None:
        """For a refund that the provider wouldn't give: perhaps it does now."""
        page = await self.call(service.refunding, self.ports.records, Refunding.FAILED)
        if page.values:
            order = self.random.choice(page.values)
            failed = next(refund for refund in order.refunds if refund.failed)
            await self.ask(
                office.refund,
                order.id,
                order.facts,
                failed.amount,
                failed.reason,
                restock=False,
                replaces=failed.id,
            )

    async def _receive(self, order: Order, amount: Money) -> None:
        """What a transfer is for is known; whether it was noted may not be, where the answer is lost."""
        transfers = self.world.story.transfers
        try:
            await self.ask(office.receive, order.id, order.facts, amount, self.ports.terms)
        except Broken:
            transfers.perhaps[order.id] += amount.minor
            raise
        transfers.sure[order.id] += amount.minor

    async def _one_in(self, stage: Stage) -> Order | None:
        page = await self.call(service.in_stage, self.ports.records, stage)
        return self.random.choice(page.values) if page.values else None

    acts: ClassVar = {
        pack: 6,
        ship: 6,
        call_off: 1,
        note_a_transfer: 3,
        note_a_late_transfer: 1,
        refund: 5,
        see_to_refunds: 2,
        ask_again: 1,
    }


def by_hand(order: Order) -> list[str]:
    """The refunds for which somebody has to send the money."""
    return [r.id for r in order.refunds if r.failed or (r.open and order.by_transfer)]


async def tidy_up(ports: Ports) -> None:
    """Finish what waits for the office. Where an order moves meanwhile it waits for the next time."""
    for stage, act in FINISHING.items():
        for order in (await service.in_stage(ports.records, stage, limit=200)).values:
            await _leniently(act, ports, order)
    for state in Refunding:
        for order in (await service.refunding(ports.records, state, limit=200)).values:
            for refund in by_hand(order)[:1]:
                await _leniently(
                    transact, ports, office.confirm_refund, order.id, order.facts, refund
                )


async def _pack(ports: Ports, order: Order) -> None:
    await transact(ports, office.pack, order.id, order.facts, ports.terms)


async def _ship(ports: Ports, order: Order) -> None:
    await transact(ports, office.ship, order.id, order.facts, PARCEL, ports.terms)


FINISHING = {Stage.AUTHORISED: _pack, Stage.CAPTURED: _ship}


async def _leniently(act: Callable[..., Awaitable[Any]], *args: Any) -> None:
    try:
        await act(*args)
    except Problem:
        return
