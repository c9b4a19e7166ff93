"""The catalog in memory, at most one second behind the records. Everything that is shown comes from here."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from ecokart.core.errors import Unavailable
from ecokart.core.money import Money, divide
from ecokart.core.ports import Ports
from ecokart.core.records import Cursor, T, Table, microseconds
from ecokart.features.catalog.model import (
    CATEGORIES,
    PRODUCTS,
    STOCK,
    Category,
    Product,
    Stock,
    Variant,
)

POLL_SECONDS = 0.4
# A commit lands a little later than the time it carries, so each poll looks back that far.
OVERLAP = timedelta(seconds=5)
BEGINNING = datetime.fromisoformat("2000-01-01T00:00:00+00:00")

log = logging.getLogger("ecokart.shelf")


class Sort(StrEnum):
    """An order of the product list."""

    RELEVANCE = "relevance"
    PRICE = "price"
    PRICE_DOWN = "-price"
    NAME = "name"
    RATING = "-rating"
    NEWEST = "-createdAt"


_KEYS: dict[Sort, Callable[[Product, str], int | str]] = {
    Sort.RELEVANCE: lambda product, language: product.id,
    Sort.PRICE: lambda product, language: product.lowest_price.minor,
    Sort.PRICE_DOWN: lambda product, language: -product.lowest_price.minor,
    Sort.NAME: lambda product, language: product.name[language].casefold(),
    Sort.RATING: lambda product, language: -round(product.rating * 10),
    Sort.NEWEST: lambda product, language: -int(product.created_at.timestamp()),
}


class Shown(NamedTuple):
    """A product and the stock of its variants."""

    product: Product
    stock: dict[str, Stock]

    def available(self, variant: Variant) -> int:
        stock = self.stock.get(variant.sku)
        return stock.available if stock else 0

    @property
    def total_available(self) -> int:
        return sum([stock.available for stock in self.stock.values()])


class Article(NamedTuple):
    """A variant as the office looks for it: by its SKU or what it is called. `text` is both, casefolded."""

    sku: str
    title: str
    text: str


class Shelf:
    """What is for sale, ready to be shown. `generation` grows with every change."""

    def __init__(self, ports: Ports) -> None:
        self.generation = 0
        self.categories: list[Category] = []
        self._records = ports.records
        self._clock = ports.clock
        self._products: dict[str, Shown] = {}
        self._by_sku: dict[str, str] = {}
        self._sorted: dict[tuple[str, Sort, str], list[tuple[int | str, str]]] = {}
        self._articles: dict[str, list[Article]] = {}
        self._versions: dict[tuple[str, str], int] = {}
        self._seen_until = BEGINNING

    def product(self, product_id: str) -> Shown | None:
        """The product if it is for sale."""
        shown = self._products.get(product_id)
        return shown if shown and shown.product.active else None

    def by_sku(self, sku: str) -> Shown | None:
        return self._products.get(self._by_sku.get(sku, ""))

    def articles(self, language: str) -> list[Article]:
        """Every variant of all products, for sale or not, by SKU. Made once for each state of the products."""
        if language not in self._articles:
            self._articles[language] = sorted(
                _article(shown.product, variant, language)
                for shown in self._products.values()
                for variant in shown.product.variants
            )
        return self._articles[language]

    def page(
        self, category: str, sort: Sort, language: str, *, after: Cursor | None, limit: int
    ) -> tuple[list[Shown], Cursor | None]:
        """A page of what is for sale (of one category, or of all for ""), and where the next begins."""
        order = self._order(category, sort, language)
        # A cursor of another sort order may hold the other type: it is at no place here, so at the end.
        same = after is None or not order or type(order[0][0]) is type(after[0])
        start = 0 if after is None else bisect_right(order, after) if same else len(order)
        part = order[start : start + limit]
        following = part[-1] if start + limit < len(order) else None
        return [self._products[product_id] for _, product_id in part], following

    async def refresh(self) -> None:
        """Take in what changed since the last time."""
        started = self._clock.now()
        since = microseconds(self._seen_until - OVERLAP)
        changed = False
        for product, version in await self._changes(PRODUCTS, since):
            changed |= self._take_product(product, version)
        for stock, version in await self._changes(STOCK, since):
            changed |= self._take_stock(stock, version)
        if changed or not self.generation:
            found = await self._records.scan(CATEGORIES)
            self.categories = sorted(found.values, key=lambda category: category.position)
            self.generation += 1
        self._seen_until = started

    async def keep_fresh(self) -> None:
        """Refresh until cancelled; an engine that fails for a while leaves the shelf as it was."""
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("the shelf wasn't refreshed: %s", error)
            except Exception:
                log.exception("the shelf wasn't refreshed")
            await asyncio.sleep(POLL_SECONDS)

    async def _changes(self, table: Table[T], since: int) -> list[tuple[T, int]]:
        """Records of the table that changed after `since` and are not known at their version."""
        changes: list[tuple[T, int]] = []
        after: Cursor | None = (since, "")
        while after:
            page = await self._records.query(table, "by_change", "all", after=after, limit=500)
            for value, version in zip(page.values, page.versions, strict=True):
                if self._versions.get((table.name, table.key_of(value))) != version:
                    changes.append((value, version))
            after = page.after
        return changes

    def _take_product(self, product: Product, version: int) -> bool:
        known = self._products.get(product.id)
        self._products[product.id] = Shown(product, known.stock if known else {})
        self._by_sku |= {variant.sku: product.id for variant in product.variants}
        self._versions[PRODUCTS.name, product.id] = version
        self._sorted.clear()
        self._articles.clear()
        return True

    def _take_stock(self, stock: Stock, version: int) -> bool:
        shown = self._products.get(stock.product_id)
        if shown is None:
            return False  # its product comes with the next refresh, and then so does it
        self._products[stock.product_id] = Shown(shown.product, {**shown.stock, stock.sku: stock})
        self._versions[STOCK.name, stock.sku] = version
        return True

    def _order(self, category: str, sort: Sort, language: str) -> list[tuple[Any, str]]:
        order = self._sorted.get((category, sort, language))
        if order is None:
            key = _KEYS[sort]
            order = self._sorted[category, sort, language] = sorted(
                (key(shown.product, language), shown.product.id)
                for shown in self._products.values()
                if shown.product.active and category in ("", shown.product.category)
            )
        return order


def _article(product: Product, variant: Variant, language: str) -> Article:
    title = product.title_of(variant)[language]
    return Article(variant.sku, title, f"{variant.sku}\n{title}".casefold())


def base_price(product: Product, variant: Variant) -> tuple[Money, str] | None:
    """What 1 kg or 1 l of the variant costs, where it is sold by weight or volume (PAngV, 4 and 5)."""
    if variant.content is None:
        return None
    price = product.price_of(variant)
    unit = {"g": "kg", "ml": "l"}[variant.content.unit]
    return Money(divide(price.minor * 1000, variant.content.amount), price.currency), unit
