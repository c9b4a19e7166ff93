"""Where a shop keeps its things while something is proven: a folder, and an engine for its records.

SQLite is a file in that folder. PostgreSQL and DynamoDB Local are the servers of `tests.servers`: those
that run, with a place of one's own on them, or a PostgreSQL of one's own where it shall be killed.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import uvloop

from bench import processes
from bench.auditor import Auditor, auditor
from bench.crowd import Crowd, crowd
from bench.processes import Server, settings_of
from ecokart.core.clock import Clock
from ecokart.rooms import TABLES
from ecokart.settings import Settings
from tests.dynamodb import make_tables
from tests.servers import dynamodb_url, own_postgresql, postgresql_url

ENGINES = ("sqlite", "postgresql", "dynamodb")

R = TypeVar("R")


class Database(Protocol):
    """A server that can be killed, and started again on its data."""

    def kill(self) -> None:
        """SIGKILL, to all of it."""

    def start(self) -> None:
        """Begin again, and return when it answers."""


@dataclass(frozen=True)
class Place:
    """A place for one shop. `more` are the settings that name it; `database` is what may be killed."""

    folder: Path
    more: Mapping[str, str]
    database: Database | None = None

    @property
    def settings(self) -> Settings:
        return settings_of(self.folder, 0, **self.more)[0]

    def serve(self, port: int, count: int = 1) -> Server:
        """The shop in so many processes, answering."""
        if count > 1:
            return processes.shop_of(count, self.folder, port, **self.more)
        return processes.shop(self.folder, port, **self.more)

    def crowd(self, clock: Clock | None = None) -> AbstractAsyncContextManager[Crowd]:
        return crowd(self.folder, clock, **self.more)

    def auditor(self) -> Auditor:
        return auditor(self.settings)


@contextmanager
def place(engine: str, *, to_be_killed: bool = False) -> Iterator[Place]:
    """An empty place on one of `ENGINES`. `to_be_killed`: the database is a server of its own."""
    with tempfile.TemporaryDirectory(prefix="ecokart-proof-") as name:
        folder = Path(name)
        if to_be_killed and engine != "postgresql":
            raise ValueError(f"{engine} is no server that can be killed here.")
        if to_be_killed:
            with own_postgresql(folder / "postgresql") as server:
                yield Place(folder, {"ECOKART_RECORDS_URL": server.url}, server)
        elif url := records_url(engine):
            yield Place(folder, {"ECOKART_RECORDS_URL": url})
        else:
            yield Place(folder, {})


def run(proof: Coroutine[Any, Any, R]) -> R:
    """Run it to its end; where its engine is missing, say so and end the program."""
    try:
        return uvloop.run(proof)
    except pytest.skip.Exception as missing:
        sys.exit(missing.msg)


def records_url(engine: str) -> str:
    """An empty place on a server that runs; "" for SQLite, whose file is in the shop's own folder."""
    if engine == "postgresql":
        return postgresql_url()
    if engine == "dynamodb":
        url = dynamodb_url()
        make_tables(url, TABLES)
        return url
    return ""
