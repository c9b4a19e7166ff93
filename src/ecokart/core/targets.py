"""The port by which others are called back: addresses that we were given, and must not trust.

Whoever names an address decides where our servers connect to. So an address inside our own network
is refused whatever name it hides behind, and what is connected to is exactly what was checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from ecokart.core.errors import Invalid
from ecokart.core.port import Port

EXCERPT_CHARACTERS = 500


class TargetRefused(Invalid):
    """This address can't be called.

    The detail says what is the matter with it.
    """


class Failure(StrEnum):
    """Why a target didn't take what was posted to it."""

    ANSWER = "answer"  # it answered, and not with 2xx
    REDIRECT = "redirect"  # it sent us elsewhere, where we don't go
    NO_ADDRESS = "no_address"  # its name has none
    FORBIDDEN = "forbidden"  # its address is one that is never called
    NO_CONNECTION = "no_connection"
    TLS = "tls"  # its certificate doesn't hold
    TIMEOUT = "timeout"
    BROKEN = "broken"  # it hung up, or spoke no HTTP


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one POST. `failure` is None if it was taken: the answer was 2xx.

    `status` is 0 where none came. `excerpt` is how the answer's body begins, or the words of what went
    wrong; `retry_after_seconds` is what the target asked for.
    """

    failure: Failure | None = None
    status: int = 0
    excerpt: str = ""
    seconds: float = 0.0
    retry_after_seconds: float | None = None


class TargetBusy(Exception):
    """As many posts to this party are under way as are let through at once."""


class Targets(Port, Protocol):
    """Posts to strangers over HTTPS. Follows no redirect, uses no proxy, checks the certificate.

    A post is over within ten seconds, of which connecting takes three at most. No more than eight for
    one `party` are under way at once in a process, and as many again wait a second for their turn: one
    that is slow holds up nobody else.
    """

    def check(self, url: str) -> None:
        """Raises `TargetRefused` for a URL that can't be one whatever its name leads to."""
        ...

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, party: str
    ) -> Answer:
        """Post once, and tell what became of it; only `TargetBusy` is raised, with nothing sent."""
        ...
