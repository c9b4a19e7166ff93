"""Money: no cent is made or lost, and what isn't an amount is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecokart.core.money import MINOR_DIGITS, CurrencyMismatch, Money, NoAmount, divide

minors = st.integers(min_value=-(10**14), max_value=10**14)
currencies = st.sampled_from(sorted(MINOR_DIGITS))
rates = st.decimals(min_value=0, max_value=100, places=2)


@given(st.lists(minors, max_size=50), currencies)
def test_a_sum_is_exact(amounts: list[int], currency: str) -> None:
    total = Money(0, currency)
    for amount in amounts:
        total += Money(amount, currency)
    assert total.minor == sum(amounts)
    assert total.amount == sum(Decimal(amount) for amount in amounts) / 100


@given(minors, minors, currencies)
def test_adding_and_taking_away_again_changes_nothing(a: int, b: int, currency: str) -> None:
    assert Money(a, currency) + Money(b, currency) - Money(b, currency) == Money(a, currency)


@given(st.integers(-(10**9), 10**9), st.integers(0, 1000))
def test_so_many_times_is_so_many_added(minor: int, count: int) -> None:
    assert Money(minor) * count == Money(sum([minor] * count))


@given(minors, currencies)
def test_an_amount_written_out_is_read_back(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert Money.parse(str(money.amount), currency) == money
    assert Money.parse(money.amount, currency) == money
    assert str(money.amount)[-3] == "."  # always two places


@given(st.integers(0, 10**12), rates)
def test_tax_and_net_make_the_gross(minor: int, rate: Decimal) -> None:
    gross = Money(minor)
    tax = gross.contained_tax(rate)
    net = gross - tax
    assert net + tax == gross
    assert 0 <= tax.minor <= minor
    # Rounded once, and so never more than half a cent off.
    exact = Decimal(minor) * rate / (100 + rate)
    assert abs(tax.minor - exact) <= Decimal("0.5")


@given(st.integers(0, 10**12), rates)
def test_a_refund_holds_the_tax_of_the_sale(minor: int, rate: Decimal) -> None:
    assert Money(-minor).contained_tax(rate).minor == -Money(minor).contained_tax(rate).minor


@pytest.mark.parametrize(
    ("gross", "rate", "tax"),
    [
        ("119.00", "19", "19.00"),
        ("107.00", "7", "7.00"),
        ("12.90", "19", "2.06"),
        ("0.01", "19", "0.00"),
        ("103.80", "3.8", "3.80"),
        ("50.00", "0", "0.00"),
    ],
)
def test_contained_tax_by_example(gross: str, rate: str, tax: str) -> None:
    assert Money.parse(gross).contained_tax(Decimal(rate)) == Money.parse(tax)


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"),
    [(5, 2, 3), (-5, 2, -3), (4, 3, 1), (-4, 3, -1), (5, 3, 2), (0, 7, 0), (1, 2, 1), (-1, 2, -1)],
)
def test_halves_are_rounded_away_from_zero(numerator: int, denominator: int, quotient: int) -> None:
    assert divide(numerator, denominator) == quotient


@pytest.mark.parametrize(
    ("text", "minor"),
    [("12.90", 1290), ("12.9", 1290), ("12", 1200), ("-0.05", -5), ("0", 0), ("12.90000", 1290)],
)
def test_an_amount_may_be_written_in_several_ways(text: str, minor: int) -> None:
    assert Money.parse(text) == Money(minor)


NO_AMOUNTS = [
    *("", " ", "1,50", "1.234,50", "12.", ".5", "--1", "+1", "0x10", "1_000", " 12", "12 ", "12€"),
    *("NaN", "sNaN", "Infinity", "-Infinity", "1e3", "1E-2", "1e999999", "1e400000", "١٢", "１２"),
    *("12.905", "0.001", "1.0000000000000000000000000000000000001", "1" * 14, "9" * 5000, "1\n"),
    "12345678901234567890123456789.01",
]


@pytest.mark.parametrize("text", NO_AMOUNTS)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(NoAmount):
        Money.parse(text)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "1e999999", "1e-999999", "0.001", "1e13", "sNaN"]
)
def test_a_decimal_that_is_no_amount_is_refused(number: str) -> None:
    with pytest.raises(NoAmount):
        Money.parse(Decimal(number))


@given(st.text())
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    try:
        money = Money.parse(text)
    except NoAmount:
        return
    assert money.amount == Decimal(text)


@pytest.mark.parametrize("currency", ["ZZZ", "eur", "", "JPY"])
def test_a_currency_that_this_shop_does_not_take_is_refused(currency: str) -> None:
    with pytest.raises(NoAmount):
        Money.parse("1.00", currency)


def test_currencies_do_not_mix() -> None:
    with pytest.raises(CurrencyMismatch):
        Money(1, "EUR") + Money(1, "CHF")
    with pytest.raises(CurrencyMismatch):
        Money(1, "EUR") - Money(1, "CHF")
