"""Orders over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import msgspec
from starlette.responses import Response

from ecokart.core.idempotency import IdempotencyKeyInUse, IdempotencyKeyReused
from ecokart.core.payments import PaymentState
from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact
from ecokart.features.accounts.model import Address, Email, WrongPostalCode
from ecokart.features.catalog.model import OutOfStock
from ecokart.features.orders import service
from ecokart.features.orders.checkout import refuse_method
from ecokart.features.orders.model import (
    FINAL,
    Awaited,
    CartEmpty,
    EmailNeeded,
    Method,
    MethodNotOffered,
    NoSuchOrder,
    Order,
    OrderLine,
    Shipment,
    Status,
    TooLateToCancel,
)
from ecokart.features.orders.service import Buyer
from ecokart.web import paging
from ecokart.web.i18n import language_of
from ecokart.web.idempotency import BadIdempotencyKey, once
from ecokart.web.paging import BadCursor, CursorText, Limit
from ecokart.web.requests import Request
from ecokart.web.responses import Moment, encode_json, json
from ecokart.web.routing import Access, Routes
from ecokart.web.streams import Message, Streams, TooManyStreams

# News may be lost with a process or a server, so who looks on looks by itself from time to time.
LOOK_AGAIN_SECONDS = 10.0
GAP_SECONDS = 0.2

routes = Routes("Orders", access=Access.ANYONE)


class PaymentChoice(msgspec.Struct):
    """How it is paid: one of the methods that the shop offers. Where, the order says as soon as it is known."""

    method: Method = Method.INVOICE


class NewOrder(msgspec.Struct):
    """Where the cart's content goes. A guest gives an e-mail address; a customer's is known."""

    address: Address
    email: Email | None = None
    payment: PaymentChoice = msgspec.field(default_factory=PaymentChoice)


class ListQuery(msgspec.Struct):
    limit: Limit = 20
    cursor: CursorText = ""


class OrderItemView(msgspec.Struct, rename="camel"):
    product_id: str
    sku: str
    name: str
    quantity: int
    price: Decimal
    total: Decimal


class TaxView(msgspec.Struct):
    """The gross amount under one VAT rate (percent), and the tax that is in it."""

    rate: Decimal
    gross: Decimal
    tax: Decimal


class PaymentView(msgspec.Struct):
    """How it is paid. `url` is where the buyer pays, while the payment is OPEN and waits for it.

    `captured` is all that has come, `refunded` what of it went back.
    """

    method: Method
    state: PaymentState
    url: str
    captured: Decimal
    refunded: Decimal


class ShipmentView(msgspec.Struct):
    """The parcel: who carries it, and where it can be followed; empty where nobody said."""

    carrier: str
    tracking: str
    url: str


class RefundView(msgspec.Struct, rename="camel"):
    """Money on its way back; `givenAt` says that it went."""

    amount: Decimal
    asked_at: Moment
    given_at: Moment | None


class OrderStepView(msgspec.Struct):
    status: Status
    at: Moment


class OrderView(msgspec.Struct, rename="camel"):
    """An order. Amounts are gross; `taxes` says what VAT they contain."""

    id: str
    user_id: str | None
    email: str
    items: list[OrderItemView]
    goods_amount: Decimal
    shipping_amount: Decimal
    total_amount: Decimal
    currency: str
    taxes: list[TaxView]
    address: Address | None
    payment: PaymentView
    shipment: ShipmentView | None
    refunds: list[RefundView]
    status: Status
    history: list[OrderStepView]
    created_at: Moment


class OrderList(msgspec.Struct, rename="camel"):
    orders: list[OrderView]
    next_cursor: str | None


@routes(
    "POST",
    "/api/orders",
    takes=NewOrder,
    gives={201: OrderView},
    problems=(
        CartEmpty,
        OutOfStock,
        EmailNeeded,
        WrongPostalCode,
        MethodNotOffered,
        BadIdempotencyKey,
        IdempotencyKeyReused,
        IdempotencyKeyInUse,
    ),
    limited="orders",
    idempotent=True,
)
async def place_order(request: Request, body: NewOrder) -> Response:
    """Order what is in the cart.

    All of it or nothing: stock, order and cart change in one transaction. It is paid by invoice, unless
    `payment` names another method that the shop offers.
    """
    body.address.check(within="address.")
    refuse_method(request.ports, body.payment.method, body.address.country)
    owner, language = request.visitor.owner, language_of(request)
    email = body.email or request.visitor.email
    if owner is None:
        raise CartEmpty
    if not email:
        raise EmailNeeded

    async def order(tx: Transaction) -> OrderView:
        buyer = Buyer(owner, email, body.address, language, body.payment.method)
        placed = await service.place(tx, buyer, request.ports.terms)
        return view(placed, language)

    return await once(request, owner, 201, order)


@routes("GET", "/api/orders", query=ListQuery, gives={200: OrderList}, problems=(BadCursor,))
async def list_orders(request: Request, query: ListQuery) -> Response:
    """One's own orders, the newest first."""
    page = await service.mine(
        request.ports.records,
        request.visitor.owner,
        after=paging.read(query.cursor),
        limit=query.limit,
    )
    language = language_of(request)
    orders = [view(order, language) for order in page.values]
    return json(OrderList(orders, paging.write(page.after)))


