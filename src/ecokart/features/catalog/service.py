"""Commands and queries of the catalog. Stock moves here and nowhere else, always by `adjust`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from msgspec.structs import replace

from ecokart.core.transaction import Transaction
from ecokart.features.catalog.events import StockCorrected
from ecokart.features.catalog.model import (
    CATEGORIES,
    PRODUCTS,
    STOCK,
    Category,
    ChoiceNeeded,
    NoSuchProduct,
    Offer,
    OutOfStock,
    Product,
    SkuTaken,
    Stock,
)


def reserve(tx: Transaction, sku: str, quantity: int) -> None:
    """Put `quantity` pieces aside for a cart; a negative one gives them back. Refused: `OutOfStock`."""
    tx.adjust(STOCK, sku, available=-quantity, reserved=+quantity, refusal=OutOfStock(sku=sku))


def sell(tx: Transaction, sku: str, quantity: int, *, reserved: bool) -> None:
    """Take sold pieces off the stock: those put aside before, or free ones. Refused: `OutOfStock`."""
    refusal = OutOfStock(sku=sku)
    if reserved:
        tx.adjust(STOCK, sku, stock=-quantity, reserved=-quantity, refusal=refusal)
    else:
        tx.adjust(STOCK, sku, stock=-quantity, available=-quantity, refusal=refusal)


def restock(tx: Transaction, sku: str, quantity: int) -> None:
    """Add pieces to the free stock, or take some off it. Refused: `OutOfStock`."""
    tx.adjust(STOCK, sku, stock=quantity, available=quantity, refusal=OutOfStock(sku=sku))


async def correct(tx: Transaction, sku: str, by: int) -> None:
    """Add pieces that came in, or take off what isn't there. Raises `NoSuchProduct`; refused: `OutOfStock`."""
    await stock_of(tx, sku)
    restock(tx, sku, by)
    tx.emit(StockCorrected(sku=sku, by=by))


async def spread(tx: Transaction, sku: str, shards: int) -> None:
    """Let very many buy a SKU at once, where the records split it for that. Raises `NoSuchProduct`."""
    tx.put(STOCK, replace(await stock_of(tx, sku), shards=shards))


async def offer(tx: Transaction, *, sku: str = "", product_id: str = "") -> Offer:
    """An article by its SKU, or by its product where there is nothing to choose.

    Raises `NoSuchProduct` and `ChoiceNeeded`.
    """
    if sku:
        stock = await tx.get(STOCK, sku)
        product_id = stock.product_id if stock else ""
    product = await tx.get(PRODUCTS, product_id) if product_id else None
    if product is None:
        raise NoSuchProduct(sku=sku) if sku else NoSuchProduct(productId=product_id)
    return offer_of(product, sku)


def offer_of(product: Product, sku: str = "") -> Offer:
    """The product's article with this SKU, or its only one where none is named.

    Raises `NoSuchProduct` and `ChoiceNeeded`.
    """
    if not product.active:
        raise NoSuchProduct(sku=sku) if sku else NoSuchProduct(productId=product.id)
    if not sku and len(product.variants) > 1:
        raise ChoiceNeeded(skus=[variant.sku for variant in product.variants])
    variant = next((v for v in product.variants if not sku or v.sku == sku), None)
    if variant is None:
        raise NoSuchProduct(sku=sku)
    return Offer(
        product.id,
        variant.sku,
        product.title_of(variant),
        product.price_of(variant),
        product.tax,
        product.picture,
    )


async def add(tx: Transaction, product: Product, stock: Mapping[str, int]) -> None:
    """A new product with the stock of each of its variants. Raises `SkuTaken`; its id must be new."""
    for variant in product.variants:
        if await tx.get(STOCK, variant.sku):
            raise SkuTaken(sku=variant.sku)
        pieces = stock.get(variant.sku, 0)
        tx.add(
            STOCK,
            Stock(
                sku=variant.sku,
                product_id=product.id,
                stock=pieces,
                reserved=0,
                available=pieces,
                changed_at=tx.now,
            ),
        )
    tx.add(PRODUCTS, product)


async def change(tx: Transaction, product: Product) -> None:
    """Replace a product's data; its variants' SKUs stay. Raises `NoSuchProduct`."""
    if await tx.get(PRODUCTS, product.id) is None:
        raise NoSuchProduct(productId=product.id)
    tx.put(PRODUCTS, product)


async def exists(tx: Transaction, product_id: str) -> bool:
    return await tx.get(PRODUCTS, product_id) is not None


async def product(tx: Transaction, product_id: str) -> Product:
    """The product as it is in the records. Raises `NoSuchProduct`."""
    found = await tx.get(PRODUCTS, product_id)
    if found is None:
        raise NoSuchProduct(productId=product_id)
    return found


async def products(tx: Transaction, product_ids: Collection[str]) -> dict[str, Product]:
    """Those of these products that there are, by their ids, asked for all at once."""
    asked = [tx.get(PRODUCTS, product_id) for product_id in product_ids]
    # One alone needs no task of its own.
    found = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
    return {product.id: product for product in found if product}


async def stock_of(tx: Transaction, sku: str) -> Stock:
    """What there is of a SKU now. Raises `NoSuchProduct`."""
    found = await tx.get(STOCK, sku)
    if found is None:
        raise NoSuchProduct(sku=sku)
    return found


async def add_category(tx: Transaction, category: Category) -> None:
    """A new category, or a new form of an old one."""
    tx.overwrite(CATEGORIES, category)
