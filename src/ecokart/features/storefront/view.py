"""What a product's card and page show, worked out once for each state of the shelf."""

from __future__ import annotations

from typing import NamedTuple

from ecokart.core.money import Money
from ecokart.features.catalog.model import Product, Variant
from ecokart.features.catalog.shelf import Shown, base_price

LOW_STOCK = 5


class Offered(NamedTuple):
    """A variant to choose. `label` is its first option; `before` the lowest price of the last 30 days."""

    sku: str
    label: str
    price: Money
    before: Money | None
    per_unit: tuple[Money, str] | None
    available: int

    @property
    def low(self) -> bool:
        return 0 < self.available <= LOW_STOCK


class Group(NamedTuple):
    """Variants that differ in the first option only. `name` says what they share: `Moss green`."""

    name: str
    offered: list[Offered]


class Card(NamedTuple):
    """A product in a list. `offered` is its cheapest variant, `varies` whether others cost more."""

    product: Product
    offered: Offered
    varies: bool
    available: int

    @property
    def low(self) -> bool:
        return 0 < self.available <= LOW_STOCK


def card(shown: Shown, language: str) -> Card:
    product = shown.product
    offered = [_offered(shown, variant, language) for variant in product.variants]
    cheapest = min(offered, key=lambda one: one.price)
    varies = any(one.price != cheapest.price for one in offered)
    return Card(product, cheapest, varies, shown.total_available)


def groups(shown: Shown, language: str) -> list[Group]:
    """The variants in the order of the catalog, together where all but the first option are the same."""
    found: dict[str, Group] = {}
    for variant in shown.product.variants:
        name = ", ".join(_chosen(shown.product, variant, language)[1:])
        group = found.setdefault(name, Group(name, []))
        group.offered.append(_offered(shown, variant, language))
    return list(found.values())


def _offered(shown: Shown, variant: Variant, language: str) -> Offered:
    product = shown.product
    return Offered(
        variant.sku,
        next(iter(_chosen(product, variant, language)), ""),
        product.price_of(variant),
        variant.compare_at,
        base_price(product, variant),
        max(shown.available(variant), 0),
    )


def _chosen(product: Product, variant: Variant, language: str) -> list[str]:
    """The names of the variant's values, in the order of the product's options."""
    return [
        choice.name[language]
        for option in product.options
        for choice in option.values
        if variant.options.get(option.id) == choice.id
    ]
