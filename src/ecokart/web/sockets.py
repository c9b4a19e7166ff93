"""WebSockets (RFC 6455), declared like routes: who may come, what frames go in and out, why one is closed.

The handshake is an HTTP request, and is treated like one: it has an id, its origin is checked, the
connections of an address are counted, and it is refused by a problem document. What it becomes is one
line of the log when it has ended.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from ecokart.core.clock import new_id
from ecokart.core.errors import NotFound, Problem, TooMany, Unavailable
from ecokart.core.events import actor, cause
from ecokart.web.logs import LogWriter
from ecokart.web.origin import OriginRule
from ecokart.web.requests import Request
from ecokart.web.responses import problem as problem_document

MAX_FRAME_BYTES = 65_536
# A close that a client doesn't take in this time is followed by the end of its connection.
CLOSE_SECONDS = 2.0
INTERNAL_ERROR = 1011
UNSUPPORTED_DATA = 1003
ABORT = (
    "ecokart.abort"  # the server's extension to ASGI: end the connection, whatever it has unsent
)

log = logging.getLogger("ecokart.web")


class TooManyConnections(TooMany):
    """There are too many connections from there already."""


class Full(Unavailable):
    """There is no room for another connection just now. Please try again."""


class SocketLine(msgspec.Struct, omit_defaults=True):
    """One connection that has ended. No address, no query, no name."""

    at: datetime
    level: str
    message: str
    path: str
    code: int
    seconds: float
    frames_in: int
    frames_out: int
    request_id: str


class Gone(OSError):
    """The client has gone away."""


class Socket:
    """A connection. `request` is its handshake; iterating gives the texts that come, until it ends."""

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self.request = request
        self.code = 0
        self.frames_in = self.frames_out = 0
        self.answered = False
        self._receive, self._send = receive, send
        self._closing: asyncio.Task[None] | None = None

    async def accept(self, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Let the connection stand. Raises `Gone`."""
        message = await self._receive()
        if message["type"] != "websocket.connect":
            raise Gone
        self.answered = True
        await self._send({"type": "websocket.accept", "headers": list(headers)})

    async def refuse(self, problem: Problem) -> None:
        """Answer the handshake by a problem document; there is no connection then."""
        self.answered, self.code = True, problem.status
        response = problem_document(problem, self.request.request_id)
        if isinstance(problem, TooMany):
            response.headers["retry-after"] = str(problem.retry_after_seconds)

        scope = {**self.request.scope, "type": "websocket"}
        await response(scope, self._receive, self._send)

    async def send(self, text: str) -> None:
        """Hand a frame to the network; waits while the client is slow. Raises `OSError` if it has gone."""
        self.frames_out += 1
        await self._send({"type": "websocket.send", "text": text})

    def drop(self, code: int, reason: str) -> None:
        """Close the connection with a reason, and don't wait for who doesn't read it."""
        if self._closing is None:
            self.code = code
            self._closing = asyncio.create_task(self._close(code, reason))

    async def ended(self) -> None:
        """Returns when the close that `drop` began is through."""
        if self._closing:
            await self._closing

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self.code = self.code or message.get("code") or 1005
                return
            self.frames_in += 1
            text = message.get("text")
            if text is None:
                self.drop(UNSUPPORTED_DATA, "text_only")
            elif self._closing is None:
                yield text

    async def _close(self, code: int, reason: str) -> None:
        with suppress(TimeoutError, OSError, RuntimeError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
                return
        if abort := self.request.scope.get("extensions", {}).get(ABORT):
            abort()


class SocketEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A path where sockets are taken, as declared: `takes` and `gives` are unions of frames."""

    path: str
    run: Callable[[Socket], Awaitable[None]]
    takes: Any
    gives: Any
    query: Any = None
    closes: type[Any] | None = None
    summary: str = ""
    description: str = ""


Handler = TypeVar("Handler", bound=Callable[[Socket], Awaitable[None]])


class SocketRoutes:
    """Collects the sockets of one feature."""

    def __init__(self) -> None:
        self.endpoints: list[SocketEndpoint] = []

    def __call__(
        self, path: str, *, takes: Any, gives: Any, query: Any = None, closes: Any = None
    ) -> Callable[[Handler], Handler]:
        """Declare a socket: what clients may ask, what they are told, the codes it is closed with."""

        def declare(handler: Handler) -> Handler:
            summary, _, description = (inspect.getdoc(handler) or "").partition("\n\n")
            endpoint = SocketEndpoint(
                path=path, run=handler, takes=takes, gives=gives, query=query, closes=closes,
                summary=" ".join(summary.split()), description=description,
            )  # fmt: skip
            self.endpoints.append(endpoint)
            return handler

        return declare


class SocketLimits(msgspec.Struct, frozen=True):
    """How many connections a process takes, and of one address."""

    most: int
    most_each: int


class Sockets:
    """The edge for WebSockets: ASGI for scopes of that type."""

    def __init__(
        self,
        endpoints: Iterable[SocketEndpoint],
        *,
        provided: dict[type, Any],
        origin_rule: OriginRule,
        log_writer: LogWriter,
        secure: bool,
        limits: SocketLimits,
    ) -> None:
        self.endpoints = {endpoint.path: endpoint for endpoint in endpoints}
        self._provided, self._origin_rule = provided, origin_rule
        self._log, self._secure, self._limits = log_writer, secure, limits
        self._open = 0
        self._by_address: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        request = self._handshake(scope, receive)
        cause.set(request.request_id)
        actor.set("nobody")
        socket = Socket(request, receive, send)
        address = request.client.host if request.client else "unknown"
        self._open += 1
        self._by_address[address] += 1
        try:
            endpoint = self._admitted(scope, request, address)
            await endpoint.run(socket)
        except Problem as problem:
            if not socket.answered:
                await socket.refuse(problem)
        except Gone:
            pass
        except Exception:
            log.exception("a socket failed")
            if socket.answered:
                socket.drop(INTERNAL_ERROR, "server_error")
            else:
                await socket.refuse(Unavailable())
        finally:
            await socket.ended()
            self._open -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
            self._note(scope, socket, perf_counter() - started)

    def _handshake(self, scope: Scope, receive: Receive) -> Request:
        """The handshake as the HTTP request that it is, for those who find out who asks."""
        http = {
            **scope,
            "type": "http",
            "method": "GET",
            "request_id": new_id(),
            "secure": self._secure,
            "provided": self._provided,
            "header_map": dict(scope["headers"]),
        }
        return Request(http, receive)

    def _admitted(self, scope: Scope, request: Request, address: str) -> SocketEndpoint:
        """The endpoint for who may come. Raises `NotFound`, `ForeignOrigin` and what says it is too many."""
        endpoint = self.endpoints.get(scope["path"])
        if endpoint is None:
            raise NotFound
        # A page of another site may open a socket here, and the browser would send our cookies along.
        self._origin_rule.check("CONNECT", request.scope["header_map"])
        if self._by_address[address] > self._limits.most_each:
            raise TooManyConnections(retry_after_seconds=10)
        if self._open > self._limits.most:
            raise Full
        return endpoint

    def _note(self, scope: Scope, socket: Socket, seconds: float) -> None:
        level = "error" if socket.code == INTERNAL_ERROR else "info"
        self._log.write(
            SocketLine(
                datetime.now(UTC), level, "socket", scope["path"], socket.code, round(seconds, 3),
                socket.frames_in, socket.frames_out, socket.request.request_id,
            )
        )  # fmt: skip
