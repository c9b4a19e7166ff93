"""What happens to the stock by itself."""

from __future__ import annotations

from ecokart.core.events import every, on
from ecokart.core.ports import Ports
from ecokart.features.catalog import low_stock
from ecokart.features.catalog.events import StockLow
from ecokart.features.catalog.mails import runs_out


@every(minutes=1)
async def look_for_low_stock(ports: Ports) -> None:
    """Say which articles have begun to run out."""
    await low_stock.look(ports, ports.terms.stock_low_at)


@on(StockLow, lane="mail")
async def tell_office_of_low_stock(ports: Ports, event: StockLow) -> None:
    """The office hears of it by mail, if it has given an address."""
    if ports.terms.office_email:
        letter = runs_out(event, ports.terms)
        await ports.mail.send(letter, message_id=f"{event.id}.low")
