"""The trail of requests: who asked for what, when, from where, and how it was answered.

What a partner changes is in the event log, in the same commit. Here is everything it asks, reads and
refusals too. A record for each request would double the writing of the shop, so they are kept by the
hundreds: what was asked is in the records half a second later, and at the end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import msgspec

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Ports, Records
from ecokart.core.records import ANY, MAX_WRITES, Cursor, Put, Table, microseconds
from ecokart.features.partners.model import KEY_USES, KeyUse

FLUSH_SECONDS = 0.5
MOST_HELD = 50_000
MOST_TOGETHER = 500  # entries in a record: some 100 KB
RECORDS_TOGETHER = 20
USE_NOTED_EVERY = timedelta(minutes=1)
PAGE = 200
MOST_LOOKED_AT = 20_000
NOBODY = "nobody"  # the partner of requests whose key isn't one's

T = TypeVar("T")

log = logging.getLogger("ecokart.partners")


class AuditEntry(msgspec.Struct, frozen=True, array_like=True):
    """A request. `key_id` is the one it named, whether or not that let it in."""

    at: datetime
    method: str
    path: str
    status: int
    milliseconds: float
    key_id: str
    request_id: str
    address: str


class AuditBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of a partner, the oldest first. `lost` more weren't kept: there were too many to hold."""

    id: str
    partner_id: str
    at: datetime
    entries: tuple[AuditEntry, ...]
    lost: int = 0
    expires_at: datetime


AUDIT = Table(
    "audit",
    AuditBatch,
    key="id",
    indexes={"by_partner": ("partner_id", "-at")},
    expires="expires_at",
)


class AuditTrail:
    """Takes notes of requests and keeps them for `kept`. Noting waits for nothing."""

    def __init__(self, ports: Ports, kept: timedelta, *, most_held: int = MOST_HELD) -> None:
        self._ports, self._kept, self._most_held = ports, kept, most_held
        self._noted: dict[str, list[AuditEntry]] = {}
        self._lost = Counter[str]()
        self._held = 0
        self._unwritten: list[Put] = []
        self._used: dict[str, KeyUse] = {}
        self._use_written: dict[str, datetime] = {}

    def note(self, partner_id: str, entry: AuditEntry) -> None:
        """Keep this in mind until it is written."""
        if self._held >= self._most_held:
            self._lost[partner_id] += 1
            return
        self._held += 1
        self._noted.setdefault(partner_id, []).append(entry)

    def note_use(self, key_id: str, at: datetime, address: str) -> None:
        """A key was good for a request just now."""
        self._used[key_id] = KeyUse(key_id=key_id, at=at, address=address)

    async def keep_writing(self) -> None:
        """Until cancelled, write what was noted. While the records are away, hold what there is room for."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("the audit trail waits: %s", error)
            except Exception:
                log.exception("the audit trail stumbled")

    async def end(self) -> None:
        """Write the last of it."""
        try:
            await self.flush(last=True)
        except Unavailable as error:
            log.warning("the audit trail's last requests were not written: %s", error)

    async def flush(self, *, last: bool = False) -> None:
        """Write all that was noted until now; with `last` also the uses that were written a moment ago."""
        if self._lost:
            log.warning("audit trail full: %d requests were not noted", self._lost.total())
        self._unwritten += self._batches()
        while self._unwritten:
            together = self._unwritten[:RECORDS_TOGETHER]
            # Each has its own id, so writing one again, whose outcome was unknown, changes nothing.
            await self._ports.records.commit(together)
            self._unwritten = self._unwritten[len(together) :]
            self._held -= sum([len(put.value.entries) for put in together])
        await self._write_uses(last=last)

    def _batches(self) -> Iterator[Put]:
        """What was noted, a record for every few hundred requests of a partner."""
        noted, lost = self._noted, self._lost
        self._noted, self._lost = {}, Counter()
        now = self._ports.clock.now()
        for partner_id in {**noted, **lost}:
            for part in _parts(noted.get(partner_id, []), MOST_TOGETHER) or [[]]:
                batch = AuditBatch(
                    id=self._ports.new_id(),
                    partner_id=partner_id,
                    at=part[-1].at if part else now,
                    entries=tuple(part),
                    lost=lost.pop(partner_id, 0),
                    expires_at=now + self._kept,
                )
                yield Put(AUDIT, batch, ANY)

    async def _write_uses(self, *, last: bool) -> None:
        due = [use for use in self._used.values() if last or self._is_news(use)]
        for together in _parts(due, MAX_WRITES):
            await self._ports.records.commit([Put(KEY_USES, use, ANY) for use in together])
            for use in together:
                self._use_written[use.key_id] = use.at
                if self._used[use.key_id] is use:
                    del self._used[use.key_id]

    def _is_news(self, use: KeyUse) -> bool:
        before = self._use_written.get(use.key_id)
        return before is None or use.at - before >= USE_NOTED_EVERY


class Shown(NamedTuple):
    """Requests of a day, the newest first; how many weren't kept, and where it goes on."""

    entries: list[AuditEntry]
    lost: int
    after: Cursor | None


async def shown(
    records: Records,
    partner_id: str,
    start: datetime,
    end: datetime,
    *,
    statuses: range = range(600),
    after: Cursor | None = None,
) -> Shown:
    """What a partner asked from `start` up to `end` that was answered with one of `statuses`.

    A page has two hundred and a few, or fewer, where many had to be looked at to find them.
    """
    entries: list[AuditEntry] = []
    lost = looked_at = 0
    # By time, the newest first: behind where a request at `end` would be.
    after = after or (microseconds(end), "")
    while after and len(entries) < PAGE and looked_at < MOST_LOOKED_AT:
        page = await records.query(
            AUDIT, "by_partner", partner_id, after=after, limit=RECORDS_TOGETHER
        )
        after = page.after
        for batch in page.values:
            if batch.at < start:
                return Shown(entries, lost, None)
            entries += [entry for entry in reversed(batch.entries) if entry.status in statuses]
            lost, looked_at = lost + batch.lost, looked_at + len(batch.entries)
            if len(entries) >= PAGE:
                after = (microseconds(batch.at), batch.id)
                break
    return Shown(entries, lost, after)


def _parts(whole: list[T], most: int) -> list[list[T]]:
    return [whole[start : start + most] for start in range(0, len(whole), most)]
