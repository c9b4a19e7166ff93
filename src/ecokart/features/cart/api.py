"""The cart over HTTP: for customers by token or session, for guests by a cookie they get with it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.errors import FieldError, Invalid
from ecokart.core.transaction import transact
from ecokart.features.cart import service
from ecokart.features.cart.model import (
    MAX_QUANTITY,
    Cart,
    CartFull,
    Line,
    NoSuchLine,
    TooManyPieces,
)
from ecokart.features.catalog.model import ChoiceNeeded, NoSuchProduct, OutOfStock
from ecokart.web.i18n import language_of
from ecokart.web.requests import Request
from ecokart.web.responses import Moment, json
from ecokart.web.routing import Access, Routes
from ecokart.web.visitors import keep_guest, owner_or_new_guest

routes = Routes("Cart", access=Access.ANYONE)

Quantity = Annotated[int, Meta(ge=1, le=MAX_QUANTITY)]
Name = Annotated[str, Meta(max_length=100)]


class ArticleNeeded(Invalid):
    """Say which article."""


class NewItem(msgspec.Struct, rename="camel"):
    """An article by its `sku`, or by its `productId` where there is nothing to choose."""

    product_id: Name = ""
    sku: Name = ""
    quantity: Quantity = 1


class NewQuantity(msgspec.Struct):
    quantity: Quantity


class CartItemView(msgspec.Struct, rename="camel"):
    """A line. `price` is what it was when the article was put in; `reserved` says whether it is held."""

    product_id: str
    sku: str
    name: str
    quantity: int
    price: Decimal
    total: Decimal
    reserved: bool


class CartView(msgspec.Struct, rename="camel"):
    """A cart. Until `reservedUntil` nobody else can buy what is in it."""

    items: list[CartItemView]
    total_amount: Decimal
    currency: str
    updated_at: Moment
    reserved_until: Moment | None


@routes("GET", "/api/cart", gives={200: CartView})
async def show_cart(request: Request) -> Response:
    """One's own cart."""
    ports = request.ports
    cart = await service.look(ports.records, request.visitor.owner, ports.clock.now())
    return json(view(cart, language_of(request)))


@routes(
    "POST",
    "/api/cart",
    takes=NewItem,
    gives={200: CartView},
    problems=(NoSuchProduct, ChoiceNeeded, OutOfStock, TooManyPieces, CartFull, ArticleNeeded),
    new_guests=True,
)
async def add_to_cart(request: Request, body: NewItem) -> Response:
    """Put an article into the cart.

    What is put in is reserved for two hours after the last change. A guest gets a cookie by which
    the cart is theirs.
    """
    if not body.sku and not body.product_id:
        raise ArticleNeeded(errors=(FieldError("productId", "Give a productId or a sku."),))
    owner = owner_or_new_guest(request)
    cart = await transact(
        request.ports, service.add, owner, body.quantity, sku=body.sku, product_id=body.product_id
    )
    return keep_guest(request, json(view(cart, language_of(request))))


@routes(
    "PUT",
    "/api/cart/items/{sku}",
    takes=NewQuantity,
    gives={200: CartView},
    problems=(NoSuchLine, OutOfStock, TooManyPieces),
)
async def set_quantity(request: Request, sku: str, body: NewQuantity) -> Response:
    """Change how many of an article are in the cart."""
    owner = request.visitor.owner or ""
    if not owner:
        raise NoSuchLine
    cart = await transact(request.ports, service.set_quantity, owner, sku, body.quantity)
    return json(view(cart, language_of(request)))


@routes("DELETE", "/api/cart/items/{sku}", gives={200: CartView}, problems=(NoSuchLine,))
async def remove_from_cart(request: Request, sku: str) -> Response:
    """Take an article out of the cart."""
    owner = request.visitor.owner or ""
    if not owner:
        raise NoSuchLine
    cart = await transact(request.ports, service.remove, owner, sku)
    return json(view(cart, language_of(request)))


def view(cart: Cart, language: str) -> CartView:
    return CartView(
        items=[_item(line, language) for line in cart.lines],
        total_amount=cart.total.amount,
        currency=cart.total.currency,
        updated_at=cart.updated_at,
        reserved_until=cart.deadline if cart.holding else None,
    )


def _item(line: Line, language: str) -> CartItemView:
    return CartItemView(
        product_id=line.product_id,
        sku=line.sku,
        name=line.title[language],
        quantity=line.quantity,
        price=line.price.amount,
        total=line.total.amount,
        reserved=line.held,
    )
