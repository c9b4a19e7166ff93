"""A mail that isn't taken holds nothing up: the order goes its way, and the office sees what the buyer didn't get."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clock import ManualClock
from tests.features.conftest import ADA
from tests.mail_servers import SmtpServer
from tests.shop import Shop, running_shop

ORDER = {
    "email": "gone@example.com",
    "address": {"name": "Jo", "street": "Weg 1", "postalCode": "10115", "city": "Berlin"},
}
# A mail is tried sixty times, with pauses of up to five minutes.
PAUSE_MINUTES = 6
MOST_PAUSES = 70


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
async def shop(
    demo_data: Path, tmp_path: Path, clock: ManualClock, server: SmtpServer
) -> AsyncIterator[Shop]:
    shutil.copytree(demo_data, tmp_path / "data")
    url = server.url(options="?starttls=never")
    async with running_shop(tmp_path, clock, seeded=False, mail_url=url) as shop:
        yield shop


async def buy(shop: Shop) -> str:
    await shop.client.post("/api/cart", json={"sku": "EK-001"})
    answer = await shop.client.post("/api/orders", json=ORDER)
    assert answer.status_code == 201, answer.text
    await shop.settle()
    return str(answer.json()["id"])


async def status(shop: Shop, order_id: str) -> str:
    return str((await shop.client.get(f"/api/orders/{order_id}")).json()["status"])


async def office_page(shop: Shop, path: str) -> str:
    async with shop.browser(headers={"Accept-Language": "en"}) as office:
        await office.post("/sign-in", data=ADA)
        answer = await office.get(path)
        assert answer.status_code == 200
        return answer.text


async def test_an_address_that_takes_no_mail(shop: Shop, server: SmtpServer) -> None:
    server.answers["RCPT"] = ["550 5.1.1 Nobody of that name"] * 2
    order_id = await buy(shop)
    assert await status(shop, order_id) == "COMPLETED"
    page = await office_page(shop, f"/admin/orders/{order_id}")
    assert "2 mails to gone@example.com didn't go out" in page
    for mail in ("Confirmation of the order", "Parcel on its way"):
        assert f"<strong>{mail}</strong>" in page
    assert page.count("Nobody of that name") == 2
    assert "among the stuck jobs" not in page
    assert not server.received
    assert not (await shop.ports.queue.dead()).values  # asking again would change nothing


async def test_a_server_that_takes_none_just_now(
    shop: Shop, server: SmtpServer, clock: ManualClock
) -> None:
    server.answers["RCPT"] = ["450 4.2.0 Greylisted, come again"] * 2
    await server.go_away()
    order_id = await buy(shop)
    assert await status(shop, order_id) == "COMPLETED"
    await server.come_back()
    for _ in range(4):
        clock.advance(minutes=PAUSE_MINUTES)
        await shop.settle()
    assert sorted(mail["subject"].split(":")[0] for mail in server.received) == [
        f"Ihre Bestellung {order_id}",
        "Unterwegs",
    ]
    assert "didn't go out" not in await office_page(shop, f"/admin/orders/{order_id}")


async def test_a_server_that_is_away_for_a_day(
    shop: Shop, server: SmtpServer, clock: ManualClock
) -> None:
    await server.go_away()
    order_id = await buy(shop)
    for _ in range(MOST_PAUSES):
        clock.advance(minutes=PAUSE_MINUTES)
        await shop.settle()
        dead = (await shop.ports.queue.dead()).values
        if len(dead) == 2:
            break
    assert len(dead) == 2
    page = await office_page(shop, f"/admin/orders/{order_id}")
    assert "2 mails to gone@example.com didn't go out" in page
    assert "among the stuck jobs" in page
    assert order_id in await office_page(shop, "/admin/jobs")
    await server.come_back()
    assert await shop.ports.queue.redrive([job.id for job in dead]) == 2
    await shop.settle()
    assert len(server.received) == 2
    assert "didn't go out" not in await office_page(shop, f"/admin/orders/{order_id}")
