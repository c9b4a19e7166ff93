"""No oversell: more buyers than pieces, all at once, over real HTTP. `python -m bench.oversell` for more."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from bench.oversell import GOODS, Sale, sell

STOCK = 10


class Market(NamedTuple):
    """Where a sale is held: the engine, the processes of the shop, and how many come."""

    engine: str
    processes: int
    buyers: int


MARKETS = [
    Market("sqlite", 1, 64),
    Market("sqlite", 1, 512),
    Market("postgresql", 4, 512),
    Market("dynamodb", 2, 48),  # DynamoDB Local takes some hundred writes a second
]
on_every_market = pytest.mark.parametrize(
    "market", MARKETS, ids=lambda m: f"{m.engine}-{m.processes}-{m.buyers}"
)


@on_every_market
async def test_of_one_product_exactly_what_there_is_is_sold(market: Market) -> None:
    sale = await _sell("one", market)
    assert sale.sold.total() == STOCK


@on_every_market
async def test_of_overlapping_baskets_too(market: Market) -> None:
    sale = await _sell("baskets", market)
    assert sale.sold == dict.fromkeys(GOODS, STOCK)


@on_every_market
async def test_an_order_whose_reservation_ended_gets_all_or_nothing(market: Market) -> None:
    sale = await _sell("late", market)
    assert 0 < sale.sold.total() <= STOCK * len(GOODS)
    assert sale.refused


async def _sell(kind: str, market: Market) -> Sale:
    sale = await sell(
        kind, market.buyers, STOCK, market.buyers, engine=market.engine, processes=market.processes
    )
    assert sale.wrong == []
    assert sale.audits > 0
    return sale
