"""What every test may ask for."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.clock import ManualClock

pytest_plugins = ["tests.browser"]

# A slow machine is no counterexample.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on the loop that serves the shop."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
