"""Commands and queries of the chat. Whatever is said is a record here before anybody hears of it."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import NamedTuple

from msgspec.structs import replace

from ecokart.core.ports import Records
from ecokart.core.records import Cursor, Page
from ecokart.core.transaction import Transaction
from ecokart.features.chat.model import (
    BLOCKS,
    ENTRIES,
    MOST_ENTRIES,
    READ_MARKS,
    ROOMS,
    SENT,
    SENT_KNOWN_FOR,
    Block,
    Blocked,
    Context,
    EmptyMessage,
    Entry,
    EntryKind,
    Kind,
    NoSuchMessage,
    NoSuchRoom,
    Person,
    ReadMark,
    ReadOnly,
    Room,
    RoomClosed,
    Sent,
    SomebodyElse,
    StaffOnly,
    State,
    UnwantedWords,
    closed,
    entry_key,
    part_of,
    spoken,
    support_room_id,
)
from ecokart.features.chat.terms import ChatTerms

NO_CONTEXT = Context()


class Receipt(NamedTuple):
    """A message is stored. `entry` is None where it had been sent before."""

    sent: Sent
    entry: Entry | None
    room: Room


async def open_support(tx: Transaction, person: Person, context: Context) -> Room:
    """The shopper's own room, opened (again) with what they look at now. Staff have none."""
    if person.staff:
        raise ReadOnly
    room = await tx.get(ROOMS, support_room_id(person.id))
    if room is None:
        room = _room(
            tx,
            support_room_id(person.id),
            Kind.SUPPORT,
            person.name,
            owner=person,
            context=context,
        )
    elif room.state is State.OPEN and context in (room.context, NO_CONTEXT):
        return room
    else:
        if context == NO_CONTEXT:
            context = room.context
        room = replace(room, state=State.OPEN, context=context, language=person.language)
    tx.put(ROOMS, room)
    return room


async def open_room(tx: Transaction, person: Person, kind: Kind, title: str) -> Room:
    """A new room for the staff, or for everybody. Raises `StaffOnly`."""
    if not person.staff or kind is Kind.SUPPORT:
        raise StaffOnly
    room = _room(tx, f"{kind}-{tx.new_id()}", kind, title)
    tx.add(ROOMS, room)
    return room


async def close_room(tx: Transaction, person: Person, room_id: str) -> Room:
    """Nobody writes there any more, until a support room's owner opens it again. Raises `StaffOnly`."""
    if not person.staff:
        raise StaffOnly
    room = closed(await room_for(tx, person, room_id))
    tx.put(ROOMS, room)
    return room


async def readable(records: Records, person: Person, room_id: str) -> Room:
    """The room, for who may read it; to all others it isn't there. Raises `NoSuchRoom`."""
    found = await records.get(ROOMS, room_id)
    if found is None or not person.may_read(found.value):
        raise NoSuchRoom
    return found.value


async def send(
    tx: Transaction,
    person: Person,
    room_id: str,
    content: str,
    *,
    client_message_id: str,
    terms: ChatTerms,
) -> Receipt:
    """Store a message at the room's next number. The same client message id has its effect once.

    Raises `NoSuchRoom`, `RoomClosed`, `Blocked`, `EmptyMessage` and `UnwantedWords`.
    """
    room = await room_for(tx, person, room_id)
    mark = f"{room_id}/{person.id}/{client_message_id}" if client_message_id else ""
    if mark and (sent := await tx.get(SENT, mark)):
        return Receipt(sent, None, room)
    if room.state is State.CLOSED:
        raise RoomClosed
    if await tx.get(BLOCKS, person.id):
        raise Blocked
    entry = _entry(
        tx,
        room,
        person,
        terms,
        content=checked(content, terms),
        client_message_id=client_message_id,
    )
    room = replace(spoken(room, person, tx.now, entry.content), last=entry.sequence)
    tx.put(ROOMS, room)
    tx.add(ENTRIES, entry)
    until = tx.now + min(SENT_KNOWN_FOR, terms.kept_for)
    sent = Sent(key=mark, sequence=entry.sequence, id=entry.id, at=entry.at, expires_at=until)
    if mark:
        tx.put(SENT, sent)
    return Receipt(sent, entry, room)


def checked(content: str, terms: ChatTerms) -> str:
    """The text without what surrounds it. Raises `EmptyMessage` and `UnwantedWords`."""
    content = content.strip()
    # What only looks empty is: joiners, marks of direction and the like.
    if not any(unicodedata.category(sign)[0] not in "ZC" for sign in content):
        raise EmptyMessage
    if terms.unwanted and terms.unwanted.search(content.casefold()):
        raise UnwantedWords
    return content


