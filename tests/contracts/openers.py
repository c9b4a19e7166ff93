"""Each records engine: where a test gets an empty place for it, and how that place is opened.

The fixtures open by this, and so does the other process of a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ecokart.core.clock import Clock
from ecokart.core.ports import Records
from ecokart.core.records import Table
from ecokart.engines.faulty import Chaos, FaultyRecords
from ecokart.engines.records_dynamodb import DynamoRecords
from ecokart.engines.records_postgres import PostgresRecords
from ecokart.engines.records_sqlite import SqliteRecords
from tests.contracts.records_kept import Opener
from tests.dynamodb import make_tables
from tests.servers import dynamodb_url, postgresql_url


@dataclass(frozen=True, slots=True)
class Engine:
    """`place` takes a folder of the test's own and gives a location that keeps nothing yet, as a path or URL.

    `behind_network` says that a server answers, so that the connection to it can be cut.
    """

    place: Callable[[Path], str]
    open: Opener
    behind_network: bool = False


def in_folder(folder: Path) -> str:
    return str(folder / "records")


def open_sqlite(location: str, tables: Iterable[Table[Any]], clock: Clock) -> Records:
    return SqliteRecords(Path(location), tables, clock)


def open_faulty(location: str, tables: Iterable[Table[Any]], clock: Clock) -> Records:
    """With every rate at 0: the wrapper itself must change nothing."""
    return FaultyRecords(open_sqlite(location, tables, clock), Chaos(1))


def open_dynamodb(location: str, tables: Iterable[Table[Any]], clock: Clock) -> Records:
    """With its tables made first, as `ecokart tables create` makes them; not by way of any proxy."""
    tables = list(tables)
    direct = urlsplit(dynamodb_url()).query
    make_tables(f"{location.partition('?')[0]}?{direct}", tables)
    return DynamoRecords(location, tables, clock)


def open_postgresql(location: str, tables: Iterable[Table[Any]], clock: Clock) -> Records:
    return PostgresRecords(location, tables, clock)


ENGINES: dict[str, Engine] = {
    "sqlite": Engine(in_folder, open_sqlite),
    "faulty": Engine(in_folder, open_faulty),
    "postgresql": Engine(lambda folder: postgresql_url(), open_postgresql, behind_network=True),
    "dynamodb": Engine(lambda folder: dynamodb_url(), open_dynamodb, behind_network=True),
}
