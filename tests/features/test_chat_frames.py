"""The rules of RFC 6455 for text, fragments, control frames, close and UTF-8, byte by byte, at our endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from ecokart.web.sockets import MAX_FRAME_BYTES
from tests.shop import Shop

BOUND_SECONDS = 10
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN = 0x80
HELLO = json.dumps({"action": "ping", "id": "grüße"}, ensure_ascii=False).encode()


@dataclass
class Wire:
    """A connection whose bytes the test writes itself."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def put(self, opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0) -> None:
        length = len(payload)
        size = (
            bytes([0x80 | length])
            if length < 126
            else bytes([0x80 | 126]) + length.to_bytes(2)
            if length < 65_536
            else bytes([0x80 | 127]) + length.to_bytes(8)
        )
        self.writer.write(bytes([(FIN if fin else 0) | bits | opcode]) + size + bytes(4) + payload)

    async def get(self) -> tuple[int, bytes]:
        """The next frame; a server's frames are whole and not masked."""
        async with asyncio.timeout(BOUND_SECONDS):
            first, second = await self.reader.readexactly(2)
            assert first & 0xF0 == FIN
            assert not second & 0x80
            length = second
            if second == 126:
                length = int.from_bytes(await self.reader.readexactly(2))
            return first & 0x0F, await self.reader.readexactly(length)

    async def closed(self) -> tuple[int, str]:
        """The code and reason with which the server closes, and that it does."""
        while True:
            opcode, payload = await self.get()
            if opcode == CLOSE:
                break
        self.put(CLOSE, payload[:2])
        async with asyncio.timeout(BOUND_SECONDS):
            with suppress(ConnectionResetError):  # what it didn't read is thrown away
                assert await self.reader.read() == b""
        return int.from_bytes(payload[:2]), payload[2:].decode()

    async def answered(self) -> bool:
        opcode, payload = await self.get()
        return opcode == TEXT and json.loads(payload)["id"] == "grüße"


@pytest.fixture
async def wire(demo: Shop) -> AsyncIterator[Wire]:
    async with _opened(demo) as wire:
        yield wire


@asynccontextmanager
async def _opened(shop: Shop) -> AsyncIterator[Wire]:
    host, port = shop.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /chat HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455, 1.3
    assert b"sec-websocket-extensions" not in head.lower()
    wire = Wire(reader, writer)
    assert json.loads((await wire.get())[1])["type"] == "welcome"
    try:
        yield wire
    finally:
        writer.close()


async def test_a_text_in_one_piece_or_in_many(wire: Wire) -> None:
    wire.put(TEXT, HELLO)
    assert await wire.answered()
    # Cut everywhere, within a character too, with a ping in between.
    wire.put(TEXT, HELLO[:1], fin=False)
    for place in range(1, len(HELLO) - 1):
        wire.put(CONTINUATION, HELLO[place : place + 1], fin=False)
    wire.put(PING, b"in between")
    wire.put(CONTINUATION, b"", fin=False)
    wire.put(CONTINUATION, HELLO[-1:])
    assert await wire.get() == (PONG, b"in between")
    assert await wire.answered()


async def test_pings_come_back_and_pongs_are_taken(wire: Wire) -> None:
    for payload in (b"", b"x" * 125, bytes(range(100))):
        wire.put(PING, payload)
        assert await wire.get() == (PONG, payload)
    wire.put(PONG, b"nobody asked")
    wire.put(TEXT, HELLO)
    assert await wire.answered()


@pytest.mark.parametrize(
    ("opcode", "payload", "fin", "bits"),
    [
        (PING, b"x" * 126, True, 0),
        (PING, b"x", False, 0),
        (TEXT, HELLO, True, 0x40),
        (TEXT, HELLO, True, 0x10),
        (3, b"", True, 0),
        (11, b"", True, 0),
        (CONTINUATION, b"of nothing", True, 0),
        (CLOSE, b"\x03", True, 0),
        (CLOSE, (999).to_bytes(2), True, 0),
        (CLOSE, (1005).to_bytes(2), True, 0),
        (CLOSE, (2999).to_bytes(2), True, 0),
    ],
)
async def test_what_is_no_frame_ends_it_as_a_protocol_error(
    wire: Wire,
    opcode: int,
    payload: bytes,
    fin: bool,
    bits: int,
) -> None:
    wire.put(opcode, payload, fin=fin, bits=bits)
    assert (await wire.closed())[0] == 1002


async def test_a_text_within_a_text_is_a_protocol_error(wire: Wire) -> None:
    wire.put(TEXT, HELLO[:5], fin=False)
    wire.put(TEXT, HELLO)
    assert (await wire.closed())[0] == 1002


async def test_a_frame_without_a_mask_is_a_protocol_error(wire: Wire) -> None:
    wire.writer.write(bytes([FIN | TEXT, len(HELLO)]) + HELLO)
    assert (await wire.closed())[0] == 1002


@pytest.mark.parametrize(
    "payload", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xce\xba\xe1"]
)
async def test_what_is_no_utf_8_ends_it(wire: Wire, payload: bytes) -> None:
    wire.put(TEXT, payload)
    assert (await wire.closed())[0] == 1007


async def test_a_close_reason_that_is_no_utf_8_ends_it(wire: Wire) -> None:
    wire.put(CLOSE, (1000).to_bytes(2) + b"\xff")
    assert (await wire.closed())[0] == 1007


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 3000, 4999])
async def test_a_close_is_answered_with_its_code(wire: Wire, code: int) -> None:
    wire.put(CLOSE, code.to_bytes(2) + "tschüß".encode())
    assert (await wire.closed())[0] == code


async def test_a_close_may_say_nothing(wire: Wire) -> None:
    wire.put(CLOSE)
    assert (await wire.get()) == (CLOSE, b"")


async def test_binary_frames_arent_taken(wire: Wire) -> None:
    wire.put(BINARY, HELLO)
    assert await wire.closed() == (1003, "text_only")


async def test_a_frame_that_is_too_large_ends_it_in_one_piece_or_in_many(demo: Shop) -> None:
    async with _opened(demo) as wire:
        wire.put(TEXT, b"x" * (MAX_FRAME_BYTES + 1))
        assert (await wire.closed())[0] == 1009
    async with _opened(demo) as wire:
        wire.put(TEXT, b"x" * MAX_FRAME_BYTES, fin=False)
        wire.put(CONTINUATION, b"x")
        assert (await wire.closed())[0] == 1009
    async with _opened(demo) as wire:
        wire.put(TEXT, b"x" * MAX_FRAME_BYTES)
        assert json.loads((await wire.get())[1])["code"] == "bad_frame"


async def test_goodbye_is_answered_with_1000(wire: Wire) -> None:
    wire.put(TEXT, b'{"action":"disconnect"}')
    assert await wire.closed() == (1000, "goodbye")
