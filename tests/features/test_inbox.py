"""The staff's inbox over HTTP: the queue, who takes care, notes, answers, and what is kept of whom."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from ecokart.core.i18n import SHOP_ZONE
from ecokart.features.chat import hours
from ecokart.features.chat.jobs import mail_what_is_unread
from tests.clock import ManualClock
from tests.features.conftest import ADA, DANA
from tests.mail_servers import read
from tests.shop import Shop, running_shop

INBOX = "/admin/chat"


@asynccontextmanager
async def browser(
    shop: Shop, person: dict[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a browser, who may be signed in."""
    headers = {"accept-language": "en"}
    async with httpx.AsyncClient(
        base_url=shop.url, headers=headers, follow_redirects=True
    ) as client:
        if person:
            (await client.post("/sign-in", data=person)).raise_for_status()
        yield client


@pytest.fixture
async def ada(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(shop, ADA) as client:
        yield client


@pytest.fixture
async def dana(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(shop, DANA) as client:
        yield client


async def ask(client: httpx.AsyncClient, text: str, page: str = "/") -> str:
    """Say something as a shopper; gives the room."""
    fields = {"content": text, "number": f"n-{text}"[:60].replace(" ", "-"), "page": page}
    fields["number"] = re.sub(r"[^A-Za-z0-9-]", "", fields["number"])
    (await client.post("/chat/support", data=fields)).raise_for_status()
    return str((await client.post("/chat/rooms", json={})).json()["id"])


async def write(
    client: httpx.AsyncClient, room: str, text: str, way: str = "answer"
) -> httpx.Response:
    fields = {"content": text, "number": f"{way}-{len(text)}"}
    return await client.post(f"{INBOX}/{room}/{way}", data=fields)


async def queue(client: httpx.AsyncClient, show: str = "waiting", **query: str) -> list[str]:
    """The rooms listed, in order."""
    answer = await client.get(INBOX, params={"show": show, **query})
    assert answer.status_code == 200
    return re.findall(rf'href="{INBOX}/(support-\w+)"', answer.text)


async def test_who_waits_the_longest_comes_first_until_somebody_answers(
    shop: Shop, ada: httpx.AsyncClient, dana: httpx.AsyncClient, clock: ManualClock
) -> None:
    first = await ask(dana, "Hello?")
    clock.advance(minutes=5)
    async with browser(shop) as guest:
        second = await ask(guest, "Is anybody there?")
        clock.advance(minutes=1)
        await ask(dana, "Still me")
        assert await queue(ada) == [first, second]
        assert (await ada.get(f"{INBOX}/count")).json() == {"waiting": 2}
        assert "Good morning" in (await write(ada, first, "Good morning")).text
        assert await queue(ada) == [second]
        assert await queue(ada, "mine") == [first]
        assert await queue(ada, "answered") == [first]
        assert "Good morning" in (await dana.get("/chat/support")).text
        await ask(dana, "Thanks")
        assert await queue(ada) == [second, first]
        assert await queue(ada, "mine") == [first]


async def test_a_conversation_is_handed_over_closed_and_opened_by_its_shopper(
    ada: httpx.AsyncClient, dana: httpx.AsyncClient
) -> None:
    room = await ask(dana, "Hello?")
    assert "Ada Admin" in (await ada.get(f"{INBOX}/{room}")).text
    await ada.post(f"{INBOX}/{room}/assign", data={"agent": "user-nobody"})
    assert await queue(ada, "mine") == []
    found = re.search(r'name="agent" value="([^"]+)"', (await ada.get(f"{INBOX}/{room}")).text)
    assert found
    await ada.post(f"{INBOX}/{room}/assign", data={"agent": found[1]})
    assert await queue(ada, "mine") == [room]
    await ada.post(f"{INBOX}/{room}/close")
    assert (await queue(ada), await queue(ada, "mine")) == ([], [])
    assert await queue(ada, "closed") == [room]
    refused = await write(ada, room, "One thing more")
    assert refused.status_code == 409
    assert "This conversation is closed" in refused.text
    await ask(dana, "One question more")
    assert (await queue(ada), await queue(ada, "mine")) == ([room], [room])
    await ada.post(f"{INBOX}/{room}/assign", data={"agent": ""})
    assert await queue(ada, "mine") == []


async def test_notes_are_for_the_staff_alone(
    ada: httpx.AsyncClient, dana: httpx.AsyncClient
) -> None:
    room = await ask(dana, "Hello?")
    assert "Knows a lot of tea" in (await write(ada, room, "Knows a lot of tea", "note")).text
    assert await queue(ada) == [room]  # a note is no answer
    assert "tea" not in (await dana.get("/chat/support")).text
    assert (await dana.get(f"/chat/rooms/notes-{room}/messages")).status_code == 404
    messages = (await dana.get(f"/chat/rooms/{room}/messages")).json()["messages"]
    assert [m["sequence"] for m in messages] == [1]


async def test_the_shopper_is_shown_with_basket_and_order(
    shop: Shop, ada: httpx.AsyncClient, dana: httpx.AsyncClient
) -> None:
    await dana.post("/api/cart", json={"sku": "EK-001", "quantity": 2})
    room = await ask(dana, "Is that oak?", "/account/orders/EK-SOMEBODY-ELSES")
    shown = (await ada.get(f"{INBOX}/{room}")).text
    for said in (
        "Dana Demo",
        DANA["email"],
        "2 × Oak cutting board",
        "EK-SOMEBODY-ELSES",
        "isn't theirs",
    ):
        assert said in shown.replace("&#39;", "'"), said
    async with browser(shop) as guest:
        await guest.post("/api/cart", json={"sku": "EK-001", "quantity": 3})
        shown = (await ada.get(f"{INBOX}/{await ask(guest, 'Hello')}")).text
        assert "3 × Oak cutting board" in shown
        assert guest.cookies["ecokart_guest"] not in shown


async def test_ready_answers_are_kept_and_given(
    ada: httpx.AsyncClient, dana: httpx.AsyncClient
) -> None:
    room = await ask(dana, "Hello?")
    wrong = await ada.post(f"{INBOX}/answers", data={"title": "Oil", "text": ""})
    assert wrong.status_code == 422
    await ada.post(f"{INBOX}/answers", data={"title": "Oil", "text": "Twice a year."})
    chosen = re.search(
        r'<option value="(\w+)" data-text="Twice', (await ada.get(f"{INBOX}/{room}")).text
    )
    assert chosen
    fields = {"content": "", "number": "1", "canned": chosen[1]}
    await ada.post(f"{INBOX}/{room}/answer", data=fields)
    assert "Twice a year." in (await dana.get("/chat/support")).text
    await ada.post(f"{INBOX}/answers/{chosen[1]}/remove")
    assert "Twice a year." not in (await ada.get(f"{INBOX}/answers")).text


async def test_words_find_a_conversation(ada: httpx.AsyncClient, dana: httpx.AsyncClient) -> None:
    room = await ask(dana, "Is the board oak?", "/account/orders/EK-77")
    for words in ("dana", "OAK board", "ek-77 demo"):
        assert await queue(ada, q=words) == [room], words
    assert await queue(ada, q="dana birch") == []


async def test_who_is_blocked_writes_nothing(
    ada: httpx.AsyncClient, dana: httpx.AsyncClient
) -> None:
    room = await ask(dana, "Buy this!")
    await ada.post(f"{INBOX}/{room}/block", data={"blocked": "yes"})
    refused = await dana.post("/chat/support", data={"content": "And that!", "number": "2"})
    assert refused.status_code == 403
    assert "And that!" in refused.text  # what was typed stays
    await ada.post(f"{INBOX}/{room}/block", data={"blocked": "no"})
    await ask(dana, "Sorry")


async def test_a_conversation_is_exported_redacted_and_erased(
    ada: httpx.AsyncClient, dana: httpx.AsyncClient
) -> None:
    room = await ask(dana, "My card is 4242")
    await ask(dana, "I am Dana")
    await write(ada, room, "She is Dana", "note")
    await ada.post(f"{INBOX}/{room}/redact", data={"sequence": "1"})
    exported = (await ada.get(f"{INBOX}/{room}/export")).json()
    assert [m["content"] for m in exported["messages"]] == ["", "I am Dana", ""]
    assert (await ada.get(f"{INBOX}/notes-{room}/export")).status_code == 404
    await ada.post(f"{INBOX}/{room}/erase")
    assert [await queue(ada, show) for show in ("waiting", "answered", "closed")] == [[], [], []]
    left = (await ada.get(f"{INBOX}/{room}/export")).text + (await ada.get(f"{INBOX}/{room}")).text
    assert not {"Dana", "4242", "user-dana"} & set(re.findall(r"[\w-]+", left))
    messages = (await dana.get(f"/chat/rooms/{room}/messages")).json()["messages"]
    assert [(m["content"], m["username"]) for m in messages] == [("", "")] * 3


async def mailed(shop: Shop) -> list[tuple[str, str]]:
    """To whom mails went and what they say, once the work is done that is due."""
    await mail_what_is_unread(shop.ports)
    await shop.settle()
    mails = [
        read(file.read_bytes()) for file in (shop.app.settings.data_dir / "mail").glob("*.eml")
    ]
    bodies = [(mail["To"], mail.get_body(("plain",))) for mail in mails]
    return [(str(to), str(body.get_content())) for to, body in bodies if body]


async def test_an_answer_that_nobody_reads_goes_by_mail_once(
    shop: Shop, ada: httpx.AsyncClient, dana: httpx.AsyncClient, clock: ManualClock
) -> None:
    room = await ask(dana, "Is that oak?")
    await write(ada, room, "Yes, it is.")
    await dana.get("/chat/support")  # there it is read
    clock.advance(minutes=11)
    assert await mailed(shop) == []
    await write(ada, room, "And it likes oil.")
    clock.advance(minutes=9)
    await write(ada, room, "Twice a year.")
    assert await mailed(shop) == []  # they may still be on their way back
    clock.advance(minutes=2)
    await mailed(shop)
    ((to, text),) = await mailed(shop)
    assert DANA["email"] in to
    assert "And it likes oil." in text
    assert "Twice a year." in text
    assert "Yes, it is." not in text


async def test_a_guest_gets_mail_only_where_they_want_it(
    shop: Shop, ada: httpx.AsyncClient, clock: ManualClock
) -> None:
    async with browser(shop) as guest:
        room = await ask(guest, "Hello?")
        await write(ada, room, "Good morning")
        clock.advance(minutes=11)
        assert await mailed(shop) == []
        wrong = await guest.post("/chat/support/email", data={"email": "nowhere"})
        assert (wrong.status_code, "Please give an e-mail address" in wrong.text) == (422, True)
        await guest.post("/chat/support/email", data={"email": "guest@example.com"})
        assert "guest@example.com" in (await ada.get(f"{INBOX}/{room}")).text
        await ada.post(f"{INBOX}/{room}/transcript")
        ((to, text),) = await mailed(shop)
        assert to == "guest@example.com"
        assert "Hello?" in text
        assert "Good morning" in text


HOURS = hours.read("Mon-Fri 09:00-17:00, Sat-Sun 10:00-12:30")
ALWAYS = hours.read("")


@pytest.mark.parametrize(
    ("moment", "opening"),
    [
        ("2026-11-20T08:00Z", "2026-11-20T08:00Z"),  # Friday, nine o'clock in the shop
        ("2026-11-20T07:59Z", "2026-11-20T08:00Z"),
        ("2026-11-20T16:00Z", "2026-11-21T09:00Z"),
        ("2026-11-22T12:00Z", "2026-11-23T08:00Z"),
        ("2026-07-03T07:00Z", "2026-07-03T07:00Z"),  # in summer an hour earlier
    ],
)
def test_the_hours_are_the_shops(moment: str, opening: str) -> None:
    at, then = (datetime.fromisoformat(text) for text in (moment, opening))
    assert HOURS.opening(at) == then
    assert HOURS.staffed(at) is (at == then)
    assert ALWAYS.staffed(at)


async def test_outside_the_hours_shoppers_are_told_when(
    demo_data: Path, tmp_path: Path, clock: ManualClock
) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    weekday = clock.now().astimezone(SHOP_ZONE).strftime("%a")
    async with (
        running_shop(tmp_path, clock, seeded=False, chat_hours=f"{weekday} 00:00-23:59") as shop,
        browser(shop) as guest,
    ):
        for path in ("/chat/widget", "/chat/support"):
            assert "Nobody is here just now" not in (await guest.get(path)).text
        clock.advance(days=1)
        for path in ("/chat/widget", "/chat/support"):
            assert "Nobody is here just now" in (await guest.get(path)).text
        await ask(guest, "Is anybody there?")
        assert 'name="email"' in (await guest.get("/chat/support")).text


async def test_the_inbox_is_for_the_staff(shop: Shop, dana: httpx.AsyncClient) -> None:
    room = await ask(dana, "Hello?")
    for path in (
        INBOX,
        f"{INBOX}/count",
        f"{INBOX}/{room}",
        f"{INBOX}/{room}/export",
        f"{INBOX}/answers",
    ):
        assert (await dana.get(path)).status_code == 403, path
    for path in (
        "answer",
        "note",
        "assign",
        "close",
        "reopen",
        "block",
        "redact",
        "transcript",
        "erase",
    ):
        assert (await dana.post(f"{INBOX}/{room}/{path}", data={})).status_code == 403, path
