"""Servers that take mail, for tests: one that speaks SMTP, and one that answers as SES does."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self, cast

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

HOST = "127.0.0.1"
USER, PASSWORD = "shop", "a/word?"


def read(content: bytes) -> EmailMessage:
    """The mail as the standard library reads it."""
    message = BytesParser(policy=policy.default).parsebytes(content)
    assert isinstance(message, EmailMessage)
    return message


@cache
def certificate() -> tuple[Path, Path]:
    """A certificate for this machine that nobody has signed, and its key."""
    folder = Path(mkdtemp(prefix="certificate-"))
    files = folder / "certificate.pem", folder / "key.pem"
    names = f"subjectAltName=DNS:localhost,IP:{HOST}"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN=localhost -addext {names} -out {files[0]} -keyout {files[1]}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return files


def trusting() -> ssl.SSLContext:
    """What a client needs to believe these servers."""
    return ssl.create_default_context(cafile=certificate()[0])


class SmtpServer:
    """A real SMTP server that keeps what it takes. An async context.

    `answers` are given instead of its own to MAIL, RCPT or DATA, the first ones first; "hang" says
    nothing more on that connection, and "drop" ends it.
    """

    def __init__(
        self,
        *,
        tls: bool = False,
        starttls: bool = False,
        sign_in: bool = False,
        utf8: bool = False,
    ) -> None:
        self.received: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.asked: list[str] = []
        self.signed_in = 0
        self.connections: set[SMTP] = set()
        self.answers: dict[str, list[str]] = {}
        self.port = 0
        self._tls = tls
        self._context = _server_context() if tls or starttls else None
        self._options: dict[str, Any] = {"hostname": "mail.example", "enable_SMTPUTF8": utf8}
        if starttls:
            self._options["tls_context"] = self._context
        if sign_in:
            self._options |= {"authenticator": self._authenticate, "auth_required": starttls}
            self._options["auth_require_tls"] = starttls

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go_away()

    def url(self, *, options: str = "", user: str = "", password: str = "") -> str:
        scheme = "smtps" if self._tls else "smtp"
        who = f"{user}:{password}@" if user else ""
        return f"{scheme}://{who}{HOST}:{self.port}{options}"

    async def come_back(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, loop=loop, **self._options),
            HOST,
            self.port,
            ssl=self._context if self._tls else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def go_away(self) -> None:
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """End every connection that is open now."""
        for connection in self.connections:
            if connection.transport:
                cast(asyncio.WriteTransport, connection.transport).abort()

    # What aiosmtpd calls.

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.connections.add(server)
        return lines

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return await self._answer("MAIL", server)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return await self._answer("RCPT", server)

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        answer = await self._answer("DATA", server)
        if answer.startswith("250"):
            self.received.append(read(envelope.content))
            self.recipients += envelope.rcpt_tos
        return answer

    async def _answer(self, step: str, server: SMTP) -> str:
        self.asked.append(step)
        given = self.answers.get(step)
        answer = given.pop(0) if given else "250 OK"
        if answer == "hang":
            await asyncio.Event().wait()
        if answer == "drop":
            cast(asyncio.WriteTransport, server.transport).abort()
        return answer

    def _authenticate(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        mechanism: str,
        given: LoginPassword,
    ) -> AuthResult:
        right = given == LoginPassword(USER.encode(), PASSWORD.encode())
        self.signed_in += right
        return AuthResult(success=right, handled=False)


class SesServer:
    """Answers the two calls that the shop makes to SES (API v2). An async context.

    `refusals` are answered first: the status, the error's name and its message.
    """

    def __init__(self) -> None:
        self.received: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.tags: list[dict[str, str]] = []
        self.refusals: list[tuple[int, str, str]] = []
        self.account: dict[str, Any] = {"SendingEnabled": True, "ProductionAccessEnabled": True}
        self.calls = 0
        self.hanging = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"ses://eu-central-1?endpoint=http://{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go_away()

    async def come_back(self) -> None:
        application = web.Application()
        application.router.add_post("/v2/email/outbound-emails", self._send)
        application.router.add_get("/v2/email/account", self._tell)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def go_away(self) -> None:
        await self._runner.cleanup()

    async def _send(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        if refusal := await self._refusal():
            return refusal
        self.received.append(read(b64decode(asked["Content"]["Raw"]["Data"])))
        self.recipients += asked["Destination"]["ToAddresses"]
        self.tags += asked["EmailTags"]
        return web.json_response({"MessageId": f"0100-{self.calls}"})

    async def _tell(self, request: web.Request) -> web.Response:
        return await self._refusal() or web.json_response(self.account)

    async def _refusal(self) -> web.Response | None:
        self.calls += 1
        if self.hanging:
            await asyncio.Event().wait()
        if not self.refusals:
            return None
        status, name, message = self.refusals.pop(0)
        return web.json_response(
            {"message": message}, status=status, headers={"x-amzn-ErrorType": name}
        )


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts and says nothing."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate())
    return context
