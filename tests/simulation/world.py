"""The world of a simulation: a little shop on real records, whose process dies and lives again."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from pathlib import Path
from random import Random
from typing import Any, TypeVar, cast

from bench.books import Books, read
from ecokart.app import open_ports
from ecokart.core.clock import Ids
from ecokart.core.events import Reactions
from ecokart.core.i18n import Text
from ecokart.core.money import Money
from ecokart.core.ports import Handoff, Ports
from ecokart.core.targets import Targets
from ecokart.core.transaction import Transaction, transact
from ecokart.core.worker import Worker
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.engines.queue_records import RecordsQueue
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import Product, TaxClass, Variant
from ecokart.features.partners import service as partners
from ecokart.features.webhooks import service as webhooks
from ecokart.features.webhooks.model import Endpoint, Topic
from ecokart.rooms import JOB_MODULES
from ecokart.settings import load
from tests.simulation.virtual import VirtualClock

GOODS = {"SIM-1": 3, "SIM-2": 5, "SIM-3": 8, "SIM-4": 12}
BANK = {"ECOKART_BANK_HOLDER": "Sim Shop", "ECOKART_BANK_IBAN": "DE02120300000000202051"}
TOLD = (Topic.ORDER_PLACED, Topic.ORDER_COMPLETED, Topic.ORDER_CANCELLED, Topic.ORDER_FAILED)
# Who goes away in the evening, in some of the stories.
NIGHTS = [None, None, None, None, Faults(payment_fails=1), Faults(mail_refused=1)]

P = TypeVar("P")


class Killed(BaseException):
    """The process is dead: nothing in it goes on. No `except Exception` may catch this."""


@dataclass
class Transfers:
    """Cents by order that came by transfer: those that were noted, and those of which nobody knows."""

    sure: Counter[str] = field(default_factory=Counter)
    perhaps: Counter[str] = field(default_factory=Counter)


@dataclass
class Story:
    """What happened in a run, for people; and `wrong`, a sentence for everything that may not be."""

    seed: int
    happened: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)  # Idempotency-Key → order id
    cancelled: set[str] = field(default_factory=set)
    transfers: Transfers = field(default_factory=Transfers)
    refunds: dict[str, tuple[str, int]] = field(default_factory=dict)  # reason → order, cents
    ends: Counter[str] = field(default_factory=Counter)  # how the orders ended
    lost_answers: int = 0
    kills: int = 0
    dead_letters: int = 0

    def blame(self, sentences: Sequence[str]) -> None:
        self.wrong += [sentence for sentence in sentences if sentence not in self.wrong]

    def acknowledge(self, key: str, order_id: str) -> None:
        """The order was answered to this key; it must always be the same."""
        known = self.acknowledged.setdefault(key, order_id)
        if known != order_id:
            self.blame([f"{key} made two orders, {known} and {order_id}."])


class World:
    """Everything outside the shop's process: its storage, the provider, a partner's server, time, dice, the story."""

    def __init__(self, seed: int, folder: Path, targets: Targets) -> None:
        self.story, self.folder = Story(seed), folder
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.chaos = Chaos(seed, _some_faults(self.random))
        self.night = self.random.choice(NIGHTS)
        terms = {"ECOKART_FULFILMENT": self.random.choice(["automatic", "office"])}
        folder_setting = {"ECOKART_DATA_DIR": str(folder), "ECOKART_ENVIRONMENT": "test"}
        settings = load({**folder_setting, **terms, **BANK})
        self.outside = dataclasses.replace(
            open_ports(settings, self.clock),
            new_id=Ids(self.clock, self.random.getrandbits),
            targets=targets,
        )
        self.supplied: dict[str, int] = {}
        self.endpoint: Endpoint
        self.life: Life

    async def begin(self) -> None:
        """Goods on the shelf, a partner who wants to be told, and a process that serves them."""
        for sku, pieces in GOODS.items():
            await transact(self.outside, stock, sku, pieces)
        details = partners.Details(name="Sim Partner", email="partner@sim.example")
        partner = await transact(self.outside, partners.add, details)
        url = "https://partner.sim.example/hooks"
        self.endpoint = await transact(self.outside, webhooks.add, partner.id, url, TOLD)
        self.supplied = read(self.folder).supplied()
        self.life = Life(self)

    async def restart(self) -> None:
        """As if the power had failed: what was under way ends where it is, and a new process starts."""
        self.story.kills += 1
        await self.life.end()
        self.chaos.faults = _some_faults(self.random)
        self.life = Life(self)

    def books(self) -> Books:
        return read(self.folder)


class Life:
    """One life of the shop's process: ports that fail, and a worker over them. It ends at once."""

    def __init__(self, world: World) -> None:
        self.dead = False
        records = mortal(world.outside.records, self)
        alive = dataclasses.replace(
            world.outside,
            records=records,
            queue=RecordsQueue(records, world.clock),
            mail=mortal(world.outside.mail, self),
            payments=mortal(world.outside.payments, self),
            targets=mortal(world.outside.targets, self),
            handoff=Handoff(),
        )
        self.ports: Ports = faulty(alive, world.chaos)
        worker = Worker(self.ports, Reactions(JOB_MODULES))
        self._work = asyncio.create_task(worker.run())

    async def end(self) -> None:
        self.dead = True
        self._work.cancel()
        await asyncio.wait([self._work])


def mortal(port: P, life: Life) -> P:
    """The port as a process reaches it: once that is dead, no call of it begins or comes back."""
    return cast(P, _Mortal(port, life))


class _Mortal:
    def __init__(self, port: Any, life: Life) -> None:
        self._port, self._life = port, life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not iscoroutinefunction(found):
            return found
        called = self._call(found)
        setattr(self, name, called)  # and from now on it is found at once
        return called

    def _call(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def called(*args: Any, **named: Any) -> Any:
            self._must_live()
            answer = await method(*args, **named)
            self._must_live()
            return answer

        return called

    def _must_live(self) -> None:
        if self._life.dead:
            raise Killed


def price_of(sku: str) -> Money:
    return Money(1000 + GOODS[sku])


async def stock(tx: Transaction, sku: str, pieces: int) -> None:
    """An article with a price of its own, and so many pieces of it."""
    name = Text(sku, sku)
    product = Product(
        id=sku.lower(),
        category="all",
        name=name,
        summary=name,
        description=name,
        picture="missing.svg",
        picture_alt=name,
        price=price_of(sku),
        tax=TaxClass.STANDARD,
        variants=(Variant(sku=sku),),
        created_at=tx.now,
        changed_at=tx.now,
    )
    await catalog.add(tx, product, {sku: pieces})


def _some_faults(random: Random) -> Faults:
    """Another mood of the engines: each kind of fault sometimes absent, sometimes frequent."""

    def rate(most: float) -> float:
        return random.choice([0.0, most * random.random()])

    return Faults(
        delay=rate(0.6),
        delay_seconds=random.choice([0.005, 0.05, 1.0]),
        read_fails=rate(0.05),
        commit_fails=rate(0.2),
        answer_lost=rate(0.2),
        queue_fails=rate(0.2),
        settlement_lost=rate(0.2),
        delivered_twice=rate(0.4),
        delivered_late=rate(0.4),
        reordered=rate(1.0),
        mail_refused=rate(0.4),
        payment_fails=rate(0.3),
        payment_answer_lost=rate(0.3),
        payment_hangs=rate(0.2),
        notice_repeated=rate(0.5),
    )
