"""The cart: what is in it, at which price, and what it keeps aside for how long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from ecokart.core.money import Money
from ecokart.core.transaction import Transaction, transact
from ecokart.features.cart.model import MAX_LINES, MAX_QUANTITY
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import STOCK
from tests.clock import ManualClock
from tests.features.conftest import DANA
from tests.shop import Shop

LAMP = "EK-007"  # there are four
MUG = "EK-020-GREEN"


async def _stock(shop: Shop, sku: str) -> tuple[int, int, int]:
    found = await shop.ports.records.get(STOCK, sku)
    assert found
    return found.value.stock, found.value.reserved, found.value.available


async def _put(shop: Shop, sku: str, quantity: int = 1, **options: Any) -> dict[str, Any]:
    answer = await shop.client.post("/api/cart", json={"sku": sku, "quantity": quantity}, **options)
    assert answer.status_code == 200, answer.text
    cart: dict[str, Any] = answer.json()
    return cart


async def test_an_empty_cart_asks_for_no_cookie(demo: Shop) -> None:
    answer = await demo.client.get("/api/cart")
    assert answer.json()["items"] == []
    assert '"totalAmount":0.00' in answer.text
    assert answer.json()["reservedUntil"] is None
    assert "set-cookie" not in answer.headers


async def test_a_guest_gets_a_cookie_and_keeps_the_cart(shop: Shop) -> None:
    answer = await shop.client.post("/api/cart", json={"productId": "prod-001"})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("ecokart_guest=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    cart = (await shop.client.get("/api/cart")).json()
    assert cart == answer.json()
    assert set(cart) == {"items", "totalAmount", "currency", "updatedAt", "reservedUntil"}
    assert cart["items"] == [
        {
            "productId": "prod-001",
            "sku": "EK-001",
            "name": "Brett aus Eiche",
            "quantity": 1,
            "price": 39.9,
            "total": 39.9,
            "reserved": True,
        }
    ]
    again = await shop.client.post("/api/cart", json={"productId": "prod-001"})
    assert "set-cookie" not in again.headers


async def test_a_guests_cookie_must_be_one_of_ours(shop: Shop) -> None:
    for value in ("user-1", "x" * 32, "A" * 32):
        async with shop.browser(cookies={"ecokart_guest": value}) as browser:
            answer = await browser.post("/api/cart", json={"sku": MUG})
            assert "ecokart_guest" in answer.headers["set-cookie"]


async def test_a_customers_cart_is_the_same_in_every_browser(
    shop: Shop, dana: dict[str, str]
) -> None:
    await _put(shop, MUG, headers=dana)
    async with shop.browser(headers=dana) as elsewhere:
        assert (await elsewhere.get("/api/cart")).json()["items"][0]["sku"] == MUG
    async with shop.browser() as stranger:
        assert (await stranger.get("/api/cart")).json()["items"] == []


async def test_what_is_in_a_cart_is_kept_aside(shop: Shop) -> None:
    await _put(shop, LAMP, 3)
    assert await _stock(shop, LAMP) == (4, 3, 1)
    async with shop.browser() as other:
        answer = await other.post("/api/cart", json={"sku": LAMP, "quantity": 2})
        assert (answer.status_code, answer.json()["code"]) == (409, "out_of_stock")
        assert answer.json()["sku"] == LAMP
        assert (await other.get("/api/cart")).json()["items"] == []
    await shop.client.put(f"/api/cart/items/{LAMP}", json={"quantity": 1})
    assert await _stock(shop, LAMP) == (4, 1, 3)
    await shop.client.delete(f"/api/cart/items/{LAMP}")
    assert await _stock(shop, LAMP) == (4, 0, 4)


async def test_of_many_who_want_the_last_pieces_as_many_get_one(shop: Shop) -> None:
    async def grab() -> int:
        async with shop.browser() as browser:
            return (await browser.post("/api/cart", json={"sku": LAMP})).status_code

    codes = await asyncio.gather(*(grab() for _ in range(16)))
    assert sorted(codes) == [200] * 4 + [409] * 12
    assert await _stock(shop, LAMP) == (4, 4, 0)


async def test_a_line_keeps_its_price_when_the_price_rises(shop: Shop) -> None:
    await _put(shop, LAMP)
    await _reprice(shop, "prod-007", 14900)
    cart = await _put(shop, LAMP)
    assert (cart["items"][0]["quantity"], cart["items"][0]["price"]) == (2, 129.0)
    assert cart["totalAmount"] == 258.0


async def test_a_line_takes_a_lower_price_when_more_is_added(shop: Shop) -> None:
    await _put(shop, LAMP)
    await _reprice(shop, "prod-007", 9900)
    assert (await shop.client.get("/api/cart")).json()["items"][0]["price"] == 129.0
    assert (await _put(shop, LAMP))["items"][0]["price"] == 99.0


async def test_a_product_is_enough_where_there_is_nothing_to_choose(demo: Shop) -> None:
    answer = await demo.client.post("/api/cart", json={"productId": "prod-002"})
    assert (answer.status_code, answer.json()["code"]) == (422, "choice_needed")
    assert answer.json()["skus"] == ["EK-002-500", "EK-002-750"]
    answer = await demo.client.post("/api/cart", json={})
    assert (answer.status_code, answer.json()["code"]) == (422, "article_needed")


@pytest.mark.parametrize("article", [{"sku": "EK-999"}, {"productId": "prod-999"}])
async def test_unknown_articles_are_named(demo: Shop, article: dict[str, str]) -> None:
    answer = await demo.client.post("/api/cart", json=article)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_product")
    assert article.items() <= answer.json().items()


@pytest.mark.parametrize("quantity", [0, -1, 100, 1.5, "2", None])
async def test_quantities_have_bounds(demo: Shop, quantity: object) -> None:
    answer = await demo.client.post("/api/cart", json={"sku": MUG, "quantity": quantity})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "quantity"


async def test_no_more_of_one_article_than_we_sell_at_once(shop: Shop) -> None:
    await _put(shop, "EK-006", MAX_QUANTITY)
    answer = await shop.client.post("/api/cart", json={"sku": "EK-006"})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_pieces")
    assert answer.json()["most"] == MAX_QUANTITY
    assert await _stock(shop, "EK-006") == (210, MAX_QUANTITY, 210 - MAX_QUANTITY)


async def test_a_cart_has_room_for_fifty_articles(shop: Shop) -> None:
    products = (await shop.client.get("/api/products")).json()["products"]
    skus = [v["sku"] for product in products for v in product["variants"] if v["available"]]
    for sku in skus[:MAX_LINES]:
        await _put(shop, sku)
    answer = await shop.client.post("/api/cart", json={"sku": skus[MAX_LINES]})
    assert (answer.status_code, answer.json()["code"]) == (409, "cart_full")


async def test_what_is_not_in_the_cart_cannot_be_changed(demo: Shop) -> None:
    for request in (
        demo.client.put("/api/cart/items/EK-001", json={"quantity": 2}),
        demo.client.delete("/api/cart/items/EK-001"),
    ):
        answer = await request
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_line")


async def test_after_two_hours_the_pieces_are_free_again(shop: Shop, clock: ManualClock) -> None:
    cart = await _put(shop, LAMP, 2)
    assert cart["reservedUntil"] == "2026-03-02T11:00:00Z"
    clock.advance(hours=2, seconds=-1)
    await shop.app.worker.run_due_timers()
    assert await _stock(shop, LAMP) == (4, 2, 2)
    clock.advance(minutes=1)
    await shop.app.worker.run_due_timers()
    assert await _stock(shop, LAMP) == (4, 0, 4)
    cart = (await shop.client.get("/api/cart")).json()
    assert [(i["quantity"], i["reserved"]) for i in cart["items"]] == [(2, False)]
    assert cart["reservedUntil"] is None


async def test_a_change_keeps_a_line_aside_again(shop: Shop, clock: ManualClock) -> None:
    await _put(shop, LAMP, 2)
    await _put(shop, MUG)
    clock.advance(hours=2, minutes=1)
    await shop.app.worker.run_due_timers()
    cart = await _put(shop, LAMP)
    assert [(i["sku"], i["quantity"], i["reserved"]) for i in cart["items"]] == [
        (LAMP, 3, True),
        (MUG, 1, False),
    ]
    assert await _stock(shop, LAMP) == (4, 3, 1)
    assert cart["reservedUntil"] == "2026-03-02T13:01:00Z"


async def test_a_change_begins_the_two_hours_anew(shop: Shop, clock: ManualClock) -> None:
    await _put(shop, LAMP)
    clock.advance(hours=1)
    await _put(shop, MUG)
    clock.advance(hours=1, minutes=30)
    await shop.app.worker.run_due_timers()
    assert await _stock(shop, LAMP) == (4, 1, 3)


async def _reprice(shop: Shop, product_id: str, minor: int) -> None:
    async def change(tx: Transaction) -> None:
        product = await catalog.product(tx, product_id)
        await catalog.change(tx, replace(product, price=Money(minor)))

    await transact(shop.ports, change)


async def test_signing_in_takes_the_guests_cart_along(shop: Shop, dana: dict[str, str]) -> None:
    await _put(shop, MUG, headers=dana)
    async with shop.browser() as browser:
        await browser.post("/api/cart", json={"sku": MUG, "quantity": 2})
        await browser.post("/api/cart", json={"sku": LAMP})
        await browser.post("/auth/login", json=DANA)
        assert (await browser.get("/api/cart")).json()["items"] == []
    items = (await shop.client.get("/api/cart", headers=dana)).json()["items"]
    assert [(item["sku"], item["quantity"]) for item in items] == [(MUG, 3), (LAMP, 1)]
    assert (await _stock(shop, MUG))[1] == 3
    assert (await _stock(shop, LAMP))[1] == 1
