"""What happens to articles."""

from __future__ import annotations

from ecokart.core.events import Event


class StockFact(Event, frozen=True, kw_only=True):
    """Something happened to an article's stock."""

    sku: str

    def about(self) -> str:
        return f"stock/{self.sku}"


class StockLow(StockFact, frozen=True, kw_only=True, tag="stock.low"):
    """Few pieces of an article are left; it is said again only after there were more."""

    product_id: str
    available: int


class StockCorrected(StockFact, frozen=True, kw_only=True, tag="stock.corrected"):
    """Somebody of the shop has added so many pieces, or taken some off."""

    by: int
