"""What buyers read: both languages, both forms, and nothing but what their order is about."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from ecokart.core.i18n import LANGUAGES
from ecokart.core.ports import Letter
from ecokart.core.transaction import transact
from ecokart.features.catalog import service as catalog
from tests.clock import ManualClock
from tests.features.letters import NUMBER, all_letters
from tests.mail_servers import read
from tests.shop import running_shop

LETTERS = [
    pytest.param(language, name, id=f"{language}: {name}")
    for language in LANGUAGES
    for name in all_letters(language)
]


def seen(letter: Letter) -> str:
    """What of the HTML is read, each run of blanks as one."""
    body = letter.html.partition("<body")[2].partition(">")[2]
    body = re.sub(r"</?span[^>]*>", "", body)  # within a line
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.mark.parametrize(("language", "name"), LETTERS)
def test_text_and_html_say_the_same(language: str, name: str) -> None:
    letter = all_letters(language)[name]
    html = seen(letter)
    addresses = set(re.findall(r"https?://\S+", letter.text))
    assert addresses == {unescape(url) for url in re.findall(r'href="([^"]*)"', letter.html)}
    for line in letter.text.splitlines():
        words = line.rstrip(":") if line.endswith(":") else line
        if set(words.strip()) - {"-"} and words not in addresses:
            assert all(word.rstrip(":") in html for word in words.split()), line


@pytest.mark.parametrize(("language", "name"), LETTERS)
def test_every_mail_names_its_order_and_the_shop_and_nothing_is_left_to_fill_in(
    language: str, name: str
) -> None:
    letter = all_letters(language)[name]
    assert NUMBER in letter.subject
    assert "Ecokart GmbH, Marktplatz 1" in letter.text
    assert not re.search(r"%\(|\{|None|\bEUR\b", letter.text + seen(letter))
    assert f'<html lang="{language}">' in letter.html
    assert "http-equiv" not in letter.html
    assert "<img" not in letter.html


def test_what_a_name_holds_is_text_and_no_html() -> None:
    letter = all_letters("en")["confirmed, invoice"]
    assert "2 × Oiled oak &lt;cutting&gt; board" in letter.html
    assert "2 × Oiled oak <cutting> board" in letter.text


def test_a_number_to_be_copied_is_never_broken() -> None:
    letter = all_letters("de")["confirmed, in advance"]
    whole = f'<span style="white-space:nowrap">{NUMBER}</span>'
    assert letter.html.count(whole) == letter.html.count(f">{NUMBER}<") == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("confirmed, in advance", ["99,60 € bis zum 9. März 2026", "DE02 1203 0000 0000 2020 51"]),
        ("confirmed, invoice", ["auf Rechnung", "binnen vierzehn Tagen", "darin 19 % MwSt."]),
        ("confirmed, by card", ["https://pay.example/p/1", "per Karte"]),
        ("received in part", ["50,00 €", "Es fehlen noch 49,60 €"]),
        ("received too late", ["geht deshalb an Sie zurück"]),
        ("reminded for the last time", ["Danach müssen wir die Bestellung stornieren"]),
        ("shipped, with an invoice", ["DHL", "0034 0434", "https://parcel.example/0034"]),
        ("cancelled, customer", ["Es wurde nichts abgebucht"]),
        ("cancelled, office", ["Die 99,60 €, die Sie bezahlt haben, gehen an Sie zurück"]),
        ("refunded by card", ["10,00 €", "per Karte"]),
        ("refunded by transfer", ["auf Ihr Konto"]),
    ],
)
def test_a_mail_says_what_is_to_be_done(name: str, words: list[str]) -> None:
    text = all_letters("de")[name].text.replace("\xa0", " ")
    assert [word for word in words if word not in text] == []


async def test_the_office_hears_of_what_runs_out(
    demo_data: Path, tmp_path: Path, clock: ManualClock
) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    office: dict[str, Any] = {"office_email": "office@shop.example", "stock_low_at": 3}
    async with running_shop(tmp_path, clock, seeded=False, **office) as shop:
        await shop.app.worker.run_due_timers()
        await shop.settle()  # what is low already
        folder = tmp_path / "data" / "mail"
        before = set(folder.glob("*.eml"))
        stock = await transact(shop.ports, catalog.stock_of, "EK-001")
        await transact(shop.ports, catalog.correct, "EK-001", 2 - stock.available)
        clock.advance(minutes=1)
        await shop.app.worker.run_due_timers()
        await shop.settle()
        (file,) = set(folder.glob("*.eml")) - before
        mail = read(file.read_bytes())
        assert (mail["To"], mail["Subject"]) == ("office@shop.example", "EK-001 geht zur Neige")
        for kind in ("plain", "html"):
            body = mail.get_body((kind,))
            assert body
            assert f"{shop.url}/admin/stock?q=EK-001" in body.get_content()
            assert "2 Stück" in body.get_content()
