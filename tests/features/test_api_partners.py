"""Orders by API key: what is taken, what is refused and why, and who sees what."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from ecokart.core import log
from ecokart.core.transaction import transact
from ecokart.features.catalog.model import STOCK
from ecokart.features.orders import history
from ecokart.features.orders import service as orders
from ecokart.features.partners import service
from ecokart.features.partners.model import Limits, Scope
from tests.clock import ManualClock
from tests.partners import Known, new_partner
from tests.shop import Shop

BOARD, MUG = "EK-001", "EK-020-GREEN"  # 39.90 and 14.90, one article and one of three
ONE_BOARD = {"productId": "prod-001", "quantity": 1, "price": 39.9}
ONE_MUG = {"productId": "prod-020", "sku": MUG, "quantity": 1, "price": 14.9}
ORDER = {"customerId": "demo123", "items": [ONE_BOARD], "totalAmount": 39.9}


@pytest.fixture
async def acme(shop: Shop) -> Known:
    return await new_partner(shop.ports)


@pytest.fixture
async def client(shop: Shop, acme: Known) -> AsyncIterator[httpx.AsyncClient]:
    async with shop.browser(headers=acme.headers) as client:
        yield client


async def _place(client: httpx.AsyncClient, **changed: Any) -> dict[str, Any]:
    answer = await client.post("/orders", json=ORDER | changed)
    assert answer.status_code == 201, answer.text
    placed: dict[str, Any] = answer.json()
    return placed


async def _stock(shop: Shop, sku: str) -> tuple[int, int, int]:
    found = await shop.ports.records.get(STOCK, sku)
    assert found
    return found.value.stock, found.value.reserved, found.value.available


# An order's way.


async def test_an_order_is_taken_and_goes_its_way(
    shop: Shop, client: httpx.AsyncClient, acme: Known
) -> None:
    before = await _stock(shop, BOARD)
    answer = await client.post("/orders", json=ORDER | {"reference": "A-1"})
    order = answer.json()
    assert answer.status_code == 201
    assert (order["customerId"], order["reference"], order["status"]) == (
        "demo123",
        "A-1",
        "PENDING",
    )
    assert (order["email"], order["payment"]) == ("orders@acme.example", "invoice")
    assert order["address"]["city"] == "Salzburg"
    assert '"totalAmount":39.90,"currency":"EUR"' in answer.text
    assert await _stock(shop, BOARD) == (before[0] - 1, before[1], before[2] - 1)
    await shop.settle()
    found = (await client.get(f"/orders/{order['orderId']}")).json()
    assert [step["status"] for step in found["history"]] == ["PENDING", "PROCESSING", "COMPLETED"]


async def test_what_a_partner_does_is_in_the_log_with_its_key_and_its_request(
    shop: Shop, client: httpx.AsyncClient, acme: Known
) -> None:
    answer = await client.post("/orders", json=ORDER, headers={"X-Request-ID": "request-77"})
    order = await orders.any_one(shop.ports.records, answer.json()["orderId"])
    (entry,) = await log.stream(shop.ports.records, f"orders/{order.id}")
    event = bytes(entry.event).decode()
    assert f'"actor":"partner:{acme.partner_id}/{acme.key_id}"' in event
    assert '"cause":"request-77"' in event
    assert f'"source":"partner:{acme.partner_id}"' in event
    assert history.rebuilt([entry]) == order


async def test_items_with_the_same_article_are_one_line(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    before = await _stock(shop, MUG)
    order = await _place(client, items=[ONE_MUG, ONE_BOARD, ONE_MUG], totalAmount=69.7)
    assert [(item["sku"], item["quantity"], item["total"]) for item in order["items"]] == [
        (MUG, 2, 29.8),
        (BOARD, 1, 39.9),
    ]
    assert (await _stock(shop, MUG))[2] == before[2] - 2


async def test_an_order_may_go_to_the_customer_itself(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    home = {"name": "Jo", "street": "Weg 2", "postalCode": "04109", "city": "Leipzig"}
    order = await _place(client, email="jo@example.com", address=home, language="en")
    assert (order["email"], order["address"]["city"]) == ("jo@example.com", "Leipzig")
    kept = await orders.any_one(shop.ports.records, order["orderId"])
    assert (kept.language, kept.shipping.minor) == ("en", 0)


async def test_eighty_items_fit(client: httpx.AsyncClient) -> None:
    order = await _place(
        client, items=[ONE_MUG] * 5 + [ONE_MUG | {"quantity": 1}] * 20, totalAmount=372.5
    )
    assert [item["quantity"] for item in order["items"]] == [25]


async def test_an_address_is_needed_where_the_partner_has_none(shop: Shop) -> None:
    nowhere = await new_partner(shop.ports, address=None)
    answer = await shop.client.post("/orders", json=ORDER, headers=nowhere.headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "address_needed")
    assert answer.json()["errors"][0]["field"] == "address"


# What doesn't fit.


@pytest.mark.parametrize(
    ("change", "refused", "field"),
    [
        ({"items": [ONE_BOARD | {"price": 39.8}]}, (409, "price_differs"), "items[0].price"),
        ({"currency": "CHF"}, (409, "price_differs"), "items[0].price"),
        ({"totalAmount": 40}, (422, "total_differs"), "totalAmount"),
        ({"items": [ONE_BOARD, ONE_BOARD]}, (422, "total_differs"), "totalAmount"),
        ({"totalAmount": 39.901}, (422, "amount_not_exact"), "totalAmount"),
        ({"items": [ONE_BOARD | {"price": 0.00001}]}, (422, "amount_not_exact"), "items[0].price"),
        ({"items": [ONE_BOARD | {"productId": "LAPTOP001"}]}, (404, "no_such_product"), "items[0].productId"),
        ({"items": [ONE_BOARD, ONE_MUG | {"sku": "EK-1"}]}, (404, "no_such_product"), "items[1].sku"),
        ({"items": [ONE_BOARD | {"sku": MUG}]}, (404, "no_such_product"), "items[0].sku"),
        ({"items": [ONE_MUG | {"sku": ""}]}, (422, "choice_needed"), "items[0].sku"),
        ({"items": []}, (422, "invalid"), "items"),
        ({"items": [ONE_MUG] * 81}, (422, "invalid"), "items"),
        ({"items": [ONE_BOARD | {"quantity": 0}]}, (422, "invalid"), "items[0].quantity"),
        ({"items": [ONE_BOARD | {"quantity": 10_001}]}, (422, "invalid"), "items[0].quantity"),
        ({"items": [ONE_BOARD | {"quantity": "2"}]}, (422, "invalid"), "items[0].quantity"),
        ({"items": [ONE_BOARD | {"price": "39.90"}]}, (422, "invalid"), "items[0].price"),
        ({"items": [ONE_BOARD | {"price": -1}]}, (422, "invalid"), "items[0].price"),
        ({"items": [{"productId": "prod-001", "quantity": 1}]}, (422, "invalid"), "items[0].price"),
        ({"customerId": ""}, (422, "invalid"), "customerId"),
        ({"customerId": "a\nb"}, (422, "invalid"), "customerId"),
        ({"customerId": 7}, (422, "invalid"), "customerId"),
        ({"email": "jo"}, (422, "invalid"), "email"),
        ({"currency": "XTS"}, (422, "invalid"), "currency"),
        ({"address": {"name": "Jo"}}, (422, "invalid"), "address.street"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_named_and_changes_nothing(
    shop: Shop,
    client: httpx.AsyncClient,
    change: dict[str, object],
    refused: tuple[int, str],
    field: str,
) -> None:
    before = [await _stock(shop, sku) for sku in (BOARD, MUG)]
    answer = await client.post("/orders", json=ORDER | change)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == refused
    assert problem["errors"][0]["field"] == field
    assert [await _stock(shop, sku) for sku in (BOARD, MUG)] == before
    assert (await client.get("/orders")).json()["orders"] == []


async def test_a_bound_is_said_as_people_write_it(client: httpx.AsyncClient) -> None:
    answer = await client.post("/orders", json=ORDER | {"totalAmount": -1})
    assert answer.json()["errors"] == [{"field": "totalAmount", "message": "Takes 0 or more."}]


async def test_a_price_that_differs_is_said_for_every_item(client: httpx.AsyncClient) -> None:
    items = [ONE_BOARD | {"price": 1}, ONE_MUG, ONE_MUG | {"price": 2}]
    problem = (await client.post("/orders", json=ORDER | {"items": items})).json()
    assert [error["field"] for error in problem["errors"]] == ["items[0].price", "items[2].price"]
    assert problem["errors"][0]["message"] == "It is 39.90 EUR, not 1.00 EUR."
    assert problem["prices"] == {BOARD: 39.9, MUG: 14.9}


async def test_what_is_not_there_is_said_with_how_many_are(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    before = await _stock(shop, MUG)
    more_than_half = before[2] // 2 + 1
    dozen = ONE_MUG | {"quantity": more_than_half}
    total = round(2 * more_than_half * 14.9 + 39.9, 2)
    answer = await client.post(
        "/orders", json=ORDER | {"items": [dozen, ONE_BOARD, dozen], "totalAmount": total}
    )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "out_of_stock")
    assert (problem["sku"], problem["available"]) == (MUG, before[2])
    fields = [error["field"] for error in problem["errors"]]
    assert fields == ["items[0].quantity", "items[2].quantity"]
    assert await _stock(shop, MUG) == before


async def test_sixty_who_want_the_last_ten_get_ten(shop: Shop) -> None:
    acme = await new_partner(shop.ports, limits=Limits(per_customer=1000))
    left = (await _stock(shop, BOARD))[2]

    async def order(number: int) -> int:
        order = ORDER | {"items": [ONE_BOARD | {"quantity": left // 10}]}
        order["totalAmount"] = round(left // 10 * 39.9, 2)
        answer = await shop.client.post("/orders", json=order, headers=acme.headers)
        return answer.status_code

    statuses = Counter(await asyncio.gather(*map(order, range(60))))
    assert statuses == {201: 10, 409: 50}


# Sending again.


async def test_the_same_key_orders_once(shop: Shop, client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "a-1"}
    before = await _stock(shop, BOARD)
    first = await client.post("/orders", json=ORDER, headers=key)
    again = await client.post("/orders", json=ORDER, headers=key)
    other = await client.post("/orders", json=ORDER | {"reference": "B"}, headers=key)
    assert (first.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await _stock(shop, BOARD))[0] == before[0] - 1


async def test_another_partners_same_key_is_another_one(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    other = await new_partner(shop.ports, name="Other")
    key = {"Idempotency-Key": "a-1"}
    first = await client.post("/orders", json=ORDER, headers=key)
    second = await shop.client.post("/orders", json=ORDER, headers=key | other.headers)
    assert second.status_code == 201
    assert first.json()["orderId"] != second.json()["orderId"]


# Looking, and calling off.


async def test_the_orders_of_others_are_not_there(
    shop: Shop, client: httpx.AsyncClient, dana: dict[str, str]
) -> None:
    order_id = (await _place(client))["orderId"]
    other = (await new_partner(shop.ports, name="Other")).headers
    for answer in (
        await shop.client.get(f"/orders/{order_id}", headers=other),
        await shop.client.post(f"/orders/{order_id}/cancel", headers=other),
        await shop.client.get(f"/api/orders/{order_id}", headers=dana),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_order")
    assert (await shop.client.get("/orders", headers=other)).json()["orders"] == []


async def test_orders_are_listed_by_page_by_customer_and_by_status(
    shop: Shop, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    placed = []
    for number in range(6):
        clock.advance(minutes=1)
        placed.append((await _place(client, customerId=f"c{number % 2}"))["orderId"])
    await client.post(f"/orders/{placed[1]}/cancel")
    await client.post(f"/orders/{placed[4]}/cancel")
    newest = placed[::-1]
    assert await _listed(client, limit=2) == newest
    assert await _listed(client, limit=2, customerId="c1") == newest[::2]
    cancelled = [placed[4], placed[1]]
    assert await _listed(client, limit=1, status="CANCELLED") == cancelled
    assert await _listed(client, status="CANCELLED", customerId="c0") == [placed[4]]
    assert await _listed(client, customerId="nobody") == []
    bad = await client.get("/orders", params={"cursor": "x"})
    assert (bad.status_code, bad.json()["code"]) == (422, "bad_cursor")


async def _listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """The orders of all pages."""
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await client.get("/orders", params=query | {"cursor": cursor})
        assert answer.status_code == 200, answer.text
        seen += [order["orderId"] for order in answer.json()["orders"]]
        cursor = answer.json()["nextCursor"]
    return seen


async def test_an_order_is_called_off_while_it_is_pending(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    before = await _stock(shop, BOARD)
    order_id = (await _place(client))["orderId"]
    answer = await client.post(f"/orders/{order_id}/cancel")
    assert answer.json()["status"] == "CANCELLED"
    assert await _stock(shop, BOARD) == before
    order_id = (await _place(client))["orderId"]
    await shop.settle()
    late = await client.post(f"/orders/{order_id}/cancel")
    assert (late.status_code, late.json()["code"]) == (409, "too_late_to_cancel")


# Keys.


@pytest.mark.parametrize(
    "key",
    ["x", "ek_live_", "ek_live_aaaaaaaaaaaa_" + "a" * 40, "ek_live_é" + "a" * 60, "k" * 5000],
)
async def test_what_is_no_key_opens_nothing(demo: Shop, key: str) -> None:
    answer = await demo.client.get("/orders", headers={b"X-API-Key": key.encode()})
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_api_key")
    assert answer.headers["www-authenticate"] == 'ApiKey header="X-API-Key"'


async def test_without_a_key_it_says_where_one_goes(demo: Shop, dana: dict[str, str]) -> None:
    answer = await demo.client.post("/orders", json=ORDER, headers=dana)
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_api_key")


async def test_a_key_with_another_secret_opens_nothing(shop: Shop, acme: Known) -> None:
    wrong = acme.key[:-1] + ("0" if acme.key[-1] != "0" else "1")
    answer = await shop.client.get("/orders", headers={"X-API-Key": wrong})
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_api_key")


async def test_a_key_may_only_what_it_is_for(shop: Shop) -> None:
    reader = await new_partner(shop.ports, scopes=[Scope.ORDERS_READ])
    assert (await shop.client.get("/orders", headers=reader.headers)).status_code == 200
    answer = await shop.client.post("/orders", json=ORDER, headers=reader.headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert answer.json()["scope"] == "orders:write"


async def test_what_is_revoked_opens_nothing_from_the_next_request_on(
    shop: Shop, client: httpx.AsyncClient, acme: Known
) -> None:
    assert (await client.get("/orders")).status_code == 200
    await transact(shop.ports, service.revoke, acme.partner_id, acme.key_id)
    answer = await client.get("/orders")
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_api_key")
    await transact(shop.ports, service.restore, acme.partner_id, acme.key_id)
    assert (await client.get("/orders")).status_code == 200


async def test_a_key_expires(shop: Shop, client: httpx.AsyncClient, clock: ManualClock) -> None:
    clock.advance(days=364)
    assert (await client.get("/orders")).status_code == 200
    clock.advance(days=2)
    answer = await client.get("/orders")
    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_expired")


async def test_a_rotated_key_and_its_successor_overlap(
    shop: Shop, client: httpx.AsyncClient, acme: Known, clock: ManualClock
) -> None:
    issued = await transact(
        shop.ports, service.rotate, acme.partner_id, acme.key_id, overlap=timedelta(hours=24)
    )
    successor = {"X-API-Key": issued.text}
    clock.advance(hours=23)
    assert (await client.get("/orders")).status_code == 200
    assert (await client.get("/orders", headers=successor)).status_code == 200
    clock.advance(hours=2)
    assert (await client.get("/orders")).json()["code"] == "api_key_expired"
    assert (await client.get("/orders", headers=successor)).status_code == 200


async def test_a_partner_that_is_switched_off_is_let_in_again_when_it_is_on(
    shop: Shop, client: httpx.AsyncClient, acme: Known
) -> None:
    await transact(shop.ports, service.activate, acme.partner_id, active=False)
    answer = await client.get("/orders")
    assert (answer.status_code, answer.json()["code"]) == (403, "partner_inactive")
    await transact(shop.ports, service.activate, acme.partner_id, active=True)
    assert (await client.get("/orders")).status_code == 200


async def test_a_key_needs_no_origin(shop: Shop, client: httpx.AsyncClient) -> None:
    foreign = {"Origin": "https://partner.example", "Sec-Fetch-Site": "cross-site"}
    assert (await client.post("/orders", json=ORDER, headers=foreign)).status_code == 201
    async with shop.browser() as browser:
        answer = await browser.post("/orders", json=ORDER, headers=foreign)
    assert answer.json()["code"] == "foreign_origin"
