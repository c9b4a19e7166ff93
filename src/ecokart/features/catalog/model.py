"""Products, variants and stock."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from ecokart.core.errors import Conflict, Invalid, NotFound
from ecokart.core.i18n import Text
from ecokart.core.money import Money
from ecokart.core.records import Table


class NoSuchProduct(NotFound):
    """This product doesn't exist."""


class ChoiceNeeded(Invalid):
    """Please choose a variant.

    The product comes in several; `skus` are theirs.
    """


class OutOfStock(Conflict):
    """There isn't enough of this left.

    `sku` names the article.
    """


class SkuTaken(Conflict):
    """There is an article with this SKU already."""


class TaxClass(StrEnum):
    """How a product is taxed where it is delivered; the rates are in orders/taxes.py."""

    STANDARD = "standard"
    REDUCED = "reduced"
    NONE = "none"


class Content(msgspec.Struct, frozen=True):
    """How much is in it, for goods sold by weight or volume: a base price must be shown (PAngV §4)."""

    amount: int
    unit: str  # g or ml


class Choice(msgspec.Struct, frozen=True):
    """One value of an option: `m`, called M."""

    id: str
    name: Text


class Option(msgspec.Struct, frozen=True):
    """Something to choose: size, colour."""

    id: str
    name: Text
    values: tuple[Choice, ...]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """An article that can be bought. Prices are gross; without one of its own it has the product's."""

    sku: str
    options: dict[str, str] = {}
    price: Money | None = None
    compare_at: Money | None = None
    content: Content | None = None


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """What the shop shows on one page. `lane` is the same for all: the index over it lists changes."""

    id: str
    category: str
    name: Text
    summary: Text
    description: Text
    picture: str
    picture_alt: Text
    price: Money
    tax: TaxClass
    rating: float = 0.0
    review_count: int = 0
    weight_grams: int = 0
    material: Text = Text("", "")
    origin: Text = Text("", "")
    options: tuple[Option, ...] = ()
    variants: tuple[Variant, ...]
    active: bool = True
    created_at: datetime
    changed_at: datetime
    lane: str = "all"

    @property
    def lowest_price(self) -> Money:
        """What its cheapest variant costs: the price it is listed and sorted by."""
        return min([self.price_of(variant) for variant in self.variants])

    def price_of(self, variant: Variant) -> Money:
        return variant.price or self.price

    def title_of(self, variant: Variant) -> Text:
        """The product's name with what was chosen: `T-Shirt, M, Grün`."""
        chosen = [
            choice.name
            for option in self.options
            for choice in option.values
            if variant.options.get(option.id) == choice.id
        ]
        return Text(
            ", ".join([self.name.de, *(name.de for name in chosen)]),
            ", ".join([self.name.en, *(name.en for name in chosen)]),
        )


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a SKU there is. Always `stock == available + reserved`, and none below zero.

    `shards` lets very many buy it at once where the records want that; see docs/engines.md.
    """

    sku: str
    product_id: str
    stock: int
    reserved: int
    available: int
    changed_at: datetime
    lane: str = "all"
    shards: int = 1


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A room of the shop."""

    id: str
    name: Text
    summary: Text
    position: int


class Offer(msgspec.Struct, frozen=True):
    """What a buyer needs to know of an article, as it is now."""

    product_id: str
    sku: str
    title: Text
    price: Money
    tax: TaxClass
    picture: str


PRODUCTS = Table(
    "products",
    Product,
    key="id",
    indexes={"by_change": ("lane", "changed_at")},
    touched="changed_at",
)
STOCK = Table(
    "stock",
    Stock,
    key="sku",
    counters={"stock": 0, "reserved": 0, "available": 0},
    indexes={"by_change": ("lane", "changed_at")},
    touched="changed_at",
    shards="shards",
)
CATEGORIES = Table("categories", Category, key="id")
