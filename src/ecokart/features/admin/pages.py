"""The office's pages. What is filtered is in the address; what an order has become meanwhile, no form overrules."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.errors import Invalid, Problem
from ecokart.core.money import Money, NoAmount
from ecokart.core.transaction import transact
from ecokart.features.admin.view import Row, Show, listed, stock_rows, stuck, told
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import NoSuchProduct, OutOfStock
from ecokart.features.catalog.shelf import Shelf
from ecokart.features.orders import office, posting
from ecokart.features.orders import service as orders
from ecokart.features.orders.model import (
    NoMoneyExpected,
    NothingToRefund,
    Order,
    OrderMoved,
    Shipment,
    Stage,
)
from ecokart.web import paging
from ecokart.web.i18n import language_of
from ecokart.web.pages import page, see_other
from ecokart.web.paging import CursorText
from ecokart.web.requests import Request
from ecokart.web.routing import Access, Routes

routes = Routes(page=True, access=Access.ADMIN)

ORDERS_SIZE = 50
STOCK_SIZE = 100
JOBS_SIZE = 50
LONGEST_NOTE = 200
LONGEST_URL = 500
MOST_PIECES = 1_000_000
LINK = re.compile(r"https?://[!-~]+")
CHANGE = re.compile(r"[+−-]?[0-9]{1,7}")
COUNT = re.compile(r"[0-9]{1,9}")

Text = Annotated[str, Meta(max_length=100)]


class NoChange(Invalid):
    """Please give a number of pieces, like +10 or -3."""


class NoLink(Invalid):
    """Please give a web address that begins with https://."""


class OrdersQuery(msgspec.Struct, frozen=True):
    stage: Stage | None = None
    show: Show | None = None
    cursor: CursorText = ""


class Done(StrEnum):
    """What was done just now, and is told on the page that follows."""

    PACKED = "packed"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"
    RECEIVED = "received"
    REFUNDED = "refunded"
    SENT = "sent"


class OrderQuery(msgspec.Struct, frozen=True):
    done: Done | None = None


class JobsQuery(msgspec.Struct, frozen=True):
    cursor: CursorText = ""
    tried: int | None = None


class StockQuery(msgspec.Struct, frozen=True):
    """What is looked for, where the page begins, and what was changed just now."""

    q: Text = ""
    after: Text = ""
    changed: Text = ""
    by: int = 0


@routes("GET", "/admin", query=OrdersQuery)
async def show_orders(request: Request, query: OrdersQuery) -> Response:
    """Orders, the newest first; those that wait for money by the time they have left."""
    shown, following = await listed(
        request.ports.records, query.stage, query.show, paging.read(query.cursor), ORDERS_SIZE
    )
    return await page(
        request,
        "admin/orders.html",
        orders=shown,
        query=query,
        stages=list(Stage),
        shows=list(Show),
        following=paging.write(following),
    )


@routes("GET", "/admin/orders/{id}", query=OrderQuery)
async def show_order(request: Request, id: str, query: OrderQuery) -> Response:  # noqa: A002 (the path's own name)
    """One order: how it stands, what has happened to it, and what can be done."""
    return await _order(request, id, done=query.done)


@routes("POST", "/admin/orders/{id}/pack")
async def pack(request: Request, id: str) -> Response:  # noqa: A002
    """The goods are packed."""
    fields = await request.form_fields()
    return await _act(request, id, fields, Done.PACKED, office.pack, request.ports.terms)


@routes("POST", "/admin/orders/{id}/ship")
async def ship(request: Request, id: str) -> Response:  # noqa: A002
    """The parcel is on its way."""
    fields = await request.form_fields()
    url = fields.get("url", "")[:LONGEST_URL]
    if url and not LINK.fullmatch(url):
        return await _order(request, id, typed=fields, why=NoLink())
    carrier, tracking = fields.get("carrier", "")[:100], fields.get("tracking", "")[:100]
    parcel = Shipment(carrier=carrier, tracking=tracking, url=url)
    return await _act(request, id, fields, Done.SHIPPED, office.ship, parcel, request.ports.terms)


