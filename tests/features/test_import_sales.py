"""What an invoice line means, dirty case by dirty case."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecokart.core.money import Money
from ecokart.features.imports.files import COLUMNS, Row
from ecokart.features.imports.model import Reason, Reject, Sale
from ecokart.features.imports.sales import read
from tests.features.invoices import line

U, C, G = Reason.UNREADABLE, Reason.CANCELLATION, Reason.NOT_GOODS


def row(**changes: str) -> Row:
    return Row("invoices.csv", 2, tuple(line(**changes).values()))


def sale(**changes: str) -> Sale:
    found = read(row(**changes), "EUR")
    assert isinstance(found, Sale), found
    return found


def test_an_ordinary_line_is_a_sale() -> None:
    assert read(row(), "GBP") == Sale(
        row=row(),
        invoice="536365",
        sku="85123A",
        name="WHITE HANGING HEART T-LIGHT HOLDER",
        quantity=6,
        at=datetime(2010, 12, 1, 8, 26, tzinfo=UTC),
        price=Money(255, "GBP"),
        customer="17850",
        country="United Kingdom",
    )


@pytest.mark.parametrize(
    ("changes", "reason", "sentence"),
    [
        ({"InvoiceNo": ""}, U, "There is no invoice number."),
        ({"InvoiceNo": "5\x0036"}, U, r"'5\x0036' is no invoice number."),
        ({"StockCode": " "}, U, "There is no article number."),
        ({"StockCode": "X" * 65}, U, f"'{'X' * 64}' is no article number."),
        ({"Quantity": ""}, U, "'' is no whole number of pieces."),
        ({"Quantity": "6.5"}, U, "'6.5' is no whole number of pieces."),
        ({"Quantity": "six"}, U, "'six' is no whole number of pieces."),
        ({"Quantity": "٦"}, U, "'٦' is no whole number of pieces."),
        ({"Quantity": "999999999999"}, U, "999999999999 × 2.55 is more than we can count."),
        ({"UnitPrice": "2,55"}, U, "'2,55' is not an amount."),
        ({"UnitPrice": "2.555"}, U, "'2.555' has more than 2 decimal places."),
        ({"UnitPrice": "nan"}, U, "'nan' is not an amount."),
        ({"InvoiceDate": ""}, U, "'' is no time such as 2010-12-01 08:26:00."),
        ({"InvoiceDate": "12/1/2010 8:26"}, U, None),
        ({"InvoiceDate": "2010-02-30 08:26:00"}, U, None),
        ({"InvoiceDate": "0001-01-01 00:00:00+14:00"}, U, None),
        ({"CustomerID": "\x1b[2J"}, U, None),
        ({"InvoiceNo": "C536379"}, C, "Invoice C536379 cancels an earlier sale."),
        ({"InvoiceNo": "c536379", "Quantity": "-1"}, C, None),
        ({"InvoiceNo": "C536379", "StockCode": "D"}, C, None),
        ({"InvoiceNo": "C536379", "Quantity": "?"}, C, None),
        ({"StockCode": "POST"}, G, "POST is no article but a charge or a correction."),
        ({"StockCode": "m", "UnitPrice": "0"}, G, None),
        ({"StockCode": "BANK CHARGES"}, G, None),
        ({"StockCode": "gift_0001_10"}, G, None),
        ({"InvoiceNo": "A563186", "StockCode": "B", "UnitPrice": "-11062.06"}, G, None),
        ({"Quantity": "0"}, Reason.NO_QUANTITY, "The quantity is 0, so nothing was sold."),
        ({"Quantity": "-12", "UnitPrice": "0"}, Reason.NO_QUANTITY, None),
        ({"UnitPrice": "0.0"}, Reason.NO_PRICE, "The price is 0.00, so nothing was paid."),
        ({"UnitPrice": "-1.00"}, Reason.NO_PRICE, None),
    ],
)
def test_a_line_that_is_no_sale_says_why(
    changes: dict[str, str], reason: Reason, sentence: str | None
) -> None:
    found = read(row(**changes), "EUR")
    assert isinstance(found, Reject)
    assert found.reason is reason
    assert found.sentence == sentence or sentence is None


def test_what_the_file_could_not_give_is_passed_on() -> None:
    flawed = Row("invoices.csv", 2, tuple(line().values()), "It has 2 columns.")
    assert read(flawed, "EUR") == Reject(flawed, U, "It has 2 columns.")


def test_times_are_those_of_the_shops_own_clock() -> None:
    assert sale(InvoiceDate="2011-07-01 08:26:00").at == datetime(2011, 7, 1, 7, 26, tzinfo=UTC)
    assert sale(InvoiceDate="2011-01-01 08:26:00").at == datetime(2011, 1, 1, 8, 26, tzinfo=UTC)


def test_a_time_that_names_its_zone_is_taken_at_its_word() -> None:
    moment = sale(InvoiceDate="2011-07-01T08:26:00+02:00").at
    assert moment == datetime(2011, 7, 1, 6, 26, tzinfo=UTC)


def test_one_article_in_two_spellings_is_one() -> None:
    assert sale(StockCode=" 85123a ").sku == sale(StockCode="85123A").sku


def test_goods_that_begin_like_a_charge_are_goods() -> None:
    assert sale(StockCode="DCGS0003").sku == "DCGS0003"
    assert sale(StockCode="POSTCARD").sku == "POSTCARD"


def test_whole_numbers_may_have_been_through_a_spreadsheet() -> None:
    assert sale(Quantity="6.0").quantity == 6
    assert sale(CustomerID="17850.0").customer == sale(CustomerID="17850").customer == "17850"
    assert sale(CustomerID="K-17.0").customer == "K-17.0"


def test_nobody_known_is_nobody() -> None:
    assert sale(CustomerID=" ").customer == ""


def test_a_name_is_one_line_of_bearable_length_or_else_the_number() -> None:
    assert sale(Description=" RED \n  MUG ").name == "RED MUG"
    assert sale(Description="").name == "85123A"
    assert len(sale(Description="X" * 5000).name) == 200


@given(st.lists(st.text(), min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_no_line_is_too_strange_to_be_decided(values: list[str]) -> None:
    found = read(Row("invoices.csv", 2, tuple(values)), "EUR")
    assert isinstance(found, Reject)
    assert found.sentence


@given(st.sampled_from(COLUMNS), st.text())
def test_one_strange_column_is_survived(column: str, text: str) -> None:
    found = read(row(**{column: text}), "EUR")
    assert isinstance(found, Reject) or (found.quantity > 0 and found.price.minor > 0)
