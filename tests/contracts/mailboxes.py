"""Each mail engine with what has arrived by it: read back by the standard library, wherever it went."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol

from ecokart.core.ports import Mail
from ecokart.engines.faulty import Chaos, FaultyMail
from ecokart.engines.mail_disk import DiskMail
from ecokart.engines.mail_ses import SesMail
from ecokart.engines.mail_smtp import SmtpMail
from tests.mail_servers import PASSWORD, USER, SesServer, SmtpServer, read, trusting

SENDER = "Ecokart <shop@example.com>"


class Mailbox(Protocol):
    """An engine, and where its mail arrives."""

    mail: Mail

    def received(self) -> list[EmailMessage]:
        """Every mail that has arrived."""
        ...

    async def go_away(self) -> None:
        """From here on nothing is taken."""
        ...

    async def come_back(self) -> None:
        """Mail is taken again."""
        ...


@dataclass
class OnDisk:
    """`Mailbox` in a folder."""

    mail: Mail
    folder: Path

    def received(self) -> list[EmailMessage]:
        return [read(path.read_bytes()) for path in sorted(self.folder.glob("*.eml"))]

    async def go_away(self) -> None:
        shutil.rmtree(self.folder)
        self.folder.write_text("now a file, where nothing can be put")

    async def come_back(self) -> None:
        self.folder.unlink()
        self.folder.mkdir()


@dataclass
class AtServer:
    """`Mailbox` at a server that speaks SMTP."""

    mail: Mail
    server: SmtpServer

    def received(self) -> list[EmailMessage]:
        return self.server.received

    async def go_away(self) -> None:
        await self.server.go_away()

    async def come_back(self) -> None:
        await self.server.come_back()


@dataclass
class AtSes:
    """`Mailbox` at SES."""

    mail: Mail
    server: SesServer

    def received(self) -> list[EmailMessage]:
        return self.server.received

    async def go_away(self) -> None:
        await self.server.go_away()

    async def come_back(self) -> None:
        await self.server.come_back()


@asynccontextmanager
async def _on_disk(folder: Path) -> AsyncIterator[Mailbox]:
    yield OnDisk(DiskMail(folder, SENDER), folder)


@asynccontextmanager
async def _faulty(folder: Path) -> AsyncIterator[Mailbox]:
    yield OnDisk(FaultyMail(DiskMail(folder, SENDER), Chaos(1)), folder)


@asynccontextmanager
async def _smtp(folder: Path) -> AsyncIterator[Mailbox]:
    async with SmtpServer() as server:
        mail = SmtpMail(server.url(options="?starttls=never"), SENDER)
        yield AtServer(mail, server)
        await mail.close()


@asynccontextmanager
async def _smtp_starttls(folder: Path) -> AsyncIterator[Mailbox]:
    async with SmtpServer(starttls=True, sign_in=True, utf8=True) as server:
        url = server.url(user=USER, password=PASSWORD.replace("/", "%2F").replace("?", "%3F"))
        mail = SmtpMail(url, SENDER, tls=trusting())
        yield AtServer(mail, server)
        await mail.close()


@asynccontextmanager
async def _ses(folder: Path) -> AsyncIterator[Mailbox]:
    async with SesServer() as server:
        mail = SesMail(server.url, SENDER)
        yield AtSes(mail, server)
        await mail.close()


MAILBOXES: dict[str, Callable[[Path], AbstractAsyncContextManager[Mailbox]]] = {
    "disk": _on_disk,
    "faulty": _faulty,
    "smtp": _smtp,
    "smtp+starttls": _smtp_starttls,
    "ses": _ses,
}
