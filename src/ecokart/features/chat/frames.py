"""The protocol: what clients ask for (`action`) and what they are told (`type`), as JSON frames.

These structs are the specification: decoding checks by them, and the AsyncAPI document is made from them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ecokart.features.chat.model import (
    MOST_ENTRIES,
    ClientMessageId,
    Content,
    Context,
    Entry,
    EntryKind,
    Kind,
    Name,
    Reference,
    Room,
    RoomId,
    Sequence,
)

Limit = Annotated[int, Meta(ge=1, le=MOST_ENTRIES)]
# Comes back in the answer, so that a client knows which of its questions it belongs to.
AskId = Annotated[str, Meta(max_length=64)]


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag_field="action", rename="camel"):
    """What a client asks for."""

    id: AskId = ""


class OpenSupport(Ask, frozen=True, kw_only=True, tag="openSupport"):
    """Open one's own support room, and join it."""

    context: Context = Context()


class OpenRoom(Ask, frozen=True, kw_only=True, tag="openRoom"):
    """Open a room for the staff or for everybody. For staff."""

    kind: Literal["staff", "public"]
    title: Annotated[Name, Meta(min_length=1)]


class CloseRoom(Ask, frozen=True, kw_only=True, tag="closeRoom"):
    """Let nobody write in a room any more. For staff."""

    room_id: RoomId


class Join(Ask, frozen=True, kw_only=True, tag="join"):
    """Hear what is said in a room from now on, and with `after` what was said behind that number."""

    room_id: RoomId
    after: Sequence | None = None


class Resume(Ask, frozen=True, kw_only=True, tag="resume"):
    """Go on in a room behind the last number one has: the same as `join` with `after`."""

    room_id: RoomId
    after: Sequence


class Leave(Ask, frozen=True, kw_only=True, tag="leave"):
    """Hear no more of a room."""

    room_id: RoomId


class SendMessage(Ask, frozen=True, kw_only=True, tag="sendMessage"):
    """Say something. Sent again with the same `clientMessageId` it is stored once."""

    room_id: RoomId
    content: Content
    client_message_id: ClientMessageId = ""


class GetMessages(Ask, frozen=True, kw_only=True, tag="getMessages"):
    """A page of history: before a number, behind one, or the newest."""

    room_id: RoomId
    before: Sequence | None = None
    after: Sequence | None = None
    limit: Limit = 50


class GetUserMessages(Ask, frozen=True, kw_only=True, tag="getUserMessages"):
    """What a user has said, the newest first. `cursor` is `nextCursor` of the page before."""

    user_id: Annotated[str, Meta(min_length=1, max_length=80)]
    cursor: Annotated[str, Meta(max_length=300)] = ""
    limit: Limit = 50


class Typing(Ask, frozen=True, kw_only=True, tag="typing"):
    """One is writing, or has stopped. Said again every few seconds, or it fades."""

    room_id: RoomId
    typing: bool = True


class MarkRead(Ask, frozen=True, kw_only=True, tag="read"):
    """One has read up to this number."""

    room_id: RoomId
    sequence: Sequence


class Redact(Ask, frozen=True, kw_only=True, tag="redact"):
    """Take a message out: one's own, or any for staff. Its place in the history stays."""

    room_id: RoomId
    sequence: Sequence


class BlockUser(Ask, frozen=True, kw_only=True, tag="block"):
    """Let a user write nothing any more. For staff."""

    user_id: Annotated[str, Meta(min_length=1, max_length=80)]
    reason: Reference = ""


class UnblockUser(Ask, frozen=True, kw_only=True, tag="unblock"):
    """Let a blocked user write again. For staff."""

    user_id: Annotated[str, Meta(min_length=1, max_length=80)]


class Ping(Ask, frozen=True, kw_only=True, tag="ping"):
    """Is anybody there? Browsers can't see the protocol's own pings."""


class Disconnect(Ask, frozen=True, kw_only=True, tag="disconnect"):
    """Say goodbye: the connection is closed with 1000."""


Asked = (
    OpenSupport | OpenRoom | CloseRoom | Join | Resume | Leave | SendMessage | GetMessages
    | GetUserMessages | Typing | MarkRead | Redact | BlockUser | UnblockUser | Ping | Disconnect
)  # fmt: skip


