"""An order followed live: server-sent events, from the first to the last, and how they end."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import pytest

from ecokart.core.transaction import transact
from ecokart.features.orders import office
from ecokart.features.orders import service as orders
from ecokart.features.orders.model import Shipment
from ecokart.web.streams import Message, Streams, TooManyStreams
from ecokart.web.watch import Watch
from tests.servers import redis_url
from tests.shop import Shop, running_shop

MUG = "EK-020-GREEN"
HOME = {
    "name": "Jo",
    "street": "Markt 1",
    "postalCode": "5020",
    "city": "Salzburg",
    "country": "AT",
}
PATIENCE_SECONDS = 10
SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "watch": Watch(1)}


@pytest.fixture
async def shop(demo_data: Path, tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop that works, and whose office packs and ships."""
    shutil.copytree(demo_data, tmp_path / "data")
    async with running_shop(tmp_path, seeded=False, worker=True, fulfilment="office") as shop:
        yield shop


async def buy(shop: Shop) -> str:
    await shop.client.post("/api/cart", json={"sku": MUG})
    answer = await shop.client.post(
        "/api/orders", json={"address": HOME, "email": "jo@example.com"}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


class Page:
    """A page that follows an order."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def until(self, status: str) -> dict[str, Any]:
        """The order, when it has come to that status."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self._lines:
                if line.startswith("data: "):
                    order: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    if order["status"] == status:
                        return order
        raise AssertionError(f"The stream ended before {status}.")

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self._lines:
                assert not line.startswith("data: ")


@asynccontextmanager
async def following(shop: Shop, order_id: str) -> AsyncIterator[Page]:
    async with shop.client.stream("GET", f"/api/orders/{order_id}/events", timeout=30) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Page(answer)


async def silence() -> AsyncIterator[Message]:
    """Messages that never come."""
    await asyncio.Event().wait()
    yield Message(b"never")


async def nothing_comes() -> dict[str, str]:
    """What a browser sends that stays."""
    await asyncio.Event().wait()
    raise AssertionError


async def send_off(shop: Shop, order_id: str) -> None:
    """Pack and ship it, as the office does."""
    ports = shop.ports
    placed = await orders.any_one(ports.records, order_id)
    order = await transact(ports, office.pack, order_id, placed.facts, ports.terms)
    await transact(ports, office.ship, order_id, order.facts, Shipment(), ports.terms)


async def test_two_pages_see_an_order_go_its_way(shop: Shop) -> None:
    order_id = await buy(shop)
    async with following(shop, order_id) as one, following(shop, order_id) as other:
        for page in (one, other):
            await page.until("PROCESSING")
        began = perf_counter()
        await send_off(shop, order_id)
        for page in (one, other):
            order = await page.until("COMPLETED")
            assert order == (await shop.client.get(f"/api/orders/{order_id}")).json()
        assert perf_counter() - began < 5  # news came, and no look of its own
        for page in (one, other):
            await page.ended()


async def test_a_process_tells_of_what_another_one_has_done(
    demo_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    given: dict[str, Any] = {"seeded": False, "live_url": redis_url(), "fulfilment": "office"}
    async with (
        running_shop(tmp_path, **given) as front,
        running_shop(tmp_path, **given, worker=True) as back,
    ):
        order_id = await buy(front)
        async with following(front, order_id) as page:
            await page.until("PROCESSING")
            began = perf_counter()
            await send_off(back, order_id)
            await page.until("COMPLETED")
            assert perf_counter() - began < 5


async def test_a_page_that_comes_back_sees_the_order_as_it_is(shop: Shop) -> None:
    order_id = await buy(shop)
    async with following(shop, order_id) as page:
        await page.until("PROCESSING")
    await send_off(shop, order_id)
    path = f"/api/orders/{order_id}/events"
    first = await shop.client.get(path, headers={"Last-Event-ID": "1"})
    assert first.text.count("data: ") == 1
    (seen,) = re.findall(r"^id: (\d+)$", first.text, flags=re.MULTILINE)
    again = await shop.client.get(path, headers={"Last-Event-ID": seen})
    assert (again.status_code, again.content) == (204, b"")
    nonsense = await shop.client.get(path, headers={"Last-Event-ID": "x" * 1000})
    assert nonsense.status_code == 200


async def test_somebody_elses_order_cannot_be_followed(shop: Shop) -> None:
    order_id = await buy(shop)
    async with shop.browser() as stranger:
        answer = await stranger.get(f"/api/orders/{order_id}/events")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_order")


async def test_a_question_for_the_headers_alone_ends(shop: Shop) -> None:
    answer = await shop.client.head(f"/api/orders/{await buy(shop)}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_pages_that_go_are_counted_no_more(shop: Shop) -> None:
    order_id = await buy(shop)
    async with following(shop, order_id), following(shop, order_id):
        assert "streams_open 2.0" in (await shop.client.get("/metrics")).text
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "streams_open 0.0" not in (await shop.client.get("/metrics")).text:
            await asyncio.sleep(0.01)


async def test_a_stream_outlives_the_time_of_a_request(demo_data: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    given: dict[str, Any] = {
        "seeded": False,
        "worker": True,
        "fulfilment": "office",
        "request_timeout_seconds": 0.2,
    }
    async with running_shop(tmp_path, **given) as shop:
        order_id = await buy(shop)
        async with following(shop, order_id) as page:
            await page.until("PROCESSING")
            began = perf_counter()
            while perf_counter() - began < 1.2:  # the watch looks twice a second
                await shop.client.get("/health/live")
            await send_off(shop, order_id)
            await page.until("COMPLETED")


async def test_a_server_that_stops_ends_its_streams_at_once(
    demo_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    async with running_shop(tmp_path, seeded=False) as shop:
        order_id = await buy(shop)
        async with (
            httpx.AsyncClient(base_url=shop.url, cookies=shop.client.cookies) as client,
            client.stream("GET", f"/api/orders/{order_id}/events", timeout=30) as answer,
        ):
            page = Page(answer)
            await page.until("PENDING")
            shop.app.streams.close()
            await page.ended()
            refused = await client.get(f"/api/orders/{order_id}/events")
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
            assert int(refused.headers["retry-after"]) > 0


async def test_so_many_pages_are_kept_up_to_date_and_more_are_refused() -> None:
    async def nothing() -> AsyncIterator[Message]:
        yield Message(b"{}")

    counts: list[int] = []
    streams = Streams(most=2, most_of_one=1, changed=counts.append)
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        with pytest.raises(TooManyStreams):
            streams.answer("one", nothing)
        assert streams.answer("other", nothing)

    async def send_among_two(message: Any) -> None:
        with pytest.raises(TooManyStreams):
            streams.answer("third", nothing)

    await streams.answer("one", nothing)(SCOPE, nothing_comes, send)
    assert b"".join(sent).endswith(b"data: {}\n\n")
    assert counts == [1, 0]
    assert streams.answer("one", nothing)

    async def open_another(message: Any) -> None:
        await streams.answer("other", nothing)(SCOPE, nothing_comes, send_among_two)

    await streams.answer("one", nothing)(SCOPE, nothing_comes, open_another)
    assert max(counts) == 2


async def test_a_quiet_stream_says_from_time_to_time_that_it_is_there() -> None:
    gone, sent = asyncio.Event(), list[bytes]()

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if sent.count(b":\n\n") == 2:
            gone.set()

    streams = Streams(heartbeat_seconds=0.01)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await streams.answer("one", silence)(SCOPE, receive, send)


async def test_a_stream_that_is_old_ends_and_its_page_comes_again() -> None:
    ended: list[bool] = []

    async def send(message: Any) -> None:
        ended.append(not message.get("more_body", True))

    async with asyncio.timeout(PATIENCE_SECONDS):
        await Streams(longest_seconds=0).answer("one", silence)(SCOPE, nothing_comes, send)
    assert ended[-1]
