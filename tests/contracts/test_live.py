"""`Live`: in order, to whoever listens now, and nobody slow holds anybody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ecokart.core.ports import Live


async def heard(messages: AsyncIterator[bytes], count: int) -> list[bytes]:
    async with asyncio.timeout(5):
        return [await anext(messages) for _ in range(count)]


async def test_a_listener_hears_the_messages_in_their_order(live: Live) -> None:
    sent = [f"message {n} ✓".encode() for n in range(200)]
    async with live.subscribe("chat") as messages:
        for message in sent:
            await live.publish("chat", message)
        assert await heard(messages, 200) == sent


async def test_every_listener_hears_every_message(live: Live) -> None:
    async with live.subscribe("chat") as first, live.subscribe("chat") as second:
        await live.publish("chat", b"hello")
        assert await heard(first, 1) == await heard(second, 1) == [b"hello"]


async def test_topics_keep_apart(live: Live) -> None:
    async with live.subscribe("chat") as chat, live.subscribe("orders") as orders:
        await live.publish("orders", b"order")
        await live.publish("chat", b"hello")
        assert await heard(chat, 1) == [b"hello"]
        assert await heard(orders, 1) == [b"order"]


async def test_a_listener_that_waits_hears_what_comes(live: Live) -> None:
    async with live.subscribe("chat") as messages:
        waiting = asyncio.ensure_future(heard(messages, 1))
        await asyncio.sleep(0)
        await live.publish("chat", b"hello")
        assert await waiting == [b"hello"]


async def test_nothing_is_kept_for_who_comes_later(live: Live) -> None:
    await live.publish("chat", b"before")
    async with live.subscribe("chat") as messages:
        await live.publish("chat", b"after")
        assert await heard(messages, 1) == [b"after"]


async def test_who_has_left_costs_the_others_nothing(live: Live) -> None:
    async with live.subscribe("chat") as messages:
        async with live.subscribe("chat"):
            await live.publish("chat", b"both")
        await live.publish("chat", b"one")
        assert await heard(messages, 2) == [b"both", b"one"]


async def test_a_thousand_messages_behind_is_not_too_far(live: Live) -> None:
    async with live.subscribe("chat") as messages:
        for number in range(1000):
            await live.publish("chat", b"%d" % number)
        assert await heard(messages, 1000) == [b"%d" % number for number in range(1000)]
        await live.publish("chat", b"still there")
        assert await heard(messages, 1) == [b"still there"]


async def test_a_listener_that_is_too_far_behind_is_cut_off_and_others_are_not(live: Live) -> None:
    async with live.subscribe("chat") as slow, live.subscribe("chat") as quick:
        for number in range(1500):
            await live.publish("chat", b"%d" % number)
            assert await heard(quick, 1) == [b"%d" % number]
        async with asyncio.timeout(5):
            late = [message async for message in slow]
    assert late == [b"%d" % number for number in range(len(late))]  # no gap before the end
    assert len(late) <= 1000


async def test_an_engine_that_closes_lets_nobody_wait_for_ever(live: Live) -> None:
    async with live.subscribe("chat") as messages:
        await live.publish("chat", b"the last")
        assert await heard(messages, 1) == [b"the last"]
        await live.close()
        async with asyncio.timeout(5):
            assert [message async for message in messages] == []
