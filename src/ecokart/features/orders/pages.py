"""The checkout, and one's own orders, as pages."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from msgspec import convert
from starlette.responses import Response

from ecokart.core.errors import Problem, Unavailable
from ecokart.core.payments import PaymentState
from ecokart.core.transaction import transact
from ecokart.features.accounts import service as accounts
from ecokart.features.accounts.model import Address, Customer, Email, WrongPostalCode
from ecokart.features.cart import service as cart
from ecokart.features.cart.model import Cart
from ecokart.features.catalog.model import OutOfStock
from ecokart.features.catalog.shelf import Shelf
from ecokart.features.orders import paying, service
from ecokart.features.orders.checkout import (
    BasketChanged,
    method_named,
    order_once,
    refuse_method,
    seen,
)
from ecokart.features.orders.model import (
    ENDED,
    FINAL,
    CartEmpty,
    Method,
    MethodNotOffered,
    Order,
    Stage,
    Status,
    TooLateToCancel,
)
from ecokart.features.orders.service import Buyer
from ecokart.features.orders.taxes import RATES, SHIPPING, tax_lines
from ecokart.web import paging
from ecokart.web.i18n import language_of
from ecokart.web.pages import page, see_other, wrong_fields
from ecokart.web.paging import CursorText
from ecokart.web.requests import Request
from ecokart.web.routing import Access, Routes

routes = Routes(page=True, access=Access.ANYONE)

PAGE_SIZE = 20


class ListQuery(msgspec.Struct, frozen=True):
    cursor: CursorText = ""


class Reachable(msgspec.Struct):
    """A guest says where the confirmation goes."""

    email: Email


@routes("GET", "/checkout")
async def checkout(request: Request) -> Response:
    """Where it goes and what it costs, before anything is bought."""
    return await _checkout(request)


@routes("POST", "/checkout", limited="orders")
async def order(request: Request) -> Response:
    """Buy what is in the basket. What hinders is said on the same page, with all that was typed."""
    fields, customer = await request.form_fields(), await _customer(request)
    address = _saved_address(customer, fields.get("address", ""))
    wrong = set() if address else _wrong_address(fields)
    if customer is None:
        wrong |= wrong_fields(fields, Reachable)
    if wrong:
        return await _checkout(request, fields, wrong=wrong)
    try:
        buyer = Buyer(
            request.visitor.owner or "",
            customer.email if customer else fields["email"],
            address or convert(fields, Address),
            language_of(request),
            method_named(fields.get("method", "")),
        )
        refuse_method(request.ports, buyer.method, buyer.address.country)
        order_id = await transact(
            request.ports,
            order_once,
            buyer,
            request.ports.terms,
            form=fields.get("form", "")[:100],
            agreed=fields.get("seen", ""),
            keep_address=address is None and "keep" in fields,
        )
    except CartEmpty:
        return see_other("/cart")
    except (OutOfStock, BasketChanged, MethodNotOffered) as why:
        return await _checkout(request, fields, why=why)
    where = "pay" if buyer.method.online else "thanks"
    return see_other(f"/account/orders/{order_id}/{where}")


@routes("GET", "/account/orders/{id}/pay")
async def pay(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    """On to the provider's payment page, unless it is paid by now. While the provider is away, the order waits for it.

    It is a page and no redirect: a form of ours may lead to no other site (the content security policy).
    """
    order = await _own(request, id)
    try:
        order = await paying.follow(request.ports, order.id)
    except Unavailable:
        return await page(request, "orders/pay.html", order=order, url="")
    if order.stage is not Stage.PLACED or order.payment.state is not PaymentState.OPEN:
        return see_other(f"/account/orders/{order.id}")
    return await page(request, "orders/pay.html", order=order, url=order.payment.url)


@routes("GET", "/account/orders/{id}/returned")
async def returned(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    """Back from the provider. What has become of the payment only the provider knows."""
    order = await _own(request, id)
    try:
        order = await paying.follow(request.ports, order.id)
    except Unavailable:
        return see_other(f"/account/orders/{order.id}")  # a notice will tell
    unpaid = order.stage is Stage.PLACED and order.payment.state is PaymentState.OPEN
    where = "" if unpaid or order.stage in ENDED else "/thanks"
    return see_other(f"/account/orders/{order.id}{where}")


@routes("GET", "/account/orders", query=ListQuery)
async def mine(request: Request, query: ListQuery) -> Response:
    """One's own orders, the newest first."""
    found = await service.mine(
        request.ports.records,
        request.visitor.owner,
        after=paging.read(query.cursor),
        limit=PAGE_SIZE,
    )
    return await page(
        request,
        "orders/list.html",
        orders=found.values,
        following=paging.write(found.after),
        paged=bool(query.cursor),
    )


