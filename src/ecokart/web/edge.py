"""The edge: the one wrapper around every request.

It gives the request its id, bounds its body and its time, refuses foreign origins, answers preflights,
turns problems into answers, adds the security headers, and writes the log line and the metric.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ecokart.core.clock import new_id
from ecokart.core.errors import Problem, TooLarge, TooMany, Unauthenticated
from ecokart.core.events import actor, cause
from ecokart.web.cors import Cors
from ecokart.web.logs import LogWriter, RequestLine
from ecokart.web.metrics import Metrics
from ecokart.web.origin import SAFE_METHODS, OriginRule
from ecokart.web.requests import BadRequest, Request
from ecokart.web.responses import problem as problem_document
from ecokart.web.routing import MethodNotAllowed
from ecokart.web.watch import TimedOut, Watch

log = logging.getLogger("ecokart.web")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# What a browser may do with a document of ours …
DOCUMENT_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
# … and with what is none: nothing.
DATA_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
]
TLS_ONLY = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class BodyTooLarge(TooLarge):
    """The body is larger than we take."""


class ServerError(Problem):
    """Something went wrong on our side. We have taken note of it."""

    status = 500


class Edge:
    """ASGI middleware. `provided` are the objects that routes may `use`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        sockets: ASGIApp,
        provided: dict[type, Any],
        origin_rule: OriginRule,
        cors: Cors,
        metrics: Metrics,
        log_writer: LogWriter,
        error_page: Callable[[Request, Problem], Response],
        secure: bool,
        max_body_bytes: int,
        timeout_seconds: float,
    ) -> None:
        self._app, self._sockets, self._provided = app, sockets, provided
        self._origin_rule, self._cors = origin_rule, cors
        self._metrics, self._log = metrics, log_writer
        self._error_page = error_page
        self._secure, self._max_body_bytes = secure, max_body_bytes
        self._timeout_seconds, self._watch = timeout_seconds, Watch(timeout_seconds)
        tls_only = [TLS_ONLY] if secure else []
        self._document_headers = [*DOCUMENT_HEADERS, *tls_only]
        self._data_headers = [*DATA_HEADERS, *tls_only]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self._sockets(scope, receive, send)
        started = perf_counter()
        headers = dict(scope["headers"])
        given_id = headers.get(b"x-request-id", b"")
        request_id = given_id.decode() if REQUEST_ID.fullmatch(given_id) else new_id()
        cause.set(request_id)
        actor.set("nobody")
        scope["request_id"], scope["secure"] = request_id, self._secure
        scope["provided"], scope["endpoint"] = self._provided, None
        scope["header_map"], scope["timeout_seconds"] = headers, self._timeout_seconds
        # What a route adds to its answer whichever it is, a problem too, and who wants to hear of it.
        more: list[tuple[bytes, bytes]] = []
        scope["answer_headers"], scope["answered"] = more, None
        scope["watch"] = self._watch
        status, size = 0, 0

        async def answer(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status, given = message["status"], message["headers"]
                ours = self._document_headers if _is_document(given) else self._data_headers
                cors = self._cors.headers(headers.get(b"origin"))
                request_id_header = (b"x-request-id", request_id.encode())
                message["headers"] = [*given, *ours, *cors, *more, request_id_header]
            else:
                size += len(message.get("body", b""))
            await send(message)

        task = self._watch.begin()
        try:
            if scope["method"] not in SAFE_METHODS:
                self._origin_rule.check(scope["method"], headers)
                receive = self._bounded(receive, headers)
            preflight = self._cors.preflight(scope["method"], headers)
            await (preflight or self._app)(scope, receive, answer)
            self._watch.end(task)
        except (Exception, asyncio.CancelledError) as error:
            late = self._watch.end(task)
            if isinstance(error, asyncio.CancelledError) and not late:
                raise
            if status:
                log.exception("failed after the answer had begun")
                raise
            problem = TimedOut() if late else _as_problem(error)
            await self._problem(problem, scope, receive, answer)
        finally:
            seconds = scope.get("stream_began", perf_counter()) - started
            self._note(scope, status, size, request_id, seconds)
            if answered := scope["answered"]:
                answered(status, seconds)

    def _bounded(self, receive: Receive, headers: dict[bytes, bytes]) -> Receive:
        """The body as far as it is taken. One that is said to be larger is refused to who reads it, unread.

        So a partner's key is looked at before, and the request is noted as the partner's.
        """
        most = self._max_body_bytes
        length = headers.get(b"content-length", b"0")
        too_large = not length.isdigit() or int(length) > most
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = {} if too_large else await receive()
            read += len(message.get("body", b""))
            if too_large or read > most:
                raise BodyTooLarge(f"At most {most} bytes.")
            return message

        return bounded

    async def _problem(self, error: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        endpoint = scope["endpoint"]
        html = endpoint.page if endpoint else "text/html" in request.header(b"accept")
        try:
            response = (
                self._error_page(request, error)
                if html
                else problem_document(error, request.request_id)
            )
        except Exception:
            log.exception("the error page failed")
            response = problem_document(error, request.request_id)
        if isinstance(error, TooMany):
            response.headers["retry-after"] = str(error.retry_after_seconds)
        if isinstance(error, MethodNotAllowed):
            response.headers["allow"] = ", ".join(error.allowed)
        if isinstance(error, Unauthenticated):
            response.headers["www-authenticate"] = error.challenge
        response.headers["cache-control"] = "no-store"
        await response(scope, receive, send)

    def _note(self, scope: Scope, status: int, size: int, request_id: str, seconds: float) -> None:
        endpoint = scope["endpoint"]
        route = endpoint.path if endpoint else "none"
        method = scope["method"] if endpoint else "OTHER"
        self._metrics.observe(method, route, status, seconds)
        level = "error" if status >= 500 else "info"
        self._log.write(
            RequestLine(
                datetime.now(UTC), level, "request", scope["method"], scope["path"], status,
                round(seconds * 1000, 3), size, request_id,
            )
        )  # fmt: skip


def _is_document(headers: list[tuple[bytes, bytes]]) -> bool:
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    return kind.startswith((b"text/html", b"image/svg"))


def _as_problem(error: BaseException) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, TimeoutError):
        return TimedOut()
    if type(error).__name__ == "ClientDisconnect":
        return BadRequest("The client went away.")
    log.error("unexpected: %s", error, exc_info=error)
    return ServerError()
