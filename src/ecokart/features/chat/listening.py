"""Those who listen: each with a bounded queue of its own, so that who doesn't read holds up nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import IntEnum

MOST_WAITING = 256  # frames
MOST_WAITING_CHARACTERS = 1_000_000


class Close(IntEnum):
    """Why the shop closes a connection: codes of RFC 6455, 7.4, those from 4000 on our own."""

    GOODBYE = 1000
    SESSION_ENDED = 4401  # sign in again
    NOT_YOURS = 4403
    TOO_SLOW = 4408  # come again and resume
    TOO_MANY = 4429
    LATER = 1013  # come again in a while


REASONS = {
    Close.GOODBYE: "goodbye",
    Close.SESSION_ENDED: "session_ended",
    Close.NOT_YOURS: "somebody_else",
    Close.TOO_SLOW: "too_slow",
    Close.TOO_MANY: "too_many",
    Close.LATER: "unavailable",
}


class Listener:
    """A connection's way out. `send` may take its time; `drop` closes the connection, and is called once."""

    __slots__ = ("_characters", "_drop", "_send", "_waiting", "_writing", "dropped")

    def __init__(
        self, send: Callable[[str], Awaitable[None]], drop: Callable[[Close], None]
    ) -> None:
        self.dropped: Close | None = None
        self._send, self._drop = send, drop
        self._waiting: deque[str] = deque()
        self._characters = 0
        self._writing: asyncio.Task[None] | None = None

    def offer(self, frame: str) -> bool:
        """Let the frame follow those before it; says whether there was room. Never waits."""
        if self.dropped is not None:
            return False
        self._waiting.append(frame)
        self._characters += len(frame)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        elif len(self._waiting) > MOST_WAITING or self._characters > MOST_WAITING_CHARACTERS:
            self.drop(Close.TOO_SLOW)
            return False
        return True

    def drop(self, why: Close) -> None:
        """Close the connection; whatever waits is lost to it, and comes again when it resumes."""
        if self.dropped is None:
            self.dropped = why
            self._waiting.clear()
            self._drop(why)

    def close(self) -> None:
        """The connection is gone."""
        self.dropped = self.dropped or Close.GOODBYE
        self._waiting.clear()
        if self._writing:
            self._writing.cancel()

    async def _write(self) -> None:
        while self._waiting:
            frame = self._waiting.popleft()
            self._characters -= len(frame)
            try:
                await self._send(frame)
            except OSError:
                self._waiting.clear()  # it is gone: who reads from it learns of that too
        self._writing = None
