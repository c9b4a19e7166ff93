"""A client of the chat, as a test drives it: over a real socket, with every frame that comes kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect

BOUND_SECONDS = 15


class Chatter:
    """Somebody at a socket. `ask` sends a frame and gives its answer; others come by `hear`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.kept: list[dict[str, Any]] = []
        self.user_id = ""
        self._asked = 0

    async def ask(self, action: str, **fields: Any) -> dict[str, Any]:
        """The frame that answers."""
        self._asked += 1
        ask_id = f"q{self._asked}"
        await self.socket.send(json.dumps({"action": action, "id": ask_id, **fields}))
        return await self._find(lambda frame: frame["id"] == ask_id)

    async def hear(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next frame of that type with these fields, and the others stay for later."""
        wanted = {"type": kind, **fields}
        return await self._find(lambda frame: wanted.items() <= frame.items())

    async def _find(self, fits: Any) -> dict[str, Any]:
        for place, known in enumerate(self.kept):
            if fits(known):
                return self.kept.pop(place)
        async with asyncio.timeout(BOUND_SECONDS):
            while True:
                frame: dict[str, Any] = {"id": ""} | json.loads(await self.socket.recv())
                if fits(frame):
                    return frame
                self.kept.append(frame)


@asynccontextmanager
async def chatting(
    shop_url: str, headers: dict[str, str] | None = None, **query: str
) -> AsyncIterator[Chatter]:
    """A socket that the shop has welcomed."""
    url = f"{shop_url.replace('http', 'ws', 1)}/chat"
    async with connect(
        f"{url}?{urlencode(query)}", additional_headers=headers, open_timeout=BOUND_SECONDS
    ) as socket:
        chatter = Chatter(socket)
        chatter.user_id = (await chatter.hear("welcome"))["userId"]
        yield chatter
