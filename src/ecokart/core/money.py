"""Money: whole minor units and a currency, so that no cent is ever lost to a rounding.

There is one rounding rule in the house, `divide`: half away from zero, the commercial rounding of
DIN 1333 and of every German till.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Self

import msgspec

from ecokart.core.errors import Invalid

# Minor digits by ISO 4217 for the currencies a shop here may use; every other one is refused.
MINOR_DIGITS = {"EUR": 2, "CHF": 2, "GBP": 2, "USD": 2, "DKK": 2, "SEK": 2, "NOK": 2, "PLN": 2}

# Up to 13 digits, so that the minor units are exact in JSON and in every engine.
AMOUNT = re.compile(r"(-?)([0-9]{1,13})(?:\.([0-9]{1,30}))?")


class CurrencyMismatch(Invalid):
    """Amounts in different currencies can't be added."""


class NoAmount(Invalid):
    """This isn't an amount of money."""


def divide(numerator: int, denominator: int) -> int:
    """`numerator / denominator` as a whole number, halves away from zero. `denominator` > 0."""
    quotient, remainder = divmod(abs(numerator), denominator)
    if 2 * remainder >= denominator:
        quotient += 1
    return quotient if numerator >= 0 else -quotient


class Money(msgspec.Struct, frozen=True, order=True, array_like=True):
    """An amount in minor units (cents) of an ISO 4217 currency. Stored as `[1290,"EUR"]`."""

    minor: int
    currency: str = "EUR"

    @classmethod
    def parse(cls, text: str | Decimal, currency: str = "EUR") -> Self:
        """`"12.90"` → 1290 cents. Raises `NoAmount` for anything but an exact amount of that currency."""
        digits = MINOR_DIGITS.get(currency)
        if digits is None:
            raise NoAmount(f"{currency!r} is not a currency of this shop.")
        match = AMOUNT.fullmatch(text if isinstance(text, str) else _written_out(text))
        if match is None:
            raise NoAmount(f"{str(text)[:40]!r} is not an amount.")
        sign, whole, fraction = match.groups(default="")
        fraction = fraction.rstrip("0")
        if len(fraction) > digits:
            raise NoAmount(f"{str(text)[:40]!r} has more than {digits} decimal places.")
        return cls(int(f"{sign}{whole}{fraction.ljust(digits, '0')}"), currency)

    @property
    def amount(self) -> Decimal:
        """The exact amount in major units, always with the currency's decimal places: `12.90`."""
        return _decimal(self.minor, MINOR_DIGITS[self.currency])

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.minor - other.minor, self.currency)

    def __mul__(self, factor: int) -> Money:
        return Money(self.minor * factor, self.currency)

    def contained_tax(self, rate_percent: Decimal) -> Money:
        """The tax inside this gross amount at `rate_percent` (19 → 19/119 of it), rounded once."""
        numerator, denominator = rate_percent.as_integer_ratio()
        return Money(divide(self.minor * numerator, 100 * denominator + numerator), self.currency)

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")


def _written_out(value: Decimal) -> str:
    """Without an exponent; empty for what no amount is, as writing out 1E+999999 would take for ever."""
    if not value.is_finite() or not -30 <= int(value.as_tuple().exponent) <= 13:
        return ""
    return f"{value:f}"


@lru_cache(maxsize=4096)
def _decimal(minor: int, digits: int) -> Decimal:
    return Decimal(minor).scaleb(-digits)
