"""Records asked for by key: whoever asks at one moment is answered by one statement a table.

A statement costs the client and the server about the same for one key as for a dozen. Where nobody else
asks, a key goes at once and alone; while as many statements are on their way as may be, others gather.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import Any

from ecokart.core.clock import Clock
from ecokart.core.records import microseconds
from ecokart.engines.records_postgres_connections import Connections
from ecokart.engines.records_postgres_sql import Statements

TOGETHER = 64  # keys of a statement at the most
IN_FLIGHT = 3  # statements at once

Asked = dict[str, list[asyncio.Future[Sequence[Any] | None]]]


class Getting:
    """Gets rows by their keys."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections, self._clock = connections, clock
        # By table, the one that has waited longest first.
        self._waiting: dict[Statements, Asked] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._called = False

    async def row(self, table: Statements, key: str) -> Sequence[Any] | None:
        """The row of a key as it is stored, or None. Raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[Any] | None] = loop.create_future()
        self._waiting.setdefault(table, {}).setdefault(key, []).append(answer)
        if not self._called:
            self._called = True
            loop.call_soon(self._start)
        return await answer

    async def finish(self) -> None:
        """Return once everybody who asked is answered."""
        while self._waiting or self._running:
            await asyncio.wait(self._running) if self._running else await asyncio.sleep(0)

    def _start(self) -> None:
        self._called = False
        while self._waiting and len(self._running) < IN_FLIGHT:
            table, asked = next(iter(self._waiting.items()))
            del self._waiting[table]
            if len(asked) > TOGETHER:
                keys = list(asked)[TOGETHER:]
                self._waiting[table] = {key: asked.pop(key) for key in keys}
            task = asyncio.create_task(self._run(table, asked))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def _run(self, table: Statements, asked: Asked) -> None:
        now = (microseconds(self._clock.now()),) if table.table.expires else ()
        try:
            rows = await self._connections.fetch(table.get, list(asked), *now)
        except Exception as problem:  # noqa: BLE001 (they all wait for an answer, whatever it is)
            for answer in chain(*asked.values()):
                if not answer.done():
                    answer.set_exception(problem)
            return
        found = {row[0]: row for row in rows}
        for key, answers in asked.items():
            for answer in answers:
                if not answer.done():  # whoever was cancelled is told nothing
                    answer.set_result(found.get(key))
