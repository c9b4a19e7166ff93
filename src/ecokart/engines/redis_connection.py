"""How the cache and live reach Redis: what a URL may say, the time an answer may take, errors in words."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from redis.asyncio import Connection, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as RedisTimeout
from redis.maint_notifications import MaintNotificationsConfig

from ecokart.core.errors import Unavailable

# What Redis is for must not cost seconds: whoever waits goes on without it instead.
ANSWER_SECONDS = 0.5
DEFAULT_PREFIX = "ecokart:"


class RedisClient:
    """A bounded number of connections to one Redis, made when they are needed.

    `redis://user:password@host:6379/0?prefix=shop:`, or `rediss` for TLS, then also with
    `ssl_ca_certs=/file.pem`. `prefix` begins every name that is ours. Raises `ValueError` with a
    sentence for what is no such URL.
    """

    def __init__(self, url: str, *, most_connections: int) -> None:
        address, self.prefix, options = _read(url)
        self._pool: Any = ConnectionPool.from_url(
            address,
            socket_connect_timeout=ANSWER_SECONDS,
            # `ask` bounds the whole of a call. The library would wait for each part of it by
            # `wait_for`, which makes a task each time, and before Python 3.12 may swallow a
            # cancellation.
            socket_timeout=None,
            socket_keepalive=True,
            # What may be tried again is known where it is asked; the library would wait for seconds.
            retry=Retry(NoBackoff(), 0),
            protocol=3,
            # With them on, the library doesn't look whether an idle connection has been closed meanwhile.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **options,
        )
        self._redis: Any = Redis(connection_pool=self._pool)
        # First come, first served: the library's own bounded pool lets who is quick overtake for ever.
        self._free = asyncio.Semaphore(most_connections)

    async def ask(self, *command: str | bytes | int, again: bool = False) -> Any:
        """Redis's answer, within half a second with all that it takes. Raises `Unavailable`.

        `again`: the command may be done twice, so a connection that breaks is no answer yet.
        """
        with in_words():
            async with asyncio.timeout(ANSWER_SECONDS), self._free:
                if again:
                    with suppress(ConnectionLost):
                        return await self._redis.execute_command(*command)
                return await self._redis.execute_command(*command)

    async def version(self) -> str:
        """`Redis 7.0.15`. Raises `Unavailable` where none answers, or one that takes no writes."""
        hello = await self.ask("HELLO")
        if hello[b"role"] != b"master":
            raise Unavailable("Redis is a replica there, which takes no writes.")
        return f"{hello[b'server'].decode().capitalize()} {hello[b'version'].decode()}"

    async def connection(self) -> Connection:
        """A new connection for whoever wants one alone. Raises `Unavailable`."""
        connection: Connection = self._pool.make_connection()
        with in_words():
            async with asyncio.timeout(ANSWER_SECONDS):
                await cast(Any, connection).connect()
        return connection

    async def close(self) -> None:
        """Let go of the connections. Those that can't be closed in order are gone as well."""
        with suppress(RedisError, OSError):
            await self._redis.aclose(close_connection_pool=True)


def _read(url: str) -> tuple[str, str, dict[str, str]]:
    """The URL without our options, the prefix, and the library's options."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = options.pop("prefix", DEFAULT_PREFIX)
    known = {"ssl_ca_certs"} if parts.scheme == "rediss" else set()
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"{unknown[0]} is no option of it")
    database = parts.path.strip("/") or "0"
    if not parts.hostname or not database.isdecimal():
        raise ValueError("it needs a host and the number of a database")
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", "", "")), prefix, options


@contextmanager
def in_words() -> Iterator[None]:
    """Turns what goes wrong with Redis into `Unavailable`, in words that name no address."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis {_what_happened(error)}.") from error


def _what_happened(error: RedisError | OSError) -> str:
    if isinstance(error, RedisTimeout | TimeoutError):
        return f"doesn't answer within {ANSWER_SECONDS} s"
    if isinstance(error, AuthenticationError):
        return "refuses the user or the password"
    cause = _system_error(error)
    if cause is None:
        return f"says: {str(error).rstrip('.')}"
    number = cause.errno or 0
    return f"can't be reached: {os.strerror(number) if number > 0 else cause.strerror or cause}"


def _system_error(error: BaseException | None) -> OSError | None:
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__context__
    return None
