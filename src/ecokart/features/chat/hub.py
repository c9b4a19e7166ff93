"""The rooms and connections of this process: joining, leaving, telling.

See `feed` for why nothing rests on `live`, and docs/decisions/0010 for the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import NamedTuple
from weakref import WeakValueDictionary

from ecokart.core.clock import new_id
from ecokart.core.errors import Problem, Unavailable
from ecokart.core.ports import Ports
from ecokart.core.records import microseconds
from ecokart.core.transaction import transact
from ecokart.features.accounts import service as accounts
from ecokart.features.accounts.model import SessionEnded
from ecokart.features.chat import feed as live
from ecokart.features.chat import frames, service
from ecokart.features.chat.feed import Feed, Passing, Stored
from ecokart.features.chat.figures import Figures
from ecokart.features.chat.listening import REASONS, Close, Listener
from ecokart.features.chat.model import (
    DESK_ROOM,
    MOST_ENTRIES,
    PARTS,
    Entry,
    Kind,
    Person,
    Room,
    Sent,
)
from ecokart.features.chat.presence import SAID_AGAIN_SECONDS
from ecokart.features.chat.terms import ChatTerms

LOOK_SECONDS = 1.0
# A commit lands a little later than the time it carries, so each look reaches back that far.
OVERLAP = timedelta(seconds=5)
# How soon a session that has ended is noticed where its connections ask for nothing.
SESSIONS_SECONDS = 10.0

log = logging.getLogger("ecokart.chat")


class JoinedAt(NamedTuple):
    """How a listener came into a room: what it missed, up to which number, and whether that is all."""

    entries: list[Entry]
    last: int
    recovered: bool


class Hub:
    """One for a process. A room costs it something only while somebody here listens."""

    def __init__(self, ports: Ports, terms: ChatTerms, figures: Figures) -> None:
        self.terms, self.figures = terms, figures
        self._sessions: dict[str, set[Listener]] = {}
        self._ports = ports
        self._process = new_id()
        self._seen_until = ports.clock.now()
        self._feeds: dict[str, Feed] = {}
        # Who sends into a room here waits for the one before, so none of them runs twice for nothing.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def connected(self, listener: Listener, person: Person) -> AsyncIterator[None]:
        """While the context is open the listener is a connection; it is dropped when its session ends."""
        same = self._sessions.setdefault(person.session_id, set())
        same.add(listener)
        self.figures.connections.inc()
        try:
            yield
        finally:
            same.discard(listener)
            if not same and self._sessions.get(person.session_id) is same:
                del self._sessions[person.session_id]
            self.figures.connections.dec()
            if listener.dropped is not None:
                self.figures.dropped(REASONS[listener.dropped])
            listener.close()

    async def join(
        self, listener: Listener, person: Person, room: Room, after: int | None, ask_id: str
    ) -> Feed:
        """Let the listener hear of the room: what it missed behind `after`, and all that follows, once.

        Raises `Unavailable` where it can't be heard of.
        """
        feed = self._feeds.get(room.id)
        if feed is None:
            feed = self._feeds[room.id] = Feed(self._ports, self._process, room, self.figures)
            self.figures.rooms.inc()
        feed.users += 1
        try:
            await feed.ready()
            await feed.look(room.last)
            await self._bring_in(listener, feed, room, after, ask_id)
        except BaseException:
            await self._release(feed)
            raise
        if feed.presence is not None and feed.presence.enter(person.id, person.name):
            await self._try(feed.announce(person.id, person.name, present=True))
        return feed

    async def leave(self, listener: Listener, person: Person, feed: Feed) -> None:
        """Let the listener hear no more of the room."""
        feed.members.discard(listener)
        if feed.presence is not None and feed.presence.leave(person.id):
            await self._try(feed.announce(person.id, person.name, present=False))
        await self._release(feed)

    async def send(
        self, person: Person, room_id: str, content: str, client_message_id: str
    ) -> tuple[Sent, bool]:
        """Store a message, then tell the room; says whether it had been stored before."""
        async with self._turns.setdefault(room_id, asyncio.Lock()):
            sent, entry, room = await transact(
                self._ports,
                service.send,
                person,
                room_id,
                content,
                client_message_id=client_message_id,
                terms=self.terms,
            )
            if entry is None:
                self.figures.duplicates.inc()
            else:
                self.figures.sends.inc()
                await self._tell(entry)
                if room.kind is Kind.SUPPORT:
                    await self.tell_desk(room)
            return sent, entry is None

    async def redact(self, person: Person, room_id: str, sequence: int) -> None:
        """Take a message out, then tell the room."""
        async with self._turns.setdefault(room_id, asyncio.Lock()):
            entry = await transact(
                self._ports, service.redact, person, room_id, sequence, self.terms
            )
            if entry is not None:
                await self._tell(entry)

    async def tell_desk(self, room: Room) -> None:
        """Let those who sit at the desk know that a support room has changed."""
        await self.pass_on(DESK_ROOM, frames.opened(room, ""))

    async def pass_on(self, room_id: str, told: frames.Told) -> None:
        """Tell everybody who listens at this moment, and keep nothing of it."""
        await self._try(self._publish(room_id, Passing(frames.encode(told))))

    async def keep(self) -> None:
        """Until cancelled: read what was stored and not told, end what has ended, say again who is here."""
        tasks = (
            (LOOK_SECONDS, self.look),
            (SESSIONS_SECONDS, self.end_sessions),
            (SAID_AGAIN_SECONDS, self._announce_again),
        )
        async with asyncio.TaskGroup() as group:
            for seconds, task in tasks:
                group.create_task(_every(seconds, task))

    async def look(self) -> None:
        """Read what is in the records and wasn't told: who stored it died, or `live` was away."""
        now = self._ports.clock.now()
        if self._feeds:
            since = microseconds(self._seen_until - OVERLAP)
            for part in map(str, range(PARTS)):
                for room in await service.changed_since(self._ports.records, part, (since, "")):
                    feed = self._feeds.get(room.id)
                    if feed and room.last > feed.last:
                        await feed.look(room.last)
        self._seen_until = now

    async def end_sessions(self) -> None:
        """Drop the connections of whoever has signed out, or whose time is over."""
        for session_id in [known for known in self._sessions if known]:
            try:
                await accounts.session(self._ports, session_id)
            except SessionEnded:
                for listener in tuple(self._sessions.get(session_id, ())):
                    listener.drop(Close.SESSION_ENDED)
            await asyncio.sleep(0)  # thousands of them are no reason to keep the others waiting

    async def _announce_again(self) -> None:
        for feed in list(self._feeds.values()):
            await feed.announce_again()

    async def close(self) -> None:
        for feed in list(self._feeds.values()):
            await feed.close()
        self._feeds.clear()

    async def _bring_in(
        self, listener: Listener, feed: Feed, room: Room, after: int | None, ask_id: str
    ) -> None:
        start = max(0, feed.last - MOST_ENTRIES // 2) if after is None else after
        recovered = 0 <= feed.last - start <= MOST_ENTRIES
        missed, last = await feed.behind(start) if recovered else ([], feed.last)
        if after is not None:
            self.figures.resumes.inc()
            if not recovered:
                self.figures.gaps.inc()
        read = await service.read_marks(self._ports.records, room)
        listener.offer(
            frames.encode(
                frames.Joined(
                    id=ask_id,
                    room_id=room.id,
                    sequence=last,
                    recovered=recovered,
                    entries=[frames.message(entry) for entry in missed],
                    read=[frames.ReadSoFar(user_id=m.user_id, sequence=m.sequence) for m in read],
                    present=feed.presence.present if feed.presence else [],
                )
            )
        )
        while last < feed.last:  # what was said while the above was read
            more, last = await feed.behind(last)
            for entry in more:
                listener.offer(frames.said(entry))
        feed.members.add(listener)

    async def _release(self, feed: Feed) -> None:
        feed.users -= 1
        if feed.users == 0 and self._feeds.get(feed.room_id) is feed:
            del self._feeds[feed.room_id]
            self.figures.rooms.dec()
            await feed.close()

    async def _tell(self, entry: Entry) -> None:
        stored = Stored(entry.sequence, entry.at.timestamp(), frames.said(entry))
        await self._try(self._publish(entry.room_id, stored))

    async def _publish(self, room_id: str, published: live.Published) -> None:
        await self._ports.live.publish(live.topic(room_id), live.encode(published))

    @staticmethod
    async def _try(telling: Awaitable[None]) -> None:
        """What is stored stays so if nobody can be told just now: `keep` finds it."""
        with suppress(Problem):
            await telling


async def _every(seconds: float, task: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await task()
        except Unavailable as error:
            log.warning("the chat waits: %s", error)
        except Exception:  # it must go on, or what is lost on the way stays unheard
            log.exception("the chat stumbled")
