"""The chat over real sockets: who may, what is told to whom, and that each is told once, in sequence."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ecokart.core.ports import Records
from ecokart.core.records import Page
from ecokart.features.chat import service
from ecokart.features.chat.listening import Close, Listener
from tests.chat import BOUND_SECONDS, Chatter, chatting
from tests.clock import ManualClock
from tests.features.conftest import ADA, DANA
from tests.shop import Shop, running_shop


async def token_of(shop: Shop, person: dict[str, str]) -> str:
    return str((await shop.client.post("/auth/login", json=person)).json()["token"])


@pytest.fixture
async def shopper(shop: Shop) -> AsyncIterator[Chatter]:
    async with chatting(shop.url, token=await token_of(shop, DANA)) as chatter:
        yield chatter


@pytest.fixture
async def agent(shop: Shop) -> AsyncIterator[Chatter]:
    async with chatting(shop.url, token=await token_of(shop, ADA)) as chatter:
        yield chatter


@pytest.fixture
async def guest(shop: Shop) -> AsyncIterator[Chatter]:
    async with chatting(shop.url, username="Gast") as chatter:
        yield chatter


async def room_of(chatter: Chatter) -> str:
    """The chatter's own support room, joined."""
    room = str((await chatter.ask("openSupport"))["roomId"])
    await chatter.hear("joined", roomId=room)
    return room


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_two_people_talk(shopper: Chatter, agent: Chatter) -> None:
    opened = await shopper.ask("openSupport", context={"orderId": "EK-1"})
    room = opened["roomId"]
    assert (opened["kind"], opened["context"]) == ("support", {"orderId": "EK-1"})
    assert (await agent.ask("join", roomId=room))["sequence"] == 0
    ack = await shopper.ask("sendMessage", roomId=room, content="Hallo?", clientMessageId="a")
    assert (ack["type"], ack["sequence"], ack["duplicate"]) == ("ack", 1, False)
    heard = (await agent.hear("message"))["message"]
    assert (heard["sequence"], heard["content"], heard["username"]) == (1, "Hallo?", "Dana Demo")
    assert heard["messageId"] == ack["messageId"]
    await agent.ask("sendMessage", roomId=room, content="Ja, bitte?")
    for one in (shopper, agent):
        assert (await one.hear("message"))["message"]["sequence"] in (1, 2)
    read = await agent.ask("getMessages", roomId=room, limit=1)
    assert [m["content"] for m in read["messages"]] == ["Ja, bitte?"]
    assert read["more"]


async def test_sent_again_it_is_stored_once(shop: Shop, shopper: Chatter) -> None:
    room = await room_of(shopper)
    message = {"roomId": room, "content": "Einmal", "clientMessageId": "c-1"}
    first = await shopper.ask("sendMessage", **message)
    again = await shopper.ask("sendMessage", **message)
    assert (first["sequence"], again["sequence"]) == (1, 1)
    assert (first["messageId"], again["duplicate"]) == (again["messageId"], True)
    token = {"Authorization": f"Bearer {await token_of(shop, DANA)}"}
    posted = await shop.client.post("/chat/messages", json=message, headers=token)
    assert (posted.status_code, posted.json()["duplicate"]) == (201, True)


async def test_who_was_away_goes_on_where_it_was(shop: Shop, shopper: Chatter) -> None:
    room = await room_of(shopper)
    for number in range(1, 6):
        await shopper.ask("sendMessage", roomId=room, content=f"Nummer {number}")
    async with chatting(shop.url, token=await token_of(shop, DANA)) as again:
        joined = await again.ask("resume", roomId=room, after=2)
        assert [m["sequence"] for m in joined["entries"]] == [3, 4, 5]
        assert (joined["recovered"], joined["sequence"]) == (True, 5)
        await shopper.ask("sendMessage", roomId=room, content="Nummer 6")
        assert (await again.hear("message"))["message"]["sequence"] == 6
        ahead = await again.ask("resume", roomId=room, after=99)
        assert (ahead["recovered"], ahead["sequence"], ahead["entries"]) == (False, 6, [])


