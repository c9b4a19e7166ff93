"""What happens to carts by itself."""

from __future__ import annotations

from ecokart.core.events import every
from ecokart.core.ports import Ports
from ecokart.core.transaction import transact
from ecokart.features.cart import service
from ecokart.features.cart.model import CARTS

BATCH = 100


@every(minutes=1)
async def release_expired(ports: Ports) -> None:
    """Give back the stock of carts that nobody has touched for two hours."""
    while True:
        page = await ports.records.query(CARTS, "by_deadline", "yes", limit=BATCH)
        due = [cart for cart in page.values if cart.deadline <= ports.clock.now()]
        for cart in due:
            await transact(ports, service.expire, cart.id)
        if len(due) < BATCH:
            return
