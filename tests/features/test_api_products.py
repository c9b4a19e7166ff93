"""The product API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from ecokart.core.money import Money
from ecokart.core.transaction import Transaction, transact
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import Product
from tests.shop import Shop

FIELDS = {
    "id", "name", "summary", "description", "price", "currency", "imageUrl", "category", "rating",
    "reviewCount", "stock", "reserved", "available", "material", "origin", "options", "variants",
    "createdAt", "updatedAt",
}  # fmt: skip


async def _list(shop: Shop, **query: Any) -> dict[str, Any]:
    answer = await shop.client.get("/api/products", params=query)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_a_product_has_the_documented_fields(demo: Shop) -> None:
    products = (await _list(demo))["products"]
    assert len(products) == 31
    assert all(set(product) == FIELDS for product in products)
    shirt = next(product for product in products if product["id"] == "prod-004")
    assert shirt["stock"] == sum(variant["stock"] for variant in shirt["variants"])
    assert {option["id"] for option in shirt["options"]} == set(shirt["variants"][0]["options"])
    assert shirt["createdAt"] == "2026-03-02T09:00:00Z"
    assert (await demo.client.get(shirt["imageUrl"])).headers["content-type"].startswith("image/")


async def test_amounts_have_two_places_and_the_price_is_the_lowest(demo: Shop) -> None:
    answer = await demo.client.get("/api/products/prod-008")
    assert '"price":39.90,"currency":"EUR"' in answer.text
    assert [variant["price"] for variant in answer.json()["variants"]] == [39.9, 49.9, 62.9]


async def test_goods_sold_by_weight_show_their_base_price(demo: Shop) -> None:
    coffee = (await demo.client.get("/api/products/prod-005")).json()
    assert [(v["basePrice"], v["basePriceUnit"]) for v in coffee["variants"]] == [
        (35.6, "kg"),
        (29.9, "kg"),
    ]


async def test_texts_come_in_the_language_asked_for(demo: Shop) -> None:
    german = await demo.client.get("/api/products/prod-020")
    english = await demo.client.get("/api/products/prod-020", headers={"Accept-Language": "en-GB"})
    assert german.json()["name"] == "Becher aus Emaille"
    assert english.json()["name"] == "Enamel mug"
    assert german.headers["etag"] != english.headers["etag"]
    assert german.headers["vary"] == "accept-language"


async def test_a_category_narrows_the_list(demo: Shop) -> None:
    pantry = (await _list(demo, category="pantry"))["products"]
    assert {product["category"] for product in pantry} == {"pantry"}
    assert len(pantry) == 4
    assert (await _list(demo, category="none"))["products"] == []


@pytest.mark.parametrize(
    ("sort", "field", "down"),
    [
        ("price", "price", False),
        ("-price", "price", True),
        ("-rating", "rating", True),
        ("relevance", "id", False),
        ("-createdAt", "createdAt", True),
    ],
)
async def test_sorted_as_asked(demo: Shop, sort: str, field: str, down: bool) -> None:
    values = [product[field] for product in (await _list(demo, sort=sort))["products"]]
    assert values == sorted(values, reverse=down)


async def test_names_are_sorted_without_regard_to_case(demo: Shop) -> None:
    names = [product["name"].casefold() for product in (await _list(demo, sort="name"))["products"]]
    assert names == sorted(names)


@pytest.mark.parametrize("sort", ["relevance", "price", "name", "-rating", "-createdAt"])
async def test_cursors_lead_through_all_of_it_once(demo: Shop, sort: str) -> None:
    whole = [product["id"] for product in (await _list(demo, sort=sort, limit=100))["products"]]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await _list(demo, sort=sort, limit=7, cursor=cursor)
        seen += [product["id"] for product in page["products"]]
        cursor = page["nextCursor"]
    assert seen == whole
    assert len(set(seen)) == 31


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "sort=x", "cursor=x", "cursor=bnVsbA=="]
)
async def test_what_cannot_be_listed_is_refused(demo: Shop, query: str) -> None:
    answer = await demo.client.get(f"/api/products?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


async def test_a_cursor_of_another_order_is_at_no_place(demo: Shop) -> None:
    cursor = (await _list(demo, sort="name", limit=1))["nextCursor"]
    assert (await _list(demo, sort="price", cursor=cursor))["products"] == []


async def test_unknown_products_are_not_found(demo: Shop) -> None:
    answer = await demo.client.get("/api/products/prod-999")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_product")


@pytest.mark.parametrize("path", ["/api/products", "/api/products/prod-001"])
async def test_an_answer_that_is_known_is_not_sent_again(demo: Shop, path: str) -> None:
    first = await demo.client.get(path)
    tag = first.headers["etag"]
    for known in (tag, f'"other", {tag}', "*", f"W/{tag}"):
        again = await demo.client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    other = await demo.client.get(path, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


async def test_head_answers_as_get_without_its_body(demo: Shop) -> None:
    head, get = await demo.client.head("/api/products"), await demo.client.get("/api/products")
    assert head.headers["etag"] == get.headers["etag"]
    assert head.headers["content-length"] == str(len(get.content))
    assert head.content == b""


async def test_the_list_follows_the_stock(shop: Shop) -> None:
    before = await shop.client.get("/api/products/prod-001")
    await shop.client.post("/api/cart", json={"productId": "prod-001", "quantity": 3})
    await shop.settle()
    after = await shop.client.get("/api/products/prod-001")
    assert after.headers["etag"] != before.headers["etag"]
    assert (after.json()["stock"], after.json()["reserved"], after.json()["available"]) == (
        40,
        3,
        37,
    )
    listed = (await _list(shop, limit=1))["products"][0]
    assert (listed["id"], listed["reserved"]) == ("prod-001", 3)


async def test_the_list_is_at_most_a_second_behind(shop: Shop) -> None:
    await shop.client.post("/api/cart", json={"productId": "prod-001"})
    async with asyncio.timeout(1):
        while (await _list(shop, limit=1))["products"][0]["reserved"] != 1:
            await asyncio.sleep(0.02)


async def test_a_new_price_is_shown_and_sorted_by(shop: Shop) -> None:
    async def discount(tx: Transaction) -> None:
        product = await catalog.product(tx, "prod-003")
        await catalog.change(tx, _with_price(product, 100))

    await transact(shop.ports, discount)
    await shop.settle()
    assert (await _list(shop, sort="price", limit=1))["products"][0]["id"] == "prod-003"


def _with_price(product: Product, minor: int) -> Product:
    return replace(product, price=Money(minor))
