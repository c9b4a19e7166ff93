"""Orders: a whole purchase, sent once or twice, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import pytest

from ecokart.core.ports import Ports
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.features.catalog.model import STOCK
from tests.clock import ManualClock
from tests.shop import Shop, running_shop

MUG = "EK-020-GREEN"  # 14.90, taxed in full
OIL = "EK-014"  # 14.90, at the reduced rate
HOME = {
    "name": "Jo",
    "street": "Markt 1",
    "postalCode": "5020",
    "city": "Salzburg",
    "country": "AT",
}
GUEST_ORDER = {"address": HOME, "email": "jo@example.com"}
FIELDS = {
    "id", "userId", "email", "items", "goodsAmount", "shippingAmount", "totalAmount", "currency",
    "taxes", "address", "payment", "shipment", "refunds", "status", "history", "createdAt",
}  # fmt: skip


async def _fill(client: httpx.AsyncClient, *skus: str, **options: Any) -> None:
    for sku in skus or (MUG,):
        answer = await client.post("/api/cart", json={"sku": sku}, **options)
        assert answer.status_code == 200, answer.text


async def _buy(shop: Shop, *skus: str, order: dict[str, Any] = GUEST_ORDER) -> dict[str, Any]:
    await _fill(shop.client, *skus)
    answer = await shop.client.post("/api/orders", json=order)
    assert answer.status_code == 201, answer.text
    placed: dict[str, Any] = answer.json()
    return placed


async def _stock(shop: Shop, sku: str = MUG) -> tuple[int, int, int]:
    found = await shop.ports.records.get(STOCK, sku)
    assert found
    return found.value.stock, found.value.reserved, found.value.available


async def test_a_whole_purchase(shop: Shop, dana: dict[str, str]) -> None:
    before = await _stock(shop)
    await _fill(shop.client, MUG, MUG, headers=dana)
    answer = await shop.client.post("/api/orders", json={"address": HOME}, headers=dana)
    assert answer.status_code == 201
    order = answer.json()
    assert set(order) == FIELDS
    assert order["email"] == "demo@ecokart.com"
    assert (order["goodsAmount"], order["shippingAmount"], order["totalAmount"]) == (
        29.8,
        4.9,
        34.7,
    )
    assert '"totalAmount":34.70,"currency":"EUR"' in answer.text
    assert order["address"] == HOME | {"company": ""}
    assert order["status"] == "PENDING"
    assert order["payment"] == {
        "method": "invoice",
        "state": "OPEN",
        "url": "",
        "captured": 0,
        "refunded": 0,
    }
    assert (order["shipment"], order["refunds"]) == (None, [])
    assert order["createdAt"] == "2026-03-02T09:00:00Z"
    assert [(item["sku"], item["quantity"], item["price"]) for item in order["items"]] == [
        (MUG, 2, 14.9)
    ]
    assert (await shop.client.get("/api/cart", headers=dana)).json()["items"] == []
    assert await _stock(shop) == (before[0] - 2, 0, before[2] - 2)
    assert (await shop.client.get(f"/api/orders/{order['id']}", headers=dana)).json() == order


async def test_an_order_goes_its_way_and_is_confirmed_by_mail(
    shop: Shop, clock: ManualClock
) -> None:
    order = await _buy(shop)
    clock.advance(minutes=1)
    await shop.settle()
    found = (await shop.client.get(f"/api/orders/{order['id']}")).json()
    assert found["status"] == "COMPLETED"
    assert [step["status"] for step in found["history"]] == ["PENDING", "PROCESSING", "COMPLETED"]
    assert found["history"][1]["at"] == "2026-03-02T09:01:00Z"
    (file,) = (shop.app.settings.data_dir / "mail").glob("*confirmation*.eml")
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert mail["To"].addresses[0].addr_spec == "jo@example.com"
    assert order["id"] in mail["Subject"]
    text = mail.get_body(("plain",))
    assert text
    assert "19,80" in text.get_content()


@pytest.mark.parametrize(
    ("country", "taxes"),
    [
        ("DE", [(19, 17.35, 2.77), (7, 17.35, 1.14)]),
        ("AT", [(20, 17.35, 2.89), (10, 17.35, 1.58)]),
        ("CH", [(8.1, 17.35, 1.30), (2.6, 17.35, 0.44)]),
    ],
)
async def test_the_tax_is_that_of_the_country_of_delivery(
    shop: Shop, country: str, taxes: list[tuple[float, float, float]]
) -> None:
    address = HOME | {"country": country, "postalCode": "12345" if country == "DE" else "5020"}
    order = await _buy(shop, MUG, OIL, order=GUEST_ORDER | {"address": address})
    assert order["totalAmount"] == 34.7
    assert [(line["rate"], line["gross"], line["tax"]) for line in order["taxes"]] == taxes


async def test_what_rose_in_price_is_sold_at_the_price_in_the_cart(shop: Shop) -> None:
    order = await _buy(shop, MUG)
    assert order["items"][0]["total"] == 14.9


async def test_an_empty_cart_cannot_be_ordered(demo: Shop) -> None:
    answer = await demo.client.post("/api/orders", json=GUEST_ORDER)
    assert (answer.status_code, answer.json()["code"]) == (409, "cart_empty")


async def test_a_guest_gives_an_address_for_the_mail(shop: Shop) -> None:
    await _fill(shop.client)
    answer = await shop.client.post("/api/orders", json={"address": HOME})
    assert (answer.status_code, answer.json()["code"]) == (422, "email_needed")


async def test_of_two_orders_of_one_cart_at_once_there_is_one(shop: Shop) -> None:
    before = await _stock(shop)
    await _fill(shop.client)
    answers = await asyncio.gather(
        *(shop.client.post("/api/orders", json=GUEST_ORDER) for _ in range(2))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 1}
    assert len((await shop.client.get("/api/orders")).json()["orders"]) == 1
    assert await _stock(shop) == (before[0] - 1, 0, before[2] - 1)


async def test_a_reservation_that_ran_out_is_sold_while_there_is_any(
    shop: Shop, clock: ManualClock
) -> None:
    await _fill(shop.client)
    clock.advance(hours=3)
    await shop.app.worker.run_due_timers()
    assert (await shop.client.post("/api/orders", json=GUEST_ORDER)).status_code == 201


async def test_a_reservation_that_ran_out_is_not_sold_twice(shop: Shop, clock: ManualClock) -> None:
    await shop.client.post("/api/cart", json={"sku": "EK-003", "quantity": 3})
    clock.advance(hours=3)
    await shop.app.worker.run_due_timers()
    async with shop.browser() as other:
        await other.post("/api/cart", json={"sku": "EK-003"})
        answer = await shop.client.post("/api/orders", json=GUEST_ORDER)
        assert (answer.status_code, answer.json()["code"]) == (409, "out_of_stock")
        assert answer.json()["sku"] == "EK-003"
    assert len((await shop.client.get("/api/cart")).json()["items"]) == 1
    assert await _stock(shop, "EK-003") == (3, 1, 2)


# Sending again.


async def test_the_same_key_answers_the_first_result_again(shop: Shop, clock: ManualClock) -> None:
    await _fill(shop.client)
    key = {"Idempotency-Key": "one"}
    first = await shop.client.post("/api/orders", json=GUEST_ORDER, headers=key)
    await _fill(shop.client)
    clock.advance(hours=23)
    again = await shop.client.post("/api/orders", json=GUEST_ORDER, headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    clock.advance(hours=2)
    later = await shop.client.post("/api/orders", json=GUEST_ORDER, headers=key)
    assert later.status_code == 201
    assert later.json()["id"] != first.json()["id"]


async def test_the_same_key_with_another_body_is_refused(shop: Shop) -> None:
    await _fill(shop.client)
    key = {"Idempotency-Key": "one"}
    await shop.client.post("/api/orders", json=GUEST_ORDER, headers=key)
    other = GUEST_ORDER | {"email": "other@example.com"}
    answer = await shop.client.post("/api/orders", json=other, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_what_failed_may_be_tried_again_with_its_key(shop: Shop) -> None:
    key = {"Idempotency-Key": "one"}
    await _fill(shop.client)
    await shop.client.delete(f"/api/cart/items/{MUG}")
    failed = await shop.client.post("/api/orders", json=GUEST_ORDER, headers=key)
    assert failed.json()["code"] == "cart_empty"
    await _fill(shop.client)
    answer = await shop.client.post("/api/orders", json=GUEST_ORDER, headers=key)
    assert answer.status_code == 201


async def test_somebody_elses_same_key_is_another_one(shop: Shop) -> None:
    key = {"Idempotency-Key": "one"}
    ids = set()
    for _ in range(2):
        async with shop.browser() as browser:
            await _fill(browser)
            answer = await browser.post("/api/orders", json=GUEST_ORDER, headers=key)
            ids.add(answer.json()["id"])
            assert "idempotent-replayed" not in answer.headers
    assert len(ids) == 2


async def test_while_the_first_is_running_the_second_waits_its_turn(tmp_path: Path) -> None:
    chaos = Chaos(seed=1)

    def slowly(ports: Ports) -> Ports:
        return faulty(ports, chaos)

    key = {"Idempotency-Key": "one"}
    async with running_shop(tmp_path, through=slowly) as shop:
        await _fill(shop.client)
        chaos.faults = Faults(delay=1, delay_seconds=0.3)
        answers = await asyncio.gather(
            *(shop.client.post("/api/orders", json=GUEST_ORDER, headers=key) for _ in range(5))
        )
        chaos.faults = Faults()
        after = await shop.client.post("/api/orders", json=GUEST_ORDER, headers=key)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 4}
    codes = {answer.json()["code"] for answer in answers if answer.status_code == 409}
    assert codes == {"idempotency_key_in_use"}
    assert after.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb"])
async def test_some_keys_cannot_be_used(shop: Shop, key: str) -> None:
    headers = {"Idempotency-Key": key}
    answer = await shop.client.post("/api/orders", json=GUEST_ORDER, headers=headers)
    await _fill(shop.client)
    answer = await shop.client.post("/api/orders", json=GUEST_ORDER, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_idempotency_key")


# Looking, and calling off.


async def test_a_strangers_order_is_not_there(shop: Shop, dana: dict[str, str]) -> None:
    order = await _buy(shop)
    async with shop.browser() as stranger, shop.browser(headers=dana) as customer:
        for browser in (stranger, customer):
            for request in (
                browser.get(f"/api/orders/{order['id']}"),
                browser.post(f"/api/orders/{order['id']}/cancel"),
                browser.get("/api/orders/EK-000000-000000"),
            ):
                answer = await request
                assert (answer.status_code, answer.json()["code"]) == (404, "no_such_order")
            assert (await browser.get("/api/orders")).json() == {"orders": [], "nextCursor": None}


async def test_orders_are_listed_the_newest_first_and_by_page(
    shop: Shop, clock: ManualClock
) -> None:
    placed = []
    for _ in range(5):
        clock.advance(minutes=1)
        placed.append((await _buy(shop))["id"])
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await shop.client.get(f"/api/orders?limit=2&cursor={cursor}")).json()
        seen += [order["id"] for order in page["orders"]]
        cursor = page["nextCursor"]
    assert seen == placed[::-1]
    bad = await shop.client.get("/api/orders?cursor=x")
    assert (bad.status_code, bad.json()["code"]) == (422, "bad_cursor")


async def test_calling_off_gives_the_stock_back(shop: Shop) -> None:
    before = await _stock(shop)
    order = await _buy(shop)
    answer = await shop.client.post(f"/api/orders/{order['id']}/cancel")
    assert answer.status_code == 200
    assert answer.json()["status"] == "CANCELLED"
    assert await _stock(shop) == before
    again = await shop.client.post(f"/api/orders/{order['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "too_late_to_cancel")
    assert await _stock(shop) == before
    await shop.settle()
    found = (await shop.client.get(f"/api/orders/{order['id']}")).json()
    assert found["status"] == "CANCELLED"


async def test_what_is_on_its_way_cannot_be_called_off(shop: Shop) -> None:
    order = await _buy(shop)
    after = await _stock(shop)
    await shop.settle()
    answer = await shop.client.post(f"/api/orders/{order['id']}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_late_to_cancel")
    assert await _stock(shop) == after


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "jo"}, "email"),
        ({"email": "jo@example.com\nBcc: all@example.com"}, "email"),
        ({"address": HOME | {"postalCode": ""}}, "address.postalCode"),
        ({"address": HOME | {"postalCode": "50200"}}, "address.postalCode"),
        ({"address": {}}, "address.name"),
        ({"address": None}, "address"),
    ],
)
async def test_what_does_not_fit_is_named(
    shop: Shop, change: dict[str, object], field: str
) -> None:
    await _fill(shop.client)
    answer = await shop.client.post("/api/orders", json=GUEST_ORDER | change)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
