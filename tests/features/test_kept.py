"""What is kept of the shelf: made again when what it shows has changed, and never more than fits."""

from __future__ import annotations

from ecokart.core.transaction import Transaction, transact
from ecokart.features.catalog import service as catalog
from ecokart.features.catalog.kept import ENTRY_BYTES, Kept
from ecokart.features.catalog.shelf import Shown
from tests.clock import ManualClock
from tests.shop import Shop

MUG, MUG_SKU = "prod-020", "EK-020-GREEN"


def names(shop: Shop, most_bytes: int = 100_000) -> tuple[Kept[str], list[str]]:
    """Something kept, and the ids of the products for which it was made, in turn."""
    return Kept(shop.app.shelf, len, most_bytes=most_bytes), []


def name_of(shop: Shop, kept: Kept[str], made: list[str], product_id: str) -> str:
    def shows() -> Shown:
        shown = shop.app.shelf.product(product_id)
        assert shown
        return shown

    def make(shown: Shown) -> str:
        made.append(product_id)
        return f"{shown.product.name.en}: {shown.total_available}"

    return kept.get(product_id, shows, make)


async def sell(shop: Shop, clock: ManualClock, sku: str) -> None:
    async def sold(tx: Transaction) -> None:
        catalog.sell(tx, sku, 1, reserved=False)

    clock.advance(seconds=1)
    await transact(shop.ports, sold)
    await shop.app.shelf.refresh()


async def test_only_what_has_changed_is_made_again(shop: Shop, clock: ManualClock) -> None:
    kept, made = names(shop)
    before = [name_of(shop, kept, made, one) for one in (MUG, "prod-001")]
    generation = shop.app.shelf.generation
    await sell(shop, clock, MUG_SKU)
    assert shop.app.shelf.generation > generation
    after = [name_of(shop, kept, made, one) for one in (MUG, "prod-001")]
    assert made == [MUG, "prod-001", MUG]
    assert after[0] != before[0]
    assert after[1] is before[1]


async def test_what_was_made_first_goes_first(shop: Shop) -> None:
    kept, made = names(shop, most_bytes=2 * (ENTRY_BYTES + 100))
    for product_id in ("prod-001", "prod-002", "prod-003", "prod-003", "prod-002", "prod-001"):
        name_of(shop, kept, made, product_id)
    assert made == ["prod-001", "prod-002", "prod-003", "prod-001"]


async def test_pages_show_what_was_sold(shop: Shop, clock: ManualClock) -> None:
    stock = shop.app.shelf.by_sku("EK-006")
    assert stock
    product_id = stock.product.id

    async def shown() -> list[str]:
        paths = (
            f"/products/{product_id}",
            f"/api/products/{product_id}",
            "/api/products",
            "/products",
        )
        return [(await shop.client.get(path)).text for path in paths]

    before = await shown()
    assert await shown() == before
    for _ in range(stock.total_available):
        await sell(shop, clock, "EK-006")
    assert all(old != new for old, new in zip(await shown(), before, strict=True))
