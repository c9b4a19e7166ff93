"""The steps of a copy, in their order: `begin`, `copy_all`, `catch_up` as often as it takes, `finish`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from ecokart.copying.carrying import Carrier
from ecokart.copying.comparing import Fingerprint, Progress, Sides
from ecokart.copying.model import (
    COPIES,
    Copy,
    NoShopThere,
    Place,
    SameShop,
    TargetInUse,
    first_in_use,
    place,
)
from ecokart.copying.patience import PAGE, pages, patiently
from ecokart.core.clock import Clock
from ecokart.core.ports import Records
from ecokart.core.records import ANY, Delete, Put, Table, write_key

MOST_NAMED = 100  # keys of a table that are named one by one


class Compared(NamedTuple):
    """A table on both sides. `keys` are those that differ, the first hundred of `differing`."""

    table: str
    source: Fingerprint
    target: Fingerprint
    differing: int
    keys: Sequence[str]


class ShopCopy:
    """One run of a copy; a copy may take several, each going on where the last one was interrupted."""

    def __init__(
        self, source: Records, target: Records, tables: Iterable[Table[Any]], clock: Clock
    ) -> None:
        # Whose copy the source itself once was is no part of the shop.
        self.tables = [table for table in tables if table is not COPIES]
        self._sides = Sides(source, target, clock)
        self._carrier = Carrier(target)
        self.refused = self._carrier.refused

    async def begin(self, source_url: str, target_url: str) -> Copy:
        """The copy as far as it is. Raises `SameShop`, `NoShopThere` and `TargetInUse`."""
        source, target = place(source_url), place(target_url)
        if source == target:
            raise SameShop(f"Source and target are the same shop: {source}.")
        if await first_in_use(self._sides.source, self.tables) is None:
            raise NoShopThere(f"There is no shop to copy: {source} is empty.")
        found = await self._sides.target.get(COPIES, "copy")
        if found is None:
            if used := await first_in_use(self._sides.target, self.tables):
                raise TargetInUse(f"{target} holds a shop already: its {used.name} aren't empty.")
            copy = Copy(source=source, begun_at=self._sides.clock.now())
            await self._keep(copy)
            return copy
        if found.value.finished_at:
            raise TargetInUse(f"{target} holds a shop whose copying was finished before.")
        if found.value.source != source:
            raise TargetInUse(f"{target} is being copied to from {found.value.source}.")
        return found.value

    async def copy_all(self, copy: Copy, progress: Progress) -> Copy:
        """Copy every table, from where the last run came to; gives back the copy with all whole."""
        for table in self.tables:
            done = copy.tables.get(table.name, Place())
            if done.whole:
                continue
            records = done.records
            async for page in pages(self._sides.source, table, done.after):
                await self._carrier.write([Put(table, value, ANY) for value in page.values])
                records += len(page.values)
                reached = Place(page.after, records, whole=page.after is None)
                copy = replace(copy, tables=copy.tables | {table.name: reached})
                # Kept after the page's own commits, so a run that dies copies it again.
                await self._keep(copy)
                progress(table, records)
        return copy

    async def catch_up(self, progress: Progress) -> int:
        """Carry over what differs now; says how many records that were."""
        carried = 0
        for table in self.tables:
            source, target = await self._sides.fingerprints(table, progress)
            if parts := source.differing(target):
                carried += await self._carry(table, parts)
        return carried

    async def verify(self, progress: Progress) -> list[Compared]:
        """Both sides, table by table, with the keys of what differs."""
        compared = []
        for table in self.tables:
            source, target = await self._sides.fingerprints(table, progress)
            differing = 0
            keys: list[str] = []
            if parts := source.differing(target):
                async for write in self._sides.differences(table, parts):
                    differing += 1
                    if len(keys) < MOST_NAMED:
                        keys.append(write_key(write))
            compared.append(Compared(table.name, source, target, differing, keys))
        return compared

    async def finish(self, copy: Copy) -> None:
        """From now on the target is a shop of its own, and no copy touches it any more."""
        await self._keep(replace(copy, finished_at=self._sides.clock.now()))

    async def _carry(self, table: Table[Any], parts: set[int]) -> int:
        carried = 0
        waiting: list[Put | Delete] = []
        async for write in self._sides.differences(table, parts):
            waiting.append(write)
            if len(waiting) == PAGE:
                carried += await self._carrier.write(waiting)
                waiting = []
        return carried + await self._carrier.write(waiting)

    async def _keep(self, copy: Copy) -> None:
        await patiently(lambda: self._sides.target.commit([Put(COPIES, copy, ANY)]))
