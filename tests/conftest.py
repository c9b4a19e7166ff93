"""What every test may ask for."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.clock import ManualClock

pytest_plugins = ["tests.browser"]

# Files that take long begin first, so that no process is left alone with one at the end.
LONG = frozenset({"proofs", "simulation", "journeys"})

# A slow machine is no counterexample.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in LONG)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on the loop that serves the shop."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