@routes("GET", "/account/orders/{id}")
async def show(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    """One of one's own orders."""
    return await _order(request, await _own(request, id))


@routes("GET", "/account/orders/{id}/thanks")
async def thanks(request: Request, id: str) -> Response:  # noqa: A002
    """The order that was just placed."""
    return await _order(request, await _own(request, id), thanks=True)


@routes("POST", "/account/orders/{id}/cancel")
async def cancel(request: Request, id: str) -> Response:  # noqa: A002
    """Call the order off, if it isn't too late."""
    try:
        await transact(request.ports, service.cancel, request.visitor.owner, id)
    except TooLateToCancel as why:
        return await _order(request, await _own(request, id), why=why)
    return see_other(f"/account/orders/{id}")


async def _own(request: Request, order_id: str) -> Order:
    return await service.one(request.ports.records, request.visitor.owner, order_id)


async def _order(
    request: Request, order: Order, *, thanks: bool = False, why: Problem | None = None
) -> Response:
    return await page(
        request,
        "orders/order.html",
        why.status if why else 200,
        order=order,
        thanks=thanks,
        why=why,
        way=[Status.PENDING, Status.PROCESSING, Status.COMPLETED],
        other_ends=[Status.CANCELLED, Status.FAILED, Status.REFUNDED],
        came=service.statuses(order),
        final=order.stage in FINAL,
        here=f"/account/orders/{order.id}",
    )


async def _checkout(
    request: Request,
    typed: dict[str, str] | None = None,
    *,
    wrong: set[str] | None = None,
    why: Problem | None = None,
) -> Response:
    ports = request.ports
    basket = await cart.look(ports.records, request.visitor.owner, ports.clock.now())
    if not basket.lines:
        return see_other("/cart")
    customer = await _customer(request)
    return await page(
        request,
        "orders/checkout.html",
        why.status if why else 422 if wrong else 200,
        customer=customer,
        typed=typed or _prefilled(customer),
        wrong=wrong or set(),
        why=why,
        left=_left(request, basket, why) if why else {},
        **_summary(basket),
        methods=paying.offered(ports),
        method=(typed or {}).get("method") or Method.INVOICE,
        form=(typed or {}).get("form") or secrets.token_hex(16),
        here="/checkout",
    )


def _summary(basket: Cart) -> dict[str, Any]:
    """What has to stand right above the button: the goods, the shipping, the total, and its VAT."""
    goods = [(line.tax, line.total) for line in basket.lines]
    return {
        "lines": basket.lines,
        "shipping": SHIPPING,
        "total": basket.total + SHIPPING,
        "taxes": {country: tax_lines(country, goods, SHIPPING) for country in RATES},
        "seen": seen(basket.lines),
    }


def _left(request: Request, basket: Cart, why: Problem) -> dict[str, int]:
    """For each line that can't be had whole: how many of it there are."""
    shelf, left = request.use(Shelf), {}
    for line in basket.lines:
        shown = shelf.by_sku(line.sku)
        stock = shown.stock.get(line.sku) if shown else None
        available = stock.available if stock else 0
        if not line.held and (available < line.quantity or why.extra.get("sku") == line.sku):
            left[line.sku] = available
    return left


def _prefilled(customer: Customer | None) -> dict[str, str]:
    if customer is None:
        return {}
    return {"address": customer.addresses[-1].id if customer.addresses else "", "keep": "on"} | {
        "name": customer.name
    }


def _wrong_address(fields: dict[str, str]) -> set[str]:
    if wrong := wrong_fields(fields, Address):
        return wrong
    try:
        convert(fields, Address).check()
    except WrongPostalCode:
        return {"postalCode"}
    return set()


def _saved_address(customer: Customer | None, address_id: str) -> Address | None:
    saved = customer.addresses if customer else ()
    return next((one.address for one in saved if one.id == address_id), None)


async def _customer(request: Request) -> Customer | None:
    customer_id = request.visitor.customer_id
    return await transact(request.ports, accounts.customer, customer_id) if customer_id else None
