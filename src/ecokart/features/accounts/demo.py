"""The demo shop's people. They exist outside production only, and everybody knows their passwords."""

from __future__ import annotations

from ecokart.core.ports import Ports
from ecokart.features.accounts import service
from ecokart.features.accounts.model import EmailTaken

PEOPLE = [
    ("demo@ecokart.com", "demo1234", "Dana Demo", "customer"),
    ("admin@ecokart.com", "admin1234", "Ada Admin", "admin"),
]


async def seed(ports: Ports) -> None:
    for email, password, name, role in PEOPLE:
        try:
            await service.register(ports, email, password, name, "de", role=role)
        except EmailTaken:
            continue
