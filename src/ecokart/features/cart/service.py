"""Commands and queries of the cart. `owner` is a customer's id or `guest:…`."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from ecokart.core.ports import Records
from ecokart.core.transaction import Transaction
from ecokart.features.cart.model import (
    CARTS,
    MAX_LINES,
    MAX_QUANTITY,
    Cart,
    CartFull,
    Line,
    NoSuchLine,
    TooManyPieces,
    empty,
    line_of,
)
from ecokart.features.catalog import service as catalog


async def look(records: Records, owner: str | None, now: datetime) -> Cart:
    """The cart as it is; an empty one where there is none."""
    found = await records.get(CARTS, owner) if owner else None
    return found.value if found else empty(owner or "", now)


async def add(
    tx: Transaction, owner: str, quantity: int, *, sku: str = "", product_id: str = ""
) -> Cart:
    """Put `quantity` more of an article into the cart and reserve them.

    A line that is there already keeps its price, unless the price has fallen. Raises `OutOfStock`,
    `TooManyPieces`, `CartFull`, `NoSuchProduct` and `ChoiceNeeded`.
    """
    offer = await catalog.offer(tx, sku=sku, product_id=product_id)
    cart = await _open(tx, owner)
    line = cart.line(offer.sku)
    if line is None:
        return _store(tx, cart, _held(tx, line_of(offer, quantity), before=None))
    grown = replace(line, quantity=line.quantity + quantity, price=min(line.price, offer.price))
    return _store(tx, cart, _held(tx, grown, before=line))


async def set_quantity(tx: Transaction, owner: str, sku: str, quantity: int) -> Cart:
    """Make a line's quantity `quantity`, reserving or giving back the difference.

    Raises `NoSuchLine`, `OutOfStock` and `TooManyPieces`.
    """
    cart = await _open(tx, owner)
    line = cart.line(sku)
    if line is None:
        raise NoSuchLine(sku=sku)
    return _store(tx, cart, _held(tx, replace(line, quantity=quantity), before=line))


async def remove(tx: Transaction, owner: str, sku: str) -> Cart:
    """Take a line out of the cart; its pieces are free again. Raises `NoSuchLine`."""
    cart = await _open(tx, owner)
    line = cart.line(sku)
    if line is None:
        raise NoSuchLine(sku=sku)
    _release(tx, line)
    cart = cart.changed(tuple(other for other in cart.lines if other.sku != sku), tx.now)
    tx.put(CARTS, cart)
    return cart


async def merge(tx: Transaction, guest: str, customer: str) -> Cart:
    """At sign-in: move the guest's lines into the customer's cart. What doesn't fit is given back."""
    theirs, cart = await tx.get(CARTS, guest), await _open(tx, customer)
    if theirs is None:
        return cart
    for line in theirs.lines:
        mine = cart.line(line.sku)
        if mine is None and len(cart.lines) < MAX_LINES:
            cart = cart.changed((*cart.lines, line), tx.now)
        elif mine is None:
            _release(tx, line)
        else:
            cart = cart.changed(cart.with_line(_joined(tx, mine, line)), tx.now)
    tx.delete(CARTS, guest)
    tx.put(CARTS, cart)
    return cart


async def expire(tx: Transaction, owner: str) -> None:
    """Give back what the cart holds if its two hours are over. The lines stay, no longer reserved."""
    cart = await tx.get(CARTS, owner)
    if cart is None or cart.holding is None or cart.deadline > tx.now:
        return
    for line in cart.lines:
        _release(tx, line)
    lines = tuple(replace(line, held=False) for line in cart.lines)
    tx.put(CARTS, replace(cart, lines=lines, holding=None))


async def check_out(tx: Transaction, owner: str) -> tuple[Line, ...]:
    """Sell everything in the cart and let the cart go; gives back its lines.

    Lines whose reservation ran out are sold from what is free. Raises `OutOfStock`.
    """
    cart = await tx.get(CARTS, owner)
    if cart is None or not cart.lines:
        return ()
    for line in cart.lines:
        catalog.sell(tx, line.sku, line.quantity, reserved=line.held)
    tx.delete(CARTS, owner)
    return cart.lines


async def _open(tx: Transaction, owner: str) -> Cart:
    return await tx.get(CARTS, owner) or empty(owner, tx.now)


def _store(tx: Transaction, cart: Cart, line: Line) -> Cart:
    lines = cart.with_line(line)
    if len(lines) > MAX_LINES:
        raise CartFull(most=MAX_LINES)
    cart = cart.changed(lines, tx.now)
    tx.put(CARTS, cart)
    return cart


def _held(tx: Transaction, line: Line, *, before: Line | None) -> Line:
    """The line with all its pieces reserved, of which those of `before` may be so already."""
    if line.quantity > MAX_QUANTITY:
        raise TooManyPieces(sku=line.sku, most=MAX_QUANTITY)
    reserved = before.quantity if before and before.held else 0
    catalog.reserve(tx, line.sku, line.quantity - reserved)
    return replace(line, held=True)


def _release(tx: Transaction, line: Line) -> None:
    if line.held:
        catalog.reserve(tx, line.sku, -line.quantity)


def _joined(tx: Transaction, mine: Line, theirs: Line) -> Line:
    """One line of two. Unless both are held, neither stays so; the surplus over the limit goes back."""
    quantity = min(mine.quantity + theirs.quantity, MAX_QUANTITY)
    held = mine.held and theirs.held
    if held:
        catalog.reserve(tx, mine.sku, quantity - mine.quantity - theirs.quantity)
    else:
        _release(tx, mine)
        _release(tx, theirs)
    return replace(mine, quantity=quantity, held=held, price=min(mine.price, theirs.price))