@routes("POST", "/admin/orders/{id}/cancel")
async def cancel(request: Request, id: str) -> Response:  # noqa: A002
    """The order is called off."""
    fields = await request.form_fields()
    note = fields.get("note", "")[:LONGEST_NOTE]
    return await _act(request, id, fields, Done.CANCELLED, office.call_off, note)


@routes("POST", "/admin/orders/{id}/receive")
async def receive(request: Request, id: str) -> Response:  # noqa: A002
    """A transfer has come."""
    fields = await request.form_fields()
    try:
        amount = _amount(fields.get("received", ""))
    except NoAmount as why:
        return await _order(request, id, typed=fields, why=why)
    terms = request.ports.terms
    return await _act(request, id, fields, Done.RECEIVED, office.receive, amount, terms)


@routes("POST", "/admin/orders/{id}/refund")
async def refund(request: Request, id: str) -> Response:  # noqa: A002
    """Money goes back; `replaces` names a refund that failed."""
    fields = await request.form_fields()
    try:
        amount = _amount(fields.get("amount", ""))
    except NoAmount as why:
        return await _order(request, id, typed=fields, why=why)
    ask = partial(
        office.refund, restock="restock" in fields, replaces=fields.get("replaces", "")[:100]
    )
    reason = fields.get("reason", "")[:LONGEST_NOTE]
    return await _act(request, id, fields, Done.REFUNDED, ask, amount, reason)


@routes("POST", "/admin/orders/{id}/sent")
async def confirm_refund(request: Request, id: str) -> Response:  # noqa: A002
    """Somebody has sent a refund's money by transfer."""
    fields = await request.form_fields()
    refund_id = fields.get("refund", "")
    return await _act(request, id, fields, Done.SENT, office.confirm_refund, refund_id)


async def _act(
    request: Request,
    order_id: str,
    fields: dict[str, str],
    done: Done,
    action: Callable[..., Awaitable[Order]],
    *more: Any,
) -> Response:
    """Do it, if the order is still as the form's page showed it; what hinders is said on that page."""
    facts = fields.get("facts", "")
    try:
        seen = int(facts) if COUNT.fullmatch(facts) else -1
        await transact(request.ports, action, order_id, seen, *more)
    except (OrderMoved, NothingToRefund, NoMoneyExpected) as why:
        return await _order(request, order_id, typed=fields, why=why)
    return see_other(f"/admin/orders/{order_id}?done={done}")


async def _order(
    request: Request,
    order_id: str,
    *,
    done: Done | None = None,
    typed: dict[str, str] | None = None,
    why: Problem | None = None,
) -> Response:
    records = request.ports.records
    order = await orders.any_one(records, order_id)
    return await page(
        request,
        "admin/order.html",
        why.status if why else 200,
        order=order,
        facts=await told(records, order_id),
        failures=await posting.failures(records, order_id),
        done=done,
        typed=typed or {},
        why=why,
        here=f"/admin/orders/{order_id}",
    )


def _amount(text: str) -> Money:
    """`12,90` or `12.90` → 1290 cents. Raises `NoAmount`."""
    text = text.replace(" ", "")
    return Money.parse(text.replace(".", "").replace(",", ".") if "," in text else text)


@routes("GET", "/admin/jobs", query=JobsQuery)
async def show_jobs(request: Request, query: JobsQuery) -> Response:
    """Background jobs that were given up, the oldest first."""
    dead = await request.ports.queue.dead(after=paging.read(query.cursor), limit=JOBS_SIZE)
    return await page(
        request,
        "admin/jobs.html",
        jobs=[stuck(job) for job in dead.values],
        query=query,
        following=paging.write(dead.after),
    )


@routes("POST", "/admin/jobs")
async def redrive(request: Request) -> Response:
    """Try jobs again, with all their attempts: one, or all of a page."""
    fields = await request.form_fields()
    tried = await request.ports.queue.redrive(fields.get("jobs", "").split())
    return see_other(f"/admin/jobs?tried={tried}")


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
        await transact(request.ports, catalog.correct, sku, by)
    except (NoChange, OutOfStock, NoSuchProduct) as why:
        return await _stock(request, query, sku=sku, typed=typed, why=why)
    given = {"q": query.q, "after": query.after, "changed": sku, "by": by}
    return see_other(f"/admin/stock?{urlencode(given)}")


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
