"""Many people talk while connections break, processes die and Redis goes: nothing is lost, doubled or out of order.

Checked for each room: every message that was acknowledged is in the history at its number, and every
member heard every number once, in sequence.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.processes import free_port, shop
from tests.chat import chatting
from tests.features.conftest import ADA
from tests.servers import own_redis

BOUND_SECONDS = 120
MEMBERS, ROOMS, MESSAGES = 120, 6, 5
SEED = 5
PATIENCE_SECONDS = 3.0
AGAIN_SECONDS = 0.2


class Member:
    """Somebody in a room who sends some messages, and breaks the connection now and then."""

    def __init__(self, number: int, room: str, ports: list[int]) -> None:
        self.random = Random(SEED * 1000 + number)
        self.number, self.room, self.ports = number, room, ports
        self.heard: list[int] = []
        self.acknowledged: dict[str, int] = {}
        self.unsent = [f"{number}-{turn}" for turn in range(MESSAGES)]
        self.cookie = ""

    @property
    def last(self) -> int:
        return self.heard[-1] if self.heard else 0

    async def run(self, until: asyncio.Event) -> None:
        """Connect, go on where it was, send what isn't acknowledged; again and again, until told."""
        while not until.is_set():
            url = f"ws://127.0.0.1:{self.random.choice(self.ports)}/chat"
            headers = {"Cookie": self.cookie} if self.cookie else None
            try:
                async with connect(
                    url, additional_headers=headers, open_timeout=PATIENCE_SECONDS, close_timeout=1
                ) as socket:
                    await self._talk(socket, until)
            except (OSError, WebSocketException, TimeoutError):
                await asyncio.sleep(AGAIN_SECONDS)

    async def _talk(self, socket: ClientConnection, until: asyncio.Event) -> None:
        assert socket.response is not None
        for cookie in socket.response.headers.get_all("set-cookie"):
            self.cookie = cookie.partition(";")[0]
        await _ask(socket, "resume", roomId=self.room, after=self.last)
        frames = self.random.randint(5, 60)
        while frames and not until.is_set():
            frames -= 1
            async with asyncio.timeout(PATIENCE_SECONDS):
                told = json.loads(await socket.recv())
            self._take(told)
            if told["type"] in ("joined", "ack") and self.unsent:
                await self._send(socket)
            if told["type"] == "joined" and not told["recovered"]:
                return  # the next connection reads on from the history by the same number
        if self.random.random() < 0.5:
            socket.transport.abort()  # without a word

    async def _send(self, socket: ClientConnection) -> None:
        message = self.unsent[0]
        fields = {"roomId": self.room, "content": f"Nr. {message}", "clientMessageId": message}
        for _ in range(self.random.choice([1, 1, 2])):  # sometimes twice at once
            await _ask(socket, "sendMessage", **fields)

    def _take(self, told: dict[str, Any]) -> None:
        if told["type"] == "ack":
            message = told["clientMessageId"]
            assert self.acknowledged.setdefault(message, told["sequence"]) == told["sequence"]
            if message in self.unsent:
                self.unsent.remove(message)
        elif told["type"] == "joined":
            for entry in told["entries"]:
                self._hear(entry["sequence"])
        elif told["type"] == "message":
            self._hear(told["message"]["sequence"])

    def _hear(self, sequence: int) -> None:
        assert sequence == self.last + 1, f"{self.number} heard {sequence} after {self.last}"
        self.heard.append(sequence)


async def _ask(socket: ClientConnection, action: str, **fields: Any) -> None:
    await socket.send(json.dumps({"action": action, **fields}))


@pytest.mark.timeout(240)
async def test_every_acknowledged_message_reaches_every_member_once_in_sequence(
    tmp_path: Path,
) -> None:
    with own_redis(tmp_path / "redis") as redis:
        settings = {
            "ECOKART_LIVE_URL": redis.url,
            "ECOKART_CACHE_URL": redis.url,
            "ECOKART_CHAT_RATE_LIMIT": "1000000",
            "ECOKART_CHAT_CONNECTIONS_EACH": "10000",
        }
        ports = [free_port(), free_port()]
        servers = [shop(tmp_path, port, **settings) for port in ports]
        try:
            rooms = await _rooms(ports[0])
            members = [Member(n, rooms[n % ROOMS], ports) for n in range(MEMBERS)]
            quiet = asyncio.Event()
            async with asyncio.timeout(BOUND_SECONDS), asyncio.TaskGroup() as group:
                for member in members:
                    group.create_task(member.run(quiet))
                await _until_sent(members, MEMBERS)
                servers[1].kill()
                await _until_sent(members, 2 * MEMBERS)
                servers[1] = shop(tmp_path, ports[1], **settings)
                redis.kill()
                await _until_sent(members, 3 * MEMBERS)
                redis.start()
                await _until_sent(members, 4 * MEMBERS)
                servers[0].stop()
                servers[0] = shop(tmp_path, ports[0], **settings)
                await _until_sent(members, MESSAGES * MEMBERS)
                await _until_heard(members)
                quiet.set()
            await _check(ports[0], rooms, members)
        finally:
            for server in servers:
                server.stop()


async def _rooms(port: int) -> list[str]:
    url = f"http://127.0.0.1:{port}"
    token = httpx.post(f"{url}/auth/login", json=ADA).json()["token"]
    async with chatting(url, token=token) as agent:
        return [
            (await agent.ask("openRoom", kind="public", title=f"Raum {n}"))["roomId"]
            for n in range(ROOMS)
        ]


async def _until_sent(members: list[Member], count: int) -> None:
    while sum(len(member.acknowledged) for member in members) < count:
        await asyncio.sleep(0.05)


async def _until_heard(members: list[Member]) -> None:
    """Everybody's room is as long as what is acknowledged in it, and everybody has heard all of it."""
    while any(member.last < MESSAGES * MEMBERS // ROOMS for member in members):
        await asyncio.sleep(0.05)


async def _check(port: int, rooms: list[str], members: list[Member]) -> None:
    acknowledged: dict[str, dict[int, str]] = defaultdict(dict)
    for member in members:
        for message, sequence in member.acknowledged.items():
            assert sequence not in acknowledged[member.room]
            acknowledged[member.room][sequence] = message
    async with chatting(f"http://127.0.0.1:{port}") as reader:
        for room in rooms:
            stored: dict[int, str] = {}
            while True:
                page = await reader.ask("getMessages", roomId=room, after=len(stored), limit=100)
                stored |= {m["sequence"]: m["clientMessageId"] for m in page["messages"]}
                if not page["more"]:
                    break
            assert list(stored) == list(range(1, MESSAGES * MEMBERS // ROOMS + 1))
            assert stored == dict(sorted(acknowledged[room].items()))
    for member in members:
        assert member.heard == list(range(1, MESSAGES * MEMBERS // ROOMS + 1))
