"""Stripe, as far as we call it: a server that keeps payments, hosts their page and signs its notices.

async with StripeFake() as stripe:
    payments = stripe.engine()
    payment = await payments.begin(…)
    stripe.book.act(payment.reference, "pay")
    await stripe.deliver(f"{shop.url}/payments/notices", *stripe.events)
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable
from enum import Enum
from html import escape
from typing import Any, Self
from urllib.parse import parse_qsl

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from stripe import WebhookSignature

from ecokart.engines.payments_stripe import StripePayments
from tests.stripe_book import Refused, StripeBook

SECRET_KEY = "sk_test_of_the_tests"
WEBHOOK_SECRET = "whsec_of_the_tests"
SHOPPING = {"pay": "Pay", "decline": "Try a declined card", "secure": "Try a 3-D Secure card"}
AT_THE_BANK = {"confirm": "Confirm", "refuse": "Refuse"}


class Fault(Enum):
    """How a call that changes something goes wrong."""

    BROKEN = "500, with nothing done; and that answer is kept under the key, as Stripe keeps it"
    IN_USE = "409, as another call is under way under this key"
    BUSY = "429, with nothing done"
    DROPPED = "done, and the connection is cut within the answer"
    HUNG = "done, and no answer ever comes"


class StripeFake:
    """The server, as an async context. `faults` befall the next changes, one each, `losing` all of them.

    What it would tell the shop is in `events`; with a `webhook_url` it is also sent there at once.
    """

    def __init__(self) -> None:
        self.book = StripeBook(lambda reference: f"{self.url}/pay/{reference}", self._tell)
        self.events: list[bytes] = []
        self.faults: deque[Fault] = deque()
        self.losing: Fault | None = None
        self.away = False
        self.silent = False
        self.keys: list[str] = []
        # Told of each call that changes something, just before it does.
        self.meanwhile: Callable[[str], None] = lambda call: None
        self.calls: list[str] = []
        self.webhook_url = ""
        self.url = ""
        self._answers: dict[str, tuple[str, int, Any]] = {}
        self._sending: set[asyncio.Task[list[int]]] = set()
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        routes = [
            Route("/v1/{call:path}", self._api, methods=["GET", "POST"]),
            Route("/pay/{reference}", self._page, methods=["GET", "POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve([listener]))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._server.should_exit = True
        await self._serving
        await asyncio.gather(*self._sending)

    def engine(
        self, methods: str = "card,paypal,sepa", *, timeout_seconds: float = 2.5
    ) -> StripePayments:
        """The engine that asks this server."""
        return StripePayments(
            f"stripe:?methods={methods}&api_base={self.url}",
            secret_key=SECRET_KEY,
            webhook_secrets=("whsec_of_yesterday", WEBHOOK_SECRET),
            timeout_seconds=timeout_seconds,
        )

    async def deliver(self, url: str, *bodies: bytes) -> list[int]:
        """Send these notices in this order; the statuses that answered them."""
        async with httpx.AsyncClient() as client:
            answers = [
                await client.post(url, content=body, headers=signed(body)) for body in bodies
            ]
        return [answer.status_code for answer in answers]

    def forget_keys(self) -> None:
        """As Stripe does after a day."""
        self._answers.clear()

    def _tell(self, body: bytes) -> None:
        self.events.append(body)
        if self.webhook_url:
            self._sending.add(asyncio.create_task(self.deliver(self.webhook_url, body)))

    async def _api(self, request: Request) -> Response:
        call, body = request.path_params["call"], (await request.body()).decode()
        self.calls.append(f"{request.method} {call}")
        if self.silent:
            await self._closing.wait()
        if self.away:
            away = {"error": {"type": "api_error", "message": "Back soon."}}
            return JSONResponse(away, 503, {"Stripe-Should-Retry": "false"})
        if request.headers.get("authorization") != f"Bearer {SECRET_KEY}":
            return _refusal(Refused("Invalid API Key.", status=401))
        if not request.headers.get("stripe-version", "").startswith("20"):
            return _refusal(Refused("We name the version that we mean."))
        if request.method == "GET":
            return _answer(lambda: self.book.get(call, dict(request.query_params)))
        return await self._change(call, body, request.headers["idempotency-key"])

    async def _change(self, call: str, body: str, key: str) -> Response:
        self.keys.append(key)
        self.meanwhile(call)
        told = f"{call}?{body}"
        before, status, kept = self._answers.get(key, (told, 0, None))
        if before != told:
            return _refusal(Refused("This key was for something else.", type="idempotency_error"))
        if status:
            return JSONResponse(kept, status, {"Idempotent-Replayed": "true"})
        fault = self.faults.popleft() if self.faults else self.losing
        if fault is Fault.IN_USE:
            return _refusal(Refused("Another one is at it.", status=409, type="idempotency_error"))
        if fault is Fault.BUSY:
            return _refusal(Refused("Slower, please.", status=429))
        if fault is Fault.BROKEN:
            broken = {"error": {"type": "api_error", "message": "Something broke."}}
            self._answers[key] = (told, 500, broken)
            return JSONResponse(broken, 500, {"Stripe-Should-Retry": "false"})
        response = _answer(lambda: self.book.change(call, dict(parse_qsl(body))))
        self._answers[key] = (told, response.status_code, json.loads(bytes(response.body)))
        if fault is Fault.HUNG:
            await self._closing.wait()
        return _Cut() if fault is Fault.DROPPED else response

    async def _page(self, request: Request) -> Response:
        """The payment page. It leads back once it is paid."""
        reference = request.path_params["reference"]
        session = self.book.sessions[reference]
        if request.method == "POST":
            self.book.act(reference, dict(parse_qsl((await request.body()).decode()))["act"])
            done = session["status"] == "complete"
            return RedirectResponse(session["success_url"] if done else self.url_of(reference), 303)
        intent = self.book.intents.get(session["payment_intent"] or "", {})
        asking = intent.get("status") == "requires_action"
        buttons = "".join(
            f'<button name="act" value="{act}">{name}</button>'
            for act, name in (AT_THE_BANK if asking else SHOPPING).items()
        )
        reason = (intent.get("last_payment_error") or {}).get("code", "")
        back = escape(session["success_url"])
        return HTMLResponse(
            f'<!doctype html><html lang="en"><title>Stripe, pretended</title>'
            f'<h1>{session["amount_total"]} {session["currency"]}</h1><p role="alert">{reason}</p>'
            f'<form method="post">{buttons}</form><a href="{back}">Back</a></html>'
        )

    def url_of(self, reference: str) -> str:
        return f"{self.url}/pay/{reference}"


class _Cut(Response):
    """Half of an answer, and the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"1000"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"id":', "more_body": True})


def signed(body: bytes, secret: str = WEBHOOK_SECRET, at: int | None = None) -> dict[str, str]:
    """The headers by which Stripe signs what it sends."""
    signature = WebhookSignature.generate_signature_header(body.decode(), secret, timestamp=at)
    return {"stripe-signature": signature, "content-type": "application/json"}


def _answer(call: Callable[[], Any]) -> Response:
    try:
        return JSONResponse(call())
    except Refused as refused:
        return _refusal(refused)


def _refusal(refused: Refused) -> Response:
    return JSONResponse({"error": refused.error}, refused.status)