async def test_a_gap_that_is_too_large_is_said_and_the_history_has_it(tmp_path: Path) -> None:
    async with running_shop(tmp_path, chat_rate_limit=1_000) as shop:
        token = await token_of(shop, DANA)
        headers = {"Authorization": f"Bearer {token}"}
        room = (await shop.client.post("/chat/rooms", json={}, headers=headers)).json()["id"]
        for number in range(102):
            body = {"roomId": room, "content": f"{number}"}
            stored = await shop.client.post("/chat/messages", json=body, headers=headers)
            assert stored.status_code == 201, stored.text
        async with chatting(shop.url, token=token) as late:
            joined = await late.ask("resume", roomId=room, after=1)
            assert (joined["recovered"], joined["sequence"], joined["entries"]) == (False, 102, [])
            seen, after = [1], 1
            while True:
                page = await late.ask("getMessages", roomId=room, after=after, limit=40)
                seen += [m["sequence"] for m in page["messages"]]
                after = seen[-1]
                if not page["more"]:
                    break
            assert seen == list(range(1, 103))
            back: list[int] = []
            before = None
            while before != 1:
                fields: dict[str, int] = {} if before is None else {"before": before}
                page = await late.ask("getMessages", roomId=room, limit=40, **fields)
                back = [m["sequence"] for m in page["messages"]] + back
                before = back[0]
            assert back == list(range(1, 103))
            assert not page["more"]


async def test_a_room_is_there_only_for_who_may_read_it(
    shop: Shop, shopper: Chatter, guest: Chatter, agent: Chatter
) -> None:
    room = await room_of(shopper)
    for action, more in (
        ("join", {}),
        ("resume", {"after": 0}),
        ("sendMessage", {"content": "Hallo"}),
        ("getMessages", {}),
        ("typing", {}),
        ("read", {"sequence": 1}),
        ("redact", {"sequence": 1}),
    ):
        refused = await guest.ask(action, roomId=room, **more)
        assert (refused["type"], refused["code"]) == ("error", "no_such_room"), action
    answer = await shop.client.get(f"/chat/rooms/{room}/messages")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_room")
    assert (await guest.ask("openRoom", kind="public", title="Neu"))["code"] == "staff_only"
    opened = await agent.ask("openRoom", kind="public", title="Neu")
    assert (await guest.ask("join", roomId=opened["roomId"]))["type"] == "joined"
    team = await agent.ask("openRoom", kind="staff", title="Team")
    assert (await shopper.ask("join", roomId=team["roomId"]))["code"] == "no_such_room"
    said = await guest.ask("getUserMessages", userId=shopper.user_id)
    assert said["code"] == "somebody_else"


async def test_what_a_user_has_said_in_all_rooms(shopper: Chatter, agent: Chatter) -> None:
    room = await room_of(shopper)
    for number in range(3):
        await shopper.ask("sendMessage", roomId=room, content=f"{number}")
    seen: list[str] = []
    cursor = ""
    while True:
        page = await agent.ask("getUserMessages", userId=shopper.user_id, limit=2, cursor=cursor)
        seen += [m["content"] for m in page["messages"]]
        if (cursor := page["nextCursor"]) is None:
            break
    assert sorted(seen) == ["0", "1", "2"]


async def test_a_redacted_message_keeps_its_place_and_everybody_hears(
    shopper: Chatter, agent: Chatter
) -> None:
    room = await room_of(shopper)
    await agent.ask("join", roomId=room)
    await shopper.ask("sendMessage", roomId=room, content="Meine Karte ist 4242")
    assert (await agent.ask("redact", roomId=room, sequence=1))["type"] == "done"
    assert (await agent.ask("redact", roomId=room, sequence=1))["type"] == "done"
    await shopper.hear("message")
    told = (await shopper.hear("message"))["message"]
    assert (told["kind"], told["sequence"], told["refers"]) == ("redaction", 2, 1)
    read = (await shopper.ask("getMessages", roomId=room))["messages"]
    assert [(m["sequence"], m["content"], m["redacted"]) for m in read] == [
        (1, "", True),
        (2, "", False),
    ]


