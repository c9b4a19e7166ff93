"""Calls that may fail for a moment, since a copy of hours mustn't end by a second without network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Records
from ecokart.core.records import Cursor, Page, T, Table

ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.25
PAGE = 2000  # records of a table in memory at once, and their commits under way at once

R = TypeVar("R")


async def patiently(call: Callable[[], Awaitable[R]]) -> R:
    """The call's result; where it is `Unavailable`, again after a pause, about eight seconds in all.

    Only for what is as good twice as once: an unknown outcome is tried again too.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
    return await call()


async def pages(
    records: Records, table: Table[T], after: Cursor | None = None
) -> AsyncIterator[Page[T]]:
    """Every page of the table behind `after`, each read while the one before is worked on."""
    reading = asyncio.create_task(_page(records, table, after))
    try:
        while True:
            page = await reading
            if page.after is None:
                yield page
                return
            reading = asyncio.create_task(_page(records, table, page.after))
            yield page
    finally:
        reading.cancel()


async def _page(records: Records, table: Table[T], after: Cursor | None) -> Page[T]:
    return await patiently(lambda: records.scan(table, after=after, limit=PAGE))