@routes("GET", "/api/orders/{id}", gives={200: OrderView}, problems=(NoSuchOrder,))
async def show_order(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    """One of one's own orders. Somebody else's isn't there."""
    order = await service.one(request.ports.records, request.visitor.owner, id)
    return json(view(order, language_of(request)))


@routes(
    "POST",
    "/api/orders/{id}/cancel",
    gives={200: OrderView},
    problems=(NoSuchOrder, TooLateToCancel),
)
async def cancel_order(request: Request, id: str) -> Response:  # noqa: A002
    """Call off an order until it is packed: while it is PENDING, or PROCESSING and still waits for people."""
    order = await transact(request.ports, service.cancel, request.visitor.owner, id)
    return json(view(order, language_of(request)))


@routes(
    "GET",
    "/api/orders/{id}/events",
    gives={200: OrderView, 204: None},
    problems=(NoSuchOrder, TooManyStreams),
    streams=True,
)
async def follow_order(request: Request, id: str) -> Response:  # noqa: A002
    """One of one's own orders as it is, and again whenever it has changed: server-sent events.

    Each event's data are the order as `GET /api/orders/{id}` gives it. The stream ends where the order
    does; who asks on then has seen it, and gets 204, which tells a browser to ask no more.
    """
    ports, owner, language = request.ports, request.visitor.owner, language_of(request)
    order = await service.one(ports.records, owner, id)
    if order.stage in FINAL and request.header(b"last-event-id") == str(order.facts):
        return Response(status_code=204)
    return request.use(Streams).answer(owner or "", lambda: _as_it_goes(ports, owner, id, language))


async def _as_it_goes(
    ports: Ports, owner: str | None, order_id: str, language: str
) -> AsyncIterator[Message]:
    """The order at each of its changes. It listens first and then reads, so that none falls between."""
    shown = 0
    while True:
        async with ports.live.subscribe(f"orders/{order_id}") as news:
            heard = True
            while heard:
                order = await service.one(ports.records, owner, order_id)
                if order.facts > shown:
                    shown = order.facts
                    yield Message(encode_json(view(order, language)), id=str(shown))
                if order.stage in FINAL:
                    return
                heard = await _heard(news)
        await asyncio.sleep(GAP_SECONDS)


async def _heard(news: AsyncIterator[bytes]) -> bool:
    """Wait for news. False if none came for a while, or none will: then listen again, and look."""
    try:
        async with asyncio.timeout(LOOK_AGAIN_SECONDS):
            return await anext(news, None) is not None
    except TimeoutError:
        return False


def view(order: Order, language: str) -> OrderView:
    return OrderView(
        id=order.id,
        user_id=None if order.owner is None or order.owner.startswith("guest:") else order.owner,
        email=order.email,
        items=[_item(line, language) for line in order.lines],
        goods_amount=order.goods.amount,
        shipping_amount=order.shipping.amount,
        total_amount=order.total.amount,
        currency=order.total.currency,
        taxes=[TaxView(line.rate, line.gross.amount, line.tax.amount) for line in order.taxes],
        address=order.address,
        payment=_payment(order),
        shipment=_shipment(order.shipment) if order.shipment else None,
        refunds=[
            RefundView(refund.amount.amount, refund.asked_at, refund.given_at)
            for refund in order.refunds
        ],
        status=order.status,
        history=[OrderStepView(status, at) for status, at in service.statuses(order).items()],
        created_at=order.placed_at,
    )


def _payment(order: Order) -> PaymentView:
    paid = order.payment
    return PaymentView(
        method=paid.method,
        state=paid.state,
        url=paid.url if order.awaits is Awaited.PAYMENT else "",
        captured=paid.captured.amount,
        refunded=paid.refunded.amount,
    )


def _shipment(parcel: Shipment) -> ShipmentView:
    return ShipmentView(parcel.carrier, parcel.tracking, parcel.url)


def _item(line: OrderLine, language: str) -> OrderItemView:
    return OrderItemView(
        product_id=line.product_id,
        sku=line.sku,
        name=line.name[language],
        quantity=line.quantity,
        price=line.price.amount,
        total=line.total.amount,
    )
