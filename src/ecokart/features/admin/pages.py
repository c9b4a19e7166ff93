"""The office's pages. What is filtered is in the address, and every change can be undone."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.errors import Invalid, Problem
from ecokart.core.transaction import Transaction, transact
from ecokart.features.admin.view import Row, latest, stock_rows
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import NoSuchProduct, OutOfStock
from ecokart.features.catalog.shelf import Shelf
from ecokart.features.orders import service as orders
from ecokart.features.orders.model import Stage
from ecokart.web import paging
from ecokart.web.i18n import language_of
from ecokart.web.pages import page, see_other
from ecokart.web.paging import CursorText
from ecokart.web.requests import Request
from ecokart.web.routing import Access, Routes

routes = Routes(page=True, access=Access.ADMIN)

ORDERS_SIZE = 50
STOCK_SIZE = 100
MOST_PIECES = 1_000_000
CHANGE = re.compile(r"[+−-]?[0-9]{1,7}")

Text = Annotated[str, Meta(max_length=100)]


class NoChange(Invalid):
    """Please give a number of pieces, like +10 or -3."""


class OrdersQuery(msgspec.Struct, frozen=True):
    stage: Stage | None = None
    cursor: CursorText = ""


class StockQuery(msgspec.Struct, frozen=True):
    """What is looked for, where the page begins, and what was changed just now."""

    q: Text = ""
    after: Text = ""
    changed: Text = ""
    by: int = 0


@routes("GET", "/admin", query=OrdersQuery)
async def show_orders(request: Request, query: OrdersQuery) -> Response:
    """Orders, the newest first."""
    records, after = request.ports.records, paging.read(query.cursor)
    if query.stage:
        found = await orders.in_stage(records, query.stage, after=after, limit=ORDERS_SIZE)
        shown, following = found.values, found.after
    else:
        shown, following = await latest(records, after, ORDERS_SIZE)
    return await page(
        request,
        "admin/orders.html",
        orders=shown,
        query=query,
        stages=list(Stage),
        following=paging.write(following),
    )


@routes("GET", "/admin/orders/{id}")
async def show_order(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    """One order."""
    order = await orders.any_one(request.ports.records, id)
    return await page(request, "admin/order.html", order=order)


@routes("GET", "/admin/stock", query=StockQuery)
async def show_stock(request: Request, query: StockQuery) -> Response:
    """What there is of every article."""
    return await _stock(request, query)


@routes("POST", "/admin/stock")
async def change_stock(request: Request) -> Response:
    """Add pieces to an article's stock or take some off; the page that follows can undo it."""
    fields = await request.form_fields()
    sku, typed = fields.get("sku", ""), fields.get("by", "")
    query = StockQuery(fields.get("q", "")[:100], fields.get("after", "")[:100])
    try:
        by = _change(typed)
        await transact(request.ports, _restock, sku, by)
    except (NoChange, OutOfStock, NoSuchProduct) as why:
        return await _stock(request, query, sku=sku, typed=typed, why=why)
    given = {"q": query.q, "after": query.after, "changed": sku, "by": by}
    return see_other(f"/admin/stock?{urlencode(given)}")


async def _restock(tx: Transaction, sku: str, by: int) -> None:
    await catalog.stock_of(tx, sku)
    catalog.restock(tx, sku, by)


def _change(text: str) -> int:
    """`+10` → 10, `-3` → −3. Raises `NoChange`."""
    text = text.replace(" ", "")
    if not CHANGE.fullmatch(text):
        raise NoChange
    by = int(text.replace("−", "-"))
    if by == 0 or abs(by) > MOST_PIECES:
        raise NoChange
    return by


async def _stock(
    request: Request,
    query: StockQuery,
    *,
    sku: str = "",
    typed: str = "",
    why: Problem | None = None,
) -> Response:
    language, shelf = language_of(request), request.use(Shelf)
    rows, following = stock_rows(shelf, language, query.q, query.after, STOCK_SIZE)
    touched = query.changed or sku
    return await page(
        request,
        "admin/stock.html",
        why.status if why else 200,
        rows=[await _newest(request, row) if row.stock.sku == touched else row for row in rows],
        query=query,
        following=following,
        sku=sku,
        typed=typed,
        why=why,
        here="/admin/stock",
    )


async def _newest(request: Request, row: Row) -> Row:
    """The row as the records have it: the shelf may not have heard of a change a moment ago."""
    return row._replace(stock=await transact(request.ports, catalog.stock_of, row.stock.sku))
