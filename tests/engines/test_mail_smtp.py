"""Mail by SMTP: what a server may answer, and what it may do to a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from time import perf_counter

import pytest

from ecokart.core.errors import Invalid, Problem, Unavailable
from ecokart.core.ports import Letter
from ecokart.engines.mail_smtp import CONNECTIONS, MAILS, Patience, SmtpMail
from tests.mail_servers import USER, SmtpServer, silent_server, trusting

SENDER = "Ecokart <shop@example.com>"
SHORT = Patience(open=0.3, step=0.3, content=0.3, send=1.0)
CLEAR = "?starttls=never"


def letter(to: str = "a@example.com") -> Letter:
    return Letter(to=to, name="Jörg", subject="Hello", text="Hello\n")


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def mail(server: SmtpServer) -> AsyncIterator[SmtpMail]:
    mail = SmtpMail(server.url(options=CLEAR), SENDER, patience=SHORT)
    yield mail
    await mail.close()


async def refused(mail: SmtpMail) -> Problem:
    with pytest.raises((Invalid, Unavailable)) as caught:
        await mail.send(letter(), message_id="m")
    return caught.value


async def test_mails_share_a_few_connections(server: SmtpServer, mail: SmtpMail) -> None:
    for number in range(5):
        await mail.send(letter(), message_id=f"{number}")
    assert len(server.connections) == 1
    await asyncio.gather(*[mail.send(letter(), message_id=f"{n}") for n in range(30)])
    assert 1 < len(server.connections) <= CONNECTIONS
    assert len(server.received) == 35


async def test_a_connection_carries_a_bounded_number_of_mails(
    server: SmtpServer, mail: SmtpMail
) -> None:
    for number in range(MAILS + 1):
        await mail.send(letter(), message_id=f"{number}")
    assert len(server.connections) == 2


async def test_a_connection_that_was_closed_between_two_mails_is_replaced(
    server: SmtpServer, mail: SmtpMail
) -> None:
    await mail.send(letter(), message_id="one")
    server.hang_up()
    await mail.send(letter(), message_id="other")
    assert [found["Message-ID"] for found in server.received] == [
        "<one@example.com>",
        "<other@example.com>",
    ]


@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
@pytest.mark.parametrize("how", ["drop", "hang", "421 4.3.2 Shutting down"])
async def test_what_is_lost_before_the_content_is_tried_once_more(
    server: SmtpServer, mail: SmtpMail, step: str, how: str
) -> None:
    server.answers[step] = [how]
    await mail.send(letter(), message_id="m")
    assert len(server.received) == 1
    assert len(server.connections) == 2


@pytest.mark.parametrize("how", ["drop", "hang", "421 4.3.2 Shutting down"])
async def test_and_not_a_third_time(server: SmtpServer, mail: SmtpMail, how: str) -> None:
    server.answers["RCPT"] = [how] * 3
    assert isinstance(await refused(mail), Unavailable)
    assert server.asked.count("RCPT") == 2


@pytest.mark.parametrize("how", ["drop", "hang"])
async def test_what_is_lost_with_the_content_may_have_been_taken_and_isnt_repeated_at_once(
    server: SmtpServer, mail: SmtpMail, how: str
) -> None:
    server.answers["DATA"] = [how]
    refusal = await refused(mail)
    assert isinstance(refusal, Unavailable)
    assert "was lost while it took the mail" in str(refusal)
    assert server.asked.count("DATA") == 1
    await mail.send(letter(), message_id="m")  # the worker's next try


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("RCPT", "550 5.1.1 No such user here"),
        ("RCPT", "553 mailbox name not allowed"),
        ("DATA", "554 5.6.0 We don't want that"),
    ],
)
async def test_a_refusal_for_good_is_invalid(
    server: SmtpServer, mail: SmtpMail, step: str, answer: str
) -> None:
    server.answers[step] = [answer]
    refusal = await refused(mail)
    assert isinstance(refusal, Invalid)
    assert answer in str(refusal)
    assert server.asked.count("RCPT") == 1
    await mail.send(letter("b@example.com"), message_id="m")  # the next one isn't touched by it
    assert server.recipients == ["b@example.com"]


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("MAIL", "550 5.1.0 Sender refused"),
        ("RCPT", "450 4.2.0 Greylisted, come back later"),
        ("RCPT", "530 5.7.0 Must issue a STARTTLS command first"),
        ("RCPT", "554 5.7.1 Relay access denied"),
        ("DATA", "452 4.3.1 Insufficient system storage"),
    ],
)
async def test_a_refusal_for_now_or_of_ourselves_is_unavailable(
    server: SmtpServer, mail: SmtpMail, step: str, answer: str
) -> None:
    server.answers[step] = [answer]
    refusal = await refused(mail)
    assert isinstance(refusal, Unavailable)
    assert answer in str(refusal)
    assert not server.received


async def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with silent_server() as port:
        mail = SmtpMail(f"smtp://127.0.0.1:{port}", SENDER, patience=SHORT)
        began = perf_counter()
        assert isinstance(await refused(mail), Unavailable)
        with pytest.raises(Unavailable, match="didn't answer within"):
            await mail.ping()
        assert perf_counter() - began < 3


async def test_waiting_for_a_free_connection_ends_too(server: SmtpServer) -> None:
    patience = Patience(open=5, step=5, content=5, send=0.5)
    mail = SmtpMail(server.url(options=CLEAR), SENDER, patience=patience)
    server.answers["MAIL"] = ["hang"] * CONNECTIONS
    sending = [mail.send(letter(), message_id=f"{n}") for n in range(CONNECTIONS + 1)]
    results = await asyncio.gather(*sending, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * (CONNECTIONS + 1)
    await mail.send(letter(), message_id="m")
    await mail.close()


async def test_any_letters_before_the_at_where_the_server_takes_them() -> None:
    async with SmtpServer(utf8=True) as server:
        mail = SmtpMail(server.url(options=CLEAR), SENDER)
        await mail.send(letter("jörg@müller.example"), message_id="m")
        assert server.recipients == ["jörg@xn--mller-kva.example"]
        await mail.close()


async def test_and_a_sentence_where_it_doesnt(mail: SmtpMail) -> None:
    with pytest.raises(Invalid, match="takes only plain letters before the @"):
        await mail.send(letter("jörg@example.com"), message_id="m")


@pytest.mark.parametrize("tls", [True, False])
async def test_tls_and_a_password(tls: bool) -> None:
    async with SmtpServer(tls=tls, starttls=not tls, sign_in=True) as server:
        url = server.url(user=USER, password="a%2Fword%3F")
        mail = SmtpMail(url, SENDER, tls=trusting())
        assert (await mail.ping()).endswith("TLSv1.3")
        await mail.send(letter(), message_id="m")
        assert server.recipients == ["a@example.com"]
        assert server.signed_in == 1
        await mail.close()


async def test_a_wrong_password_is_said_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with SmtpServer(starttls=True, sign_in=True) as server:
        mail = SmtpMail(server.url(user=USER, password="mystery"), SENDER, tls=trusting())
        refusal = await refused(mail)
    assert isinstance(refusal, Unavailable)
    assert "doesn't accept the user or the password: 535" in str(refusal)
    ours = [record.getMessage() for record in caplog.records if "aiosmtpd" not in record.name]
    assert "mystery" not in str(refusal) + str(ours)


async def test_a_certificate_that_nobody_signed_is_refused() -> None:
    async with SmtpServer(starttls=True) as server:
        mail = SmtpMail(server.url(), SENDER)
        assert "has no TLS that holds" in str(await refused(mail))
        assert not server.received


async def test_a_server_without_tls_gets_neither_mail_nor_password(server: SmtpServer) -> None:
    assert "STARTTLS" in str(await refused(SmtpMail(server.url(), SENDER)))
    url = server.url(options="?starttls=offered", user=USER, password="mystery")
    assert "no password goes there without" in str(await refused(SmtpMail(url, SENDER)))
    offered = SmtpMail(server.url(options="?starttls=offered"), SENDER)
    assert (await offered.ping()).endswith("in the clear")
    await offered.close()
    assert not server.received


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("smtp:///", "it needs a host"),
        ("smtp://user:pa/ss@host", "are written as %2F"),
        ("smtp://user@host", "go together"),
        ("smtp://host?starttls=maybe", "starttls is required or offered or never"),
        ("smtps://host?starttls=never", "with smtps none"),
        ("smtp://host/folder", "of options it has only starttls"),
        ("smtp://host?ssl=1", "of options it has only starttls"),
    ],
)
async def test_an_url_that_says_too_little_or_too_much(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        SmtpMail(url, SENDER)
    assert "pa" not in str(caught.value).replace("password", "")


async def test_after_closing_nothing_is_sent(server: SmtpServer, mail: SmtpMail) -> None:
    await mail.send(letter(), message_id="m")
    await mail.close()
    assert isinstance(await refused(mail), Unavailable)
    assert len(server.received) == 1
