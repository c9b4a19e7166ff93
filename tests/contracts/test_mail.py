"""`Mail`: what is handed over is what the standard library reads back, headers and all."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage

import pytest

from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.ports import Letter
from tests.contracts.mailboxes import Mailbox


def letter(text: str = "Grüße, 12,90 €\n", subject: str = "Bestellung № 7 🧴") -> Letter:
    return Letter(
        to="joerg@example.com",
        name="Jörg Müller",
        subject=subject,
        text=text,
        html=f"<p>{text}</p>",
    )


def plain(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


async def test_a_mail_can_be_read_back(mailbox: Mailbox) -> None:
    await mailbox.mail.send(letter(), message_id="order-7.confirmed")
    (found,) = mailbox.received()
    assert found["Subject"] == "Bestellung № 7 🧴"
    assert found["To"].addresses[0].display_name == "Jörg Müller"
    assert found["To"].addresses[0].addr_spec == "joerg@example.com"
    assert plain(found) == "Grüße, 12,90 €\n"
    html = found.get_body(("html",))
    assert html is not None
    assert "<p>Grüße, 12,90 €" in html.get_content()
    assert found["From"].addresses[0].addr_spec == "shop@example.com"
    assert found["Date"].datetime.tzinfo is not None
    assert found["Message-ID"] == "<order-7.confirmed@example.com>"
    assert found["Auto-Submitted"] == "auto-generated"
    assert not found.defects


async def test_a_letter_can_be_sent_under_two_ids(mailbox: Mailbox) -> None:
    again = letter()
    await mailbox.mail.send(again, message_id="order-7")
    await mailbox.mail.send(again, message_id="order-8")
    found = {mail["Message-ID"] for mail in mailbox.received()}
    assert found == {"<order-7@example.com>", "<order-8@example.com>"}


async def test_nothing_that_is_written_becomes_a_header(mailbox: Mailbox) -> None:
    sneaky = "x\r\nBcc: thief@example.com\r\n\r\nA body"
    await mailbox.mail.send(
        Letter(to="a@example.com", name=sneaky, subject=sneaky, text="Hello\n"), message_id="m"
    )
    (found,) = mailbox.received()
    assert found["Bcc"] is None
    assert found["To"].addresses[0].addr_spec == "a@example.com"
    assert plain(found) == "Hello\n"


async def test_a_domain_of_any_letters_is_written_as_mail_servers_know_it(mailbox: Mailbox) -> None:
    await mailbox.mail.send(
        Letter(to="a@müller.example", subject="Hello", text="Hello"), message_id="m"
    )
    (found,) = mailbox.received()
    assert found["To"].addresses[0].addr_spec == "a@xn--mller-kva.example"


@pytest.mark.parametrize(
    "address",
    [
        "a@" + "b" * 70 + ".example",
        "a@b..c",
        "nobody",
        "a@b.example\nBcc: thief@example.com",
        "a b@c.example",
    ],
)
async def test_an_address_that_no_mail_can_go_to_is_invalid(mailbox: Mailbox, address: str) -> None:
    with pytest.raises(Invalid):
        await mailbox.mail.send(Letter(to=address, subject="Hello", text="Hello"), message_id="m")
    assert mailbox.received() == []


async def test_a_name_of_any_letters_arrives_or_is_invalid(mailbox: Mailbox) -> None:
    to_joerg = Letter(to="jörg@example.com", name="Jörg", subject="Hello", text="Hello")
    refusal = None
    try:
        await mailbox.mail.send(to_joerg, message_id="m")
    except Invalid as error:
        refusal = str(error)
    shown = [found for found in mailbox.received() if "jörg@example.com".encode() in bytes(found)]
    assert len(shown) == (0 if refusal else 1)
    assert refusal is None or "'jörg@example.com'" in refusal


@pytest.mark.parametrize("message_id", ["a\r\nBcc: thief@example.com", "<a@b> c", "ä 🧴"])
async def test_no_message_id_can_add_a_header(mailbox: Mailbox, message_id: str) -> None:
    await mailbox.mail.send(letter(), message_id=message_id)
    (found,) = mailbox.received()
    assert found["Bcc"] is None
    assert found["Message-ID"].count("@") == 1
    assert not found.defects


async def test_a_repeat_can_be_told_from_another_mail(mailbox: Mailbox) -> None:
    await mailbox.mail.send(letter("first\n"), message_id="order-7")
    await mailbox.mail.send(letter("second\n"), message_id="order-7")
    await mailbox.mail.send(letter("another\n"), message_id="order-8")
    last = {found["Message-ID"]: plain(found) for found in mailbox.received()}
    assert last == {"<order-7@example.com>": "second\n", "<order-8@example.com>": "another\n"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("a:b", "a_b"), ("ä", "ö"), ("../a", "/a"), ("x" * 300, "x" * 301), ("..", ".")],
)
async def test_different_message_ids_are_never_taken_for_each_other(
    mailbox: Mailbox, one: str, other: str
) -> None:
    await mailbox.mail.send(letter("one\n"), message_id=one)
    await mailbox.mail.send(letter("other\n"), message_id=other)
    last = {found["Message-ID"]: plain(found) for found in mailbox.received()}
    assert sorted(last.values()) == ["one\n", "other\n"]


async def test_a_long_line_and_a_lone_dot_arrive(mailbox: Mailbox) -> None:
    text = "x" * 2000 + "\n.\n..\n\nFrom here\n"
    await mailbox.mail.send(letter(text), message_id="long")
    assert plain(mailbox.received()[0]) == text


async def test_many_at_once_all_arrive(mailbox: Mailbox) -> None:
    sending = [mailbox.mail.send(letter(f"{n}\n"), message_id=f"order-{n}") for n in range(20)]
    await asyncio.gather(*sending)
    assert sorted(int(plain(found)) for found in mailbox.received()) == list(range(20))


async def test_a_mail_that_cannot_be_handed_over_is_unavailable(mailbox: Mailbox) -> None:
    await mailbox.mail.send(letter("before\n"), message_id="order-6")
    await mailbox.go_away()
    with pytest.raises(Unavailable):
        await mailbox.mail.send(letter("away\n"), message_id="order-7")
    with pytest.raises(Unavailable):
        await mailbox.mail.ping()
    await mailbox.come_back()
    await mailbox.mail.send(letter("back\n"), message_id="order-7")  # and later it works again
    assert plain(mailbox.received()[-1]) == "back\n"
    assert await mailbox.mail.ping()


async def test_closing_twice_is_harmless(mailbox: Mailbox) -> None:
    await mailbox.mail.send(letter(), message_id="order-7")
    await mailbox.mail.close()
    await mailbox.mail.close()
