"""Fills a shop with products and past orders, quickly: commits of a hundred records, many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random

from msgspec.structs import replace

from ecokart.core.i18n import Text
from ecokart.core.money import Money
from ecokart.core.ports import Records
from ecokart.core.records import ABSENT, MAX_WRITES, Put
from ecokart.features.accounts.model import Address
from ecokart.features.catalog.model import PRODUCTS, STOCK, Product, Stock
from ecokart.features.orders.model import (
    ALPHABET,
    ORDERS,
    Order,
    OrderLine,
    OrderPayment,
    Stage,
    Step,
)
from ecokart.features.orders.taxes import SHIPPING, tax_lines

AT_ONCE = 32  # commits under way
NOTHING = Money(0)
WAY = (Stage.PLACED, Stage.AUTHORISED, Stage.PICKED, Stage.CAPTURED, Stage.SHIPPED, Stage.COMPLETED)
YEARS = timedelta(days=3 * 365)
A_CUSTOMER = 3  # orders of an ordinary one
REGULARS_SHARE = 50  # one in so many orders is the regular's
PIECES = 1_000_000

ADDRESS = Address(
    name="Gro Growth", street="Messweg 1", postal_code="10115", city="Berlin", country="DE"
)


async def add_products(records: Records, count: int, now: datetime) -> None:
    """So many more products, each a variation of a demo one, with stock of every variant."""
    models = (await records.scan(PRODUCTS, limit=1000)).values
    await _keep(records, _products(models, count, now))


def _products(models: Sequence[Product], count: int, now: datetime) -> Iterator[Put]:
    for number in range(count):
        product = _varied(models[number % len(models)], number, now)
        yield Put(PRODUCTS, product, ABSENT)
        for variant in product.variants:
            stock = Stock(
                sku=variant.sku,
                product_id=product.id,
                stock=PIECES,
                reserved=0,
                available=PIECES,
                changed_at=now,
            )
            yield Put(STOCK, stock, ABSENT)


def _varied(model: Product, number: int, now: datetime) -> Product:
    name = Text(f"{model.name.de} Nr. {number}", f"{model.name.en} no. {number}")
    # Texts of its own, as every product has, so that memory is what it would be.
    description = Text(f"{model.description.de} {number}", f"{model.description.en} {number}")
    variants = tuple(replace(one, sku=f"G{number:05}-{one.sku}") for one in model.variants)
    return replace(
        model,
        id=f"grown-{number:05}",
        name=name,
        description=description,
        price=Money(model.price.minor + number % 997, model.price.currency),
        variants=variants,
        created_at=now - timedelta(minutes=number),
        changed_at=now,
    )


async def add_orders(records: Records, count: int, regular: str) -> None:
    """So many completed orders of three years: one in fifty the regular's, the others' of many customers."""
    products = (await records.scan(PRODUCTS, limit=1000)).values
    await _keep(records, _orders(products, count, regular, Random(1)))


def _orders(products: Sequence[Product], count: int, regular: str, random: Random) -> Iterator[Put]:
    first = datetime.now(UTC) - YEARS
    customers = max(count // A_CUSTOMER, 1)
    models = [_model(random.sample(products, random.randint(1, 3))) for _ in range(500)]
    for number in range(count):
        at = first + YEARS * (number / count)
        order = replace(
            random.choice(models),
            id=_order_id(at, number),
            owner=regular if number % REGULARS_SHARE == 0 else _owner(number % customers),
            stage=Stage.CANCELLED if number % 40 == 1 else Stage.COMPLETED,
            steps=tuple([Step(stage, at) for stage in WAY]),
            placed_at=at,
        )
        yield Put(ORDERS, order, ABSENT)


def _owner(number: int) -> str:
    """An id for a customer; those who came one after the other aren't neighbours by it."""
    return f"user-{number * 7919 % 1_000_003:032}"


def _order_id(at: datetime, number: int) -> str:
    """Ids as the shop gives them: in no order within a day. `number` makes them differ."""
    scattered = number * 0x2545F491 % (1 << 30)
    letters = "".join([ALPHABET[scattered >> shift & 31] for shift in range(25, -1, -5)])
    return f"EK-{at:%y%m%d}-{letters}"


def _model(products: Sequence[Product]) -> Order:
    lines = tuple(_line(product) for product in products)
    goods = sum([line.total for line in lines[1:]], lines[0].total)
    now = datetime.now(UTC)
    return Order(
        id="",
        owner=None,
        email="gro@bench.example",
        address=ADDRESS,
        lines=lines,
        goods=goods,
        shipping=SHIPPING,
        total=goods + SHIPPING,
        taxes=tax_lines("DE", [(line.tax, line.total) for line in lines], SHIPPING),
        steps=(Step(Stage.PLACED, now),),
        payment=OrderPayment(captured=NOTHING, refunded=NOTHING),
        placed_at=now,
    )


def _line(product: Product) -> OrderLine:
    variant = product.variants[0]
    return OrderLine(
        sku=variant.sku,
        product_id=product.id,
        name=product.title_of(variant),
        picture=product.picture,
        price=product.price_of(variant),
        tax=product.tax,
        quantity=1,
    )


async def _keep(records: Records, puts: Iterable[Put]) -> None:
    """Commit them all, so many at once that the engine's syncs are shared."""
    waiting = iter(puts)

    async def commits() -> None:
        while portion := list(islice(waiting, MAX_WRITES)):
            await records.commit(portion)

    await asyncio.gather(*[commits() for _ in range(AT_ONCE)])
