"""Which articles run out, found among those whose stock has changed."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from ecokart.core.ports import Ports
from ecokart.core.records import EPOCH, Cursor, Table, microseconds
from ecokart.core.transaction import Transaction, transact
from ecokart.features.catalog.events import StockLow
from ecokart.features.catalog.model import STOCK, Stock

PAGE = 200
# An index may lag, and a stock that is split moves its time by whole seconds.
OVERLAP = timedelta(seconds=10)


class LowStock(msgspec.Struct, frozen=True, kw_only=True):
    """An article that was said to run out, and hasn't had more pieces since."""

    sku: str
    since: datetime


class StockWatch(msgspec.Struct, frozen=True, kw_only=True):
    """Up to when the changes of the stock have been looked at."""

    id: str = "stock"
    seen_until: datetime


LOW_STOCK = Table("low_stock", LowStock, key="sku")
STOCK_WATCH = Table("stock_watch", StockWatch, key="id")


async def look(ports: Ports, low_at: int) -> None:
    """Say of each article that has come to `low_at` free pieces or fewer since the last look that it runs out."""
    began = ports.clock.now()
    watch = await ports.records.get(STOCK_WATCH, "stock")
    since = watch.value.seen_until - OVERLAP if watch else EPOCH
    after: Cursor | None = (microseconds(since), "")
    while after:
        page = await ports.records.query(STOCK, "by_change", "all", after=after, limit=PAGE)
        for stock in page.values:
            known = await ports.records.get(LOW_STOCK, stock.sku)
            if (stock.available <= low_at) != (known is not None):
                await transact(ports, _judge, stock.sku, low_at)
        after = page.after
    await transact(ports, _seen, began)


async def _judge(tx: Transaction, sku: str, low_at: int) -> None:
    """By what the records have now: the index may be a moment behind."""
    stock, known = await tx.get(STOCK, sku), await tx.get(LOW_STOCK, sku)
    low = stock is not None and stock.available <= low_at
    if stock and low and known is None:
        tx.put(LOW_STOCK, LowStock(sku=sku, since=tx.now))
        tx.emit(_said(stock))
    elif known and not low:
        tx.delete(LOW_STOCK, sku)


def _said(stock: Stock) -> StockLow:
    return StockLow(sku=stock.sku, product_id=stock.product_id, available=stock.available)


async def _seen(tx: Transaction, until: datetime) -> None:
    tx.overwrite(STOCK_WATCH, StockWatch(seen_until=until))
