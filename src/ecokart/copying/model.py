"""What a copy remembers, in the target itself, and why one is refused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ecokart.core.errors import Conflict, NotFound
from ecokart.core.ports import Records
from ecokart.core.records import Cursor, Table


class SameShop(Conflict):
    """Source and target are the same shop."""


class NoShopThere(NotFound):
    """There is no shop to copy."""


class TargetInUse(Conflict):
    """The target holds records already.

    They are another shop's, or of a copy that was finished or began elsewhere.
    """


class ArrivalUnfinished(Conflict):
    """A shop is still being copied to here.

    It can't open before `ecokart copy --final` has ended well: what it sold would be lost.
    """


class Place(msgspec.Struct, frozen=True):
    """How far a table's first copying is: `after` is where it goes on, `whole` that it is over."""

    after: Cursor | None = None
    records: int = 0
    whole: bool = False


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """The one copy that a target takes part in. `source` is the place it comes from."""

    id: str = "copy"
    source: str
    begun_at: datetime
    finished_at: datetime | None = None
    tables: dict[str, Place] = {}


COPIES = Table("copies", Copy, key="id")


def place(url: str) -> str:
    """What a URL points to, whoever asks: without a name and a password, a file by its full path."""
    if url.startswith("sqlite:///"):
        return f"sqlite:///{Path(url.removeprefix('sqlite:///')).resolve()}"
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


async def refuse_unfinished(records: Records) -> None:
    """Raises `ArrivalUnfinished` where a shop is still being copied to."""
    found = await records.get(COPIES, "copy")
    if found and found.value.finished_at is None:
        raise ArrivalUnfinished(
            f"A shop is still being copied to here, from {found.value.source}."
            " It can open when `ecokart copy --final` has ended well."
        )


async def first_in_use(records: Records, tables: list[Table[Any]]) -> Table[Any] | None:
    """The first table that holds any record; None in an empty shop."""
    for table in tables:
        if (await records.scan(table, limit=1)).values:
            return table
    return None
