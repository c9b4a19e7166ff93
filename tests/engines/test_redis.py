"""Redis as cache and live, when it hangs, when it is killed and when it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from ecokart.core.errors import Unavailable
from ecokart.core.ports import Live
from ecokart.engines.cache_redis import MOST_CONNECTIONS, RedisCache
from ecokart.engines.fallback import FallbackCache, FallbackLive
from ecokart.engines.live_redis import QUIET_SECONDS, RedisLive
from tests.proxy import Cut, Proxy
from tests.servers import own_redis, redis_url
from tests.servers.processes import Redis as Server

LONG = 60.0
BOUND_SECONDS = 15


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Redis to be killed."""
    with own_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.url)
    yield client
    await client.aclose()


@pytest.fixture
async def proxied() -> AsyncIterator[tuple[Proxy, str]]:
    """The way to the shared Redis, and a URL that leads through it."""
    url = urlsplit(redis_url())
    async with Proxy(url.port or 6379) as proxy:
        yield proxy, url._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


async def answers(port: RedisCache | FallbackCache | Live) -> bool:
    try:
        return bool(await port.ping())
    except Unavailable:
        return False


async def heard(messages: AsyncIterator[bytes]) -> bytes | None:
    """The next message; None if the listener was cut off."""
    async with asyncio.timeout(BOUND_SECONDS):
        return await anext(messages, None)


# The cache.


async def test_a_count_never_lacks_its_end(server: Server, admin: Redis) -> None:
    cache = RedisCache(f"{server.url}?prefix=p:")
    await asyncio.gather(*[cache.increment("key", ttl_seconds=LONG) for _ in range(20)])
    assert 0 < await admin.pttl("p:key") <= LONG * 1000
    await cache.close()


async def test_names_carry_the_prefix(server: Server, admin: Redis) -> None:
    one, other = RedisCache(f"{server.url}?prefix=a:"), RedisCache(server.url)
    await one.set("key", b"x", ttl_seconds=LONG)
    assert await other.get("key") is None
    await other.add("key", b"y", ttl_seconds=LONG)
    assert set(await admin.keys()) == {b"a:key", b"ecokart:key"}
    await one.close()
    await other.close()


async def test_a_crowd_shares_few_connections_and_nobody_is_overtaken_for_ever(
    server: Server, admin: Redis
) -> None:
    cache = RedisCache(server.url)

    async def count() -> None:
        for _ in range(30):
            await cache.increment("count", ttl_seconds=LONG)

    await asyncio.gather(*[count() for _ in range(200)])
    assert await cache.get("count") == b"6000"
    assert len(await admin.client_list()) <= MOST_CONNECTIONS + 1  # and this one
    await cache.close()


async def test_a_cache_finds_redis_again_by_itself(server: Server) -> None:
    cache = RedisCache(server.url)
    assert (await cache.ping()).startswith("Redis ")
    await asyncio.gather(*[cache.set(str(n), b"x", ttl_seconds=LONG) for n in range(50)])
    server.kill()
    for call in (cache.get("1"), cache.add("1", b"", ttl_seconds=LONG), cache.ping()):
        with pytest.raises(Unavailable, match="Redis "):
            await call
    server.start()
    # Each of the old connections has been closed, and none of them is asked.
    counts = await asyncio.gather(*[cache.increment("n", ttl_seconds=LONG) for _ in range(50)])
    assert sorted(counts) == list(range(1, 51))
    assert await cache.get("1") is None
    await cache.close()


@pytest.mark.parametrize("cut", Cut)
async def test_whatever_becomes_of_an_answer_an_adding_is_never_reported_wrongly(
    proxied: tuple[Proxy, str], cut: Cut
) -> None:
    """It is done, or it isn't, or nobody knows: but who is told no was not the one who added."""
    proxy, url = proxied
    cache = RedisCache(url)
    await cache.ping()
    proxy.cut(cut)
    with pytest.raises(Unavailable):
        await cache.add("key", b"mine", ttl_seconds=LONG)
    proxy.cut(cut)
    with suppress(Unavailable):
        assert await cache.get("key") in {None, b"mine"}
    assert await cache.get("key") in {None, b"mine"}
    await cache.close()