async def test_blocked_people_write_nothing(guest: Chatter, agent: Chatter) -> None:
    room = await room_of(guest)
    assert (await guest.ask("block", userId=agent.user_id))["code"] == "staff_only"
    await agent.ask("block", userId=guest.user_id, reason="spam")
    refused = await guest.ask("sendMessage", roomId=room, content="Kauft!")
    assert refused["code"] == "blocked"
    await agent.ask("unblock", userId=guest.user_id)
    assert (await guest.ask("sendMessage", roomId=room, content="Danke"))["type"] == "ack"


async def test_a_closed_room_takes_nothing_until_its_owner_opens_it(
    guest: Chatter, agent: Chatter
) -> None:
    room = await room_of(guest)
    await agent.ask("closeRoom", roomId=room)
    refused = await guest.ask("sendMessage", roomId=room, content="Noch da?")
    assert refused["code"] == "room_closed"
    await room_of(guest)
    assert (await guest.ask("sendMessage", roomId=room, content="Noch da?"))["type"] == "ack"


async def test_words_sizes_and_speed_have_limits(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "chat_blocked_words": "viagra, Casino",
        "chat_rate_limit": 3,
    }
    async with running_shop(tmp_path, **settings) as shop, chatting(shop.url) as guest:
        room = await room_of(guest)
        for content, code in (
            ("Im CASINO!", "unwanted_words"),
            (" \u200b ", "empty_message"),
            ("x" * 4001, "bad_frame"),
            ("a\u202eb", "bad_frame"),
        ):
            refused = (
                await guest.ask("sendMessage", roomId=room, content=content)
                if (code != "bad_frame")
                else await _wrong(
                    guest, {"action": "sendMessage", "roomId": room, "content": content}
                )
            )
            assert refused["code"] == code
        assert (await guest.ask("sendMessage", roomId=room, content="Casinos"))["type"] == "ack"
        refused = await guest.ask("sendMessage", roomId=room, content="Noch eins")
        assert refused["code"] == "too_many"
        assert refused["retryAfterSeconds"] > 0


async def _wrong(chatter: Chatter, frame: Any) -> dict[str, Any]:
    await chatter.socket.send(frame if isinstance(frame, str) else json.dumps(frame))
    return await chatter.hear("error")


async def test_what_cant_be_understood_is_answered_and_the_connection_stands(
    guest: Chatter,
) -> None:
    for frame in ("{", "[]", '"x"', "{}", {"action": "fly"}, {"action": "join"}, "[" * 5000):
        assert (await _wrong(guest, frame))["code"] == "bad_frame"
    assert (await guest.ask("ping"))["type"] == "pong"


async def test_typing_reading_and_presence_are_passed_on(
    shop: Shop, shopper: Chatter, agent: Chatter
) -> None:
    room = await room_of(shopper)
    await agent.ask("join", roomId=room)
    assert (await shopper.hear("presence", userId=agent.user_id))["present"]
    await agent.ask("sendMessage", roomId=room, content="Guten Tag")
    await shopper.socket.send(json.dumps({"action": "typing", "roomId": room}))
    assert (await agent.hear("typing", userId=shopper.user_id))["typing"]
    await shopper.socket.send(json.dumps({"action": "read", "roomId": room, "sequence": 99}))
    assert (await agent.hear("read", userId=shopper.user_id))["sequence"] == 1
    async with chatting(shop.url, token=await token_of(shop, ADA)) as second_tab:
        joined = await second_tab.ask("join", roomId=room)
        assert joined["read"] == [{"userId": shopper.user_id, "sequence": 1}]
        assert joined["present"] == sorted([agent.user_id, shopper.user_id])
        await agent.ask("leave", roomId=room)
        await second_tab.ask("sendMessage", roomId=room, content="Noch da")
        await shopper.hear("message")
    gone = await shopper.hear("presence", userId=agent.user_id, present=False)
    assert gone["roomId"] == room
    assert not [f for f in shopper.kept if f["type"] == "presence" and not f["present"]]


