"""A partner's program: orders over the partners' API, at the shop's prices, under a key of its own."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count
from random import Random
from typing import NamedTuple

from bench.load import request
from ecokart.core.ports import Ports, Records
from ecokart.core.transaction import transact
from ecokart.features.accounts.model import Address
from ecokart.features.catalog.model import PRODUCTS
from ecokart.features.partners import service
from ecokart.features.partners.model import Limits, Scope

ADDRESS = Address(name="Bea Bench", street="Messweg 1", postal_code="10115", city="Berlin")
# The office agrees on limits with each partner. This one's program is never too fast.
AGREED = Limits(per_key=1_000_000_000, per_customer=1_000_000_000)
CUSTOMERS = 5_000  # of the partner, among whom the orders are spread
HOLDS = timedelta(days=1)


class Article(NamedTuple):
    """What can be ordered, and what a piece costs, in cents."""

    product_id: str
    sku: str
    price: int


class Program:
    """What a partner's program sends. Every order has an Idempotency-Key of its own."""

    def __init__(self, api_key: str, articles: list[Article]) -> None:
        self._api_key, self._articles, self._numbers = api_key, articles, count()

    def orders(self, random: Random) -> bytes:
        """An order of one to three articles, one or two pieces of each, for one of the customers."""
        chosen = random.sample(self._articles, random.randint(1, 3))
        bought = [(article, random.randint(1, 2)) for article in chosen]
        body = {
            "customerId": f"customer-{random.randrange(CUSTOMERS)}",
            "items": [
                {
                    "productId": article.product_id,
                    "sku": article.sku,
                    "quantity": quantity,
                    "price": article.price / 100,
                }
                for article, quantity in bought
            ],
            "totalAmount": sum(article.price * quantity for article, quantity in bought) / 100,
        }
        key = f"program-{next(self._numbers)}"
        return request("POST", "/orders", json.dumps(body).encode(), api_key=self._api_key, key=key)


async def joined(ports: Ports) -> Program:
    """The program of a new partner, which may send as much as it likes."""
    details = service.Details(
        name="Bench", email="orders@bench.example", address=ADDRESS, limits=AGREED
    )
    partner = await transact(ports, service.add, details)
    issued = await transact(
        ports, service.issue, partner.id, name="load", scopes=Scope, holds=HOLDS
    )
    return Program(issued.text, await _articles(ports.records))


async def _articles(records: Records) -> list[Article]:
    page = await records.scan(PRODUCTS, limit=1000)
    return [
        Article(product.id, variant.sku, product.price_of(variant).minor)
        for product in page.values
        if product.active
        for variant in product.variants
    ]
