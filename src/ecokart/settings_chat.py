"""The chat's part of the settings."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SPAN = f"{_DAY}(?:-{_DAY})? {_TIME}-{_TIME}"


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be said in the chat, by how many, and for how long it is kept."""

    chat_rate_limit: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(
            description="Messages a minute for each who chats; an address may send ten times as many."
        ),
    ] = 60
    chat_connections: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Open chat connections that a process takes.")
    ] = 10_000
    chat_connections_each: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="Open chat connections that a process takes from one address."),
    ] = 100
    chat_days: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="How many days a chat message is kept.")
    ] = 365
    chat_blocked_words: Annotated[
        str, Meta(description="Words that the chat doesn't pass on, separated by commas.")
    ] = ""
    chat_hours: Annotated[
        Annotated[
            str,
            Meta(
                pattern=rf"^(?:{_SPAN}(?:, {_SPAN})*)?(?![\s\S])",
                examples=["Mon-Fri 09:00-17:00, Sat 10:00-14:00"],
            ),
        ],
        Meta(
            description="When people answer in the chat, by the shop's own clock; outside of it shoppers are"
            " told when. Empty: always."
        ),
    ] = ""
