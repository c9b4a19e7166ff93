"""Orders without a cart: a partner's program says what it sold, and the shop agrees or doesn't."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ecokart.core.errors import Conflict, FieldError, Invalid
from ecokart.core.money import Money
from ecokart.core.ports import Records
from ecokart.core.records import Cursor, microseconds
from ecokart.core.transaction import Transaction
from ecokart.features.accounts.model import Address
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.model import ChoiceNeeded, NoSuchProduct, Offer, OutOfStock, Product
from ecokart.features.orders import history, service
from ecokart.features.orders.model import ORDERS, NoSuchOrder, Order, OrderLine, Status
from ecokart.features.orders.service import Buyer

PAGE = 100
MOST_PAGES = 10


class PriceDiffers(Conflict):
    """The shop's price is another one.

    `errors` name the items and say what each costs now; `prices` has it by SKU.
    """


class TotalDiffers(Invalid):
    """The items add up to another total.

    `total` is what they add up to.
    """


class Wanted(msgspec.Struct, frozen=True):
    """An item as it was ordered. `place` is where it stands in the request."""

    product_id: str
    sku: str
    quantity: int
    price: Money
    place: str


class DirectOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is ordered, by whom, and where it goes. The total is that of the goods: shipping is agreed."""

    partner_id: str
    customer_id: str
    reference: str
    email: str
    address: Address
    language: str
    wanted: tuple[Wanted, ...]
    total: Money

    @property
    def source(self) -> str:
        return f"partner:{self.partner_id}"

    @property
    def owner(self) -> str:
        return owner_of(self.partner_id, self.customer_id)


def owner_of(partner_id: str, customer_id: str) -> str:
    """Whose an order is that a partner places for this customer of its own."""
    return f"partner:{partner_id}:{customer_id}"


async def place(tx: Transaction, order: DirectOrder) -> Order:
    """Sell what is wanted, off the free stock, and write the order: all of it, or nothing.

    Items with the same article are added up. Raises `NoSuchProduct`, `ChoiceNeeded`, `PriceDiffers`,
    `TotalDiffers` and `OutOfStock`.
    """
    offers = await _offers(tx, order.wanted)
    _agree(order, offers)
    lines: dict[str, OrderLine] = {}
    for wanted, offer in zip(order.wanted, offers, strict=True):
        before = lines.get(offer.sku)
        quantity = wanted.quantity + (before.quantity if before else 0)
        lines[offer.sku] = _line(offer, quantity)
        catalog.sell(tx, offer.sku, wanted.quantity, reserved=False)
    buyer = Buyer(order.owner, order.email, order.address, order.language)
    placed = service.new_order(
        tx,
        buyer,
        tuple(lines.values()),
        shipping=Money(0, order.total.currency),
        source=order.source,
        partner_id=order.partner_id,
        reference=order.reference,
    )
    return history.place(tx, placed)


async def explained(tx: Transaction, order: DirectOrder, refusal: OutOfStock) -> OutOfStock:
    """The refusal with how many there are left, and the items that want more."""
    sku = refusal.extra["sku"]
    left = (await catalog.stock_of(tx, sku)).available
    errors = [
        FieldError(f"{wanted.place}.quantity", f"There are {left} left of {sku}.")
        for wanted, offer in zip(order.wanted, await _offers(tx, order.wanted), strict=True)
        if offer.sku == sku
    ]
    return OutOfStock(sku=sku, available=left, errors=tuple(errors))


async def cancel(tx: Transaction, partner_id: str, order_id: str) -> Order:
    """Call off a partner's own order until it is packed. Raises `NoSuchOrder` and `TooLateToCancel`."""
    order = await tx.get(ORDERS, order_id)
    if order is None or order.partner_id != partner_id:
        raise NoSuchOrder
    return await service.cancel(tx, order.owner, order_id)


async def one(records: Records, partner_id: str, order_id: str) -> Order:
    """A partner's own order. Somebody else's is `NoSuchOrder`, as if it weren't there."""
    found = await records.get(ORDERS, order_id)
    if found is None or found.value.partner_id != partner_id:
        raise NoSuchOrder
    return found.value


async def of_partner(
    records: Records,
    partner_id: str,
    *,
    customer_id: str = "",
    status: Status | None = None,
    after: Cursor | None = None,
    limit: int = 20,
) -> tuple[list[Order], Cursor | None]:
    """A partner's orders, the newest first: all, or a customer's; and where the next page begins.

    Of a status that few of them have a page may have fewer than `limit`, as only so many are looked at.
    """
    index, value = (
        ("by_owner", owner_of(partner_id, customer_id))
        if customer_id
        else ("by_partner", partner_id)
    )
    if status is None:
        page = await records.query(ORDERS, index, value, after=after, limit=limit)
        return page.values, page.after
    found: list[Order] = []
    for _ in range(MOST_PAGES):
        page = await records.query(ORDERS, index, value, after=after, limit=PAGE)
        for order in page.values:
            if order.status is status:
                found.append(order)
            if len(found) == limit:
                return found, (microseconds(order.placed_at), order.id)
        if (after := page.after) is None:
            break
    return found, after


async def _offers(tx: Transaction, wanted: Sequence[Wanted]) -> list[Offer]:
    """What each item is offered at now. A refusal names the item."""
    products = await catalog.products(tx, {item.product_id for item in wanted})
    return [_offer(products.get(item.product_id), item) for item in wanted]


def _offer(product: Product | None, item: Wanted) -> Offer:
    """Raises `NoSuchProduct` or `ChoiceNeeded`, which name the item."""
    field, message = f"{item.place}.productId", "There is no such product."
    if product is None:
        raise NoSuchProduct(errors=(FieldError(field, message),), productId=item.product_id)
    try:
        return catalog.offer_of(product, item.sku)
    except NoSuchProduct as refusal:
        if item.sku:
            field, message = f"{item.place}.sku", "The product has no such article."
        raise NoSuchProduct(errors=(FieldError(field, message),), **refusal.extra) from None
    except ChoiceNeeded as refusal:
        message = f"Takes one of {', '.join(refusal.extra['skus'])}."
        errors = (FieldError(f"{item.place}.sku", message),)
        raise ChoiceNeeded(errors=errors, **refusal.extra) from None


def _agree(order: DirectOrder, offers: Sequence[Offer]) -> None:
    """Raises `PriceDiffers` or `TotalDiffers` where the shop's amounts are others."""
    differing = [
        (item, offer)
        for item, offer in zip(order.wanted, offers, strict=True)
        if item.price != offer.price
    ]
    if differing:
        raise PriceDiffers(
            errors=tuple(
                [
                    FieldError(
                        f"{item.place}.price",
                        f"It is {_said(offer.price)}, not {_said(item.price)}.",
                    )
                    for item, offer in differing
                ]
            ),
            prices={offer.sku: offer.price.amount for _, offer in differing},
        )
    total = _sum(
        [offer.price * item.quantity for item, offer in zip(order.wanted, offers, strict=True)]
    )
    if order.total != total:
        message = f"The items add up to {_said(total)}, not {_said(order.total)}."
        raise TotalDiffers(errors=(FieldError("totalAmount", message),), total=total.amount)


def _line(offer: Offer, quantity: int) -> OrderLine:
    return OrderLine(
        sku=offer.sku,
        product_id=offer.product_id,
        name=offer.title,
        picture=offer.picture,
        price=offer.price,
        tax=offer.tax,
        quantity=quantity,
    )


def _sum(amounts: Sequence[Money]) -> Money:
    return sum(amounts[1:], amounts[0])


def _said(amount: Money) -> str:
    return f"{amount.amount} {amount.currency}"
