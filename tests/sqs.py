"""Queues in SQS for tests, made from where no event loop runs or another one does."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from ecokart.core.clock import SystemClock
from ecokart.engines.queue_sqs import SqsQueue


def make_queues(url: str, lanes: Collection[str]) -> list[str]:
    """Make them as `ecokart tables create` does; gives back what it says."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(_made(url, lanes))).result()


async def _made(url: str, lanes: Collection[str]) -> list[str]:
    queue = SqsQueue(url, SystemClock())
    told: list[str] = []
    try:
        await queue.create(lanes, told.append)
    finally:
        await queue.close()
    return told
