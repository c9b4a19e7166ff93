"""Mail through an SMTP server (RFC 5321): over TLS, on a few connections that are used again."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parseaddr
from time import monotonic
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
)

from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.ports import Letter
from ecokart.engines.mail_message import compose, mailbox

CONNECTIONS = 4
MAILS = 100  # on one connection: servers have their limits
# Longer idle, and something in between may have forgotten the connection without a word.
IDLE_SECONDS = 60.0
LONGEST_REASON = 200

STARTTLS = {"required": True, "offered": None, "never": False}
SIGN_IN_FIRST = 530
CLOSING = 421


class Patience(NamedTuple):
    """How many seconds a server has: to open a connection, to answer a step, to take a mail's content.

    RFC 5321, 4.5.3.2, knows minutes, and for the content ten: who gives up there hands it over again.
    But a job has one minute, and `send`, which waits for a free connection too, is over before that.
    """

    open: float = 8.0
    step: float = 8.0
    content: float = 30.0
    send: float = 55.0


PATIENCE = Patience()


class SmtpMail:
    """`Mail` through the server at `smtp://user:password@host:587?starttls=…` or `smtps://…`.

    `starttls` is `required` unless it says `offered` (TLS where the server has it) or `never`; a password
    goes in the clear only with `never`. What is lost before the server had the mail's content is tried
    once more at once. What is lost afterwards may have been taken: it is `Unavailable`, and the same
    Message-ID shows that it is the same mail when it is sent again.
    """

    def __init__(
        self,
        url: str,
        sender: str,
        *,
        tls: ssl.SSLContext | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self._place, self._patience = _Place.of(url), patience
        self._sender = sender
        self._envelope_sender = mailbox(parseaddr(sender)[1])
        self._tls = tls or ssl.create_default_context()
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._free: list[_Connection] = []
        self._closed = False

    async def send(self, letter: Letter, *, message_id: str) -> None:
        recipient = mailbox(letter.to)
        content = compose(
            letter,
            sender=self._sender,
            message_id=message_id,
            at=datetime.now().astimezone(),
            utf8=not recipient.isascii(),
        )
        try:
            async with asyncio.timeout(self._patience.send), self._slots:
                try:
                    await self._hand_over(recipient, content)
                except _LostBefore:
                    self._free.clear()  # they are as old
                    await self._hand_over(recipient, content)
        except _LostBefore as error:
            raise Unavailable(f"{self._place} was lost: {error}.") from error
        except TimeoutError:
            raise Unavailable(
                f"{self._place} didn't take the mail within {self._patience.send:g} s."
            ) from None

    async def ping(self) -> str:
        async with self._slots, self._connection() as connection:
            try:
                await connection.smtp.noop()
            except (SMTPException, OSError) as error:
                raise Unavailable(f"{self._place} was lost: {_reason(error)}.") from error
            return f"{self._place}, {connection.protected}"

    async def close(self) -> None:
        self._closed = True
        free, self._free = self._free, []
        for connection in free:
            with suppress(SMTPException, OSError):
                await connection.smtp.quit(timeout=1.0)
            connection.smtp.close()

    async def _hand_over(self, recipient: str, content: bytes) -> None:
        """One mail, on one connection. Raises `_LostBefore`, `Invalid` and `Unavailable`."""
        async with self._connection() as connection:
            await self._address(connection.smtp, recipient)
            try:
                await connection.smtp.data(content, timeout=self._patience.content)
            except SMTPDataError as error:
                raise self._refusal(error, "the mail") from error
            except (SMTPException, OSError) as error:
                why = f"was lost while it took the mail: {_reason(error)}"
                raise Unavailable(f"{self._place} {why}.") from error
            connection.mails += 1

    async def _address(self, smtp: SMTP, recipient: str) -> None:
        """Say who writes to whom. Nothing of the mail is taken yet."""
        options, encoding = [], "ascii"
        if not recipient.isascii():
            if not smtp.supports_extension("smtputf8"):
                lacks = "the mail server takes only plain letters before the @"
                raise Invalid(f"No mail can be addressed to {recipient!r}: {lacks}.")
            options, encoding = ["SMTPUTF8"], "utf-8"
        try:
            await smtp.mail(self._envelope_sender, options=options, encoding=encoding)
            await smtp.rcpt(recipient, encoding=encoding)
        except SMTPResponseException as error:
            if error.code == CLOSING:
                raise _LostBefore(_reason(error)) from error
            if isinstance(error, SMTPRecipientRefused):
                raise self._refusal(error, recipient) from error
            said = f"refused the sender {self._envelope_sender}: {_reason(error)}"
            raise Unavailable(f"{self._place} {said}.") from error
        except (SMTPException, OSError) as error:
            raise _LostBefore(_reason(error)) from error

    def _refusal(self, error: SMTPResponseException, what: str) -> Invalid | Unavailable:
        """For good (5xx) it is the address that is wrong, or the mail; but not where we may not send at all.

        Of the enhanced codes (RFC 3463) 5.7 is about what the sender may do, so that is tried again.
        """
        sentence = f"{self._place} refused {what}: {_reason(error)}."
        ours = error.code == SIGN_IN_FIRST or error.message.startswith("5.7.")
        return Unavailable(sentence) if error.code < 500 or ours else Invalid(sentence)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        """A free connection or a new one. It is kept if all went well with it."""
        if self._closed:
            raise Unavailable("The mail is closed.")
        connection = self._reusable() or await self._open()
        well = False
        try:
            yield connection
            well = True
        finally:
            if well and connection.smtp.is_connected and not self._closed:
                connection.idle_since = monotonic()
                self._free.append(connection)
            else:
                connection.smtp.close()

    def _reusable(self) -> _Connection | None:
        while self._free:
            connection = self._free.pop()
            if connection.reusable:
                return connection
            connection.smtp.close()
        return None

    async def _open(self) -> _Connection:
        place = self._place
        smtp = SMTP(
            hostname=place.host,
            port=place.port,
            use_tls=place.tls,
            start_tls=STARTTLS[place.starttls] and not place.tls,
            tls_context=self._tls,
            # The machine's own name may be none that others know, and asking for it may take seconds.
            local_hostname=self._envelope_sender.rpartition("@")[2],
            timeout=self._patience.step,
        )
        opened = False
        try:
            async with asyncio.timeout(self._patience.open):
                await smtp.connect()
                if smtp.is_ehlo_or_helo_needed:
                    await smtp.ehlo()
                connection = _Connection(smtp)
                await self._sign_in(connection)
            opened = True
        except SMTPAuthenticationError as error:
            said = f"doesn't accept the user or the password: {_reason(error)}"
            raise Unavailable(f"{place} {said}.") from error
        except TimeoutError:
            raise Unavailable(f"{place} didn't answer within {self._patience.open:g} s.") from None
        except ssl.SSLError as error:
            raise Unavailable(f"{place} has no TLS that holds: {_reason(error)}.") from error
        except (SMTPException, OSError) as error:
            raise Unavailable(f"{place} can't be reached: {_reason(error)}.") from error
        finally:
            if not opened:
                smtp.close()
        return connection

    async def _sign_in(self, connection: _Connection) -> None:
        place = self._place
        if not place.user:
            return
        if not connection.encrypted and place.starttls != "never":
            raise Unavailable(f"{place} offers no TLS, and no password goes there without.")
        await connection.smtp.login(place.user, place.password)


class _LostBefore(Exception):
    """The connection was lost before the server had anything of the mail."""


@dataclass(slots=True)
class _Connection:
    """One connection to the server, and what it has been used for."""

    smtp: SMTP
    mails: int = 0
    idle_since: float = 0.0

    @property
    def reusable(self) -> bool:
        fresh = monotonic() - self.idle_since < IDLE_SECONDS
        return fresh and self.mails < MAILS and self.smtp.is_connected

    @property
    def encrypted(self) -> bool:
        return self.smtp.get_transport_info("sslcontext") is not None

    @property
    def protected(self) -> str:
        """In words, who may read along."""
        if not self.encrypted:
            return "in the clear"
        return str(self.smtp.get_transport_info("ssl_object").version())


class _Place(NamedTuple):
    """What a URL names. As text it is the server's name alone."""

    host: str
    port: int
    tls: bool
    starttls: str
    user: str
    password: str

    def __str__(self) -> str:
        return f"SMTP at {self.host}:{self.port}"

    @classmethod
    def of(cls, url: str) -> _Place:
        """Raises `ValueError`, with no half of a password in it."""
        parts = urlsplit(url)
        tls = parts.scheme == "smtps"
        try:
            port = parts.port or (465 if tls else 587)
        except ValueError:
            signs = "in a password /, ? and # are written as %2F, %3F and %23"
            raise ValueError(f"its port isn't a number ({signs})") from None
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        starttls = options.pop("starttls", "required")
        if not parts.hostname:
            raise ValueError("it needs a host")
        if options or (tls and "starttls" in parts.query) or parts.path.strip("/"):
            raise ValueError("of options it has only starttls, and with smtps none")
        if starttls not in STARTTLS:
            raise ValueError(f"starttls is {' or '.join(STARTTLS)}")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if bool(user) != bool(password):
            raise ValueError("a user and a password go together")
        return cls(parts.hostname, port, tls, starttls, user, password)


def _reason(error: Exception) -> str:
    """What the server said, or what happened, in one line that ends without a full stop."""
    said = (
        f"{error.code} {error.message}"
        if isinstance(error, SMTPResponseException)
        else str(error) or type(error).__name__
    )
    return " ".join(said.split())[:LONGEST_REASON].rstrip(".")
