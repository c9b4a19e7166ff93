"""A process of a shop that is killed within a step of its work, and the one that comes after it.

What can be seen of a process are its touches: a commit, a word to the queue, a call to the provider, a
mail, a webhook. `live` works on a few orders until such a touch has had its effect, and is killed by
SIGKILL before it hears of it; so every step is cut short somewhere. `finish` is the process that comes
next: it does what is left, by a clock that runs ahead, and then the books are audited.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from bench.books import Books, imbalances, read, unfinished
from bench.crash import Ahead
from bench.ledger import forgotten, overdrawn, unsettled
from ecokart.app import open_ports
from ecokart.core.clock import Clock
from ecokart.core.events import OUTBOX, Reactions
from ecokart.core.money import Money
from ecokart.core.ports import Delivery, Job, Ports
from ecokart.core.records import Put, Write
from ecokart.core.transaction import transact
from ecokart.core.worker import Worker
from ecokart.features.cart import service as cart
from ecokart.features.orders import direct, office, service
from ecokart.features.orders.direct import DirectOrder, Wanted
from ecokart.features.orders.model import Method, Order, Stage
from ecokart.features.orders.service import Buyer
from ecokart.features.partners import service as partners
from ecokart.features.webhooks import deliveries
from ecokart.features.webhooks import service as webhooks
from ecokart.features.webhooks.model import DELIVERIES, Topic
from ecokart.rooms import JOB_MODULES
from ecokart.settings import load
from tests.simulation.audits import PATIENCE, waits
from tests.simulation.shoppers import ADDRESS
from tests.simulation.world import BANK, price_of, stock

SKU, PIECES = "SIM-1", 100
TOLD = (Topic.ORDER_PLACED, Topic.ORDER_PROCESSING, Topic.ORDER_SHIPPED, Topic.ORDER_COMPLETED)
BOUND_SECONDS = 60.0
LOOK_SECONDS = 0.005
# After the kill: at first what was in hand is due again, then what waits for people's payments.
LATER = [timedelta(minutes=6)] * 8 + [timedelta(hours=20)] * 20


class Outcome(msgspec.Struct):
    """What the next process found, and left: what is wrong, and the ids of what the partner was to be told."""

    wrong: list[str]
    told: list[str]


# The process that is killed.


async def found(folder: Path, target: str) -> str:
    """A shop with goods, and a partner who listens at `target`; the partner's id."""
    async with _ports(folder) as ports:
        await transact(ports, stock, SKU, PIECES)
        details = partners.Details(name="Acme", email="acme@sim.example")
        partner = await transact(ports, partners.add, details)
        await transact(ports, webhooks.add, partner.id, target, TOLD)
        await Worker(ports, Reactions(JOB_MODULES)).drain()
        return partner.id


async def live(folder: Path, partner_id: str, end: str, touches: Connection) -> None:
    """Work on some orders until the first touch of that name; tell every touch's names as it is made."""
    async with _ports(folder) as own:
        doom = _Doom(end, touches)
        told_of: dict[str, Any] = {
            port: _Touched(getattr(own, port), doom, names) for port, names in NAMES.items()
        }
        ports = replace(own, **told_of)
        reactions = Reactions(JOB_MODULES)
        reactions.timers.clear()  # they would only touch what no order is waiting for yet
        worker = Worker(ports, reactions)
        working = asyncio.create_task(worker.run())
        async with asyncio.timeout(BOUND_SECONDS):
            for story in (delivered, called_off, not_to_be_captured, paid_by_transfer):
                await story(ports)
            await ordered_by_a_partner(ports, partner_id)
            while await _waiting(ports, read(folder)):
                await asyncio.sleep(LOOK_SECONDS)
        worker.stop()
        await working


