"""A load generator of one core: raw keep-alive connections, each with one request under way.

A scenario is a generator that yields a request's bytes and is sent its `Answer`; every connection runs
its own, so each client can have its own token, its own Idempotency-Key, and an opinion on the answer.
`run` is a closed loop: a client that waits sends nothing, so a slow server is asked less often, and times
are those of a given number of clients. `bench.steady` asks at a given rate.
"""

from __future__ import annotations

import asyncio
import gc
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple, cast

RECONNECT_SECONDS = 0.02
UNAVAILABLE = 503
PAUSE_SECONDS = 0.1  # of a client that was told so


class Answer(NamedTuple):
    """What came back. `status` is 0 where the connection broke before the answer was here."""

    status: int
    body: bytes
    head: bytes


LOST = Answer(0, b"", b"")
Scenario = Generator[bytes, Answer, None]


@dataclass
class Tally:
    """What a run saw: answers by status, the seconds of each, and how long all of it took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def answers(self) -> int:
        return len(self.seconds)

    @property
    def per_second(self) -> float:
        return self.answers / self.elapsed if self.elapsed else 0.0

    def milliseconds(self, percent: float) -> float:
        return percentile(self.seconds, percent) * 1000

    def all_are(self, status: int) -> None:
        """Raises `UnexpectedAnswers` unless every request was answered so."""
        if set(self.statuses) != {status}:
            raise UnexpectedAnswers(f"expected only {status}, and got {dict(self.statuses)}")


class UnexpectedAnswers(Exception):
    """A figure over wrong answers is none."""


def percentile(values: list[float], percent: float) -> float:
    """The least of the values that `percent` of them don't exceed (nearest rank); 0 where there is none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)] if ordered else 0.0


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    token: str = "",
    api_key: str = "",
    key: str = "",
) -> bytes:
    """An HTTP/1.1 request, ready to be sent as often as one likes."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    if token:
        lines.append(f"authorization: Bearer {token}")
    if api_key:
        lines.append(f"x-api-key: {api_key}")
    if key:
        lines.append(f"idempotency-key: {key}")
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def always(what: bytes) -> Scenario:
    """The same request again and again."""
    while True:
        yield what


async def run(
    port: int,
    scenarios: Iterable[Scenario],
    *,
    seconds: float = 3600,
    reconnect_until: Callable[[], bool] | None = None,
) -> Tally:
    """Run the scenarios at once against 127.0.0.1, until each has ended or the time is over.

    Requests under way at the end are waited for and counted. Where a connection breaks the scenario
    is sent `LOST` and goes on over a new one while `reconnect_until` says False, or else ends.
    """
    tally, loop = Tally(), asyncio.get_running_loop()
    started = 0.0
    gone_for_good = reconnect_until or (lambda: True)

    async def client(scenario: Scenario) -> None:
        asked: bytes | None = next(scenario, None)
        while asked is not None:
            left = loop.create_future()
            connection = _Connection(scenario, asked, tally, started + seconds, left)
            try:
                await loop.create_connection(lambda c=connection: c, "127.0.0.1", port)  # type: ignore[misc]
                ended = await left
            except OSError:
                ended = False
            if ended or (asked := connection.after_loss(gone_for_good)) is None:
                return
            await asyncio.sleep(RECONNECT_SECONDS)

    with without_collections():
        started = perf_counter()
        await asyncio.gather(*map(client, scenarios))
        tally.elapsed = perf_counter() - started
    return tally


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage is collected meanwhile: among all the requests still to be asked that takes up to 70 ms,
    and the server would be blamed for it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Reader(asyncio.Protocol, ABC):
    """The receiving end of a keep-alive connection that has one request under way: collects whole answers."""

    _received = b""

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head_end = received.find(b"\r\n\r\n") + 4
        end = head_end + _body_length(received, head_end) if head_end > 3 else -1
        if end < 0 or len(received) < end:
            self._received = received
            return
        self._received = b""
        status = int(received[9:12])
        self.answered(Answer(status, received[head_end:end], received[:head_end]))

    @abstractmethod
    def answered(self, answer: Answer) -> None:
        """The answer to what was asked is here."""


class _Connection(Reader):
    """One client: sends, waits for the whole answer, hands it to the scenario, sends what it yields."""

    def __init__(
        self,
        scenario: Scenario,
        first: bytes,
        tally: Tally,
        deadline: float,
        left: asyncio.Future[bool],
    ) -> None:
        self._scenario, self._first, self._tally = scenario, first, tally
        self._deadline, self._left = deadline, left
        self._sent_at, self._asking = 0.0, False
        self._asked = first

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send(self._first)

    def answered(self, answer: Answer) -> None:
        now = perf_counter()
        self._asking = False
        self._tally.seconds.append(now - self._sent_at)
        self._tally.statuses[answer.status] += 1
        try:
            following = self._scenario.send(answer)
        except StopIteration:
            self._end()
            return
        if now >= self._deadline:
            self._end()
        elif answer.status == UNAVAILABLE:
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._send, following)
        else:
            self._send(following)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._left.done():
            self._left.set_result(False)

    def after_loss(self, gone_for_good: Callable[[], bool]) -> bytes | None:
        """What the scenario asks next, now that its connection is gone; None if that is its end.

        Where nothing had been sent (no connection came about) it is still the same request.
        """
        if gone_for_good():
            self._tally.statuses[LOST.status] += 1
            self._scenario.close()
            return None
        if not self._asking:
            return self._asked
        self._tally.statuses[LOST.status] += 1
        try:
            return self._scenario.send(LOST)
        except StopIteration:
            return None

    def _send(self, what: bytes) -> None:
        self._asking, self._asked = True, what
        if self._transport.is_closing():
            return  # it broke during a pause: `after_loss` asks again
        self._sent_at = perf_counter()
        self._transport.write(what)

    def _end(self) -> None:
        self._left.set_result(True)
        self._transport.close()


def _body_length(received: bytes, head_end: int) -> int:
    """Every answer of the shop and the floor says its length; 204 and 304 have no body."""
    head = received[:head_end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return int(head[at + 17 : head.index(b"\r", at + 17)])
    if head[9:12] in (b"204", b"304"):
        return 0
    raise UnexpectedAnswers(f"an answer without a length: {head[:200]!r}")
