"""The staff's desk: which support rooms wait, who takes care of each, what is noted about them.

Every function for a person raises `StaffOnly` for who isn't staff, and `NoSuchRoom`.
"""

from __future__ import annotations

from msgspec.structs import replace

from ecokart.core.ports import Ports, Records
from ecokart.core.records import Cursor, Page
from ecokart.core.transaction import Transaction, transact
from ecokart.features.chat import service
from ecokart.features.chat.model import (
    BLOCKS,
    DESK_ROOM,
    ENTRIES,
    ROOMS,
    Context,
    Desk,
    Entry,
    Kind,
    NoSuchRoom,
    Person,
    Room,
    StaffOnly,
    State,
    closed,
    entry_key,
    notes_room_id,
    part_of,
)

MOST_COUNTED = 100
SEARCHED = 500  # of the newest rooms in each place of the desk
PART = 50  # entries that one commit erases


async def listed(records: Records, desk: Desk, *, after: Cursor | None, limit: int) -> Page[Room]:
    """The rooms at a place of the desk, in the order in which to look at them."""
    return await records.query(ROOMS, "by_desk", desk, after=after, limit=limit)


async def working(
    records: Records, agent_id: str, *, after: Cursor | None, limit: int
) -> Page[Room]:
    """The rooms that somebody takes care of and that aren't closed: who waits comes first."""
    return await records.query(ROOMS, "by_agent", agent_id, after=after, limit=limit)


async def waiting(records: Records) -> int:
    """How many wait for an answer; `MOST_COUNTED` stands for that many and more."""
    return len((await listed(records, Desk.WAITING, after=None, limit=MOST_COUNTED)).values)


async def found(records: Records, words: str) -> list[Room]:
    """The rooms that name every word: their shopper, agent, order, article or newest message.

    Looks through the `SEARCHED` newest at each place of the desk.
    """
    wanted = words.casefold().split()
    rooms: list[Room] = []
    for desk in Desk:
        cursor: Cursor | None = None
        for _ in range(SEARCHED // MOST_COUNTED):
            page = await listed(records, desk, after=cursor, limit=MOST_COUNTED)
            rooms += [room for room in page.values if all(word in _text(room) for word in wanted)]
            cursor = page.after
            if cursor is None:
                break
    return rooms


async def assign(
    tx: Transaction, person: Person, room_id: str, agent_id: str, agent_name: str
) -> Room:
    """Give a room to somebody of the staff; nobody (`""`) puts it back into the queue."""
    room = await support_room(tx, person, room_id)
    working = agent_id if agent_id and room.state is State.OPEN and room.desk else None
    room = replace(room, agent=agent_id, agent_name=agent_name, working=working)
    tx.put(ROOMS, room)
    return room


async def close(tx: Transaction, person: Person, room_id: str) -> Room:
    """The question is settled. The shopper opens the room again by writing."""
    room = closed(await support_room(tx, person, room_id))
    tx.put(ROOMS, room)
    return room


async def reopen(tx: Transaction, person: Person, room_id: str) -> Room:
    """Let the staff write there again."""
    room = await support_room(tx, person, room_id)
    if room.state is State.CLOSED:
        desk = Desk.ANSWERED if room.desk else None
        room = replace(room, state=State.OPEN, desk=desk, working=room.agent or None)
        tx.put(ROOMS, room)
    return room


async def open_notes(tx: Transaction, person: Person, room_id: str) -> Room:
    """The staff's notes about a support room: a room of its own, which its shopper can't see."""
    about = await support_room(tx, person, room_id)
    return await _staff_room(tx, notes_room_id(about.id), about.title)


async def open_desk(tx: Transaction) -> Room:
    """The room that hears of every change on the desk."""
    return await _staff_room(tx, DESK_ROOM, "")


async def any_room(records: Records, room_id: str) -> Room | None:
    """The room, for the background work."""
    found = await records.get(ROOMS, room_id)
    return found.value if found else None


async def is_blocked(records: Records, user_id: str) -> bool:
    """Whether somebody may write nothing."""
    return await records.get(BLOCKS, user_id) is not None


async def everything(ports: Ports, person: Person, room_id: str) -> tuple[Room, list[Entry]]:
    """A support room with all that is still kept of it, for who asks what is known of them."""
    room = await _readable(ports.records, person, room_id)
    return room, await service.entries(ports.records, room.id, after=0, upto=room.last)


async def erase(ports: Ports, person: Person, room_id: str) -> None:
    """Take out for good what was said in a support room and noted about it, and who said it.

    What remains are numbers and times. Erased in parts: who is interrupted can begin again.
    """
    room = await _readable(ports.records, person, room_id)
    for one in (room.id, notes_room_id(room.id)):
        known = await ports.records.get(ROOMS, one)
        for start in range(1, known.value.last + 1 if known else 1, PART):
            await transact(ports, _erase_entries, one, range(start, start + PART))
        if known:
            await transact(ports, _erase_room, one)


async def _erase_entries(tx: Transaction, room_id: str, numbers: range) -> None:
    for number in numbers:
        if entry := await tx.get(ENTRIES, entry_key(room_id, number)):
            gone = replace(entry, content="", username="", user_id="", redacted=True)
            tx.put(ENTRIES, gone)


async def _erase_room(tx: Transaction, room_id: str) -> None:
    if room := await tx.get(ROOMS, room_id):
        bare = replace(
            closed(room),
            title="",
            shopper="",
            email="",
            preview="",
            context=Context(),
            desk=None,
            place=None,
            owed=None,
            mail_at=None,
        )
        tx.put(ROOMS, bare)


async def support_room(tx: Transaction, person: Person, room_id: str) -> Room:
    """The support room, for who may decide about it."""
    if not person.staff:
        raise StaffOnly
    room = await service.room_for(tx, person, room_id)
    if room.kind is not Kind.SUPPORT:
        raise NoSuchRoom
    return room


async def _readable(records: Records, person: Person, room_id: str) -> Room:
    if not person.staff:
        raise StaffOnly
    room = await service.readable(records, person, room_id)
    if room.kind is not Kind.SUPPORT:
        raise NoSuchRoom
    return room


async def _staff_room(tx: Transaction, room_id: str, title: str) -> Room:
    room = await tx.get(ROOMS, room_id)
    if room is None:
        room = Room(
            id=room_id,
            kind=Kind.STAFF,
            title=title,
            opened_at=tx.now,
            changed_at=tx.now,
            part=part_of(room_id),
        )
        tx.add(ROOMS, room)
    return room


def _text(room: Room) -> str:
    named = (room.title, room.agent_name, room.context.order_id, room.context.sku, room.preview)
    return " ".join(named).casefold()
