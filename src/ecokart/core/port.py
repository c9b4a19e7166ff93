"""What every port has in common."""

from __future__ import annotations

from typing import Protocol


class Port(Protocol):
    """What every port can be asked beside its work."""

    async def ping(self) -> str:
        """The engine that answers and its version, as `PostgreSQL 15.6`; raises `Unavailable` where none does."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the connections. Closing twice is harmless."""
        ...
