"""The auditor: reads a shop's books beside the shop, whichever engine keeps them.

SQLite's and PostgreSQL's are read with plain SQL in one transaction, sharing no code with the shop, so
that its own reading can't hide what its writing did; and they must balance at every moment, not only
when it has become quiet. DynamoDB can't be read at one moment: its tables are read one after the other
through the shop's port, so that only what is one record can be audited while something goes on.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from bench.books import ORDER_ID, Books, Stock, contradictions, imbalances, read
from ecokart.core.clock import SystemClock
from ecokart.core.events import OUTBOX
from ecokart.core.idempotency import MARKS
from ecokart.core.log import LOG
from ecokart.core.ports import Records
from ecokart.core.records import Cursor, Table
from ecokart.features.cart.model import CARTS
from ecokart.features.catalog.model import STOCK
from ecokart.features.orders.model import ORDERS
from ecokart.opening import JOBS, PRETEND_PAYMENTS, open_records
from ecokart.rooms import TABLES
from ecokart.settings import Settings

QUIET_SECONDS = 60.0
LOOK_SECONDS = 0.1
READ_SECONDS = 30.0


class Auditor(ABC):
    """Reads the books of one shop. `any_moment`: all of them are of one moment."""

    any_moment = True

    @abstractmethod
    async def books(self) -> Books:
        """What is written now."""

    def wrong(self, books: Books, supplied: Mapping[str, int]) -> list[str]:
        """Sentences for what doesn't add up while something goes on."""
        return imbalances(books, supplied) if self.any_moment else contradictions(books)

    async def quiet(self, seconds: float = QUIET_SECONDS) -> Books:
        """The books once no order is unfinished, no event and no job left; or after those seconds."""
        started = perf_counter()
        while True:
            books = await self.books()
            if not books.waiting or perf_counter() - started > seconds:
                return books
            await asyncio.sleep(LOOK_SECONDS)


def auditor(settings: Settings) -> Auditor:
    """Who can read the records of these settings."""
    scheme = settings.records_url.partition(":")[0]
    if scheme == "sqlite":
        return OfSqlite(settings.data_dir)
    if scheme == "postgresql":
        return OfPostgresql(settings.records_url)
    return ThroughThePort(settings.records_url)


class OfSqlite(Auditor):
    """Reads the file in the shop's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def books(self) -> Books:
        return await asyncio.to_thread(read, self._folder)


class OfPostgresql(Auditor):
    """Reads a snapshot over a connection of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = parts._replace(query="").geturl()
        self._schema = parse_qs(parts.query).get("schema", ["public"])[0]

    async def books(self) -> Books:
        import asyncpg  # noqa: PLC0415 (only who audits PostgreSQL needs it)

        connection = await asyncpg.connect(
            self._url,
            timeout=READ_SECONDS,
            command_timeout=READ_SECONDS,
            server_settings={"search_path": f'"{self._schema}"'},
        )

        async def bodies(table: str) -> list[dict[str, Any]]:
            rows = await connection.fetch(f'SELECT body FROM "{table}"')  # noqa: S608 (names of our own)
            return [msgspec.json.decode(row["body"]) for row in rows]

        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                counted = await connection.fetch(
                    "SELECT key, stock, reserved, available FROM stock"
                )
                return _books(
                    stock={key: Stock(*counters) for key, *counters in counted},
                    carts=await bodies("carts"),
                    orders=await bodies("orders"),
                    marks=await bodies("idempotency"),
                    jobs=await bodies("jobs"),
                    outbox=await connection.fetchval("SELECT count(*) FROM outbox"),
                    log=await bodies("log"),
                    payments=await bodies("pretend_payments"),
                )
        finally:
            await connection.close(timeout=READ_SECONDS)


class ThroughThePort(Auditor):
    """Reads table after table as the shop does."""

    any_moment = False

    def __init__(self, url: str) -> None:
        self._url = url

    async def books(self) -> Books:
        records = open_records("RECORDS_URL", self._url, TABLES, SystemClock())
        try:
            stock = await _all(records, STOCK)
            return _books(
                stock={s["sku"]: Stock(s["stock"], s["reserved"], s["available"]) for s in stock},
                carts=await _all(records, CARTS),
                orders=await _all(records, ORDERS),
                marks=await _all(records, MARKS),
                jobs=await _all(records, JOBS),
                outbox=len(await _all(records, OUTBOX)),
                log=await _all(records, LOG),
                payments=await _all(records, PRETEND_PAYMENTS),
            )
        finally:
            await records.close()


def _books(
    *,
    stock: dict[str, Stock],
    carts: list[dict[str, Any]],
    orders: list[dict[str, Any]],
    marks: list[dict[str, Any]],
    jobs: list[dict[str, Any]],
    outbox: int,
    log: list[dict[str, Any]],
    payments: list[dict[str, Any]],
) -> Books:
    answered = [mark["answer"].get("id", "") for mark in marks]
    return Books(
        stock=stock,
        carts=carts,
        orders={order["id"]: order for order in orders},
        marked=[order_id for order_id in answered if ORDER_ID.fullmatch(order_id)],
        jobs=jobs,
        outbox=outbox,
        log=log,
        payments=payments,
    )


async def _all(records: Records, table: Table[Any]) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = []
    after: Cursor | None = None
    while True:
        page = await records.scan(table, after=after, limit=500)
        bodies += [msgspec.json.decode(msgspec.json.encode(value)) for value in page.values]
        if (after := page.after) is None:
            return bodies
