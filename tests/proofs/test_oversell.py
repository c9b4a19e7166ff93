"""No oversell: more buyers than pieces, all at once, over real HTTP. `python -m bench.oversell` for more."""

from __future__ import annotations

import pytest

from bench.oversell import GOODS, sell

STOCK = 10


@pytest.mark.parametrize("buyers", [64, 512])
async def test_of_one_product_exactly_what_there_is_is_sold(buyers: int) -> None:
    sale = await sell("one", buyers, STOCK, seed=buyers)
    assert sale.wrong == []
    assert sale.audits > 0
    assert sale.sold.total() == STOCK


@pytest.mark.parametrize("buyers", [64, 512])
async def test_of_overlapping_baskets_too(buyers: int) -> None:
    sale = await sell("baskets", buyers, STOCK, seed=buyers)
    assert sale.wrong == []
    assert sale.sold == dict.fromkeys(GOODS, STOCK)


@pytest.mark.parametrize("buyers", [64, 512])
async def test_an_order_whose_reservation_ended_gets_all_or_nothing(buyers: int) -> None:
    sale = await sell("late", buyers, STOCK, seed=buyers)
    assert sale.wrong == []
    assert 0 < sale.sold.total() <= STOCK * len(GOODS)
    assert sale.refused
