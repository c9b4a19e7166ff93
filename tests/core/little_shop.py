"""The smallest shop there is: guests, a stock, and an event. What the core's tests run on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import msgspec

from ecokart.core.events import OUTBOX, Event, Reactions
from ecokart.core.log import LOG
from ecokart.core.ports import Ports, Records
from ecokart.core.records import Page, T, Table, Write
from ecokart.core.timers import TIMERS
from ecokart.core.transaction import Transaction, transact
from ecokart.core.worker import Worker
from ecokart.engines.queue_records import JOBS


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody, and how often they were greeted."""

    name: str
    greetings: int = 0
    seen: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class Ware(msgspec.Struct, frozen=True, kw_only=True):
    """Something that runs out."""

    sku: str
    left: int = 0
    sold: int = 0


class Greeted(Event, frozen=True, kw_only=True, tag="guest.greeted"):
    """A guest was greeted."""

    guest: str


class Unheard(Event, frozen=True, kw_only=True, tag="guest.unheard"):
    """Something happened to which nobody reacts."""


GUESTS = Table("guests", Guest, key="name", touched="seen")
WARES = Table("wares", Ware, key="sku", counters={"left": 0, "sold": 0})
TABLES = (GUESTS, WARES, OUTBOX, LOG, JOBS, TIMERS)

# Starts another process of the same shop: it shares the stored records and nothing else.
Start = Callable[[], Ports]


def reactions(*functions: object) -> Reactions:
    """As if the functions were all that a `jobs` module holds."""
    module = ModuleType("jobs")
    for number, function in enumerate(functions):
        setattr(module, f"function{number}", function)
    return Reactions([module])


def worker(ports: Ports, *functions: object) -> Worker:
    return Worker(ports, reactions(*functions))


async def greet(tx: Transaction, name: str) -> None:
    tx.emit(Greeted(guest=name))


async def greeted(ports: Ports, *names: str) -> None:
    """Commit one event for each guest."""
    for name in names:
        await transact(ports, greet, name)


async def everything(records: Records, table: Table[T]) -> list[T]:
    page: Page[T] = await records.scan(table, limit=1000)
    assert page.after is None
    return page.values


async def commit(ports: Ports, *writes: Write) -> None:
    """What somebody else does meanwhile."""
    await ports.records.commit(writes)


async def found(ports: Ports, table: Table[Any], key: str) -> Any:
    versioned = await ports.records.get(table, key)
    assert versioned is not None
    return versioned.value
