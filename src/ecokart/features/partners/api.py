"""Orders of partners over HTTP, and who is let in by an API key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, cast
from urllib.parse import quote

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.errors import FieldError, Forbidden, TooMany
from ecokart.core.idempotency import IdempotencyKeyInUse, IdempotencyKeyReused
from ecokart.core.money import MINOR_DIGITS, Money, NoAmount
from ecokart.core.transaction import Transaction, transact
from ecokart.features.accounts.model import Address, Email, ShortText, WrongPostalCode
from ecokart.features.catalog.model import ChoiceNeeded, NoSuchProduct, OutOfStock
from ecokart.features.orders import direct
from ecokart.features.orders.direct import (
    DirectOrder,
    PriceDiffers,
    TotalDiffers,
    Wanted,
    owner_of,
)
from ecokart.features.orders.model import MAX_LINES, NoSuchOrder, Status, TooLateToCancel
from ecokart.features.partners import service
from ecokart.features.partners.audit import NOBODY, AuditEntry, AuditTrail
from ecokart.features.partners.model import (
    AddressNeeded,
    ApiKey,
    ApiKeyExpired,
    KeyRefused,
    MissingApiKey,
    Partner,
    PartnerInactive,
    Scope,
    ScopeMissing,
    WrongApiKey,
    given_key,
)
from ecokart.features.partners.view import PartnerOrderView, view
from ecokart.web import limits, paging
from ecokart.web.i18n import language_of
from ecokart.web.idempotency import BadIdempotencyKey, once
from ecokart.web.paging import BadCursor, CursorText
from ecokart.web.requests import Request, Visitor
from ecokart.web.responses import json
from ecokart.web.routing import Access, KeyGate, Routes

routes = Routes("Partners", access=Access.PARTNER)

MINUTE_SECONDS = 60
MOST_PIECES = 10_000
LONGEST_PATH = 200  # of one that is noted
Quantity = Annotated[int, Meta(ge=1, le=MOST_PIECES)]
Amount = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Reference = Annotated[str, Meta(max_length=100)]
Currency = Annotated[str, Meta(pattern=f"^(?:{'|'.join(MINOR_DIGITS)})(?![\\s\\S])")]


class PartnerVisitor(Visitor, frozen=True, kw_only=True):
    """A partner's program, and the key that let it in."""

    partner: Partner
    key: ApiKey

    @property
    def actor(self) -> str:
        return f"{self.partner.source}/{self.key.id}"


@dataclass(frozen=True, slots=True)
class PartnerLimits:
    """Requests a minute: for each key, and orders for each customer, where the partner has no limits of its own."""

    per_key: int
    per_customer: int


class PartnerGate(KeyGate):
    """Knows partners by `X-API-Key`, counts their requests, and has all of them noted.

    `refused` is how often an address may come with a key that doesn't open: who tries more isn't
    listened to, nor noted, so that nobody fills the trail.
    """

    refusals = (
        MissingApiKey,
        WrongApiKey,
        ApiKeyExpired,
        PartnerInactive,
        ScopeMissing,
        TooMany,
    )

    def __init__(self, trail: AuditTrail, refused: limits.Limit) -> None:
        self._trail, self._refused = trail, refused

    async def admit(self, request: Request, scope: str) -> PartnerVisitor:
        """Raises one of `refusals`."""
        text, now = request.header(b"x-api-key"), request.ports.clock.now()
        if not text:
            raise MissingApiKey
        given = given_key(text)
        partner = await service.named_by(request.ports.records, given)
        address = request.client.host if request.client else "unknown"

        def noted(status: int, seconds: float) -> None:
            entry = AuditEntry(
                at=now,
                method=request.method,
                path=quote(request.scope["path"])[:LONGEST_PATH],
                status=status,
                milliseconds=round(seconds * 1000, 1),
                key_id=given.key_id if given and partner else "",
                request_id=request.request_id,
                address=address,
            )
            self._trail.note(partner.id if partner else NOBODY, entry)

        try:
            key = service.check(partner, given, scope, now)
        except (KeyRefused, Forbidden):
            await self._refused.take(request.ports.cache, f"api-key:{address}")
            request.when_answered(noted)
            raise
        request.when_answered(noted)
        admitted = cast(Partner, partner)
        self._trail.note_use(key.id, now, address)
        most = admitted.limits.per_key or request.use(PartnerLimits).per_key
        await _count(request, "key", most, key.id)
        return PartnerVisitor(partner=admitted, key=key)


def partner_of(request: Request) -> Partner:
    """Whose request it is, on a route for partners."""
    return cast(PartnerVisitor, request.visitor).partner


async def _count(request: Request, policy: str, most: int, name: str) -> None:
    """Count a request, and tell what is left (IETF draft-ietf-httpapi-ratelimit-headers). Raises `TooMany`."""
    request.add_header(b"ratelimit-policy", f'"{policy}";q={most};w={MINUTE_SECONDS}')
    try:
        left = await _limit(most).take(request.ports.cache, f"{policy}:{name}")
    except TooMany as refusal:
        request.add_header(b"ratelimit", f'"{policy}";r=0;t={refusal.retry_after_seconds}')
        raise
    request.add_header(b"ratelimit", f'"{policy}";r={left.requests};t={left.reset_seconds}')


@cache
def _limit(most: int) -> limits.Limit:
    return limits.Limit(most, MINUTE_SECONDS)


class AmountNotExact(NoAmount):
    """An amount has at most two decimal places."""


