"""The basket as a page."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.errors import Problem
from ecokart.core.transaction import transact
from ecokart.features.cart import service
from ecokart.features.cart.api import Name, Quantity
from ecokart.features.cart.model import MAX_QUANTITY, Cart, NoSuchLine
from ecokart.features.catalog.shelf import Shelf
from ecokart.web.pages import page, see_other
from ecokart.web.requests import Request, convert
from ecokart.web.routing import Access, Routes
from ecokart.web.visitors import keep_guest, owner_or_new_guest

routes = Routes(page=True, access=Access.ANYONE)


class RemovedQuery(msgspec.Struct, frozen=True):
    """What was just taken out, so that it can be put back."""

    removed: Name = ""
    quantity: Quantity = 1


class ChangedLine(msgspec.Struct):
    """A line's new quantity; none at all takes it out."""

    sku: Name
    quantity: Annotated[int, Meta(ge=0, le=MAX_QUANTITY)]


class AddedLine(msgspec.Struct):
    sku: Name
    quantity: Quantity


@routes("GET", "/cart", query=RemovedQuery)
async def show(request: Request, query: RemovedQuery) -> Response:
    """What is in the basket."""
    return await _page(request, removed=query if query.removed else None)


@routes("POST", "/cart/add")
async def add(request: Request) -> Response:
    """Put an article in, as when one that was taken out is wanted after all."""
    fields = await request.form_fields()
    line = convert(fields, AddedLine)
    try:
        await transact(
            request.ports, service.add, owner_or_new_guest(request), line.quantity, sku=line.sku
        )
    except Problem as why:
        return await _page(request, why=_explainable(why))
    return keep_guest(request, see_other("/cart"))


@routes("POST", "/cart/change")
async def change(request: Request) -> Response:
    """Another quantity; what hinders is said beside the line."""
    fields = await request.form_fields()
    try:
        line = convert(fields, ChangedLine)
        if line.quantity == 0:
            return await _remove(request, line.sku)
        owner = request.visitor.owner or ""
        await transact(request.ports, service.set_quantity, owner, line.sku, line.quantity)
    except NoSuchLine:
        return see_other("/cart")  # taken out in another window
    except Problem as why:
        return await _page(request, why=_explainable(why), typed=fields)
    return see_other("/cart")


@routes("POST", "/cart/remove")
async def remove(request: Request) -> Response:
    """Take a line out. The page that follows offers to put it back."""
    return await _remove(request, (await request.form_fields()).get("sku", ""))


async def _remove(request: Request, sku: str) -> Response:
    owner, ports = request.visitor.owner or "", request.ports
    line = (await service.look(ports.records, owner, ports.clock.now())).line(sku)
    if line is None:
        return see_other("/cart")
    try:
        await transact(ports, service.remove, owner, sku)
    except NoSuchLine:
        return see_other("/cart")
    return see_other(f"/cart?removed={quote(line.sku)}&quantity={line.quantity}")


async def _page(
    request: Request,
    *,
    removed: RemovedQuery | None = None,
    why: Problem | None = None,
    typed: dict[str, str] | None = None,
) -> Response:
    ports, shelf = request.ports, request.use(Shelf)
    cart = await service.look(ports.records, request.visitor.owner, ports.clock.now())
    gone = shelf.by_sku(removed.removed) if removed else None
    return await page(
        request,
        "cart/cart.html",
        why.status if why else 200,
        cart=cart,
        removed=removed,
        gone=gone,
        why=why,
        typed=typed or {},
        left=_left(shelf, cart, typed.get("sku", "")) if typed else 0,
        most=MAX_QUANTITY,
        here="/cart",
    )


def _left(shelf: Shelf, cart: Cart, sku: str) -> int:
    """How many of an article this visitor could have: the free ones and those put aside for them."""
    shown, line = shelf.by_sku(sku), cart.line(sku)
    stock = shown.stock.get(sku) if shown else None
    return (stock.available if stock else 0) + (line.quantity if line and line.held else 0)


def _explainable(why: Problem) -> Problem:
    """What the basket's page can say in its own words; anything else is the error page's."""
    if why.status not in (404, 409, 422):
        raise why
    return why
