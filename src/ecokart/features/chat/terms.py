"""What the shop's owner decides about the chat."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import cached_property

import msgspec

from ecokart.features.chat.hours import Hours


class ChatTerms(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """How long messages are kept, which words aren't passed on, and when people answer."""

    kept_for: timedelta = timedelta(days=365)
    blocked_words: tuple[str, ...] = ()
    hours: Hours = Hours()

    @cached_property
    def unwanted(self) -> re.Pattern[str] | None:
        """Finds a blocked word, as a word of its own, in casefolded text."""
        words = [re.escape(word.casefold()) for word in self.blocked_words]
        return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)") if words else None
