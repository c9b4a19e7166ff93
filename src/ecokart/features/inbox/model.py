"""Who of the staff sits at the inbox, and the answers that are given again and again."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from ecokart.core.errors import Conflict, NotFound
from ecokart.core.records import Table
from ecokart.features.accounts.model import ShortText
from ecokart.features.chat.model import Content

MOST_ANSWERS = 100
# Who hasn't looked for so long gets no conversation handed over.
STAFF_FOR = timedelta(days=30)
# How old the note of somebody's last look may become before it is written again.
SEEN_AGAIN = timedelta(hours=1)


class NoSuchAnswer(NotFound):
    """There is no such answer."""


class NoSuchAgent(NotFound):
    """There is nobody of that name at the inbox."""


class TooManyAnswers(Conflict):
    """There are a hundred answers already. Please remove one first."""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody of the staff who has opened the inbox. `desk` is there for the index."""

    id: str
    name: str
    seen_at: datetime
    desk: str = "inbox"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A text that is put into the field by its title. `desk` is there for the index."""

    id: str
    title: str
    text: str
    desk: str = "inbox"


class NewAnswer(msgspec.Struct):
    """An answer as it is typed."""

    title: ShortText
    text: Content


AGENTS = Table("inbox_agents", Agent, key="id", indexes={"by_name": ("desk", "name")})
ANSWERS = Table("inbox_answers", Answer, key="id", indexes={"by_title": ("desk", "title")})
