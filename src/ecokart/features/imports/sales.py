"""What an invoice line means: a sale, or the reason why it is none. docs/import.md explains each."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ecokart.core.money import Money, NoAmount
from ecokart.core.records import MAX_INTEGER
from ecokart.features.imports.files import COLUMNS, Row
from ecokart.features.imports.model import Reason, Reject, Sale
from ecokart.features.orders.model import MAX_LINES

# Postage, carriage, charges, commissions, discounts, corrections by hand and samples, booked as articles.
NOT_GOODS = frozenset(
    {"POST", "DOT", "C2", "M", "D", "S", "B", "ADJUST", "AMAZONFEE", "BANK CHARGES", "CRUK", "PADS"}
)
GIFT_VOUCHER = "GIFT_"  # money in another form
# The times in such files are those on the shop's own clock.
ZONE = ZoneInfo("Europe/London")
LONGEST_NAME = 200
LONGEST_CODE = 64
# What spreadsheets and data frames make of whole numbers: `17850.0`.
WHOLE = re.compile(r"(-?[0-9]{1,12})(?:\.0+)?", re.ASCII)


def read(row: Row, currency: str) -> Sale | Reject:
    """What the line means, its amounts taken as of that currency."""
    try:
        return _sale(row, currency)
    except _Refused as refused:
        return Reject(row, refused.reason, refused.sentence)


def invoice_of(row: Row) -> str:
    """The invoice that a line belongs to, also where the rest of it makes no sense."""
    return row.values[COLUMNS.index("InvoiceNo")].strip()


class _Refused(Exception):
    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason, self.sentence = reason, sentence


def _sale(row: Row, currency: str) -> Sale:
    if row.flaw:
        raise _Refused(Reason.UNREADABLE, row.flaw)
    _, code, description, quantity_text, time, price_text, customer, country = row.values
    invoice = _code("invoice number", invoice_of(row))
    # The same article is written now 85123A and now 85123a.
    sku = _code("article number", code).upper()
    if invoice.upper().startswith("C"):
        raise _Refused(Reason.CANCELLATION, f"Invoice {invoice} cancels an earlier sale.")
    if sku in NOT_GOODS or sku.startswith(GIFT_VOUCHER):
        raise _Refused(Reason.NOT_GOODS, f"{sku} is no article but a charge or a correction.")
    quantity = _whole(quantity_text)
    if quantity <= 0:
        raise _Refused(Reason.NO_QUANTITY, f"The quantity is {quantity}, so nothing was sold.")
    price = _price(price_text, currency)
    if price.minor <= 0:
        raise _Refused(Reason.NO_PRICE, f"The price is {price.amount}, so nothing was paid.")
    if price.minor * quantity > MAX_INTEGER // MAX_LINES:
        raise _Refused(Reason.UNREADABLE, f"{quantity} × {price.amount} is more than we can count.")
    return Sale(
        row,
        invoice,
        sku,
        " ".join(description.split())[:LONGEST_NAME] or sku,
        quantity,
        _moment(time),
        price,
        _customer(customer),
        " ".join(country.split())[:LONGEST_NAME],
    )


def _code(what: str, text: str) -> str:
    text = text.strip()
    if not text:
        raise _Refused(Reason.UNREADABLE, f"There is no {what}.")
    if len(text) > LONGEST_CODE or not text.isprintable():
        raise _Refused(Reason.UNREADABLE, f"{text[:LONGEST_CODE]!r} is no {what}.")
    return text


def _customer(text: str) -> str:
    if not text.strip():
        return ""
    customer = _code("customer number", text)
    number = WHOLE.fullmatch(customer)
    return number[1] if number else customer


def _whole(text: str) -> int:
    number = WHOLE.fullmatch(text.strip())
    if number is None:
        raise _Refused(Reason.UNREADABLE, f"{text[:40]!r} is no whole number of pieces.")
    return int(number[1])


def _price(text: str, currency: str) -> Money:
    try:
        return Money.parse(text.strip(), currency)
    except NoAmount as error:
        raise _Refused(Reason.UNREADABLE, error.detail) from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZONE)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Refused(
            Reason.UNREADABLE, f"{text[:40]!r} is no time such as 2010-12-01 08:26:00."
        ) from None
