"""Connections to PostgreSQL: a few, kept open, and what it means when one breaks.

asyncpg's own pool asks the server to reset a connection after every use, which is a round trip more
than the use itself had. These connections keep no state, so they need none of that.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from ecokart.core.errors import Invalid, Unavailable

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 6
# What the client waits beyond the server's own limit: the server's answer says more.
PATIENCE_SECONDS = 1
CONNECTIONS = 10
READ_ATTEMPTS = 3
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# asyncpg's own confusion, InternalClientError, is what a connection says that is about to break.
GONE = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
ERRORS = (asyncpg.PostgresError, *GONE)
SHUTTING_DOWN = ("57P01", "57P02", "57P03")


class Place:
    """What a URL says: the server, and what is our own in its query, the schema and the number of connections.

    Raises `ValueError` with a sentence for a URL that can't be meant.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.schema = query.pop("schema", "") or "public"
        limit = query.pop("connections", "") or str(CONNECTIONS)
        if not limit.isdecimal() or not 2 <= int(limit) <= 1000:
            raise ValueError(f"connections is {limit!r}, but takes a number from 2 to 1000")
        self.connections = int(limit)
        mode = query.get("sslmode", "prefer")
        if mode not in SSL_MODES:
            raise ValueError(f"sslmode is {mode!r}, but takes {' or '.join(SSL_MODES)}")
        if not parts.path.strip("/"):
            raise ValueError("it names no database")
        if "@" in parts.path:  # else what follows would show half of the password
            raise ValueError("a / in a name or a password is written %2F")
        self.dsn = urlunsplit(parts._replace(query=urlencode(query)))
        self.server = parts.netloc.rpartition("@")[2] or "localhost"
        for host in self.server.split(","):
            _ = urlsplit(f"//{host}").port  # raises for what is no number of a port


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose prepared statements have names that no other client's have.

    A pooler that hands out connections by transaction, and knows nothing of prepared statements, would
    else run another client's statement of the same name. So it says that there is none.
    """

    def _get_unique_id(self, prefix: str) -> str:
        return f"ecokart_{prefix}_{uuid.uuid4().hex}"


class Connections:
    """Up to so many connections, made when they are needed, and made anew when they broke.

    The first that answers is given to `prepare`, before anybody else has one.
    """

    def __init__(
        self, place: Place, prepare: Callable[[asyncpg.Connection[Any]], Awaitable[None]]
    ) -> None:
        self._place, self._prepare = place, prepare
        self._preparing = asyncio.Lock()
        self._prepared = False
        self._free = asyncio.Semaphore(place.connections)
        self._idle: list[asyncpg.Connection[Any]] = []
        self._open: set[asyncpg.Connection[Any]] = set()
        self._closed = False

    @asynccontextmanager
    async def use(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A connection of one's own for a while. Raises `Unavailable`, and then nothing was sent."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable("All connections to PostgreSQL are busy.") from None
        try:
            if self._closed:  # else who is cut off by that would connect anew
                raise Unavailable("The records are closed.")
            connection = self._reusable() or await self._connect()
            try:
                if not self._prepared:
                    await self._prepared_by(connection)
                yield connection
            except Unavailable:
                raise
            except ERRORS as error:
                # Also where the server said goodbye: the connection takes a moment to notice that.
                if broken(error):
                    self._drop(connection)
                raise
            except BaseException:  # in the middle of something: nobody else can use it
                connection.terminate()
                raise
            finally:
                if connection.is_closed():
                    self._open.discard(connection)
                else:
                    self._idle.append(connection)
        finally:
            self._free.release()

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        """The rows of a statement that may run twice: it is sent again if the connection breaks.

        Raises `Unavailable`, and `Invalid` for a value that its column can't hold.
        """
        for attempt in range(READ_ATTEMPTS):
            try:
                async with self.use() as connection:
                    rows: Sequence[Any] = await connection.fetch(sql, *parameters)
                    return rows
            except asyncpg.DataError as error:
                raise Invalid(f"No record can have that: {sentence(error)}.") from error
            except ERRORS as error:
                if not retriable(error) or attempt == READ_ATTEMPTS - 1:
                    raise Unavailable(f"PostgreSQL can't be read: {sentence(error)}.") from error
        raise AssertionError  # the last attempt returns or raises

    async def close(self) -> None:
        """Let go of all connections, one in use too, and make no new ones."""
        self._closed = True
        for connection in self._open.copy():
            connection.terminate()
        self._open.clear()
        self._idle.clear()

    def _drop(self, connection: asyncpg.Connection[Any]) -> None:
        """One broke: what became of it has most likely happened to those nobody uses now, too."""
        for one in (connection, *self._idle):
            one.terminate()

    def _reusable(self) -> asyncpg.Connection[Any] | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._open.discard(connection)
        return None

    async def _prepared_by(self, connection: asyncpg.Connection[Any]) -> None:
        async with self._preparing:
            if self._prepared:
                return
            try:
                await self._prepare(connection)
            except ERRORS as error:
                why = f"The tables can't be prepared: {sentence(error)}."
                raise Unavailable(why) from error
            self._prepared = True

    async def _connect(self) -> asyncpg.Connection[Any]:
        try:
            connection = await asyncpg.connect(
                self._place.dsn,
                connection_class=Connection,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_SECONDS + PATIENCE_SECONDS,
                statement_cache_size=1000,
                max_cached_statement_lifetime=0,
                server_settings={
                    "application_name": "ecokart",
                    "statement_timeout": f"{STATEMENT_SECONDS}s",
                },
            )
        except (*ERRORS, ValueError) as error:
            why = f"PostgreSQL at {self._place.server} can't be reached: {sentence(error)}."
            raise Unavailable(why) from error
        if self._closed:  # while it was being made
            connection.terminate()
            raise Unavailable("The records are closed.")
        self._open.add(connection)
        return connection


def broken(error: BaseException) -> bool:
    """Whether the connection is gone or of no more use, so that it isn't known what became of the statement."""
    if isinstance(error, asyncpg.PostgresError):
        state = str(error.sqlstate)
        return state.startswith("08") or state in SHUTTING_DOWN
    return isinstance(error, GONE)


def retriable(error: BaseException) -> bool:
    """Whether a statement that changes nothing is worth sending again at once."""
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.SerializationError):
        return True
    return broken(error) and not isinstance(error, TimeoutError)


def sentence(error: BaseException) -> str:
    """What went wrong, as the end of a sentence of ours."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, asyncpg.InvalidSQLStatementNameError):
        return "a pooler in between loses the prepared statements (docs/engines.md: what it needs)"
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__
