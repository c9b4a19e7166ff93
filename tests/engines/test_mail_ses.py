"""Mail by SES: what it refuses for good, and what it refuses us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import perf_counter

import pytest

from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.ports import Letter
from ecokart.engines.mail_ses import CALL_SECONDS, SesMail
from tests.mail_servers import SesServer

SENDER = "Ökokart <shop@example.com>"
LETTER = Letter(to="a@müller.example", name="Jörg", subject="Hello", text="Hello\n")


@pytest.fixture
async def server() -> AsyncIterator[SesServer]:
    async with SesServer() as server:
        yield server


@pytest.fixture
async def mail(server: SesServer) -> AsyncIterator[SesMail]:
    mail = SesMail(server.url, SENDER)
    yield mail
    await mail.close()


async def test_whom_it_goes_to_and_the_tag_that_tells_a_repeat(
    server: SesServer, mail: SesMail
) -> None:
    await mail.send(LETTER, message_id="019abc.confirmation")
    assert server.recipients == ["a@xn--mller-kva.example"]
    assert server.tags == [{"Name": "message", "Value": "019abc-confirmation"}]
    assert server.received[0]["From"].addresses[0].display_name == "Ökokart"


@pytest.mark.parametrize(
    ("name", "message", "kind"),
    [
        ("BadRequestException", "Local address contains control or whitespace", Invalid),
        ("MessageRejected", "Email content is rejected", Invalid),
        ("MessageRejected", "Email address is not verified: a@b.example", Unavailable),
        ("MailFromDomainNotVerifiedException", "The domain isn't verified", Unavailable),
        ("AccountSuspendedException", "Suspended", Unavailable),
    ],
)
async def test_a_refusal_is_of_the_mail_or_of_us(
    server: SesServer, mail: SesMail, name: str, message: str, kind: type[Exception]
) -> None:
    server.refusals = [(400, name, message)]
    with pytest.raises(kind, match=message):
        await mail.send(LETTER, message_id="m")
    assert server.calls == 1
    await mail.send(LETTER, message_id="m")


@pytest.mark.parametrize(
    ("status", "name"), [(429, "TooManyRequestsException"), (500, "InternalFailure")]
)
async def test_what_passes_is_tried_once_more(
    server: SesServer, mail: SesMail, status: int, name: str
) -> None:
    server.refusals = [(status, name, "Slow down")]
    await mail.send(LETTER, message_id="m")
    assert server.calls == 2
    server.refusals = [(status, name, "Slow down")] * 2
    with pytest.raises(Unavailable):
        await mail.send(LETTER, message_id="m")


async def test_a_server_that_says_nothing_is_not_waited_for(server: SesServer) -> None:
    server.hanging = True
    mail = SesMail(server.url, SENDER, try_seconds=0.2)
    began = perf_counter()
    with pytest.raises(Unavailable, match="doesn't answer"):
        await mail.send(LETTER, message_id="m")
    assert perf_counter() - began < CALL_SECONDS / 2
    await mail.close()


async def test_the_ping_tells_how_the_account_is(server: SesServer, mail: SesMail) -> None:
    assert await mail.ping() == "SES in eu-central-1"
    server.account["ProductionAccessEnabled"] = False
    assert await mail.ping() == "SES in eu-central-1, in its sandbox"
    server.account["SendingEnabled"] = False
    with pytest.raises(Unavailable, match="sending is paused"):
        await mail.ping()


@pytest.mark.parametrize(
    "url", ["ses://", "ses://here", "ses://eu-central-1/x", "ses://eu-west-1?a=b"]
)
def test_an_url_that_names_no_region(url: str) -> None:
    with pytest.raises(ValueError, match="it "):
        SesMail(url, SENDER)


async def test_after_closing_nothing_is_sent(server: SesServer, mail: SesMail) -> None:
    await mail.close()
    with pytest.raises(Unavailable):
        await mail.send(LETTER, message_id="m")
    assert server.calls == 0
