"""VAT: the rates of the countries we deliver to, and how much of it an order contains.

Prices are gross and the same everywhere; the tax in them is that of the country of delivery (for
Germany and Austria the one-stop shop, Directive (EU) 2017/2455; Switzerland taxes the import).
Shipping shares the fate of the goods: it is split over the rates in proportion to their value.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from ecokart.core.money import Money
from ecokart.features.catalog.model import TaxClass

# Percent. DE: UStG §12; AT: UStG 1994 §10; CH: MWSTG Art. 25, since 2024.
RATES: dict[str, dict[TaxClass, Decimal]] = {
    "DE": {TaxClass.STANDARD: Decimal(19), TaxClass.REDUCED: Decimal(7)},
    "AT": {TaxClass.STANDARD: Decimal(20), TaxClass.REDUCED: Decimal(10)},
    "CH": {TaxClass.STANDARD: Decimal("8.1"), TaxClass.REDUCED: Decimal("2.6")},
}

SHIPPING = Money(490)


class TaxLine(msgspec.Struct, frozen=True):
    """The part of an order under one rate: gross, and the tax inside it."""

    rate: Decimal
    gross: Money
    tax: Money


def tax_lines(
    country: str, goods: Sequence[tuple[TaxClass, Money]], shipping: Money
) -> tuple[TaxLine, ...]:
    """The tax in goods and shipping, a line a rate, highest first. Their gross adds up to the total."""
    gross: dict[Decimal, int] = {}
    for tax_class, total in goods:
        rate = rate_of(country, tax_class)
        gross[rate] = gross.get(rate, 0) + total.minor
    if not gross:
        return ()
    rates = sorted(gross, reverse=True)
    value, left = sum(gross.values()), shipping.minor
    for position, rate in enumerate(rates):
        last = position == len(rates) - 1
        share = left if last or not value else shipping.minor * gross[rate] // value
        gross[rate] += share
        left -= share
    currency = goods[0][1].currency
    return tuple(
        TaxLine(rate, whole, whole.contained_tax(rate))
        for rate, whole in ((rate, Money(gross[rate], currency)) for rate in rates)
    )


def rate_of(country: str, tax_class: TaxClass) -> Decimal:
    """Percent. Goods marked as untaxed have none; a country we don't know has the shop's own rates."""
    if tax_class is TaxClass.NONE:
        return Decimal(0)
    return RATES.get(country, RATES["DE"])[tax_class]
