"""Which ports answer, asked of all of them at once and not for long."""

from __future__ import annotations

import asyncio

from ecokart.core.errors import Unavailable
from ecokart.core.port import Port
from ecokart.core.ports import Ports

PATIENCE_SECONDS = 2.0


async def look(ports: Ports) -> dict[str, str]:
    """What is the matter with each port, as a sentence; "" where all is well."""
    asked = {
        "records": ports.records,
        "queue": ports.queue,
        "cache": ports.cache,
        "live": ports.live,
        "mail": ports.mail,
        "payments": ports.payments,
    }
    matters = await asyncio.gather(*[_matter(port) for port in asked.values()])
    return dict(zip(asked, matters, strict=True))


async def _matter(port: Port) -> str:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await port.ping()
    except TimeoutError:
        return f"It doesn't answer within {PATIENCE_SECONDS:.0f} s."
    except Unavailable as error:
        return str(error)
    return ""
