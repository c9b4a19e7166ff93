"""Cursors as clients see them: opaque text that only we can read."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated

import msgspec

from ecokart.core.errors import FieldError, Invalid
from ecokart.core.records import Cursor

MOST = 100
Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
CursorText = Annotated[str, msgspec.Meta(max_length=2000)]


class BadCursor(Invalid):
    """This cursor isn't one of ours."""


def write(cursor: Cursor | None) -> str | None:
    return urlsafe_b64encode(msgspec.json.encode(cursor)).decode() if cursor else None


def read(text: str | None) -> Cursor | None:
    """Raises `BadCursor`."""
    if not text:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(text.encode()), type=tuple[str | int, str])
    except (ValueError, msgspec.MsgspecError):
        error = FieldError("cursor", "Take it from `nextCursor` of the page before.")
        raise BadCursor(errors=(error,)) from None
