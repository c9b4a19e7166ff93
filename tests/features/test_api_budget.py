"""How often each endpoint asks the records: counted, and fixed here.

A request that asks once more than yesterday is slower on every engine, and nobody sees it on SQLite.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.cost import MeteredRecords
from ecokart.core.ports import Ports
from tests.features.conftest import DANA
from tests.partners import new_partner
from tests.shop import Shop, running_shop

MUG = "EK-020-GREEN"
HOME = {
    "name": "Jo",
    "street": "Markt 1",
    "postalCode": "5020",
    "city": "Salzburg",
    "country": "AT",
}


class Ask(NamedTuple):
    """A request, and what it may ask of the records: gets, queries, scans, commits."""

    method: str
    path: str
    gets: int = 0
    queries: int = 0
    scans: int = 0
    commits: int = 0
    body: Any = None
    key: str = ""


# In this order, each on what the ones before have left. A signed-in request costs one get more.
GUEST = [
    Ask("GET", "/health/live"),
    Ask("GET", "/health/ready"),
    Ask("GET", "/openapi.json"),
    Ask("GET", "/api/products"),
    Ask("GET", "/api/products?category=pantry&sort=price"),
    Ask("GET", "/api/products/prod-001"),
    Ask("GET", "/api/cart"),
    Ask("POST", "/api/cart", gets=3, commits=1, body={"sku": MUG}),
    Ask("POST", "/api/cart", gets=3, commits=1, body={"sku": MUG}),
    Ask("GET", "/api/cart", gets=1),
    Ask("PUT", f"/api/cart/items/{MUG}", gets=1, commits=1, body={"quantity": 3}),
    Ask("DELETE", f"/api/cart/items/{MUG}", gets=1, commits=1),
    Ask("POST", "/api/cart", gets=2, commits=1, body={"productId": "prod-001"}),
    Ask("POST", "/api/orders", gets=1, commits=1, body={"address": HOME, "email": "a@b.de"}),
    Ask("POST", "/api/cart", gets=3, commits=1, body={"sku": MUG}),
    Ask("POST", "/api/orders", 1, 0, 0, 1, {"address": HOME, "email": "a@b.de"}, "key"),
    Ask("POST", "/api/orders", 2, 0, 0, 0, {"address": HOME, "email": "a@b.de"}, "key"),
    Ask("GET", "/api/orders", queries=1),
    Ask("GET", "/api/orders/{order}", gets=1),
    Ask("POST", "/api/orders/{order}/cancel", gets=1, commits=1),
    Ask("POST", "/auth/login", gets=5, commits=1, body=DANA),  # with the guest's cart
    Ask("POST", "/auth/register", gets=4, commits=2, body=DANA | {"email": "a@b.de", "name": "A"}),
]
CUSTOMER = [
    Ask("GET", "/auth/me", gets=2),
    Ask("GET", "/api/cart", gets=2),
    Ask("POST", "/api/cart", gets=4, commits=1, body={"sku": MUG}),
    Ask("POST", "/api/orders", gets=2, commits=1, body={"address": HOME}),
    Ask("GET", "/api/addresses", gets=2),
    Ask("POST", "/api/addresses", gets=2, commits=1, body=HOME),
    Ask("POST", "/auth/logout", gets=1, commits=1),
]
# The partner with its keys is one get, each product another.
SOLD = {
    "customerId": "c1",
    "items": [
        {"productId": "prod-001", "quantity": 1, "price": 39.9},
        {"productId": "prod-020", "sku": MUG, "quantity": 2, "price": 14.9},
        {"productId": "prod-020", "sku": "EK-020-CREAM", "quantity": 1, "price": 14.9},
    ],
    "totalAmount": 84.6,
}
PARTNER = [
    Ask("POST", "/orders", gets=3, commits=1, body=SOLD),
    Ask("POST", "/orders", gets=3, commits=1, body=SOLD, key="key"),
    Ask("POST", "/orders", gets=4, commits=1, body=SOLD, key="key"),  # the commit finds the mark
    Ask("GET", "/orders", gets=1, queries=1),
    Ask("GET", "/orders?customerId=c1", gets=1, queries=1),
    Ask("GET", "/orders/{order}", gets=2),
    Ask("POST", "/orders/{order}/cancel", gets=2, commits=1),
]


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[tuple[Shop, MeteredRecords]]:
    counting: list[MeteredRecords] = []

    def count(ports: Ports) -> Ports:
        counting.append(MeteredRecords(ports.records))
        return replace(ports, records=counting[0])

    async with running_shop(tmp_path, through=count) as shop:
        yield shop, counting[0]


@pytest.mark.parametrize("asks", [GUEST, CUSTOMER, PARTNER], ids=["guest", "customer", "partner"])
async def test_no_endpoint_asks_more_of_the_records_than_is_written_here(
    counted: tuple[Shop, MeteredRecords], asks: list[Ask]
) -> None:
    shop, records = counted
    headers = (await new_partner(shop.ports)).headers if asks is PARTNER else {}
    if asks is CUSTOMER:
        token = (await shop.client.post("/auth/login", json=DANA)).json()["token"]
        headers["Authorization"] = f"Bearer {token}"
    order, spent = "", []
    for number, ask in enumerate(asks):
        request_id = f"request-{number}"
        key = {"Idempotency-Key": ask.key} if ask.key else {}
        answer = await shop.client.request(
            ask.method,
            ask.path.format(order=order),
            json=ask.body,
            headers=headers | key | {"X-Request-ID": request_id},
        )
        assert answer.is_success, answer.text
        if ask.path in ("/api/orders", "/orders") and ask.method == "POST":
            order = answer.json()["orderId" if asks is PARTNER else "id"]
        calls = [
            records.used[request_id].calls[call] for call in ("get", "query", "scan", "commit")
        ]
        spent.append(
            ask._replace(gets=calls[0], queries=calls[1], scans=calls[2], commits=calls[3])
        )
    assert spent == asks
