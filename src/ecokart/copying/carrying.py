"""Writes into the target: in commits as large as any engine takes, many of them under way at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from ecokart.copying.patience import patiently
from ecokart.core.errors import Invalid, TooLarge
from ecokart.core.ports import Records
from ecokart.core.records import MAX_COMMIT_BYTES, MAX_WRITES, BelowFloor, Delete, Put, write_key

Writes = Sequence[Put | Delete]


class Carrier:
    """Carries records over as they are. `refused` says of each that the target won't take why not."""

    def __init__(self, target: Records) -> None:
        self.refused: dict[str, str] = {}
        self._target = target

    async def write(self, writes: Writes) -> int:
        """Store or remove them whatever is there, in no order, and say how many the target took.

        Raises `Unavailable` after some seconds without the target.
        """
        return sum(await asyncio.gather(*map(self._commit, _portions(self._taken(writes)))))

    def _taken(self, writes: Writes) -> Iterator[tuple[Put | Delete, int]]:
        """The writes that are within the limits of a record, each with its size in bytes."""
        for write in writes:
            size = 0
            if isinstance(write, Put):
                try:
                    size = len(write.table.row(write.value).body)
                except (TooLarge, Invalid, BelowFloor) as error:
                    self._refuse(write, error)
                    continue
            yield write, size

    async def _commit(self, writes: Writes) -> int:
        try:
            await patiently(lambda: self._target.commit(writes))
        except (TooLarge, Invalid, BelowFloor) as error:
            if len(writes) == 1:
                self._refuse(writes[0], error)
                return 0
            # One of them can't be stored here: the others shall be.
            return sum([await self._commit([write]) for write in writes])
        return len(writes)

    def _refuse(self, write: Put | Delete, error: Exception) -> None:
        self.refused[f"{write.table.name}/{write_key(write)}"] = str(error)


def _portions(writes: Iterator[tuple[Put | Delete, int]]) -> Iterator[Writes]:
    """Commits within the limits."""
    portion: list[Put | Delete] = []
    filled = 0
    for write, size in writes:
        if portion and (len(portion) == MAX_WRITES or filled + size > MAX_COMMIT_BYTES):
            yield portion
            portion, filled = [], 0
        portion.append(write)
        filled += size
    if portion:
        yield portion
