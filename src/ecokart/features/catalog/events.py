"""What happens to articles."""

from __future__ import annotations

from ecokart.core.events import Event


class StockLow(Event, frozen=True, kw_only=True, tag="stock.low"):
    """Few pieces of an article are left; it is said again only after there were more."""

    sku: str
    product_id: str
    available: int

    def about(self) -> str:
        return f"stock/{self.sku}"
