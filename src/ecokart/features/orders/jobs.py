"""What happens beside an order's way: the mail that confirms it."""

from __future__ import annotations

from ecokart.core.events import on
from ecokart.core.ports import Ports
from ecokart.features.orders import service
from ecokart.features.orders.events import OrderPlaced
from ecokart.features.orders.mails import confirmation


@on(OrderPlaced, lane="mail")
async def confirm_by_mail(ports: Ports, event: OrderPlaced) -> None:
    """Confirm the order to its buyer. The message id is the event's, so twice is once."""
    order = await service.any_one(ports.records, event.order_id)
    if order.email:
        await ports.mail.send(confirmation(order), message_id=f"{event.id}.confirmation")
