"""What the chat asks of the background work."""

from __future__ import annotations

from ecokart.core.events import Event


class TranscriptDue(Event, frozen=True, kw_only=True, tag="chat.transcript_due"):
    """What was said in a support room behind the number `after` is to go to its shopper by mail.

    `unread`: because nobody has read it; otherwise somebody has asked for it.
    """

    room_id: str
    after: int
    unread: bool
