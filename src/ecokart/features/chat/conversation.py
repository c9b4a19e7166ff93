"""One connection's talk: each thing a client asks for, who may, and what it is answered.

Whether this person may is decided each time anew: the session may have ended, the room may be another's.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import msgspec

from ecokart.core.errors import FieldError, Invalid, Problem, TooMany
from ecokart.core.ports import Ports
from ecokart.core.records import Cursor
from ecokart.core.transaction import transact
from ecokart.features.accounts import service as accounts
from ecokart.features.accounts.model import SessionEnded
from ecokart.features.chat import frames, service
from ecokart.features.chat.feed import Feed
from ecokart.features.chat.hub import Hub
from ecokart.features.chat.listening import Close, Listener
from ecokart.features.chat.model import Entry, Kind, Person, Room

MOST_ROOMS = 50  # of a connection
HEARTBEAT_SECONDS = 25
# Of all frames, on average and at once; messages have a stricter limit of their own.
FRAMES_A_SECOND = 20.0
FRAMES_AT_ONCE = 60.0


class TooManyRooms(Invalid):
    """That is more rooms than one connection can listen to."""


class TooFast(TooMany):
    """That was too much at once. Please wait a moment."""


class Conversation:
    """What one connection has joined, and its answers. `admit` counts a message, and may raise `TooMany`."""

    def __init__(
        self,
        ports: Ports,
        hub: Hub,
        person: Person,
        listener: Listener,
        admit: Callable[[], Awaitable[object]],
    ) -> None:
        self.person, self.listener = person, listener
        self._ports, self._hub, self._admit = ports, hub, admit
        self._joined: dict[str, Feed] = {}
        self._allowance, self._counted_at = FRAMES_AT_ONCE, time.monotonic()

    def welcome(self) -> None:
        """Tell the client who it is."""
        self._tell(
            frames.Welcome(
                user_id=self.person.id,
                username=self.person.name,
                staff=self.person.staff,
                heartbeat_seconds=HEARTBEAT_SECONDS,
            )
        )

    async def take(self, text: str) -> None:
        """Do what a frame asks for and answer it. A frame that can't be is answered by an error."""
        ask: frames.Ask | None = None
        try:
            self._count()
            ask = read(text)
            await self._check_session()
            await self.answers[type(ask)](self, ask)
        except SessionEnded:
            self.listener.drop(Close.SESSION_ENDED)
        except Problem as problem:
            self._tell(failed(problem, ask))

    async def leave_all(self) -> None:
        """The connection is gone."""
        while self._joined:
            _, feed = self._joined.popitem()
            await self._hub.leave(self.listener, self.person, feed)

    def _tell(self, told: frames.Told) -> None:
        self.listener.offer(frames.encode(told))

    def _count(self) -> None:
        now = time.monotonic()
        grown = self._allowance + (now - self._counted_at) * FRAMES_A_SECOND
        self._allowance, self._counted_at = min(FRAMES_AT_ONCE, grown) - 1, now
        if self._allowance < 0:
            self._allowance = 0.0
            raise TooFast(retry_after_seconds=1)

    async def _check_session(self) -> None:
        if self.person.session_id:
            await accounts.session(self._ports, self.person.session_id)

    async def _readable(self, room_id: str) -> Room:
        return await service.readable(self._ports.records, self.person, room_id)

    async def _open_support(self, ask: frames.OpenSupport) -> None:
        room = await transact(self._ports, service.open_support, self.person, ask.context)
        self._tell(frames.opened(room, ask.id))
        await self._join(frames.Join(id=ask.id, room_id=room.id))

    async def _open_room(self, ask: frames.OpenRoom) -> None:
        room = await transact(
            self._ports, service.open_room, self.person, Kind(ask.kind), ask.title
        )
        self._tell(frames.opened(room, ask.id))

    async def _close_room(self, ask: frames.CloseRoom) -> None:
        room = await transact(self._ports, service.close_room, self.person, ask.room_id)
        self._tell(frames.opened(room, ask.id))

    async def _join(self, ask: frames.Join | frames.Resume) -> None:
        room = await self._readable(ask.room_id)
        if feed := self._joined.pop(ask.room_id, None):
            await self._hub.leave(self.listener, self.person, feed)
        if len(self._joined) >= MOST_ROOMS:
            raise TooManyRooms
        self._joined[room.id] = await self._hub.join(
            self.listener, self.person, room, ask.after, ask.id
        )

    async def _leave(self, ask: frames.Leave) -> None:
        if feed := self._joined.pop(ask.room_id, None):
            await self._hub.leave(self.listener, self.person, feed)
        self._tell(frames.Left(id=ask.id, room_id=ask.room_id))

    async def _send(self, ask: frames.SendMessage) -> None:
        await self._admit()
        sent, duplicate = await self._hub.send(
            self.person, ask.room_id, ask.content, ask.client_message_id
        )
        self._tell(
            frames.Ack(
                id=ask.id,
                room_id=ask.room_id,
                sequence=sent.sequence,
                message_id=sent.id,
                client_message_id=ask.client_message_id,
                created_at=sent.at,
                duplicate=duplicate,
            )
        )

    async def _history(self, ask: frames.GetMessages) -> None:
        messages, more = await history(
            self._ports,
            self.person,
            ask.room_id,
            before=ask.before,
            after=ask.after,
            limit=ask.limit,
        )
        shown = [frames.message(entry) for entry in messages]
        self._tell(frames.History(id=ask.id, room_id=ask.room_id, messages=shown, more=more))

    async def _user_history(self, ask: frames.GetUserMessages) -> None:
        page = await service.said_by(
            self._ports.records,
            self.person,
            ask.user_id,
            after=_cursor(ask.cursor),
            limit=ask.limit,
        )
        self._tell(
            frames.UserHistory(
                id=ask.id,
                user_id=ask.user_id,
                messages=[frames.message(entry) for entry in page.values],
                next_cursor=msgspec.json.encode(page.after).decode() if page.after else None,
            )
        )

    async def _typing(self, ask: frames.Typing) -> None:
        room = await self._readable(ask.room_id)
        told = frames.IsTyping(
            room_id=room.id,
            user_id=self.person.id,
            username=self.person.name,
            typing=ask.typing,
        )
        await self._hub.pass_on(room.id, told)

    async def _read(self, ask: frames.MarkRead) -> None:
        room = await self._readable(ask.room_id)
        sequence = await transact(
            self._ports, service.mark_read, self.person, room.id, ask.sequence
        )
        if sequence and room.kind is not Kind.PUBLIC:
            told = frames.HasRead(room_id=room.id, user_id=self.person.id, sequence=sequence)
            await self._hub.pass_on(room.id, told)

    async def _redact(self, ask: frames.Redact) -> None:
        await self._hub.redact(self.person, ask.room_id, ask.sequence)
        self._tell(frames.Done(id=ask.id))

    async def _block(self, ask: frames.BlockUser) -> None:
        await transact(self._ports, service.block, self.person, ask.user_id, ask.reason)
        self._tell(frames.Done(id=ask.id))

    async def _unblock(self, ask: frames.UnblockUser) -> None:
        await transact(self._ports, service.unblock, self.person, ask.user_id)
        self._tell(frames.Done(id=ask.id))

    async def _ping(self, ask: frames.Ping) -> None:
        self._tell(frames.Pong(id=ask.id))

    async def _disconnect(self, ask: frames.Disconnect) -> None:
        self.listener.drop(Close.GOODBYE)

    # Once for all connections: of ten thousand that are idle, each would carry its own.
    answers: ClassVar[dict[type[frames.Ask], Callable[[Conversation, Any], Awaitable[None]]]] = {
        frames.OpenSupport: _open_support,
        frames.OpenRoom: _open_room,
        frames.CloseRoom: _close_room,
        frames.Join: _join,
        frames.Resume: _join,
        frames.Leave: _leave,
        frames.SendMessage: _send,
        frames.GetMessages: _history,
        frames.GetUserMessages: _user_history,
        frames.Typing: _typing,
        frames.MarkRead: _read,
        frames.Redact: _redact,
        frames.BlockUser: _block,
        frames.UnblockUser: _unblock,
        frames.Ping: _ping,
        frames.Disconnect: _disconnect,
    }


