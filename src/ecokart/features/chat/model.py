"""Rooms, what is said in them, and who may."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from ecokart.core.errors import Conflict, Forbidden, Invalid, NotFound
from ecokart.core.records import Table, microseconds

LONGEST_MESSAGE = 4000
# The staff's own room, which is told whenever a support room changes.
DESK_ROOM = "staff-desk"
MOST_ENTRIES = 100  # of a page of history, or of what a client missed
# For so long sending the same message again is known to be that.
SENT_KNOWN_FOR = timedelta(days=7)
# What changed is listed in so many parts, so that no part of an engine's index takes every message.
PARTS = 4

PREVIEW = 120  # characters
# An answer that nobody has read for so long goes by mail.
MAIL_AFTER = timedelta(minutes=10)
OWED = "mail"
_LATEST = 2**53 - 1
_END = r"(?![\s\S])"  # a `$` would let a line break through
# Line breaks and tabs are text; other controls, and what turns the direction of others' text, are none.
_CONTENT = rf"^[^\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]*{_END}"
_NAME = rf"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*{_END}"

Content = Annotated[str, Meta(min_length=1, max_length=LONGEST_MESSAGE, pattern=_CONTENT)]
ClientMessageId = Annotated[str, Meta(max_length=64, pattern=rf"^[A-Za-z0-9._:-]*{_END}")]
Name = Annotated[str, Meta(max_length=60, pattern=_NAME)]
RoomId = Annotated[str, Meta(min_length=1, max_length=80)]
Reference = Annotated[str, Meta(max_length=80, pattern=_NAME)]
Sequence = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class NoSuchRoom(NotFound):
    """There is no such room."""


class NoSuchMessage(NotFound):
    """There is no such message."""


class ReadOnly(Forbidden):
    """You can't write in this room."""


class Blocked(Forbidden):
    """You can't write here at the moment."""


class StaffOnly(Forbidden):
    """Only the shop's people can do that."""


class SomebodyElse(Forbidden):
    """The user id isn't yours."""


class UnwantedWords(Invalid):
    """This message has words in it that we don't pass on."""


class EmptyMessage(Invalid):
    """A message needs some text."""


class RoomClosed(Conflict):
    """This conversation is closed."""


class Kind(StrEnum):
    """Who a room is for: one shopper and the staff, the staff, or everybody."""

    SUPPORT = "support"
    STAFF = "staff"
    PUBLIC = "public"


class State(StrEnum):
    """Whether a room is being talked in."""

    OPEN = "open"
    CLOSED = "closed"


class Desk(StrEnum):
    """Where a support room lies on the staff's desk, once its shopper has said something."""

    WAITING = "waiting"  # the shopper spoke last
    ANSWERED = "answered"
    CLOSED = "closed"


class EntryKind(StrEnum):
    """What stands at a number of a room's history."""

    MESSAGE = "message"
    REDACTION = "redaction"  # a message before it was taken out


