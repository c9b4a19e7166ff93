"""What can go wrong, by kind. The kind decides the answer's status; the class decides its code.

A feature names its own conditions by subclassing a kind (`OutOfStock(Conflict)`). The first line of
the class's docstring is the sentence that people read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that can't be accepted: where it is (`items[0].quantity`) and what to do about it."""

    field: str
    message: str


class Problem(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "problem"
    title: ClassVar[str] = "Something went wrong"

    def __init__(
        self, detail: str = "", *, errors: tuple[FieldError, ...] = (), **extra: Any
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = errors
        self.extra = extra

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()
        cls.title = (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")


class Invalid(Problem):
    """The request can't be understood as it is."""

    status = 422


class Unauthenticated(Problem):
    """Please sign in first."""

    status = 401
    challenge: ClassVar[str] = "Bearer"  # how to, in WWW-Authenticate (RFC 9110, 11.6.1)


class Forbidden(Problem):
    """That isn't allowed."""

    status = 403


class NotFound(Problem):
    """There is nothing here."""

    status = 404


class Conflict(Problem):
    """That doesn't fit what is stored now."""

    status = 409


class TooLarge(Problem):
    """That is larger than we take."""

    status = 413


class TooMany(Problem):
    """Too many requests. Please wait a moment.

    `retry_after_seconds` says how long.
    """

    status = 429

    def __init__(self, detail: str = "", *, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Problem):
    """This isn't available right now. Please try again."""

    status = 503
