"""`Mail`: what is handed over is what the standard library reads back, headers and all."""

from __future__ import annotations

import shutil
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Mail


def message(text: str = "Grüße, 12,90 €\n", subject: str = "Bestellung № 7 🧴") -> EmailMessage:
    mail = EmailMessage()
    mail["To"] = "Jörg Müller <joerg@example.com>"
    mail["Subject"] = subject
    mail.set_content(text)
    mail.add_alternative(f"<p>{text}</p>", subtype="html")
    return mail


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
    await mail.send(message(), message_id="order-7.confirmed")
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


async def test_a_message_can_be_sent_again_as_it_is(mail: Mail, folder: Path) -> None:
    again = message()
    before = again.as_bytes()
    await mail.send(again, message_id="order-7")
    await mail.send(again, message_id="order-8")
    assert again.as_bytes() == before
    found = {mail["Message-ID"] for mail in mails(folder)}
    assert found == {"<order-7@example.com>", "<order-8@example.com>"}


@pytest.mark.parametrize("message_id", ["a\r\nBcc: thief@example.com", "<a@b> c", "ä 🧴"])
async def test_no_message_id_can_add_a_header(mail: Mail, folder: Path, message_id: str) -> None:
    await mail.send(message(), message_id=message_id)
    (found,) = mails(folder)
    assert found["Bcc"] is None
    assert found["Message-ID"].count("@") == 1
    assert not found.defects


async def test_the_same_message_id_replaces(mail: Mail, folder: Path) -> None:
    await mail.send(message("first\n"), message_id="order-7")
    await mail.send(message("second\n"), message_id="order-7")
    await mail.send(message("another\n"), message_id="order-8")
    assert sorted(plain(found) for found in mails(folder)) == ["another\n", "second\n"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("a:b", "a_b"), ("ä", "ö"), ("../a", "/a"), ("x" * 300, "x" * 301), ("..", ".")],
)
async def test_different_message_ids_never_replace_each_other(
    mail: Mail, folder: Path, one: str, other: str
) -> None:
    await mail.send(message("one\n"), message_id=one)
    await mail.send(message("other\n"), message_id=other)
    assert sorted(plain(found) for found in mails(folder)) == ["one\n", "other\n"]
    assert [path.name for path in folder.parent.iterdir()] == ["mail"]  # nothing beside it


async def test_a_long_line_and_a_lone_dot_arrive(mail: Mail, folder: Path) -> None:
    text = "x" * 2000 + "\n.\n\nFrom here\n"
    await mail.send(message(text), message_id="long")
    assert plain(mails(folder)[0]) == text


async def test_a_mail_that_cannot_be_handed_over_is_unavailable(mail: Mail, folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("now a file, where nothing can be put")
    with pytest.raises(Unavailable):
        await mail.send(message(), message_id="order-7")
    folder.unlink()
    folder.mkdir()
    await mail.send(message(), message_id="order-7")  # and later it works again
    assert len(mails(folder)) == 1


async def test_no_half_written_mail_is_ever_seen(mail: Mail, folder: Path) -> None:
    for number in range(5):
        await mail.send(message(), message_id=f"order-{number}")
    assert sorted(path.suffix for path in folder.iterdir()) == [".eml"] * 5