async def test_a_redis_that_hangs_costs_half_a_second_and_says_so(
    proxied: tuple[Proxy, str],
) -> None:
    proxy, url = proxied
    cache = RedisCache(url)
    proxy.decide = lambda: Cut.SILENT
    began = perf_counter()
    with pytest.raises(Unavailable, match=r"Redis doesn't answer within 0.5 s\."):
        await cache.get("key")
    assert perf_counter() - began < 2
    await cache.close()


async def test_a_wrong_password_is_named(server: Server, admin: Redis) -> None:
    await admin.config_set("requirepass", "right")
    address = server.url.removeprefix("redis://")
    for url in (server.url, f"redis://:wrong@{address}", f"redis://nobody:right@{address}"):
        cache = RedisCache(url)
        with pytest.raises(Unavailable, match="Redis refuses the user or the password"):
            await cache.ping()
        await cache.close()
    cache = RedisCache(f"redis://:right@{address}")
    await cache.ping()
    await cache.close()


async def test_a_redis_that_takes_no_writes_is_none(server: Server, admin: Redis) -> None:
    cache = RedisCache(server.url)
    await admin.config_set("maxmemory", "1")
    with pytest.raises(Unavailable, match=r"Redis says: .*memory"):
        await cache.ping()
    await admin.config_set("maxmemory", "0")
    await admin.replicaof("127.0.0.1", "1")
    with pytest.raises(Unavailable, match="Redis "):
        await cache.ping()
    await cache.close()


# Without Redis.


