"""How each records engine is opened: by the fixtures, and by the other process of a test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ecokart.core.clock import Clock
from ecokart.core.ports import Records
from ecokart.core.records import Table
from ecokart.engines.faulty import Chaos, FaultyRecords
from ecokart.engines.records_sqlite import SqliteRecords
from tests.contracts.records_kept import Opener


def open_sqlite(location: str, tables: Iterable[Table[Any]], clock: Clock) -> Records:
    return SqliteRecords(Path(location), tables, clock)


def open_faulty(location: str, tables: Iterable[Table[Any]], clock: Clock) -> Records:
    """With every rate at 0: the wrapper itself must change nothing."""
    return FaultyRecords(open_sqlite(location, tables, clock), Chaos(1))


OPENERS: dict[str, Opener] = {"sqlite": open_sqlite, "faulty": open_faulty}
