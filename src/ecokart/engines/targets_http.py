"""Targets over HTTPS: the name is looked up here, every address checked, and the checked one called."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime

from msgspec.structs import replace

from ecokart.core.clock import Clock
from ecokart.core.targets import EXCERPT_CHARACTERS, Answer, Failure, TargetBusy, TargetRefused
from ecokart.engines.targets_addresses import Target, callable_address, target

ANSWER_SECONDS = 9.0  # until the answer's head is there; for its body there is one more
LOOK_UP_SECONDS = 3.0
# Looking a name up blocks a thread. These are our own, so that a slow name server holds up only this.
LOOKING_UP = 8
AT_ONCE = 8  # of one party
WAITING = 8
WAIT_SECONDS = 1.0

# All addresses of a host, in the order in which they are to be tried.
Resolve = Callable[[str, int], Awaitable[list[str]]]


class NotPosted(Exception):
    """A post that came to no answer; its text says why."""

    def __init__(self, failure: Failure, why: object) -> None:
        super().__init__(str(why))
        self.failure = failure


class Reply:
    """An answer as it came: its status, its headers by their names in lower case, how its body begins."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class HttpTargets:
    """`Targets` by HTTP/1.1, each post over a connection of its own.

    `private` is for tests and developers: it lets through private addresses, plain HTTP and any port.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        ports: Collection[int] = (443,),
        private: bool = False,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._clock = clock
        self._answer_seconds = answer_seconds
        self._ports, self._private = frozenset(ports), private
        self._resolve = resolve or self._look_up
        self._trust = trust
        self._threads = ThreadPoolExecutor(LOOKING_UP, "look-up")
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._inside: Counter[str] = Counter()

    def check(self, url: str) -> None:
        self._target(url)

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, party: str
    ) -> Answer:
        async with self._turn(party):
            began = time.perf_counter()
            try:
                answer = self._answer(await self._post(url, headers, body))
            except TimeoutError:
                answer = Answer(failure=Failure.TIMEOUT)
            except TargetRefused as refused:
                answer = Answer(failure=Failure.FORBIDDEN, excerpt=refused.detail)
            except NotPosted as error:
                answer = Answer(failure=error.failure, excerpt=str(error)[:EXCERPT_CHARACTERS])
            return replace(answer, seconds=round(time.perf_counter() - began, 3))

    async def ping(self) -> str:
        return "HTTPS to any address" if self._private else "HTTPS to the internet"

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _target(self, url: str) -> Target:
        return target(url, ports=self._ports, private=self._private)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        from ecokart.engines.targets_http_client import send  # noqa: PLC0415 (a tenth of a second)

        called = self._target(url)
        async with asyncio.timeout(self._answer_seconds) as limit:
            addresses = await self._addresses(called)
            if self._trust is None:
                self._trust = ssl.create_default_context()
            return await send(called, addresses, headers, body, trust=self._trust, limit=limit)

    async def _addresses(self, called: Target) -> list[str]:
        """The addresses of the host, each of them checked; one that isn't allowed forbids them all."""
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                addresses = await self._resolve(called.host, called.port)
        except (OSError, UnicodeError) as error:
            raise NotPosted(Failure.NO_ADDRESS, error) from error
        if not addresses:
            raise NotPosted(Failure.NO_ADDRESS, called.host)
        if not self._private:
            for address in addresses:
                if not callable_address(address):
                    raise TargetRefused(f"{called.host} is {address}: private or reserved.")
        return addresses

    async def _look_up(self, host: str, port: int) -> list[str]:
        def ask() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(place[0]) for *_, place in found))

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    def _answer(self, reply: Reply) -> Answer:
        failure = None
        excerpt = reply.body.decode("utf-8", "replace").replace("\0", "�")
        if 300 <= reply.status < 400:
            failure, excerpt = Failure.REDIRECT, reply.headers.get("location", "")
        elif not 200 <= reply.status < 300:
            failure = Failure.ANSWER
        return Answer(
            failure=failure,
            status=reply.status,
            excerpt=excerpt[:EXCERPT_CHARACTERS],
            retry_after_seconds=self._retry_after_seconds(reply.headers.get("retry-after", "")),
        )

    def _retry_after_seconds(self, text: str) -> float | None:
        """Seconds or a date (RFC 9110, 10.2.3); None for what is neither, or is over."""
        try:
            if text.isdecimal():
                seconds = float(text)
            else:
                at = parsedate_to_datetime(text)
                at = at if at.tzinfo else at.replace(tzinfo=UTC)
                seconds = (at - self._clock.now()).total_seconds()
        except (ValueError, OverflowError):
            return None
        return seconds if 0 < seconds < math.inf else None

    @asynccontextmanager
    async def _turn(self, party: str) -> AsyncIterator[None]:
        """Wait for a place among the party's posts. Raises `TargetBusy`."""
        if self._inside[party] >= AT_ONCE + WAITING:
            raise TargetBusy
        gate = self._gates.setdefault(party, asyncio.Semaphore(AT_ONCE))
        self._inside[party] += 1
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await gate.acquire()
            except TimeoutError:
                raise TargetBusy from None
            try:
                yield
            finally:
                gate.release()
        finally:
            self._inside[party] -= 1
            if not self._inside[party]:
                del self._inside[party], self._gates[party]
