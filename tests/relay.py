"""A server between a client and DynamoDB that answers in its place when it is told to: busy, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self

import aiohttp
from aiohttp import web

# Answers as DynamoDB gives them: the status, the error's name, and what else it says.
Refusal = tuple[int, str, dict[str, Any]]
THROTTLED: Refusal = (400, "ThrottlingException", {})
EXCEEDED: Refusal = (400, "ProvisionedThroughputExceededException", {})
IN_PROGRESS: Refusal = (400, "TransactionInProgressException", {})
BROKEN: Refusal = (500, "InternalServerError", {})
UNAVAILABLE: Refusal = (503, "ServiceUnavailable", {})
CONFLICT: Refusal = (
    400,
    "TransactionCanceledException",
    {"CancellationReasons": [{"Code": "TransactionConflict", "Message": "Ongoing"}] * 2},
)


class Relay:
    """Forwards every request, and keeps what was asked. An async context: it listens inside of it."""

    def __init__(self, upstream: str) -> None:
        self.endpoint = ""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        # Asked of each request, by its action: what to answer instead, or None to forward it.
        self.refuse: Callable[[str], Refusal | None] = lambda action: None
        # Asked after it was forwarded: whether to lose the answer.
        self.lose: Callable[[str], bool] = lambda action: False
        self._upstream = upstream

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        application = web.Application(client_max_size=1 << 24)
        application.router.add_post("/", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.endpoint = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    def refuse_first(self, times: int, refusal: Refusal, *, of: str) -> None:
        left = times

        def refuse(action: str) -> Refusal | None:
            nonlocal left
            left -= action == of
            return refusal if action == of and left >= 0 else None

        self.refuse = refuse

    def actions(self) -> list[str]:
        return [action for action, _ in self.asked]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        action = request.headers["X-Amz-Target"].partition(".")[2]
        self.asked.append((action, json.loads(body)))
        if refusal := self.refuse(action):
            status, name, more = refusal
            return web.json_response({"__type": f"com.amazonaws#{name}"} | more, status=status)
        headers = {
            name: request.headers[name]
            for name in ("Content-Type", "X-Amz-Date", "X-Amz-Target", "Authorization")
        }
        async with self._session.post(self._upstream, data=body, headers=headers) as answer:
            told = await answer.read()
            if self.lose(action):
                assert request.transport
                request.transport.abort()
            return web.Response(body=told, status=answer.status, content_type=answer.content_type)