async def delivered(ports: Ports) -> None:
    """Paid by card, delivered, and half of it goes back."""
    order = await _place(ports, Method.CARD, "pays")
    order = await _until(ports, order, lambda now: now.stage is Stage.COMPLETED)
    half = Money(order.total.minor // 2)
    refund = partial(office.refund, restock=False, replaces="")
    await transact(ports, refund, order.id, order.facts, half, "broken")
    await _until(ports, order, lambda now: now.payment.refunded == half)


async def called_off(ports: Ports) -> None:
    """The buyer is led to the provider, and thinks again."""
    order = await _place(ports, Method.PAYPAL)
    await _until(ports, order, lambda now: now.payment.reference != "")
    await transact(ports, service.cancel, order.owner, order.id)
    await _until(ports, order, lambda now: now.awaits is None)


async def not_to_be_captured(ports: Ports) -> None:
    """The money is held, and then it can't be taken: the order fails, and all of it is undone."""
    order = await _place(ports, Method.CARD, "capture_refused")
    await _until(ports, order, lambda now: now.stage is Stage.FAILED and now.awaits is None)


async def paid_by_transfer(ports: Ports) -> None:
    order = await _place(ports, Method.PREPAYMENT)
    order = await _until(ports, order, lambda now: True)
    await transact(ports, office.receive, order.id, order.facts, order.total, ports.terms)
    await _until(ports, order, lambda now: now.stage is Stage.COMPLETED)


async def ordered_by_a_partner(ports: Ports, partner_id: str) -> None:
    """Whose server hears of it."""
    wanted = DirectOrder(
        partner_id=partner_id,
        customer_id="c-1",
        reference="r-1",
        email="jo@sim.example",
        address=ADDRESS,
        language="de",
        wanted=(Wanted(SKU.lower(), SKU, 1, price_of(SKU), "items[0]"),),
        total=price_of(SKU),
    )
    order = await transact(ports, direct.place, wanted)
    await _until(ports, order, lambda now: now.stage is Stage.COMPLETED)


async def _place(ports: Ports, method: Method, outcome: str = "") -> Order:
    """Who pays without a browser says by the address how it goes."""
    owner, email = f"guest:{method}{outcome}", f"jo{'+' if outcome else ''}{outcome}@sim.example"
    await transact(ports, cart.add, owner, 2, sku=SKU)
    return await transact(
        ports, service.place, Buyer(owner, email, ADDRESS, "de", method), ports.terms
    )


async def _until(ports: Ports, order: Order, reached: Callable[[Order], bool]) -> Order:
    while not reached(now := await service.any_one(ports.records, order.id)):
        await asyncio.sleep(LOOK_SECONDS)
    return now


# Its touches.


class _Doom:
    """Kills this process right after the first touch of that name."""

    def __init__(self, end: str, touches: Connection) -> None:
        self._end, self._touches = end, touches

    def touched(self, names: list[str]) -> None:
        self._touches.send(names)
        if self._end in names:
            os.kill(os.getpid(), signal.SIGKILL)


Names = dict[str, Callable[..., Iterable[str]]]


class _Touched:
    """A port whose calls that `names` knows are told of, once they have had their effect."""

    def __init__(self, port: Any, doom: _Doom, names: Names) -> None:
        self._port, self._doom, self._names = port, doom, names

    def __getattr__(self, method: str) -> Any:
        call: Callable[..., Awaitable[Any]] = getattr(self._port, method)
        if method not in self._names:
            return call

        async def touching(*args: Any, **named: Any) -> Any:
            answer = await call(*args, **named)
            whats = self._names[method](*args, **named)
            self._doom.touched([f"{method} {what}".rstrip() for what in whats])
            return answer

        return touching


def _committed(writes: Iterable[Write]) -> list[str]:
    """The facts that the commit states; if none, what it is about."""
    entries = [write.value for write in writes if type(write) is Put and write.table is OUTBOX]
    facts = [event.name for entry in entries for event in entry.events]
    return facts or sorted({write.table.name for write in writes})


def _sent(jobs: Iterable[Job]) -> list[str]:
    return [job.handler for job in jobs]


def _settled(settled: Iterable[Delivery]) -> list[str]:
    return [delivery.job.handler for delivery in settled]


def _mailed(letter: object, *, message_id: str) -> list[str]:
    return [message_id.rpartition(".")[2]]


def _called(*args: object, **named: object) -> list[str]:
    return [""]


NAMES: dict[str, Names] = {
    "records": {"commit": _committed},
    "queue": {"send": _sent, "done": _settled},
    "payments": dict.fromkeys(("begin", "capture", "cancel", "refund"), _called),
    "mail": {"send": _mailed},
    "targets": {"post": _called},
}


# The process that comes next.


async def finish(folder: Path) -> Outcome:
    """Do what is left, and audit the books before and after."""
    before = read(folder)
    supplied = {SKU: PIECES}
    wrong = _unbalanced(before, supplied)
    clock = Ahead()
    async with _ports(folder, clock) as ports:
        wrong += await _unseen(ports, before)
        worker = Worker(ports, Reactions(JOB_MODULES))
        for later in LATER:
            clock.by += later
            await worker.run_due_timers()
            await worker.drain()
            if not await _waiting(ports, read(folder)):
                break
        told = (await ports.records.scan(DELIVERIES)).values
    after = read(folder)
    wrong += _unbalanced(after, supplied) + unfinished(after, folder) + unsettled(after)
    return Outcome(wrong, [delivery.id for delivery in told])


def _unbalanced(books: Books, supplied: dict[str, int]) -> list[str]:
    return imbalances(books, supplied) + forgotten(books) + overdrawn(books)


async def _unseen(ports: Ports, books: Books) -> list[str]:
    """Whatever stage the kill left an order in, the office finds it in the list of that stage."""
    wrong = []
    for order_id, order in books.orders.items():
        listed = (await service.in_stage(ports.records, Stage(order["stage"]))).values
        if order_id not in [one.id for one in listed]:
            wrong.append(f"{order_id} isn't in the office's list of {order['stage']}.")
    return wrong


async def _waiting(ports: Ports, books: Books) -> bool:
    """Whether anything is left to do, by the shop or for the partner's ears."""
    return waits(books) or bool(await deliveries.due(ports.records, ports.clock.now() + PATIENCE))


@asynccontextmanager
async def _ports(folder: Path, clock: Clock | None = None) -> AsyncIterator[Ports]:
    settings = {"DATA_DIR": str(folder), "WEBHOOK_PRIVATE_TARGETS": "true", "ENVIRONMENT": "test"}
    named = {f"ECOKART_{name}": value for name, value in settings.items()}
    ports = open_ports(load(named | BANK), clock)
    try:
        yield ports
    finally:
        await ports.close()
