"""The proxy that cuts: each kind of cut is what it says, seen from a server that answers in echoes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.proxy import HOST, Cut, Proxy, through

PATIENCE_SECONDS = 5
HEARD = {
    Cut.BEFORE: b"",
    Cut.WITHIN: b"ques",
    Cut.AT_WORK: b"question",
    Cut.AFTER: b"question",
    Cut.WITHIN_ANSWER: b"question",
    Cut.SILENT: b"question",
}


class Echo:
    """Answers each message with itself, and remembers what each connection said to its end."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.hung_up = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.heard)
        self.heard.append(b"")
        try:
            while message := await reader.read(1000):
                self.heard[number] += message
                writer.write(message)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
            self.hung_up.set()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, Proxy]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, HOST, 0)
    async with Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield echo, proxy
    server.close()
    await server.wait_closed()


async def ask(
    proxy: Proxy, message: bytes = b"question"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    writer.write(message)
    return reader, writer


async def heard(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the connection ends, however it ends."""
    answer = b""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while part := await reader.read(1000):
                answer += part
    except ConnectionError:
        pass
    return answer


async def test_it_lets_through_what_it_isnt_told_to_cut(echo: tuple[Echo, Proxy]) -> None:
    server, proxy = echo
    reader, writer = await ask(proxy)
    assert await reader.readexactly(8) == b"question"
    writer.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await server.hung_up.wait()
    assert (server.heard, proxy.cuts) == ([b"question"], 0)


@pytest.mark.parametrize("how", [how for how in Cut if how is not Cut.SILENT])
async def test_each_cut_is_at_its_moment(echo: tuple[Echo, Proxy], how: Cut) -> None:
    server, proxy = echo
    proxy.cut(how)
    reader, writer = await ask(proxy)
    assert await heard(reader) == (b"ques" if how is Cut.WITHIN_ANSWER else b"")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await server.hung_up.wait()
    assert server.heard == [HEARD[how]]
    writer.close()
    again, writer = await ask(proxy, b"again")  # it cuts once
    assert await again.readexactly(5) == b"again"
    writer.close()
    assert proxy.cuts == 1


async def test_a_silent_connection_stays_open_and_says_nothing(echo: tuple[Echo, Proxy]) -> None:
    server, proxy = echo
    proxy.cut(Cut.SILENT)
    reader, writer = await ask(proxy)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while server.heard != [b"question"]:
            await asyncio.sleep(0.001)
    writer.write(b"are you there?")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.read(1)
    assert server.heard == [b"question"]
    writer.close()


async def test_all_open_connections_can_go_silent_and_a_new_one_speaks(
    echo: tuple[Echo, Proxy],
) -> None:
    _, proxy = echo
    reader, writer = await ask(proxy)
    assert await reader.readexactly(8) == b"question"
    proxy.silence()
    writer.write(b"another")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await reader.read(1)
    writer.close()
    reader, writer = await ask(proxy, b"new")
    assert await reader.readexactly(3) == b"new"
    writer.close()


async def test_the_cut_comes_after_so_many_messages(echo: tuple[Echo, Proxy]) -> None:
    _, proxy = echo
    proxy.cut(Cut.AFTER, after=2, for_good=True)
    reader, writer = await ask(proxy, b"1")
    assert await reader.read(1) == b"1"
    writer.write(b"2")
    assert await reader.read(1) == b"2"
    writer.write(b"3")
    assert await heard(reader) == b""
    writer.close()
    with pytest.raises(OSError, match="onnect"):  # and from then on there is no server
        await ask(proxy)


async def test_a_server_that_is_gone_comes_back_at_the_same_place(
    echo: tuple[Echo, Proxy],
) -> None:
    _, proxy = echo
    before = through(proxy, f"redis://{HOST}:6379/0")
    reader, writer = await ask(proxy)
    assert await reader.readexactly(8) == b"question"
    await proxy.refuse()
    assert await heard(reader) == b""
    writer.close()
    with pytest.raises(OSError, match="onnect"):
        await ask(proxy)
    await proxy.restore()
    assert through(proxy, f"redis://{HOST}:6379/0") == before
    reader, writer = await ask(proxy)
    assert await reader.readexactly(8) == b"question"
    writer.close()