class Context(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the shopper was looking at: the number of an order, an article, a page of the shop."""

    order_id: Reference = ""
    sku: Reference = ""
    page: Annotated[str, Meta(max_length=200, pattern=_NAME)] = ""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A room. `last` is the number of its newest entry.

    Of a support room, `owner` is the shopper as others see them, and `shopper` whose cart and orders
    to look for: a customer's id or `guest:…`, which is a secret and told to nobody. `agent` is who of
    the staff takes care of it; `working` is the same while it isn't closed, for the index.
    `place` orders those on the desk: who waits comes first, and among them who waits the longest; then
    the newest. `preview` is how the newest message begins. An answer that isn't read goes to the
    shopper by mail at `mail_at`: to the account's address, or a guest's `email`; `owed` is for the index.
    """

    id: str
    kind: Kind
    title: str
    owner: str = ""
    state: State = State.OPEN
    shopper: str = ""
    language: str = "en"
    agent: str = ""
    agent_name: str = ""
    working: str | None = None
    desk: Desk | None = None
    place: int | None = None
    spoken_at: datetime | None = None
    waiting_since: datetime | None = None
    preview: str = ""
    email: str = ""
    owed: str | None = None
    mail_at: datetime | None = None
    context: Context = Context()
    last: int = 0
    opened_at: datetime
    changed_at: datetime
    part: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at a number of a room. A redacted message keeps its place, without its text.

    `refers` is the number of the message that a redaction took out.
    """

    key: str
    room_id: str
    sequence: int
    id: str
    kind: EntryKind = EntryKind.MESSAGE
    user_id: str
    username: str
    content: str
    client_message_id: str = ""
    refers: int = 0
    redacted: bool = False
    at: datetime
    expires_at: datetime


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """That a client's message is stored, and at which number."""

    key: str
    sequence: int
    id: str
    at: datetime
    expires_at: datetime


class ReadMark(msgspec.Struct, frozen=True, kw_only=True):
    """How far somebody has read a room."""

    key: str
    room_id: str
    user_id: str
    sequence: int


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody may not write any more."""

    user_id: str
    by: str
    reason: str
    at: datetime


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who talks. `ids` are all names the same browser has: a guest who signs in keeps the old room.

    `shopper` is whose cart and orders theirs are, `language` the one they read.
    """

    id: str
    name: str
    ids: frozenset[str]
    staff: bool = False
    session_id: str = ""
    shopper: str = ""
    language: str = "en"

    def may_read(self, room: Room) -> bool:
        if room.kind is Kind.PUBLIC or self.staff:
            return True
        return room.kind is Kind.SUPPORT and room.owner in self.ids


def spoken(room: Room, person: Person, at: datetime, content: str) -> Room:
    """What a message makes of a support room: who of the staff answers first takes care from then on."""
    if room.kind is not Kind.SUPPORT:
        return room
    since = None if person.staff else room.waiting_since or at
    if person.staff and not room.agent:
        room = replace(room, agent=person.id, agent_name=person.name)
    return replace(
        room,
        desk=Desk.WAITING if since else Desk.ANSWERED,
        working=room.agent or None,
        place=microseconds(since) if since else _LATEST - microseconds(at),
        spoken_at=at,
        waiting_since=since,
        preview=content[:PREVIEW],
        owed=None if since else OWED,
        mail_at=None if since else room.mail_at or at + MAIL_AFTER,
    )


def closed(room: Room) -> Room:
    """Nobody writes there any more; a support room that was on the desk is put away."""
    if room.desk is None or room.spoken_at is None:
        return replace(room, state=State.CLOSED)
    return replace(
        room,
        state=State.CLOSED,
        desk=Desk.CLOSED,
        working=None,
        place=_LATEST - microseconds(room.spoken_at),
        waiting_since=None,
    )


def context_of(page: str) -> Context:
    """What a page of the shop is about, by its path. A path that can't be one is none."""
    if not re.fullmatch(r"/[!-~]{0,199}", page):
        return Context()
    order = re.match(r"/account/orders/([A-Z0-9-]{1,80})", page)
    return Context(page=page, order_id=order[1] if order else "")


def guest_name(guest_id: str) -> str:
    """A guest as others see them. The guest's own id is a secret, by which their orders are found."""
    return f"guest-{_digest(guest_id)}"


def support_room_id(user_id: str) -> str:
    return f"support-{_digest(user_id)}"


def notes_room_id(room_id: str) -> str:
    return f"notes-{room_id}"


def entry_key(room_id: str, sequence: int) -> str:
    return f"{room_id}/{sequence:012d}"


def part_of(room_id: str) -> str:
    return str(int(_digest(room_id), 16) % PARTS)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=10).hexdigest()


ROOMS = Table(
    "chat_rooms",
    Room,
    key="id",
    indexes={
        "by_change": ("part", "changed_at"),
        "by_desk": ("desk", "place"),
        "by_agent": ("working", "place"),
        "by_mail": ("owed", "mail_at"),
    },
    touched="changed_at",
)
ENTRIES = Table(
    "chat_entries",
    Entry,
    key="key",
    indexes={"by_room": ("room_id", "sequence"), "by_user": ("user_id", "-at")},
    expires="expires_at",
)
SENT = Table("chat_sent", Sent, key="key", expires="expires_at")
READ_MARKS = Table("chat_read_marks", ReadMark, key="key", indexes={"by_room": ("room_id",)})
BLOCKS = Table("chat_blocks", Block, key="user_id")