class Told(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", rename="camel"):
    """What a client is told. `id` is that of the question, where this is an answer."""

    id: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An entry of a room: a message, or that `refers` was redacted. `timestamp` is in milliseconds."""

    room_id: str
    sequence: int
    message_id: str
    kind: EntryKind
    user_id: str
    username: str
    content: str
    created_at: datetime
    timestamp: int
    client_message_id: str = ""
    refers: int | None = None
    redacted: bool = False


class Welcome(Told, frozen=True, kw_only=True, tag="welcome"):
    """The connection stands. Who hears nothing for two heartbeats should ask by `ping`, then come again."""

    user_id: str
    username: str
    staff: bool
    heartbeat_seconds: int


class RoomOpened(Told, frozen=True, kw_only=True, tag="room"):
    """A room as it is now."""

    room_id: str
    kind: Kind
    title: str
    state: str
    owner: str
    agent: str
    context: Context
    sequence: int


class ReadSoFar(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far a user has read."""

    user_id: str
    sequence: int


class Joined(Told, frozen=True, kw_only=True, tag="joined"):
    """From here on the room's entries come, each once, in sequence, the first behind `sequence`.

    `entries` are those behind `after`, or the newest without it. `recovered` is false where more was
    missed than is sent at once: then the rest is in the history.
    """

    room_id: str
    sequence: int
    recovered: bool
    entries: list[Message]
    read: list[ReadSoFar]
    present: list[str]


class Left(Told, frozen=True, kw_only=True, tag="left"):
    """Nothing more comes from this room."""

    room_id: str


class Said(Told, frozen=True, kw_only=True, tag="message"):
    """A room's next entry."""

    message: Message


class Ack(Told, frozen=True, kw_only=True, tag="ack"):
    """The message is stored, at this number. `duplicate`: it had been before."""

    room_id: str
    sequence: int
    message_id: str
    client_message_id: str
    created_at: datetime
    duplicate: bool


class History(Told, frozen=True, kw_only=True, tag="messages"):
    """A page of a room's history, by number. `more` says whether there is more in that direction."""

    room_id: str
    messages: list[Message]
    more: bool


class UserHistory(Told, frozen=True, kw_only=True, tag="userMessages"):
    """A page of what a user has said, the newest first."""

    user_id: str
    messages: list[Message]
    next_cursor: str | None


class IsTyping(Told, frozen=True, kw_only=True, tag="typing"):
    """Somebody is writing. It fades after six seconds unless it comes again."""

    room_id: str
    user_id: str
    username: str
    typing: bool


class HasRead(Told, frozen=True, kw_only=True, tag="read"):
    """Somebody has read up to this number."""

    room_id: str
    user_id: str
    sequence: int


class Presence(Told, frozen=True, kw_only=True, tag="presence"):
    """Somebody came into the room, with whichever tab was the first, or left it with the last."""

    room_id: str
    user_id: str
    username: str
    present: bool


class Done(Told, frozen=True, kw_only=True, tag="done"):
    """What was asked has been done."""


class Pong(Told, frozen=True, kw_only=True, tag="pong"):
    """Here."""


class Failed(Told, frozen=True, kw_only=True, tag="error"):
    """What was asked can't be. `code` is stable, `message` is for people."""

    code: str
    message: str
    action: str = ""
    client_message_id: str = ""
    retry_after_seconds: int | None = None


AllTold = (
    Welcome | RoomOpened | Joined | Left | Said | Ack | History | UserHistory | IsTyping | HasRead
    | Presence | Done | Pong | Failed
)  # fmt: skip

decode = msgspec.json.Decoder(Asked).decode
_encode = msgspec.json.Encoder().encode


def encode(told: Told | Any) -> str:
    return _encode(told).decode()


def message(entry: Entry) -> Message:
    return Message(
        room_id=entry.room_id,
        sequence=entry.sequence,
        message_id=entry.id,
        kind=entry.kind,
        user_id=entry.user_id,
        username=entry.username,
        content=entry.content,
        created_at=entry.at,
        timestamp=int(entry.at.timestamp() * 1000),
        client_message_id=entry.client_message_id,
        refers=entry.refers or None,
        redacted=entry.redacted,
    )


def said(entry: Entry) -> str:
    """The frame by which a room hears of an entry."""
    return encode(Said(message=message(entry)))


def opened(room: Room, ask_id: str) -> RoomOpened:
    return RoomOpened(
        id=ask_id,
        room_id=room.id,
        kind=room.kind,
        title=room.title,
        state=room.state,
        owner=room.owner,
        agent=room.agent,
        context=room.context,
        sequence=room.last,
    )
