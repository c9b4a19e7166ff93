"""Publish and subscribe between processes, through Redis: one connection a process for all its topics."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Connection
from redis.exceptions import RedisError

from ecokart.core.errors import Unavailable
from ecokart.engines.live_memory import MemoryLive
from ecokart.engines.redis_connection import (
    ANSWER_SECONDS,
    ask,
    connect,
    disconnect,
    in_words,
    version,
)

MOST_CONNECTIONS = 4
# A connection that says nothing for so long is asked, and lost when it says nothing for as long again.
QUIET_SECONDS = 2.0


class RedisLive:
    """`Live` through Redis. Connects when it is used; an answer takes half a second or is `Unavailable`.

    When the connection of the subscriptions is lost, every iterator ends: what was published
    meanwhile nobody has kept. Subscribing again connects again.
    """

    def __init__(self, url: str) -> None:
        self._redis, self._prefix = connect(url, most_connections=MOST_CONNECTIONS)
        self._opening: asyncio.Task[_Subscriptions] | None = None

    async def publish(self, topic: str, message: bytes) -> None:
        await ask(self._redis, "PUBLISH", self._prefix + topic, message)

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        subscriptions = await self._subscriptions()
        async with subscriptions.listen(self._prefix + topic) as messages:
            yield messages

    async def cut_off(self) -> None:
        """End every iterator, and begin with a new connection."""
        opening, self._opening = self._opening, None
        if opening:
            with suppress(Unavailable):
                await (await opening).close()

    async def ping(self) -> str:
        await self.publish("ping", b"")
        return await version(self._redis)

    async def close(self) -> None:
        await self.cut_off()
        await disconnect(self._redis)

    async def _subscriptions(self) -> _Subscriptions:
        """The connection; all who need it while it is being made wait for the same one, or its failure."""
        opened = self._opening
        if opened is None or (opened.done() and (opened.exception() or opened.result().over)):
            self._opening = opened = asyncio.create_task(self._open())
        return await asyncio.shield(opened)

    async def _open(self) -> _Subscriptions:
        connection = self._redis.connection_pool.make_connection()
        with in_words():
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.connect()
        return _Subscriptions(connection)


class _Subscriptions:
    """One connection with all that is subscribed through it. Once it is lost it stays so: `over`."""

    def __init__(self, connection: Connection) -> None:
        self.over = False
        self._connection, self._sending = connection, asyncio.Lock()
        self._here = MemoryLive()
        # How many listen to a topic, and the answer to its subscription.
        self._topics: dict[str, tuple[int, asyncio.Future[bool]]] = {}
        # Redis answers in order: these are the answers that are still to come, False if it is lost.
        self._unanswered: deque[asyncio.Future[bool]] = deque()
        self._reading = asyncio.create_task(self._read())

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._here.subscribe(topic) as messages:
            await self._join(topic)
            try:
                yield messages
            finally:
                await self._leave(topic)

    async def close(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _join(self, topic: str) -> None:
        """Returns once Redis has confirmed that the topic's messages come here."""
        listeners, subscribed = self._topics.get(topic, (0, None))
        if subscribed is None:
            subscribed = asyncio.get_running_loop().create_future()
        self._topics[topic] = (listeners + 1, subscribed)
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                if not listeners:
                    await self._ask(subscribed, "SUBSCRIBE", topic)
                confirmed = await asyncio.shield(subscribed)
        except TimeoutError:
            confirmed = False
        except BaseException:
            await self._leave(topic)
            raise
        if not confirmed:
            await self._leave(topic)
            raise Unavailable("Redis doesn't answer to a subscription.")

    async def _leave(self, topic: str) -> None:
        listeners, subscribed = self._topics[topic]
        if listeners > 1:
            self._topics[topic] = (listeners - 1, subscribed)
            return
        del self._topics[topic]
        with suppress(Unavailable):  # then nothing comes any more anyway
            await self._ask(asyncio.get_running_loop().create_future(), "UNSUBSCRIBE", topic)

    async def _ask(self, answered: asyncio.Future[bool], *command: str) -> None:
        """Send it. Raises `Unavailable`."""
        async with self._sending:
            if self.over:
                answered.set_result(False)
                return
            self._unanswered.append(answered)
            with in_words():
                await self._connection.send_command(*command, check_health=False)

    async def _read(self) -> None:
        """Hands on what comes, until the connection is lost or closed."""
        try:
            while True:
                answer = await self._connection.read_response(
                    timeout=QUIET_SECONDS, disconnect_on_error=False, push_request=True
                )
                if answer is None:
                    if self._unanswered:
                        break
                    await self._ask(asyncio.get_running_loop().create_future(), "PING")
                elif isinstance(answer, list) and answer[0] == b"message":
                    await self._here.publish(answer[1].decode(), answer[2])
                else:
                    self._unanswered.popleft().set_result(True)
        except (RedisError, OSError, Unavailable):
            pass
        finally:
            self.over = True
            for answered in self._unanswered:
                answered.set_result(False)
            await self._here.cut_off()
            await self._connection.disconnect(nowait=True)
