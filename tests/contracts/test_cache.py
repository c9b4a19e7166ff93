"""`Cache`: it may forget, it never lies, and of many at once one is the first."""

from __future__ import annotations

import asyncio

from ecokart.core.ports import Cache

LONG = 60.0
SHORT = 0.02


async def forgotten(cache: Cache, key: str) -> None:
    """Wait until a short-lived value has ended."""
    async with asyncio.timeout(5):
        while await cache.get(key) is not None:
            await asyncio.sleep(0.005)


async def test_what_was_set_last_is_remembered(cache: Cache) -> None:
    assert await cache.get("key") is None
    await cache.set("key", b"first", ttl_seconds=LONG)
    await cache.set("key", b"\x00second\xff", ttl_seconds=LONG)
    assert await cache.get("key") == b"\x00second\xff"
    assert await cache.get("other") is None


async def test_an_empty_value_is_a_value(cache: Cache) -> None:
    await cache.set("key", b"", ttl_seconds=LONG)
    assert await cache.get("key") == b""
    assert not await cache.add("key", b"x", ttl_seconds=LONG)


async def test_a_value_ends(cache: Cache) -> None:
    await cache.set("short", b"x", ttl_seconds=SHORT)
    await cache.set("long", b"x", ttl_seconds=LONG)
    await forgotten(cache, "short")
    assert await cache.get("long") == b"x"


async def test_setting_again_starts_the_time_anew(cache: Cache) -> None:
    await cache.set("key", b"x", ttl_seconds=SHORT)
    await cache.set("key", b"y", ttl_seconds=LONG)
    await cache.set("witness", b"x", ttl_seconds=SHORT)
    await forgotten(cache, "witness")
    assert await cache.get("key") == b"y"
    await cache.set("key", b"z", ttl_seconds=SHORT)
    await forgotten(cache, "key")


async def test_a_deleted_value_is_forgotten(cache: Cache) -> None:
    await cache.set("key", b"x", ttl_seconds=LONG)
    await cache.delete("key")
    await cache.delete("never")
    assert await cache.get("key") is None
    assert await cache.add("key", b"y", ttl_seconds=LONG)


async def test_many_values_are_forgotten_at_once(cache: Cache) -> None:
    keys = [str(number) for number in range(1000)]
    for key in keys:
        await cache.set(key, b"x", ttl_seconds=LONG)
    await cache.delete()
    await cache.delete(*keys[1:], "never")
    assert await cache.get("0") == b"x"
    assert [await cache.get(key) for key in keys[1:]] == [None] * 999


async def test_of_many_at_once_exactly_one_adds(cache: Cache) -> None:
    added = await asyncio.gather(
        *[cache.add("key", str(n).encode(), ttl_seconds=LONG) for n in range(50)]
    )
    assert sum(added) == 1
    assert await cache.get("key") == str(added.index(True)).encode()


async def test_after_its_end_a_value_may_be_added_again(cache: Cache) -> None:
    assert await cache.add("key", b"x", ttl_seconds=SHORT)
    assert not await cache.add("key", b"y", ttl_seconds=LONG)
    await forgotten(cache, "key")
    assert await cache.add("key", b"z", ttl_seconds=LONG)
    assert await cache.get("key") == b"z"


async def test_every_count_is_given_once(cache: Cache) -> None:
    counts = await asyncio.gather(*[cache.increment("key", ttl_seconds=LONG) for _ in range(50)])
    assert sorted(counts) == list(range(1, 51))
    assert await cache.get("key") == b"50"
    assert await cache.increment("other", ttl_seconds=LONG) == 1


async def test_the_first_count_starts_the_time(cache: Cache) -> None:
    assert await cache.increment("key", ttl_seconds=SHORT) == 1
    await cache.increment("key", ttl_seconds=LONG)
    await forgotten(cache, "key")
    assert await cache.increment("key", ttl_seconds=LONG) == 1
