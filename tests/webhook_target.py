"""A partner's server that takes webhooks, or misbehaves as a test tells it to."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

from tests.mail_servers import certificate

HOST = "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Received(NamedTuple):
    """A request as it came; header names in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


def answer(status: int, body: str = "", **headers: str) -> Behaviour:
    """Answers with this status; `retry_after="7"` becomes a header."""
    content = body.encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} Told", *[f"{name}: {value}" for name, value in told.items()]]
    head = "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode()

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head + content)

    return behave


async def hang(writer: asyncio.StreamWriter) -> None:
    """Never answers, until the other side goes."""
    await writer.wait_closed()


async def hang_in_the_body(writer: asyncio.StreamWriter) -> None:
    """Says 200, and then never how it ends."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
    await writer.wait_closed()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Closes the connection without an answer."""


async def speak_no_http(writer: asyncio.StreamWriter) -> None:
    """Answers as another server might that listens there."""
    writer.write(b"220 mail.example ESMTP\r\n")


async def never_end(writer: asyncio.StreamWriter) -> None:
    """A body without an end, as fast as it is read."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()


class WebhookTarget:
    """A server of HTTP on a free port, as an async context. `behaviours` come first, then it says 200."""

    def __init__(self, *, tls: bool = False) -> None:
        self.received: list[Received] = []
        self.behaviours: deque[Behaviour] = deque()
        self.always: Behaviour = answer(200, "ok")
        self.under_way = 0
        self.most_under_way = 0
        self.port = 0
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate())
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://{HOST}:{self.port}/hooks"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            self.received.append(await _read(reader))
            behave = self.behaviours.popleft() if self.behaviours else self.always
            await behave(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the shop went first
        finally:
            self.under_way -= 1
            self._open.discard(writer)
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    return Received(line, headers, await reader.readexactly(int(headers["content-length"])))