class NewPartnerOrderItem(msgspec.Struct, rename="camel"):
    """An article and the price at which it was sold. `sku` says which, where the product has variants."""

    product_id: ShortText
    quantity: Quantity
    price: Amount
    sku: Reference = ""


class NewPartnerOrder(msgspec.Struct, rename="camel"):
    """What a customer of the partner has bought. `customerId` and `reference` are the partner's own.

    `totalAmount` is what the items add up to: shipping is agreed in the contract. Without `email`,
    `address` or `language` the order has the partner's.
    """

    customer_id: ShortText
    items: Annotated[list[NewPartnerOrderItem], Meta(min_length=1, max_length=MAX_LINES)]
    total_amount: Amount
    currency: Currency = "EUR"
    reference: Reference = ""
    email: Email | None = None
    address: Address | None = None
    language: Literal["de", "en"] | None = None


class PartnerOrderQuery(msgspec.Struct, rename="camel"):
    """A page may have fewer than `limit` where few orders are in that `status`; the last has no `nextCursor`."""

    limit: paging.Limit = 20
    cursor: CursorText = ""
    status: Status | None = None
    customer_id: Reference = ""


class PartnerOrderList(msgspec.Struct, rename="camel"):
    orders: list[PartnerOrderView]
    next_cursor: str | None


@routes(
    "POST",
    "/orders",
    takes=NewPartnerOrder,
    gives={201: PartnerOrderView},
    problems=(
        AddressNeeded,
        AmountNotExact,
        ChoiceNeeded,
        NoSuchProduct,
        OutOfStock,
        PriceDiffers,
        TotalDiffers,
        WrongPostalCode,
        BadIdempotencyKey,
        IdempotencyKeyReused,
        IdempotencyKeyInUse,
    ),
    scope=Scope.ORDERS_WRITE,
    idempotent=True,
)
async def place_partner_order(request: Request, body: NewPartnerOrder) -> Response:
    """Place an order for a customer of one's own, on invoice.

    All of it or nothing: stock and order change in one transaction. Prices and total must be the
    shop's; items with the same article are added up.
    """
    partner = partner_of(request)
    most = partner.limits.per_customer or request.use(PartnerLimits).per_customer
    await _count(request, "customer", most, owner_of(partner.id, body.customer_id))
    order, language = _direct_order(partner, body), language_of(request)

    async def placed(tx: Transaction) -> PartnerOrderView:
        return view(await direct.place(tx, order), language)

    try:
        return await once(request, partner.source, 201, placed)
    except OutOfStock as refusal:
        raise await transact(request.ports, direct.explained, order, refusal) from None


@routes(
    "GET",
    "/orders",
    query=PartnerOrderQuery,
    gives={200: PartnerOrderList},
    problems=(BadCursor,),
    scope=Scope.ORDERS_READ,
)
async def list_partner_orders(request: Request, query: PartnerOrderQuery) -> Response:
    """One's own orders, the newest first: all, or those of a customer, or in a status."""
    found, after = await direct.of_partner(
        request.ports.records,
        partner_of(request).id,
        customer_id=query.customer_id,
        status=query.status,
        after=paging.read(query.cursor),
        limit=query.limit,
    )
    language = language_of(request)
    return json(PartnerOrderList([view(order, language) for order in found], paging.write(after)))


@routes(
    "GET",
    "/orders/{id}",
    gives={200: PartnerOrderView},
    problems=(NoSuchOrder,),
    scope=Scope.ORDERS_READ,
)
async def show_partner_order(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    """One of one's own orders. Somebody else's isn't there."""
    order = await direct.one(request.ports.records, partner_of(request).id, id)
    return json(view(order, language_of(request)))


@routes(
    "POST",
    "/orders/{id}/cancel",
    gives={200: PartnerOrderView},
    problems=(NoSuchOrder, TooLateToCancel),
    scope=Scope.ORDERS_WRITE,
)
async def cancel_partner_order(request: Request, id: str) -> Response:  # noqa: A002
    """Call off an order until it is packed: while it is PENDING, or PROCESSING and still waits for people."""
    order = await transact(request.ports, direct.cancel, partner_of(request).id, id)
    return json(view(order, language_of(request)))


def _direct_order(partner: Partner, body: NewPartnerOrder) -> DirectOrder:
    """Raises `AddressNeeded`, `WrongPostalCode` and `AmountNotExact`."""
    address = body.address or partner.address
    if address is None:
        raise AddressNeeded(errors=(FieldError("address", "This is needed."),))
    address.check(within="address.")
    return DirectOrder(
        partner_id=partner.id,
        customer_id=body.customer_id,
        reference=body.reference,
        email=body.email or partner.email,
        address=address,
        language=body.language or partner.language,
        wanted=tuple([_wanted(body, position) for position in range(len(body.items))]),
        total=_money(body.total_amount, body.currency, "totalAmount"),
    )


def _wanted(body: NewPartnerOrder, position: int) -> Wanted:
    item, place = body.items[position], f"items[{position}]"
    price = _money(item.price, body.currency, f"{place}.price")
    return Wanted(item.product_id, item.sku, item.quantity, price, place)


def _money(amount: float, currency: str, field: str) -> Money:
    """An amount as it was written. Raises `AmountNotExact`, which names the field."""
    try:
        return Money.parse(repr(amount), currency)
    except NoAmount as error:
        raise AmountNotExact(errors=(FieldError(field, error.detail),)) from None
