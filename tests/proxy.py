"""A TCP proxy for tests: between a client and a server, it cuts the connection at a chosen moment.

Whatever a client sends at once is one message here. So a test needs to know nothing of the protocol:
it says of which message from now on, and how, and walks through all of them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any, Self
from weakref import WeakSet

HOST = "127.0.0.1"
MOST_BYTES = 1 << 20


class Cut(Enum):
    """When the connection ends, seen from one message of the client and the server's answer to it."""

    BEFORE = "the server never hears of it"
    WITHIN = "the server gets half of it"
    AT_WORK = "the server has it whole, and its client is gone before the answer"
    AFTER = "the server has answered, and the answer is lost"
    WITHIN_ANSWER = "half of the answer arrives"
    SILENT = "the answer is lost, and the connection stays open and says nothing more"


class Proxy:
    """Forwards to `host:port` until it is told otherwise. An async context: it listens inside of it."""

    def __init__(self, port: int, host: str = HOST) -> None:
        self.port = 0
        self.cuts = 0
        self.for_good = False
        # Asked of each message of each client: how to cut it, or None to let it through.
        self.decide: Callable[[], Cut | None] = lambda: None
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()
        self._links: WeakSet[_Link] = WeakSet()

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    def cut(self, how: Cut, *, after: int = 0, for_good: bool = False) -> None:
        """Cut once: the next message from now on, or the one that comes `after` so many.

        `for_good`: from that moment on it is as if the server were gone, but for what this cut lets through.
        """
        left, self.for_good = after, for_good

        def decide() -> Cut | None:
            nonlocal left
            left -= 1
            return how if left == -1 else None

        self.decide = decide

    def silence(self) -> None:
        """Each connection that is open now says nothing more from its next message on; new ones do."""
        for link in self._links:
            link.silent = True

    async def refuse(self, *, but: asyncio.Task[Any] | None = None) -> None:
        """As if the server were gone: every connection ends, and no new one is made."""
        if self._server:
            self._server.close()
            self._server = None
        connections = [one for one in self._connections if one is not but]
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def restore(self) -> None:
        """Listen (again) on the same port."""
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._carry(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            answers, server = await asyncio.open_connection(*self._upstream)
            writers.append(server)
            async with asyncio.TaskGroup() as both:
                link = _Link(self, reader, writer, answers, server)
                self._links.add(link)
                both.create_task(link.requests())
                both.create_task(link.answers())
        except* (OSError, _Ended):
            pass
        finally:
            for one in writers:
                one.transport.abort()


class _Ended(Exception):
    """One side has hung up, or the connection was cut."""


class _Link:
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(
        self,
        proxy: Proxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._connection = asyncio.current_task()
        self._reader, self._writer = reader, writer
        self._answers, self._server = answers, server
        self.silent = False
        self._cut: Cut | None = None

    async def requests(self) -> None:
        while message := await self._reader.read(MOST_BYTES):
            if self._cut:  # the client tries again on a connection that has gone silent
                continue
            cut = Cut.SILENT if self.silent else self._proxy.decide()
            if cut:
                self._proxy.cuts += 1
                if self._proxy.for_good:
                    await self._proxy.refuse(but=self._connection)
            if cut is Cut.BEFORE:
                break
            self._cut = cut
            self._server.write(message[: len(message) // 2] if cut is Cut.WITHIN else message)
            await self._server.drain()
            if cut in (Cut.WITHIN, Cut.AT_WORK):
                self._server.close()  # what was written still arrives
                with suppress(OSError):
                    await self._server.wait_closed()
                break
        raise _Ended

    async def answers(self) -> None:
        while message := await self._answers.read(MOST_BYTES):
            if self._cut is Cut.SILENT:
                continue
            if self._cut is Cut.AFTER:
                break
            if self._cut is Cut.WITHIN_ANSWER:
                self._writer.write(message[: len(message) // 2])
                self._writer.close()
                await self._writer.wait_closed()
                break
            self._writer.write(message)
            await self._writer.drain()
        if self._cut is Cut.SILENT:
            await asyncio.Event().wait()  # the server hung up: the client isn't told
        raise _Ended


def upstream(location: str) -> int:
    """The port on this machine that a URL names."""
    named = re.search(rf"{re.escape(HOST)}:(\d+)", location)
    assert named, f"{location} names no server on this machine"
    return int(named[1])


def through(proxy: Proxy, location: str) -> str:
    """The same URL, by way of the proxy."""
    return location.replace(f"{HOST}:{upstream(location)}", f"{HOST}:{proxy.port}")
