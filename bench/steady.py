"""A load generator that asks at a given rate, whatever the server makes of it: an open loop.

Each request has a moment at which it is due, and its time counts from then: while a server stalls the
requests go on falling due, as customers go on coming. One that finds no connection free waits for one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple, cast

from bench.load import Answer, Reader, UnexpectedAnswers, without_collections

CONNECTIONS = 256  # at the most
# A server ends connections that nobody uses; before that they are left alone.
IDLE_SECONDS = 3.0
LONGEST_SECONDS = 120.0  # the last answers may take


class Reply(NamedTuple):
    """An answer, the Unix time at which its request was due, and the seconds from then until it was here."""

    due: float
    seconds: float
    answer: Answer


async def at_rate(port: int, requests: Sequence[bytes], per_second: float) -> list[Reply]:
    """Send each request once, so many a second; the replies, in the order of the requests.

    Raises `UnexpectedAnswers` where a connection breaks, `TimeoutError` where answers don't come.
    """
    with without_collections():
        load = _Load(port, len(requests))
        try:
            started = perf_counter()
            for number, what in enumerate(requests):
                due = started + number / per_second
                if (pause := due - perf_counter()) > 0:
                    await asyncio.sleep(pause)
                load.ask(due, what)
            async with asyncio.timeout(LONGEST_SECONDS):
                await load.all_answered
        finally:
            load.hang_up()
    return sorted(load.replies, key=lambda reply: reply.due)


class _Load:
    """What is to be asked, the connections that there are for it, and the replies so far."""

    def __init__(self, port: int, count: int) -> None:
        self.replies: list[Reply] = []
        self.all_answered = asyncio.get_running_loop().create_future()
        self._port, self._count = port, count
        self._epoch = time.time() - perf_counter()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._free: list[_Line] = []  # the one used last is used next
        self._lines: set[_Line] = set()
        self._opening: set[asyncio.Task[None]] = set()

    def ask(self, due: float, what: bytes) -> None:
        self._waiting.append((due, what))
        self._send()

    def opened(self, line: _Line) -> None:
        self._lines.add(line)
        self.free(line)

    def free(self, line: _Line) -> None:
        self._free.append(line)
        self._send()

    def answered(self, due: float, answer: Answer) -> None:
        self.replies.append(Reply(self._epoch + due, perf_counter() - due, answer))
        if len(self.replies) == self._count:
            self._end(None)

    def lost(self, line: _Line) -> None:
        """The connection is gone: no harm where nothing was asked over it."""
        self._lines.discard(line)
        if line in self._free:
            self._free.remove(line)
        else:
            self._end(UnexpectedAnswers("a connection broke before the answer was here"))

    def hang_up(self) -> None:
        self.all_answered.cancel()
        for opening in self._opening:
            opening.cancel()
        for line in self._lines:
            line.hang_up()

    def _send(self) -> None:
        now = perf_counter()
        while self._waiting and self._free:
            if now - self._free[-1].free_since > IDLE_SECONDS:
                self._free[-1].hang_up()
                self._lines.discard(self._free.pop())
            else:
                self._free.pop().ask(*self._waiting.popleft())
        wanted = min(len(self._waiting), CONNECTIONS - len(self._lines))
        for _ in range(wanted - len(self._opening)):
            opening = asyncio.create_task(self._open())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: _Line(self), "127.0.0.1", self._port)
        except OSError as error:
            self._end(UnexpectedAnswers(f"no connection came about: {error}"))

    def _end(self, error: Exception | None) -> None:
        if self.all_answered.done():
            return
        if error:
            self.all_answered.set_exception(error)
        else:
            self.all_answered.set_result(None)


class _Line(Reader):
    """One of the connections."""

    def __init__(self, load: _Load) -> None:
        self._load, self._due, self._ended = load, 0.0, False
        self.free_since = perf_counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._load.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended:
            self._load.lost(self)

    def ask(self, due: float, what: bytes) -> None:
        self._due = due
        self._transport.write(what)

    def answered(self, answer: Answer) -> None:
        self.free_since = perf_counter()
        self._load.answered(self._due, answer)
        self._load.free(self)

    def hang_up(self) -> None:
        self._ended = True
        self._transport.close()