async def test_a_session_that_ends_closes_its_sockets(
    shop: Shop, shopper: Chatter, clock: ManualClock
) -> None:
    token = await token_of(shop, DANA)
    async with chatting(shop.url, token=token) as idle:
        await shop.client.post("/auth/logout", headers={"Authorization": f"Bearer {token}"})
        await shop.app.hub.end_sessions()
        await _closed(idle, Close.SESSION_ENDED, "session_ended")
    assert (await shopper.ask("ping"))["type"] == "pong"
    clock.advance(days=8)
    await shopper.socket.send(json.dumps({"action": "ping"}))
    await _closed(shopper, Close.SESSION_ENDED, "session_ended")


async def _read_on(chatter: Chatter) -> None:
    while True:
        await chatter.socket.recv()


async def _closed(chatter: Chatter, code: int, reason: str) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(ConnectionClosed) as closed:
            await _read_on(chatter)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("token=nonsense", 4401, "session_ended"),
        ("userId=user-ada", 4403, "somebody_else"),
    ],
)
async def test_a_false_proof_is_told_by_the_close(
    demo: Shop, query: str, code: int, reason: str
) -> None:
    async with connect(f"{demo.url.replace('http', 'ws', 1)}/chat?{query}") as socket:
        await _closed(Chatter(socket), code, reason)


async def test_other_sites_pages_open_no_socket(demo: Shop) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        with pytest.raises(InvalidStatus) as refused:
            async with chatting(demo.url, headers):
                pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body or b"")["code"] == "foreign_origin"
    async with chatting(demo.url, {"Origin": demo.url}):
        pass


async def test_only_the_chat_takes_sockets(demo: Shop) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{demo.url.replace('http', 'ws', 1)}/api/cart"):
            pass
    assert refused.value.response.status_code == 404


async def test_an_address_has_so_many_connections(tmp_path: Path) -> None:
    async with running_shop(tmp_path, chat_connections_each=2) as shop, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(chatting(shop.url))
        with pytest.raises(InvalidStatus) as refused:
            await stack.enter_async_context(chatting(shop.url))
        assert refused.value.response.status_code == 429
        await stack.aclose()

        async def one_more() -> bool:
            try:
                async with chatting(shop.url):
                    return True
            except InvalidStatus:
                return False

        await until(one_more)


async def test_a_guest_keeps_the_room_by_a_cookie(shop: Shop) -> None:
    async with connect(f"{shop.url.replace('http', 'ws', 1)}/chat") as socket:
        assert socket.response is not None
        cookie = socket.response.headers["set-cookie"]
        assert "HttpOnly" in cookie
        first = Chatter(socket)
        room = await room_of(first)
    secret = cookie.partition(";")[0].partition("=")[2]
    assert secret not in room
    async with chatting(shop.url, {"Cookie": cookie.partition(";")[0]}) as again:
        assert await room_of(again) == room
    async with httpx.AsyncClient(base_url=shop.url, headers={"Cookie": cookie}) as browser:
        posted = await browser.post("/chat/messages", json={"roomId": room, "content": "Hallo"})
        assert posted.status_code == 201
        read = await browser.get(f"/chat/rooms/{room}/messages")
        assert [m["content"] for m in read.json()["messages"]] == ["Hallo"]


