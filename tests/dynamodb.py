"""Tables in DynamoDB for tests, made from where no event loop runs or another one does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ecokart.core.clock import SystemClock
from ecokart.core.records import Table
from ecokart.engines.records_dynamodb import DynamoRecords


def make_tables(url: str, tables: Iterable[Table[Any]]) -> list[str]:
    """Make them as `ecokart tables create` does, but for the removal of ended records; says what it says."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_made(url, tables))).result()


async def _made(url: str, tables: Iterable[Table[Any]]) -> list[str]:
    records = DynamoRecords(url, tables, SystemClock())
    told: list[str] = []
    try:
        await records.making.make(told.append, expiry=False)
    finally:
        await records.close()
    return told
