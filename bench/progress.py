"""How far a running shop has come with its orders: what the work behind them has still before it.

It is told from the shop's own file on SQLite, with few and small questions, since it is asked beside the load.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeVar

import msgspec

from bench.books import UNFINISHED, open_books

QUIET_SECONDS = 40.0
LOOK_SECONDS = 0.05
# Facts of an order's usual way that are mailed; a mail of them that wasn't tried yet is in the outbox.
MAILED = ("order.placed", "order.shipped")

R = TypeVar("R")


class Backlog(NamedTuple):
    """What the pipeline and the mail lane have before them, and how old the oldest order of it is."""

    orders: int
    oldest_seconds: float
    mails: int


class _Step(msgspec.Struct):
    stage: str
    at: datetime


class _Order(msgspec.Struct):
    steps: list[_Step]
    placed_at: datetime


_order = msgspec.json.Decoder(_Order)


def backlog(folder: Path) -> Backlog:
    """Orders that aren't at an end, and mails that aren't written, as far as is known yet."""
    return _asked(folder, lambda database: Backlog(*_unfinished(database), _mails(database)))


def completed_at(folder: Path) -> dict[str, float]:
    """The Unix time at which each order was COMPLETED, by the orders' ids."""

    def ask(database: sqlite3.Connection) -> dict[str, float]:
        rows = database.execute("SELECT key, body FROM orders WHERE stage = 'COMPLETED'")
        return {key: _order.decode(body).steps[-1].at.timestamp() for key, body in rows}

    return _asked(folder, ask)


async def until_completed(folder: Path) -> float:
    """Seconds from now until no order is unfinished; or forty, when it gives up."""
    started = perf_counter()
    while _asked(folder, _unfinished)[0]:
        if perf_counter() - started > QUIET_SECONDS:
            return QUIET_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
    return perf_counter() - started


async def until_quiet(folder: Path) -> tuple[float, float]:
    """Seconds from now until no order is unfinished, and until no mail waits to be written.

    After forty seconds each it gives up; then the numbers say so.
    """
    completed = await until_completed(folder)
    started = perf_counter()
    while _asked(folder, _mails):
        if perf_counter() - started > QUIET_SECONDS:
            return completed, completed + QUIET_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
    return completed, completed + perf_counter() - started


def _asked(folder: Path, ask: Callable[[sqlite3.Connection], R]) -> R:
    with closing(open_books(folder)) as database:
        database.execute("BEGIN")
        return ask(database)


def _unfinished(database: sqlite3.Connection) -> tuple[int, float]:
    """How many orders are, and for how many seconds the oldest has been there."""
    now = time.time()
    those = f"FROM orders WHERE stage IN {UNFINISHED}"
    (count,) = database.execute(f"SELECT count(*) {those}").fetchone()
    oldest = database.execute(f"SELECT body {those} ORDER BY placed_at LIMIT 1").fetchone()
    return count, now - _order.decode(oldest[0]).placed_at.timestamp() if oldest else 0.0


def _mails(database: sqlite3.Connection) -> int:
    # A dead letter is no mail that was written.
    (jobs,) = database.execute(
        "SELECT count(*) FROM jobs WHERE place IN ('mail', 'dead')"
    ).fetchone()
    facts = " OR ".join([f"instr(body, '\"{name}\"')" for name in MAILED])
    (untold,) = database.execute(f"SELECT count(*) FROM outbox WHERE {facts}").fetchone()  # noqa: S608 (names of our own)
    return int(jobs + untold)
