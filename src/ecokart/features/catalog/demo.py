"""The demo shop's goods: thirty-one products, written and drawn for it."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec

from ecokart.core.money import Money
from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact
from ecokart.features.catalog import service
from ecokart.features.catalog.model import CATEGORIES, Category, Product, Variant


def folder() -> Traversable:
    return files("ecokart.features.catalog") / "seed"


async def seed(ports: Ports) -> bool:
    """Put the demo goods into an empty shop; says whether it was empty."""
    if (await ports.records.scan(CATEGORIES, limit=1)).values:
        return False
    goods = tomllib.loads((folder() / "products.toml").read_text(encoding="utf-8"))
    for entry in goods["product"]:
        await transact(ports, _add, entry)
    # Last, since they are the mark by which a seeded shop is known.
    await transact(ports, _add_categories, goods["category"])
    return True


async def _add_categories(tx: Transaction, entries: list[dict[str, Any]]) -> None:
    for position, entry in enumerate(entries):
        category = msgspec.convert(entry | {"position": position}, Category)
        await service.add_category(tx, category)


async def _add(tx: Transaction, entry: dict[str, Any]) -> None:
    if await service.exists(tx, entry["id"]):
        return
    product = msgspec.convert(
        entry
        | {
            "price": Money.parse(entry["price"]),
            "picture": f"{entry['id']}.svg",
            "variants": [_variant(variant, entry) for variant in entry["variants"]],
            "created_at": tx.now,
            "changed_at": tx.now,
        },
        Product,
        from_attributes=True,
    )
    stock = {variant["sku"]: variant["stock"] for variant in entry["variants"]}
    await service.add(tx, product, stock)


def _variant(entry: dict[str, Any], product: dict[str, Any]) -> Variant:
    prices = {key: Money.parse(entry[key]) for key in ("price", "compare_at") if key in entry}
    content = entry.get("content", product.get("content"))
    return msgspec.convert(entry | prices | {"content": content}, Variant, from_attributes=True)
