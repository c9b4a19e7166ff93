"""What goes to shoppers by mail: answers that they haven't read, and conversations that are asked for."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from msgspec.structs import replace

from ecokart.core.i18n import format_moment, gettext
from ecokart.core.letters import Block, Link, Paragraph, letter
from ecokart.core.ports import Letter, Records
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction
from ecokart.features.chat.desk import support_room
from ecokart.features.chat.events import TranscriptDue
from ecokart.features.chat.model import (
    OWED,
    READ_MARKS,
    ROOMS,
    Entry,
    NoSuchRoom,
    Person,
    Room,
    support_room_id,
)

MOST = 100  # rooms of a run, and entries of a mail


async def due(records: Records, now: datetime) -> list[Room]:
    """The rooms with an answer that has waited long enough to be read, the oldest first."""
    found = await records.query(ROOMS, "by_mail", OWED, limit=MOST)
    return [room for room in found.values if room.mail_at and room.mail_at <= now]


async def settle(tx: Transaction, room_id: str) -> None:
    """Let the answers go by mail if they still aren't read."""
    room = await tx.get(ROOMS, room_id)
    if room is None or room.mail_at is None or room.mail_at > tx.now:
        return
    mark = await tx.get(READ_MARKS, f"{room.id}/{room.owner}")
    read = mark.sequence if mark else 0
    tx.put(ROOMS, replace(room, owed=None, mail_at=None))
    if read < room.last:
        tx.emit(TranscriptDue(room_id=room.id, after=read, unread=True))


async def ask(tx: Transaction, person: Person, room_id: str) -> None:
    """Let the newest of a conversation go to its shopper. Raises `StaffOnly` and `NoSuchRoom`."""
    room = await support_room(tx, person, room_id)
    tx.emit(TranscriptDue(room_id=room.id, after=max(0, room.last - MOST), unread=False))


async def keep_email(tx: Transaction, person: Person, email: str) -> None:
    """Where a guest's answers go by mail. Raises `NoSuchRoom` for who hasn't said anything yet."""
    room = await tx.get(ROOMS, support_room_id(person.id))
    if room is None:
        raise NoSuchRoom
    tx.put(ROOMS, replace(room, email=email))


def transcript(
    room: Room, entries: list[Entry], terms: Terms, *, to: str, unread: bool
) -> Letter | None:
    """The mail with these entries, in the shopper's language; None where none of them says anything."""
    said = [entry for entry in entries if entry.content]
    if not said:
        return None
    _ = partial(gettext, room.language)
    first = (
        _("we have answered in the chat, and you weren't there:")
        if unread
        else _("here is our conversation:")
    )
    name = "" if room.owner.startswith(room.title) else room.title
    hello = _("Hello %(name)s,", name=name) if name else _("Hello,")
    blocks: list[Block] = [Paragraph(hello), Paragraph(first)]
    for entry in said:
        who = _("You") if entry.user_id == room.owner else entry.username
        moment = format_moment(entry.at, room.language)
        blocks.append(Paragraph(f"{who}, {moment}:\n{entry.content}"))
    blocks.append(Link(_("Go on talking"), f"{terms.public_url}/chat/support"))
    return letter(
        to=to,
        name=name,
        language=room.language,
        subject=_("Your conversation with %(shop)s", shop=terms.shop_name),
        blocks=blocks,
        sender=terms.signature,
    )
