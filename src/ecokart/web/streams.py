"""Server-sent events (HTML, 9.2): an answer that goes on, as long as its page is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from time import perf_counter
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ecokart.core.errors import TooMany, Unavailable
from ecokart.web.watch import Watch

MOST_OPEN = 2000
MOST_OF_ONE = 12  # pages that one visitor looks at
HEARTBEAT_SECONDS = 15.0
# Then the page comes again, and is asked anew who it is: a session may have ended meanwhile.
LONGEST_SECONDS = 3600.0
# A page that takes nothing for so long is gone, though its connection doesn't know it yet.
STUCK_SECONDS = 30.0
HEARTBEAT = b":\n\n"
WAITING = 100  # messages that a slow page may be behind
RETRY_MILLISECONDS = 3000
HEADERS = {
    "cache-control": "no-store",
    "content-type": "text/event-stream; charset=utf-8",
    "x-accel-buffering": "no",  # nginx would keep it back until it has enough of it
}

log = logging.getLogger("ecokart.web")


class TooManyStreams(TooMany):
    """Too many pages are being kept up to date at the moment."""


class Message(NamedTuple):
    """One event: a line of `data`, what kind it is, and an id that the page sends when it comes back."""

    data: bytes
    kind: str = ""
    id: str = ""

    def encoded(self) -> bytes:
        kind = f"event: {self.kind}\n" if self.kind else ""
        number = f"id: {self.id}\n" if self.id else ""
        return b"%b%bdata: %b\n\n" % (kind.encode(), number.encode(), self.data)


class Streams:
    """The streams that are open in this process. `changed` hears how many whenever that changes."""

    def __init__(
        self,
        *,
        most: int = MOST_OPEN,
        most_of_one: int = MOST_OF_ONE,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        longest_seconds: float = LONGEST_SECONDS,
        changed: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._most, self._most_of_one = most, most_of_one
        self.heartbeat_seconds, self.longest_seconds = heartbeat_seconds, longest_seconds
        self._changed = changed
        self._open: set[EventStream] = set()
        self._closing = False

    def answer(self, visitor: str, messages: Callable[[], AsyncIterator[Message]]) -> Response:
        """A stream of what `messages` yields; it ends when they do, when the page goes, or with the server.

        It ends after an hour too, and the page comes again. Raises `TooManyStreams`, if this visitor or
        all of them together have as many as there may be.
        """
        own = sum(stream.visitor == visitor for stream in self._open)
        if self._closing or own >= self._most_of_one or len(self._open) >= self._most:
            raise TooManyStreams(retry_after_seconds=30)
        return EventStream(self, visitor, messages)

    def close(self) -> None:
        """End all of them, now: a server that is to stop would wait for each."""
        self._closing = True
        for stream in self._open:
            stream.end()

    def opened(self, stream: EventStream) -> None:
        self._open.add(stream)
        self._changed(len(self._open))

    def closed(self, stream: EventStream) -> None:
        self._open.discard(stream)
        self._changed(len(self._open))


class EventStream(Response):
    """One open stream: a task reads its messages, a second waits for the page to go, and this one sends."""

    def __init__(
        self, streams: Streams, visitor: str, messages: Callable[[], AsyncIterator[Message]]
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self.visitor = visitor
        self._streams, self._messages = streams, messages
        # None is the end.
        self._waiting: asyncio.Queue[Message | None] = asyncio.Queue(WAITING)
        self._ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        if scope["method"] == "HEAD":
            await send(start)
            return await self._send(send, b"", more=False)
        watch: Watch = scope["watch"]
        watch.spare()
        # How long it took is until here: how long it goes on is the page's affair.
        scope["stream_began"] = perf_counter()
        self._streams.opened(self)
        old = asyncio.get_running_loop().call_later(self._streams.longest_seconds, self.end)
        tasks = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._until_gone(receive)),
        ]
        try:
            await send(start)
            await self._send(send, b"retry: %d\n\n" % RETRY_MILLISECONDS)
            await self._pass_on(send)
            await self._send(send, b"", more=False)
        except TimeoutError:
            pass  # stuck: the connection is given up without an end
        finally:
            self._streams.closed(self)
            old.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return None

    def end(self) -> None:
        """Send what is being sent, and no more."""
        self._ended.set()
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(None)

    async def _pass_on(self, send: Send) -> None:
        while not self._ended.is_set():
            try:
                async with asyncio.timeout(self._streams.heartbeat_seconds):
                    message = await self._waiting.get()
            except TimeoutError:
                await self._send(send, HEARTBEAT)
                continue
            if message is None:
                return
            await self._send(send, message.encoded())

    async def _read(self) -> None:
        try:
            async for message in self._messages():
                await self._waiting.put(message)
            await self._waiting.put(None)
        except Unavailable as error:
            log.warning("a stream breaks off, and its page comes again: %s", error)
            self.end()
        except Exception:
            log.exception("a stream broke off")
            self.end()

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end()

    @staticmethod
    async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(STUCK_SECONDS):
            await send({"type": "http.response.body", "body": body, "more_body": more})
