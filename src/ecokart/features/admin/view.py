"""What the office's tables show."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from itertools import islice
from typing import NamedTuple

from ecokart.core.ports import Records
from ecokart.core.records import Cursor, sortable
from ecokart.features.catalog.model import Product, Stock
from ecokart.features.catalog.shelf import Shelf
from ecokart.features.orders import service as orders
from ecokart.features.orders.model import Order, Stage


class Row(NamedTuple):
    """An article's stock, with the product it belongs to."""

    product: Product
    title: str
    stock: Stock


async def latest(
    records: Records, after: Cursor | None, limit: int
) -> tuple[list[Order], Cursor | None]:
    """Orders of every stage, the newest first, and where the next page begins.

    A cursor is a time and an id, so that one place is the same in the list of every stage.
    """
    pages = await asyncio.gather(
        *[orders.in_stage(records, stage, after=after, limit=limit + 1) for stage in Stage]
    )
    found = [order for page in pages for order in page.values]
    # As the index sorts: newest first, ties by id.
    found.sort(key=lambda order: order.id)
    found.sort(key=lambda order: order.placed_at, reverse=True)
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    placed_at = sortable(last.placed_at)
    return found[:limit], (placed_at, last.id) if placed_at is not None else None


def stock_rows(
    shelf: Shelf, language: str, text: str, after: str, limit: int
) -> tuple[list[Row], str]:
    """Articles by SKU behind `after` whose SKU or name has `text` in it, and the last one's SKU if more follow."""
    wanted, articles = text.casefold(), shelf.articles(language)
    start = bisect_right(articles, after, key=lambda article: article.sku)
    rows: list[Row] = []
    for article in islice(articles, start, None):
        shown = shelf.by_sku(article.sku) if wanted in article.text else None
        stock = shown.stock.get(article.sku) if shown else None
        if shown and stock:
            rows.append(Row(shown.product, article.title, stock))
            if len(rows) > limit:
                return rows[:limit], rows[limit - 1].stock.sku
    return rows, ""