async def test_what_was_stored_and_not_told_comes_by_the_records(
    shop: Shop, shopper: Chatter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the process that stored it had died before it told anybody."""
    room = await room_of(shopper)

    async def say_nothing(topic: str, message: bytes) -> None:
        return

    with monkeypatch.context() as quiet:
        quiet.setattr(shop.ports.live, "publish", say_nothing)
        assert (await shopper.ask("sendMessage", roomId=room, content="1"))["sequence"] == 1
    async with asyncio.timeout(BOUND_SECONDS):
        assert (await shopper.hear("message"))["message"]["sequence"] == 1
    with monkeypatch.context() as quiet:
        quiet.setattr(shop.ports.live, "publish", say_nothing)
        await shopper.ask("sendMessage", roomId=room, content="2")
    await shopper.ask("sendMessage", roomId=room, content="3")
    heard = [(await shopper.hear("message"))["message"]["sequence"] for _ in range(2)]
    assert heard == [2, 3]


class IndexBehind:
    """Records whose indexes have heard of nothing yet, as an engine's may for a moment."""

    def __init__(self, records: Records) -> None:
        self.get = records.get

    async def query(self, *_: Any, **__: Any) -> Page[Any]:
        return Page([], [], None)


async def test_an_entry_that_the_index_hasnt_got_yet_is_found_by_its_key(
    shop: Shop, shopper: Chatter
) -> None:
    room = await room_of(shopper)
    for text in ("1", "2", "3"):
        await shopper.ask("sendMessage", roomId=room, content=text)
    behind = cast(Records, IndexBehind(shop.ports.records))
    found = await service.entries(behind, room, after=1, upto=3)
    assert [entry.content for entry in found] == ["2", "3"]


async def test_messages_are_kept_for_as_long_as_the_setting_says(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with running_shop(tmp_path, clock, chat_days=2) as shop, chatting(shop.url) as guest:
        room = await room_of(guest)
        await guest.ask("sendMessage", roomId=room, content="alt")
        clock.advance(days=3)
        await guest.ask("sendMessage", roomId=room, content="neu")
        read = await guest.ask("getMessages", roomId=room)
        assert [(m["sequence"], m["content"]) for m in read["messages"]] == [(2, "neu")]
        assert (await guest.ask("getMessages", roomId=room, before=2))["messages"] == []


async def test_who_doesnt_read_is_dropped_and_holds_up_nobody(tmp_path: Path) -> None:
    async with running_shop(tmp_path, chat_rate_limit=100_000) as shop:
        token = await token_of(shop, ADA)
        headers = {"Authorization": f"Bearer {token}"}
        async with chatting(shop.url, token=token) as agent:
            room = (await agent.ask("openRoom", kind="public", title="Neu"))["roomId"]
            await agent.ask("join", roomId=room)
            with await _deaf(shop, room):
                sent = 0
                async with asyncio.timeout(60):
                    while not await _has_dropped(shop):
                        body = {"roomId": room, "content": "🫖" * 4000}
                        await shop.client.post("/chat/messages", json=body, headers=headers)
                        sent += 1
                        heard = (await agent.hear("message"))["message"]
                        assert heard["sequence"] == sent
            assert (await agent.ask("ping"))["type"] == "pong"


async def _has_dropped(shop: Shop) -> bool:
    metrics = (await shop.client.get("/metrics")).text
    return 'chat_drops_total{reason="too_slow"} 1.0' in metrics


async def _deaf(shop: Shop, room: str) -> sockets.socket:
    """A connection that joins the room and then reads nothing any more."""
    loop = asyncio.get_running_loop()
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    host, port = shop.url.removeprefix("http://").split(":")
    await loop.sock_connect(raw, (host, int(port)))
    handshake = (
        f"GET /chat HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(raw, handshake.encode())
    await loop.sock_recv(raw, 1000)
    text = json.dumps({"action": "join", "roomId": room}).encode()
    frame = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
    await loop.sock_sendall(raw, frame)
    return raw


async def test_a_listener_is_dropped_once_and_offers_nothing_then() -> None:
    blocked, drops = asyncio.Event(), list[Close]()

    async def send(frame: str) -> None:
        await blocked.wait()

    listener = Listener(send, drops.append)
    offered = [listener.offer("x") for _ in range(300)]
    assert drops == [Close.TOO_SLOW]
    assert offered[:256] == [True] * 256
    assert not any(offered[258:])
    listener.close()
