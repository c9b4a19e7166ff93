"""What `Records` promise, as a dict: beside it the state machine drives every engine.

It knows nothing of versions but that they tell one state of a record from every other, so it is told
each after a commit, by whoever asked the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from ecokart.core.records import (
    ABSENT,
    ANY,
    Adjust,
    BelowFloor,
    Cursor,
    Delete,
    Put,
    Reason,
    Table,
    Write,
    WriteConflict,
    sortable,
    write_key,
)

Place = tuple[str, str]


class Model:
    """Records of any tables, and the time by which they end."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.versions: dict[Place, int] = {}
        self._values: dict[Place, Any] = {}

    def get(self, table: Table[Any], key: str) -> Any:
        value = self._values.get((table.name, key))
        end = value and table.expires and getattr(value, table.expires)
        return None if end and end <= self.now else value

    def all(self, table: Table[Any]) -> dict[str, Any]:
        """The table's records by key."""
        keys = [key for name, key in self._values if name == table.name]
        return {key: value for key in keys if (value := self.get(table, key)) is not None}

    def query(self, table: Table[Any], index: str, by: Any, after: Cursor | None) -> list[Any]:
        """Everything that the pages behind `after` hold, in order."""
        order = table.indexes[index]
        places = []
        for key, value in self.all(table).items():
            sort = sortable(getattr(value, order.sort)) if order.sort else key
            if sortable(getattr(value, order.by)) == by and sort is not None:
                places.append(((sort, key), value))
        places.sort(key=lambda place: place[0], reverse=order.descending)
        if after is None:
            return [value for _, value in places]
        return [
            value
            for place, value in places
            if (place < after if order.descending else place > after)
        ]

    def commit(self, writes: Sequence[Write]) -> None:
        """Apply all, or raise what the engine must raise."""
        places = [(write.table.name, write_key(write)) for write in writes]
        for write in writes:  # before anything is looked at
            if isinstance(write, Put) and _below(write.table, write.value):
                raise BelowFloor(write.table.name, write_key(write))
        for write in writes:
            self._condition(write)
        for write, place in zip(writes, places, strict=True):
            if isinstance(write, Put):
                self._values[place] = write.value
            elif isinstance(write, Delete):
                self._values.pop(place, None)
            elif isinstance(write, Adjust):
                self._values[place] = self._adjusted(write)

    def _condition(self, write: Write) -> None:
        name, key = write.table.name, write_key(write)
        value = self.get(write.table, key)
        reason = None
        if isinstance(write, Adjust):
            if value is not None and _below(write.table, self._adjusted(write)):
                raise BelowFloor(name, key)
            reason = Reason.GONE if value is None else None
        elif write.expected == ABSENT:
            reason = None if value is None else Reason.EXISTS
        elif write.expected != ANY:
            changed = write.expected != self.versions.get((name, key))
            reason = Reason.GONE if value is None else Reason.CHANGED if changed else None
        if reason:
            raise WriteConflict(name, key, reason)

    def _adjusted(self, write: Adjust) -> Any:
        value = self.get(write.table, write.key)
        changes: dict[str, Any] = {c: getattr(value, c) + n for c, n in write.add.items()}
        if write.table.touched:
            changes[write.table.touched] = write.at
        return msgspec.structs.replace(value, **changes)


def _below(table: Table[Any], value: Any) -> bool:
    return any(getattr(value, counter) < floor for counter, floor in table.counters.items())