class BadFrame(Invalid):
    """This frame can't be understood."""


def read(text: str) -> frames.Ask:
    """What a frame asks for. Raises `BadFrame` with what is the matter."""
    try:
        ask: frames.Ask = frames.decode(text)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        field = FieldError(place.rstrip("`").removeprefix("."), f"{message}.")
        raise BadFrame(f"{message}.", errors=(field,)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadFrame("It is no JSON.") from None
    return ask


def failed(problem: Problem, ask: frames.Ask | None) -> frames.Failed:
    """The frame that tells of a problem. Its sentence is English; `code` is what programs go by."""
    retry = getattr(problem, "retry_after_seconds", None)
    return frames.Failed(
        id=ask.id if ask else "",
        code=problem.code,
        message=" ".join(filter(None, [f"{problem.title}.", problem.detail])),
        action=str(ask.__struct_config__.tag) if ask else "",
        client_message_id=getattr(ask, "client_message_id", ""),
        retry_after_seconds=retry,
    )


async def history(
    ports: Ports,
    person: Person,
    room_id: str,
    *,
    before: int | None,
    after: int | None,
    limit: int,
) -> tuple[list[Entry], bool]:
    """A page of a room's entries by number, and whether there is more in that direction."""
    room = await service.readable(ports.records, person, room_id)
    if after is not None:
        start, end = after, min(room.last, after + limit)
        more = end < room.last
    else:
        end = room.last if before is None else min(room.last, max(0, before - 1))
        start = max(0, end - limit)
        more = start > 0
    found = await service.entries(ports.records, room_id, after=start, upto=end)
    # What is no longer kept was the oldest: behind a page that has none of it there is none either.
    return found, more and (after is not None or bool(found))


def _cursor(text: str) -> Cursor | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=tuple[str | int, str])
    except msgspec.MsgspecError:
        raise BadFrame("Take the cursor from `nextCursor` of the page before.") from None
