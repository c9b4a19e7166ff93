"""`Mail`: what is handed over is what the standard library reads back, headers and all."""

from __future__ import annotations

import shutil
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest

from ecokart.core.errors import Invalid, Unavailable
from ecokart.core.ports import Letter, Mail


def letter(text: str = "Grüße, 12,90 €\n", subject: str = "Bestellung № 7 🧴") -> Letter:
    return Letter(
        to="joerg@example.com",
        name="Jörg Müller",
        subject=subject,
        text=text,
        html=f"<p>{text}</p>",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mail"


def mails(folder: Path) -> list[EmailMessage]:
    parser = BytesParser(policy=policy.default)
    found = [parser.parsebytes(path.read_bytes()) for path in sorted(folder.glob("*.eml"))]
    return [mail for mail in found if isinstance(mail, EmailMessage)]


def plain(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


async def test_a_mail_can_be_read_back(mail: Mail, folder: Path) -> None:
    await mail.send(letter(), message_id="order-7.confirmed")
    (found,) = mails(folder)
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
    assert not found.defects


async def test_a_letter_can_be_sent_under_two_ids(mail: Mail, folder: Path) -> None:
    again = letter()
    await mail.send(again, message_id="order-7")
    await mail.send(again, message_id="order-8")
    found = {mail["Message-ID"] for mail in mails(folder)}
    assert found == {"<order-7@example.com>", "<order-8@example.com>"}


async def test_nothing_that_is_written_becomes_a_header(mail: Mail, folder: Path) -> None:
    sneaky = "x\r\nBcc: thief@example.com\r\n\r\nA body"
    await mail.send(
        Letter(to="a@example.com", name=sneaky, subject=sneaky, text="Hello"), message_id="m"
    )
    (found,) = mails(folder)
    assert found["Bcc"] is None
    assert found["To"].addresses[0].addr_spec == "a@example.com"
    assert plain(found) == "Hello"


async def test_a_domain_of_any_letters_is_written_as_mail_servers_know_it(
    mail: Mail, folder: Path
) -> None:
    await mail.send(Letter(to="a@müller.example", subject="Hello", text="Hello"), message_id="m")
    (found,) = mails(folder)
    assert found["To"].addresses[0].addr_spec == "a@xn--mller-kva.example"


@pytest.mark.parametrize("address", ["jörg@example.com", "a@" + "b" * 70 + ".example", "a@b..c"])
async def test_an_address_that_no_mail_can_go_to_is_invalid(
    mail: Mail, folder: Path, address: str
) -> None:
    with pytest.raises(Invalid):
        await mail.send(Letter(to=address, subject="Hello", text="Hello"), message_id="m")
    assert mails(folder) == []


@pytest.mark.parametrize("message_id", ["a\r\nBcc: thief@example.com", "<a@b> c", "ä 🧴"])
async def test_no_message_id_can_add_a_header(mail: Mail, folder: Path, message_id: str) -> None:
    await mail.send(letter(), message_id=message_id)
    (found,) = mails(folder)
    assert found["Bcc"] is None
    assert found["Message-ID"].count("@") == 1
    assert not found.defects


async def test_the_same_message_id_replaces(mail: Mail, folder: Path) -> None:
    await mail.send(letter("first\n"), message_id="order-7")
    await mail.send(letter("second\n"), message_id="order-7")
    await mail.send(letter("another\n"), message_id="order-8")
    assert sorted(plain(found) for found in mails(folder)) == ["another\n", "second\n"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("a:b", "a_b"), ("ä", "ö"), ("../a", "/a"), ("x" * 300, "x" * 301), ("..", ".")],
)
async def test_different_message_ids_never_replace_each_other(
    mail: Mail, folder: Path, one: str, other: str
) -> None:
    await mail.send(letter("one\n"), message_id=one)
    await mail.send(letter("other\n"), message_id=other)
    assert sorted(plain(found) for found in mails(folder)) == ["one\n", "other\n"]
    assert [path.name for path in folder.parent.iterdir()] == ["mail"]  # nothing beside it


async def test_a_long_line_and_a_lone_dot_arrive(mail: Mail, folder: Path) -> None:
    text = "x" * 2000 + "\n.\n\nFrom here\n"
    await mail.send(letter(text), message_id="long")
    assert plain(mails(folder)[0]) == text


async def test_a_mail_that_cannot_be_handed_over_is_unavailable(mail: Mail, folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("now a file, where nothing can be put")
    with pytest.raises(Unavailable):
        await mail.send(letter(), message_id="order-7")
    folder.unlink()
    folder.mkdir()
    await mail.send(letter(), message_id="order-7")  # and later it works again
    assert len(mails(folder)) == 1


async def test_no_half_written_mail_is_ever_seen(mail: Mail, folder: Path) -> None:
    for number in range(5):
        await mail.send(letter(), message_id=f"order-{number}")
    assert sorted(path.suffix for path in folder.iterdir()) == [".eml"] * 5
