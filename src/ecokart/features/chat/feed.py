"""A room in this process: its entries in sequence, each once, to all who listen here.

An entry comes over `live`, sent by whoever stored it. Nothing rests on that: entries are numbered without
gaps, so one that is missing shows by the next, or by a look at the room's own number, and is read from
the records; one that comes twice is dropped by its number.
"""

from __future__ import annotations

import asyncio
import logging
import time

import msgspec

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Ports
from ecokart.features.chat import frames, service
from ecokart.features.chat.figures import Figures
from ecokart.features.chat.listening import Listener
from ecokart.features.chat.model import MOST_ENTRIES, ROOMS, Entry, Kind, Room
from ecokart.features.chat.presence import Change, RoomPresence

AGAIN_SECONDS = 0.5

log = logging.getLogger("ecokart.chat")


class Stored(msgspec.Struct, frozen=True, tag="stored", array_like=True):
    """An entry that has been stored at `at` (seconds since 1970), as the frame that tells of it."""

    sequence: int
    at: float
    frame: str


class Passing(msgspec.Struct, frozen=True, tag="passing", array_like=True):
    """A frame for whoever listens at this moment: nothing of it is kept."""

    frame: str


class Here(msgspec.Struct, frozen=True, tag="here", array_like=True):
    """A process tells that somebody is with it, or no more."""

    process: str
    user_id: str
    name: str
    present: bool


class RollCall(msgspec.Struct, frozen=True, tag="roll", array_like=True):
    """A process asks the others who is with them."""


Published = Stored | Passing | Here | RollCall
encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Published).decode


def topic(room_id: str) -> str:
    return f"chat:{room_id}"


class Feed:
    """One live subscription for all of this process who listen to a room.

    Every listener in `members` has been offered all entries up to `last`, and none behind it.
    """

    def __init__(self, ports: Ports, process: str, room: Room, figures: Figures) -> None:
        self.room_id, self.last = room.id, room.last
        self.members: set[Listener] = set()
        self.users = 0  # listeners, and those who are about to be
        self.presence = RoomPresence() if room.kind is not Kind.PUBLIC else None
        self._ports, self._process, self._figures = ports, process, figures
        self._turn = asyncio.Lock()
        self._listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._following = asyncio.create_task(self._follow())

    async def ready(self) -> None:
        """Returns once it listens. Raises `Unavailable` where it can't."""
        await asyncio.shield(self._listening)

    async def close(self) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        if not self._listening.done():
            self._listening.cancel()

    async def behind(self, after: int) -> tuple[list[Entry], int]:
        """The entries behind that number up to `last`, and what `last` was."""
        last = self.last
        return await service.entries(
            self._ports.records, self.room_id, after=after, upto=last
        ), last

    async def look(self, last: int) -> None:
        """The room's number is `last` at least: read what hasn't come."""
        async with self._turn:
            await self._catch_up(last)

    def broadcast(self, frame: str) -> None:
        """To everybody who listens here."""
        self._figures.deliveries.inc(sum([member.offer(frame) for member in tuple(self.members)]))

    async def announce(self, user_id: str, name: str, *, present: bool) -> None:
        """Tell all processes that somebody is with this one, or no more."""
        await self._publish(Here(self._process, user_id, name, present))

    async def announce_again(self) -> None:
        """Keep those who are here from being forgotten, and forget whom nobody mentions."""
        if self.presence is None:
            return
        for user_id, name in self.presence.here:
            await self.announce(user_id, name, present=True)
        for change in self.presence.forget(time.monotonic()):
            self._tell(change)

    async def _follow(self) -> None:
        while True:
            try:
                await self._listen()
            except Unavailable as error:
                log.warning("%s", error, extra={"room": self.room_id})
                if not self._listening.done():
                    self._listening.set_exception(error)
                    self._listening.exception()  # whoever waits for it hears of it
                await asyncio.sleep(AGAIN_SECONDS)
            except msgspec.MsgspecError:
                log.exception("a stranger publishes here", extra={"room": self.room_id})

    async def _listen(self) -> None:
        """Until `live` loses touch, or some of the entries can't be read just now."""
        async with self._ports.live.subscribe(topic(self.room_id)) as messages:
            # What was stored before this moment and not told is read now.
            room = await self._ports.records.get(ROOMS, self.room_id)
            await self.look(room.value.last if room else 0)
            if not self._listening.done():
                self._listening.set_result(None)
            if self.presence is not None:
                await self._publish(RollCall())
            async for payload in messages:
                await self._take(_decode(payload))

    async def _take(self, published: Published) -> None:
        if isinstance(published, Stored):
            async with self._turn:
                await self._next(published)
        elif isinstance(published, Passing):
            self.broadcast(published.frame)
        elif self.presence is None:
            return
        elif isinstance(published, Here):
            process, user_id, name = published.process, published.user_id, published.name
            now = time.monotonic()
            change = self.presence.hear(process, user_id, name, now, present=published.present)
            if change:
                self._tell(change)
        else:
            for user_id, name in self.presence.here:
                await self.announce(user_id, name, present=True)

    async def _next(self, stored: Stored) -> None:
        if stored.sequence > self.last + 1:
            await self._catch_up(stored.sequence - 1)
        if stored.sequence == self.last + 1:
            self.last = stored.sequence
            self.broadcast(stored.frame)
            self._figures.lag.observe(max(0.0, self._ports.clock.now().timestamp() - stored.at))

    async def _catch_up(self, upto: int) -> None:
        while self.last < upto:
            until = min(upto, self.last + MOST_ENTRIES)
            missed = await service.entries(
                self._ports.records, self.room_id, after=self.last, upto=until
            )
            self.last = until
            self._figures.caught_up.inc(len(missed))
            for entry in missed:
                self.broadcast(frames.said(entry))

    def _tell(self, change: Change) -> None:
        told = frames.Presence(
            room_id=self.room_id,
            user_id=change.user_id,
            username=change.name,
            present=change.present,
        )
        self.broadcast(frames.encode(told))

    async def _publish(self, published: Published) -> None:
        await self._ports.live.publish(topic(self.room_id), encode(published))