async def redact(
    tx: Transaction, person: Person, room_id: str, sequence: int, terms: ChatTerms
) -> Entry | None:
    """Take a message's text out for good. Its place stays, and an entry says so to who has it already.

    None where that was done before. Staff may take out any, others their own. Raises `NoSuchMessage`.
    """
    room = await room_for(tx, person, room_id)
    found = await tx.get(ENTRIES, entry_key(room_id, sequence))
    if found is None or found.kind is not EntryKind.MESSAGE:
        raise NoSuchMessage
    if not person.staff and found.user_id not in person.ids:
        raise StaffOnly
    if found.redacted:
        return None
    tx.put(ENTRIES, replace(found, content="", redacted=True))
    entry = _entry(tx, room, person, terms, kind=EntryKind.REDACTION, refers=sequence)
    tx.put(ROOMS, replace(room, last=entry.sequence, preview=""))
    tx.add(ENTRIES, entry)
    return entry


async def mark_read(tx: Transaction, person: Person, room_id: str, sequence: int) -> int:
    """Somebody has read so far; gives the number they have read to, or 0 where that is no news."""
    room = await room_for(tx, person, room_id)
    key = f"{room_id}/{person.id}"
    mark = await tx.get(READ_MARKS, key)
    sequence = min(sequence, room.last)
    if sequence <= (mark.sequence if mark else 0):
        return 0
    tx.put(READ_MARKS, ReadMark(key=key, room_id=room_id, user_id=person.id, sequence=sequence))
    return sequence


async def read_marks(records: Records, room: Room) -> list[ReadMark]:
    """How far each has read a room of a few people; of a public one nobody is told."""
    if room.kind is Kind.PUBLIC:
        return []
    return (await records.query(READ_MARKS, "by_room", room.id)).values


async def block(tx: Transaction, person: Person, user_id: str, reason: str) -> None:
    """From now on this user writes nothing any more. Raises `StaffOnly`."""
    if not person.staff:
        raise StaffOnly
    tx.overwrite(BLOCKS, Block(user_id=user_id, by=person.id, reason=reason, at=tx.now))


async def unblock(tx: Transaction, person: Person, user_id: str) -> None:
    """Raises `StaffOnly`."""
    if not person.staff:
        raise StaffOnly
    tx.delete(BLOCKS, user_id)


async def entries(records: Records, room_id: str, *, after: int, upto: int) -> list[Entry]:
    """What stands at the numbers behind `after`, up to `upto`: all of it that is still kept.

    The index may lag behind the room's own number, so what it hasn't got is asked for by its key.
    """
    if upto <= after:
        return []
    found: dict[int, Entry] = {}
    cursor: Cursor | None = (after, entry_key(room_id, after))
    while cursor and len(found) < upto - after:
        page = await records.query(
            ENTRIES, "by_room", room_id, after=cursor, limit=min(upto - after, MOST_ENTRIES)
        )
        found |= {entry.sequence: entry for entry in page.values if entry.sequence <= upto}
        cursor = page.after
    missing = [number for number in range(after + 1, upto + 1) if number not in found]
    asked = await asyncio.gather(
        *[records.get(ENTRIES, entry_key(room_id, number)) for number in missing]
    )
    found |= {one.value.sequence: one.value for one in asked if one}
    return [found[number] for number in sorted(found)]


async def said_by(
    records: Records, person: Person, user_id: str, *, after: Cursor | None, limit: int
) -> Page[Entry]:
    """What a user has said in all rooms, the newest first: for staff, and for themselves.

    Raises `SomebodyElse`.
    """
    if not person.staff and user_id not in person.ids:
        raise SomebodyElse
    return await records.query(ENTRIES, "by_user", user_id, after=after, limit=limit)


async def changed_since(records: Records, part: str, place: Cursor) -> list[Room]:
    """The rooms of a part that changed behind that place of the index."""
    found: list[Room] = []
    cursor: Cursor | None = place
    while cursor:
        page = await records.query(ROOMS, "by_change", part, after=cursor)
        found += page.values
        cursor = page.after
    return found


async def room_for(tx: Transaction, person: Person, room_id: str) -> Room:
    """The room, for who may read it. Raises `NoSuchRoom`."""
    room = await tx.get(ROOMS, room_id)
    if room is None or not person.may_read(room):
        raise NoSuchRoom
    return room


def _room(
    tx: Transaction,
    room_id: str,
    kind: Kind,
    title: str,
    *,
    owner: Person | None = None,
    context: Context = NO_CONTEXT,
) -> Room:
    return Room(
        id=room_id,
        kind=kind,
        title=title,
        owner=owner.id if owner else "",
        shopper=owner.shopper if owner else "",
        language=owner.language if owner else "en",
        context=context,
        opened_at=tx.now,
        changed_at=tx.now,
        part=part_of(room_id),
    )


def _entry(
    tx: Transaction,
    room: Room,
    person: Person,
    terms: ChatTerms,
    *,
    kind: EntryKind = EntryKind.MESSAGE,
    content: str = "",
    client_message_id: str = "",
    refers: int = 0,
) -> Entry:
    return Entry(
        key=entry_key(room.id, room.last + 1),
        room_id=room.id,
        sequence=room.last + 1,
        id=tx.new_id(),
        kind=kind,
        user_id=person.id,
        username=person.name,
        content=content,
        client_message_id=client_message_id,
        refers=refers,
        at=tx.now,
        expires_at=tx.now + terms.kept_for,
    )
