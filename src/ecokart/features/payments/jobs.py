"""What happens to payments by itself."""

from __future__ import annotations

from ecokart.core.events import every
from ecokart.core.ports import Ports
from ecokart.features.payments import service


@every(seconds=5)
async def fetch_notices(ports: Ports) -> None:
    """Take the late notices of a pretend provider."""
    while await service.fetch(ports):
        pass
