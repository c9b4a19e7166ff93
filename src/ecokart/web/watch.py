"""Requests end in bounded time."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from ecokart.core.errors import Unavailable


class TimedOut(Unavailable):
    """This took too long, so we stopped. Please try again."""


class Watch:
    """Ends requests that take too long.

    A look at all of them twice a second instead of a timer for each, which costs a request less; and
    half a second more or less doesn't matter.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._begun: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._looking = False

    def begin(self) -> asyncio.Task[Any] | None:
        """From here on the current task is watched, until `end`."""
        task = asyncio.current_task()
        if task:
            self._begun[task] = monotonic()
        if not self._looking:
            self._looking = True
            self._look_soon()
        return task

    def end(self, task: asyncio.Task[Any] | None) -> bool:
        """Watch it no longer. Says whether it was cancelled for being late, and for nothing else."""
        if task is None:
            return False
        self._begun.pop(task, None)
        if task not in self._late:
            return False
        self._late.discard(task)
        return task.uncancel() == 0

    def spare(self) -> None:
        """The current task may take as long as it wants from here on."""
        task = asyncio.current_task()
        if task:
            self._begun.pop(task, None)

    def _look(self) -> None:
        horizon = monotonic() - self._timeout_seconds
        for task, begun in self._begun.items():
            if begun < horizon and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._looking = bool(self._begun)
        if self._looking:
            self._look_soon()

    def _look_soon(self) -> None:
        asyncio.get_running_loop().call_later(min(0.5, self._timeout_seconds), self._look)
