"""The load generator tells the truth: it counts every answer, waits for its end, and notices a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import cycle

import pytest

from bench.load import LOST, Answer, Scenario, UnexpectedAnswers, always, percentile, request, run
from bench.progress import Backlog
from bench.steady import at_rate
from bench.sustained import Way

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]
ASKED = request("GET", "/")


@asynccontextmanager
async def answering(*replies: Reply) -> AsyncIterator[int]:
    """A server that gives these replies in turn to whoever asks; its port."""
    turns, talks = cycle(replies), set[asyncio.Task[None]]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await next(turns)(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.create_task(talk(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*talks)


async def ok(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


async def in_pieces(writer: asyncio.StreamWriter) -> None:
    for piece in (b"HTTP/1.1 200 OK\r\ncontent-len", b"gth: 5\r\n\r", b"\nhel", b"lo"):
        writer.write(piece)
        await asyncio.sleep(0.01)


async def busy(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")


async def gone(writer: asyncio.StreamWriter) -> None:
    writer.close()


def asking(times: int, answers: list[Answer]) -> Scenario:
    for _ in range(times):
        answer = yield ASKED
        answers.append(answer)


async def test_an_answer_is_complete_however_it_comes() -> None:
    answers: list[Answer] = []
    async with answering(ok, in_pieces) as port:
        tally = await run(port, [asking(4, answers)])
    assert [answer.body for answer in answers] == [b"hello"] * 4
    assert tally.answers == 4
    assert tally.seconds[1] > 0.02  # half of the pause between the pieces, and more
    assert tally.milliseconds(100) >= tally.milliseconds(50)


async def test_every_status_is_counted_and_a_wrong_one_spoils_the_figure() -> None:
    async with answering(ok, busy) as port:
        tally = await run(port, [asking(6, [])])
    assert tally.statuses == {200: 3, 503: 3}
    with pytest.raises(UnexpectedAnswers):
        tally.all_are(200)


async def test_a_lost_answer_reaches_the_scenario_that_goes_on() -> None:
    answers: list[Answer] = []
    async with answering(ok, gone) as port:
        tally = await run(port, [asking(3, answers)], reconnect_until=lambda: False)
    assert [answer.status for answer in answers] == [200, LOST.status, 200]
    assert tally.statuses == {200: 2, LOST.status: 1}


async def test_without_reconnecting_a_lost_answer_is_counted_too() -> None:
    async with answering(ok, gone) as port:
        tally = await run(port, [always(ASKED)])
    assert tally.statuses == {200: 1, LOST.status: 1}


async def test_it_ends_when_the_time_is_over() -> None:
    async with answering(ok) as port:
        tally = await run(port, [always(ASKED) for _ in range(3)], seconds=0.1)
    assert 0.1 <= tally.elapsed < 1
    assert tally.statuses == {200: tally.answers}


def slow(seconds: float) -> Reply:
    async def answer(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await ok(writer)

    return answer


async def test_at_a_rate_requests_fall_due_whatever_the_server_does() -> None:
    async with answering(slow(0.1), ok) as port:
        replies = await at_rate(port, [ASKED] * 20, per_second=200)
    assert [reply.answer.status for reply in replies] == [200] * 20
    dues = [reply.due for reply in replies]
    assert dues == sorted(dues)
    assert dues[-1] - dues[0] == pytest.approx(19 / 200, abs=0.001)
    assert max(reply.seconds for reply in replies) > 0.1  # whichever came first


async def test_at_a_rate_the_wait_for_a_free_connection_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.steady.CONNECTIONS", 1)
    async with answering(slow(0.05)) as port:
        replies = await at_rate(port, [ASKED] * 4, per_second=1000)
    assert replies[-1].seconds > 4 * 0.05 - 3 / 1000


async def test_at_a_rate_a_connection_that_ends_between_requests_is_replaced() -> None:
    async def ok_and_gone(writer: asyncio.StreamWriter) -> None:
        await ok(writer)
        writer.close()

    async with answering(ok_and_gone) as port:
        replies = await at_rate(port, [ASKED] * 3, per_second=20)
    assert [reply.answer.status for reply in replies] == [200] * 3


async def test_at_a_rate_a_lost_answer_spoils_the_figure() -> None:
    async with answering(gone) as port:
        with pytest.raises(UnexpectedAnswers):
            await at_rate(port, [ASKED], per_second=100)


def way(seconds: float, completed: list[float]) -> Way:
    return Way(len(completed) / seconds, seconds, [], completed, Backlog(0, 0.0, 0))


def test_a_short_look_tells_whether_a_rate_would_be_too_much_in_the_long_run() -> None:
    falling_behind = way(6, [second / 100 for second in range(100)])
    assert falling_behind.holds(for_seconds=6)
    assert not falling_behind.holds(for_seconds=60)
    assert way(6, [0.4] * 100).holds(for_seconds=60)


def test_the_next_rate_is_what_was_managed_and_is_always_lower() -> None:
    assert way(10, [2.5] * 1000).lower == pytest.approx(1000 / 12.5)
    assert way(10, [0.1] * 1000).lower == pytest.approx(90)
    assert way(10, [*[1.0] * 999, float("inf")]).lower == pytest.approx(50)


def test_percentiles() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([3.0], 50) == 3
    assert percentile([], 99) == 0
