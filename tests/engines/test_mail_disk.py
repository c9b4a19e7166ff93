"""Mail on the disk: what a folder adds to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecokart.core.ports import Letter
from ecokart.engines.mail_disk import DiskMail

SENDER = "Ecokart <shop@example.com>"


def letter(text: str) -> Letter:
    return Letter(to="a@example.com", subject="Hello", text=text)


async def test_sending_again_replaces_and_nothing_half_written_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    mail = DiskMail(folder, SENDER)
    for number in (7, 8, 7, 9, 8):
        await mail.send(letter(f"{number}\n"), message_id=f"order-{number}")
    assert sorted(path.name for path in folder.iterdir()) == [
        "order-7.eml",
        "order-8.eml",
        "order-9.eml",
    ]


@pytest.mark.parametrize("message_id", ["../a", "/a", "..", "a/b"])
async def test_no_message_id_leads_out_of_the_folder(tmp_path: Path, message_id: str) -> None:
    folder = tmp_path / "mail"
    await DiskMail(folder, SENDER).send(letter("Hello\n"), message_id=message_id)
    assert [path.name for path in tmp_path.iterdir()] == ["mail"]
    assert len(list(folder.iterdir())) == 1