async def test_without_redis_a_process_remembers_by_itself(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ecokart")
    cache = FallbackCache(RedisCache(server.url))
    await cache.set("before", b"x", ttl_seconds=LONG)
    server.kill()
    assert await cache.get("before") is None
    added = await asyncio.gather(*[cache.add("lock", b"", ttl_seconds=LONG) for _ in range(20)])
    assert sum(added) == 1
    assert [await cache.increment("count", ttl_seconds=LONG) for _ in range(3)] == [1, 2, 3]
    assert not await answers(cache)
    server.start()
    await until(lambda: answers(cache))
    assert await cache.increment("count", ttl_seconds=LONG) == 1
    await cache.close()
    away, back = [r.getMessage() for r in caplog.records if r.name == "ecokart.engines"]
    assert away.startswith("cache: Redis ")
    assert back.startswith("cache: back after ")


async def test_nobody_waits_for_a_redis_that_hangs_but_the_first(
    proxied: tuple[Proxy, str],
) -> None:
    proxy, url = proxied
    cache = FallbackCache(RedisCache(url))
    await cache.ping()
    proxy.decide = lambda: Cut.SILENT
    began = perf_counter()
    for number in range(1000):
        await cache.set(str(number), b"x", ttl_seconds=LONG)
    assert perf_counter() - began < 2  # a thousand times half a second, if each asked
    await cache.close()


async def test_what_changed_while_redis_was_out_of_reach_is_not_remembered_wrongly(
    proxied: tuple[Proxy, str],
) -> None:
    """Redis itself has lived on, and has the old values."""
    proxy, url = proxied
    cache = FallbackCache(RedisCache(url))
    for key in ("changed", "deleted", "left"):
        await cache.set(key, b"old", ttl_seconds=LONG)
    await proxy.refuse()
    await cache.set("changed", b"new", ttl_seconds=LONG)
    await cache.delete("deleted")
    assert await cache.get("changed") == b"new"
    await proxy.restore()
    await until(lambda: answers(cache))
    assert [await cache.get(key) for key in ("changed", "deleted", "left")] == [None, None, b"old"]
    await cache.close()


# Live.


@pytest.fixture
async def two_lives(server: Server) -> AsyncIterator[tuple[RedisLive, RedisLive]]:
    """As two processes have them."""
    lives = RedisLive(server.url), RedisLive(server.url)
    yield lives
    for live in lives:
        await live.close()


async def test_messages_go_from_process_to_process(two_lives: tuple[RedisLive, RedisLive]) -> None:
    here, there = two_lives
    async with here.subscribe("chat") as messages, there.subscribe("chat") as others:
        for number in range(300):
            await there.publish("chat", b"%d" % number)
        expected = [b"%d" % number for number in range(300)]
        assert [await heard(messages) for _ in range(300)] == expected
        assert [await heard(others) for _ in range(300)] == expected


async def test_thousands_of_topics_take_one_connection(
    two_lives: tuple[RedisLive, RedisLive], admin: Redis
) -> None:
    here, there = two_lives
    async with AsyncExitStack() as stack:
        rooms = await asyncio.gather(
            *[stack.enter_async_context(here.subscribe(f"room-{n}")) for n in range(3000)]
        )
        subscribed = [c for c in await admin.client_list() if int(c["sub"])]
        assert [client["sub"] for client in subscribed] == ["3000"]
        for number in (0, 1500, 2999):
            await there.publish(f"room-{number}", b"%d" % number)
            assert await heard(rooms[number]) == b"%d" % number

    async def left() -> bool:
        return await admin.pubsub_channels() == []

    await until(left)


async def test_joining_and_leaving_in_any_order_loses_nothing(
    two_lives: tuple[RedisLive, RedisLive],
) -> None:
    here, there = two_lives

    async def visit(number: int) -> None:
        for turn in range(20):
            async with here.subscribe("chat") as messages:
                mine = b"%d/%d" % (number, turn)
                await there.publish("chat", mine)
                while await heard(messages) != mine:
                    pass

    await asyncio.gather(*[visit(number) for number in range(8)])


async def test_who_gives_up_joining_leaves_nothing_behind(
    two_lives: tuple[RedisLive, RedisLive], admin: Redis
) -> None:
    here, there = two_lives

    async def join() -> None:
        async with here.subscribe("chat"):
            await asyncio.sleep(LONG)

    async with here.subscribe("news") as news:
        joining = [asyncio.create_task(join()) for _ in range(50)]
        for number, task in enumerate(joining):
            await asyncio.sleep(0 if number % 3 else 0.001)
            task.cancel()
        async with asyncio.timeout(BOUND_SECONDS):
            await asyncio.gather(*joining, return_exceptions=True)
        await there.publish("news", b"undisturbed")
        assert await heard(news) == b"undisturbed"

    async def left() -> bool:
        return await admin.pubsub_channels() == []

    await until(left)


async def test_a_listener_learns_that_redis_was_away(
    server: Server, two_lives: tuple[RedisLive, RedisLive]
) -> None:
    here, there = two_lives
    async with here.subscribe("chat") as messages:
        await there.publish("chat", b"before")
        server.kill()
        assert [await heard(messages), await heard(messages)] == [b"before", None]
    with pytest.raises(Unavailable):
        async with here.subscribe("chat"):
            pass
    with pytest.raises(Unavailable):
        await there.publish("chat", b"lost")
    server.start()
    async with here.subscribe("chat") as messages:
        await there.publish("chat", b"after")
        assert await heard(messages) == b"after"


async def test_a_connection_that_says_nothing_more_is_noticed(proxied: tuple[Proxy, str]) -> None:
    proxy, url = proxied
    live = RedisLive(url)
    async with live.subscribe("chat") as messages:
        proxy.decide = lambda: Cut.SILENT
        async with asyncio.timeout(6):
            assert await anext(messages, None) is None
    await live.close()


async def test_a_quiet_connection_is_not_a_lost_one(two_lives: tuple[RedisLive, RedisLive]) -> None:
    here, there = two_lives
    async with here.subscribe("chat") as messages:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await anext(messages)
    async with here.subscribe("chat") as messages:
        await there.publish("chat", b"still there")
        assert await heard(messages) == b"still there"


async def test_who_joins_a_quiet_connection_is_given_time_for_the_answer(
    two_lives: tuple[RedisLive, RedisLive], admin: Redis
) -> None:
    """However near it was to being asked whether it is still there."""
    here, there = two_lives
    async with here.subscribe("chat") as messages:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(QUIET_SECONDS / 2):
                await anext(messages)
        await admin.client_pause(int(QUIET_SECONDS * 750))
        async with here.subscribe("news") as news:
            await there.publish("news", b"heard")
            assert await heard(news) == b"heard"


async def test_without_redis_a_process_hears_itself(server: Server) -> None:
    here, there = FallbackLive(RedisLive(server.url)), FallbackLive(RedisLive(server.url))
    async with here.subscribe("chat") as messages:
        server.kill()
        assert await heard(messages) is None
    async with here.subscribe("chat") as messages:
        await here.publish("chat", b"to myself")
        assert await heard(messages) == b"to myself"
        await there.publish("chat", b"to others")
        assert not await answers(here)
        server.start()
        assert await heard(messages) is None  # come again: messages are in Redis now
    await until(lambda: answers(there))
    async with here.subscribe("chat") as messages:
        await there.publish("chat", b"together again")
        assert await heard(messages) == b"together again"
    await here.close()
    await there.close()
