"""What the chat does beside talking: what isn't read in time goes by mail."""

from __future__ import annotations

import logging

from ecokart.core.errors import Invalid
from ecokart.core.events import every, on
from ecokart.core.ports import Ports
from ecokart.core.transaction import transact
from ecokart.features.accounts import service as accounts
from ecokart.features.accounts.model import SessionEnded
from ecokart.features.chat import desk, service, transcripts
from ecokart.features.chat.events import TranscriptDue
from ecokart.features.chat.model import Room

ATTEMPTS = 60  # with pauses that grow to five minutes: about four hours

log = logging.getLogger("ecokart.chat")


@every(minutes=1)
async def mail_what_is_unread(ports: Ports) -> None:
    """State each answer that has waited long enough to be read; whether it was is decided on the room."""
    for room in await transcripts.due(ports.records, ports.clock.now()):
        await transact(ports, transcripts.settle, room.id)


@on(TranscriptDue, lane="mail", attempts=ATTEMPTS)
async def send_transcript(ports: Ports, event: TranscriptDue) -> None:
    """To the account's address, or where a guest wants it; to nowhere else."""
    room = await desk.any_room(ports.records, event.room_id)
    to = await _address(ports, room) if room else ""
    if room is None or not to:
        return
    upto = min(room.last, event.after + transcripts.MOST)
    entries = await service.entries(ports.records, room.id, after=event.after, upto=upto)
    written = transcripts.transcript(room, entries, ports.terms, to=to, unread=event.unread)
    if written is None:
        return
    try:
        await ports.mail.send(written, message_id=f"{event.id}.transcript")
    except Invalid as refusal:
        log.warning("a transcript was refused: %s", refusal, extra={"room": room.id})


async def _address(ports: Ports, room: Room) -> str:
    if not room.shopper or room.shopper.startswith("guest:"):
        return room.email
    try:
        return (await transact(ports, accounts.customer, room.shopper)).email
    except SessionEnded:
        return ""  # the account is gone
