"""An order as a partner is shown it: by the API, and in what its webhooks bring."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec

from ecokart.features.accounts.model import Address
from ecokart.features.orders.model import Method, Order, OrderLine, Status
from ecokart.features.orders.service import statuses

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class PartnerOrderItemView(msgspec.Struct, rename="camel"):
    """A line of an order: gross amounts in the order's currency."""

    product_id: str
    sku: str
    name: str
    quantity: int
    price: Decimal
    total: Decimal


class PartnerOrderStepView(msgspec.Struct):
    """A status the order came to, and when."""

    status: Status
    at: Moment


class PartnerOrderView(msgspec.Struct, rename="camel"):
    """A partner's order. Amounts are gross; `customerId` and `reference` are the partner's own."""

    order_id: str
    customer_id: str
    reference: str
    status: Status
    items: list[PartnerOrderItemView]
    total_amount: Decimal
    currency: str
    email: str
    address: Address | None
    payment: Method
    history: list[PartnerOrderStepView]
    created_at: Moment


def view(order: Order, language: str) -> PartnerOrderView:
    """The order in that language's words."""
    return PartnerOrderView(
        order_id=order.id,
        customer_id=(order.owner or "").removeprefix(f"{order.source}:"),
        reference=order.reference,
        status=order.status,
        items=[_item(line, language) for line in order.lines],
        total_amount=order.total.amount,
        currency=order.total.currency,
        email=order.email,
        address=order.address,
        payment=order.payment.method,
        history=[PartnerOrderStepView(status, at) for status, at in statuses(order).items()],
        created_at=order.placed_at,
    )


def _item(line: OrderLine, language: str) -> PartnerOrderItemView:
    return PartnerOrderItemView(
        product_id=line.product_id,
        sku=line.sku,
        name=line.name[language],
        quantity=line.quantity,
        price=line.price.amount,
        total=line.total.amount,
    )
