"""Whether two engines hold the same: a count and a checksum a table, and which keys differ if they don't.

A checksum is the sum of its records' hashes, so it doesn't depend on the order in which an engine
scans. It is kept in many parts, by key: where two sides differ, only the records of the parts that
differ are looked at one by one. Neither takes memory that grows with the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any
from zlib import crc32

import msgspec

from ecokart.copying.patience import pages
from ecokart.core.clock import Clock
from ecokart.core.ports import Records
from ecokart.core.records import ANY, Delete, Put, Table

PARTS = 1 << 16
HASH_BYTES = 16

_encode = msgspec.json.Encoder().encode

# Told after every page, with how many records of the table were read by then.
Progress = Callable[[Table[Any], int], None]


@dataclass
class Fingerprint:
    """A table's content as far as it can be compared: equal content has equal fingerprints."""

    count: int = 0
    parts: dict[int, int] = field(default_factory=dict)

    @property
    def checksum(self) -> str:
        """All the parts as one: 16 hexadecimal digits."""
        return f"{sum(self.parts.values()) % (1 << 64):016x}"

    def add(self, key: str, digest: int) -> None:
        part = part_of(key)
        self.count += 1
        self.parts[part] = (self.parts.get(part, 0) + digest) % (1 << 8 * HASH_BYTES)

    def differing(self, other: Fingerprint) -> set[int]:
        """The parts in which the two aren't the same."""
        both = self.parts.keys() | other.parts.keys()
        return {part for part in both if self.parts.get(part) != other.parts.get(part)}


def part_of(key: str) -> int:
    return crc32(key.encode()) % PARTS


def digest_of(value: Any) -> int:
    """The hash of a record as JSON in its table's present shape, which its key is a part of."""
    return int.from_bytes(blake2b(_encode(value), digest_size=HASH_BYTES).digest(), "big")


@dataclass(frozen=True)
class Sides:
    """The two shops of a copy. `clock` tells which records have ended meanwhile."""

    source: Records
    target: Records
    clock: Clock

    async def fingerprints(
        self, table: Table[Any], progress: Progress
    ) -> tuple[Fingerprint, Fingerprint]:
        """Those of the source and of the target; progress is told of the source's records."""
        return await asyncio.gather(
            fingerprint(self.source, table, progress), fingerprint(self.target, table)
        )

    async def differences(
        self, table: Table[Any], parts: Collection[int]
    ) -> AsyncIterator[Put | Delete]:
        """What the target lacks to hold in these parts what the source holds."""
        held: dict[str, tuple[int, Any]] = {}
        async for page in pages(self.target, table):
            for value in page.values:
                key = table.key_of(value)
                if part_of(key) in parts:
                    ends = getattr(value, table.expires) if table.expires else None
                    held[key] = (digest_of(value), ends)
        async for page in pages(self.source, table):
            for value in page.values:
                key = table.key_of(value)
                if part_of(key) not in parts:
                    continue
                known, _ = held.pop(key, (None, None))
                if known != digest_of(value):
                    yield Put(table, value, ANY)
        for key, (_, ends) in held.items():
            # What ended while it was compared is gone on both sides, though it was seen on one.
            if ends is None or ends > self.clock.now():
                yield Delete(table, key, ANY)


async def fingerprint(
    records: Records, table: Table[Any], progress: Progress | None = None
) -> Fingerprint:
    """Of every record that hasn't expired, its counters and times as they are now."""
    found = Fingerprint()
    async for page in pages(records, table):
        for value in page.values:
            found.add(table.key_of(value), digest_of(value))
        if progress:
            progress(table, found.count)
    return found
