"""Time that passes only when nothing else is left to do: the same seed is the same story, in no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

LONGEST_STORY_SECONDS = 4 * 3600.0


class Stuck(Exception):
    """Everybody waits for something that will never come."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose sleeps and time-outs are over at once, in their order, and without threads.

    What would run in a thread runs inline, so nothing is left that depends on the machine's pace.
    """

    def __init__(self) -> None:
        self._leaps = _Leaps()
        super().__init__(self._leaps)
        numbers = count()
        self.set_task_factory(
            lambda loop, work, **named: _Numbered(next(numbers), work, loop=loop, **named)
        )

    def time(self) -> float:
        return self._leaps.passed

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(function(*args))
        except Exception as error:  # noqa: BLE001 (it is the caller's)
            future.set_exception(error)
        return future


class _Numbered(asyncio.Task[Any]):
    """A task whose place in a set is told by its number, and not by where in the memory it lies."""

    def __init__(self, number: int, *args: Any, **named: Any) -> None:
        self._number = number
        super().__init__(*args, **named)

    def __hash__(self) -> int:
        return self._number


class _Leaps(selectors.SelectSelector):
    """Instead of waiting for as long as the loop asks, lets that time have passed."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or self.passed > LONGEST_STORY_SECONDS:
            raise Stuck
        self.passed += max(timeout, 0)
        return super().select(0)


class VirtualClock:
    """`Clock` by the loop's time, which may also jump."""

    def __init__(self) -> None:
        self._start = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=asyncio.get_running_loop().time())

    def jump(self, *, hours: float = 0, minutes: float = 0) -> None:
        self._start += timedelta(hours=hours, minutes=minutes)
