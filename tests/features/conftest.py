"""What the tests of the features share: an open shop, and somebody who is signed in."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clock import ManualClock
from tests.shop import Shop, running_shop

DANA = {"email": "demo@ecokart.com", "password": "demo1234"}
ADA = {"email": "admin@ecokart.com", "password": "admin1234"}


@pytest.fixture(scope="session")
async def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a demo shop that was opened once and closed again."""
    folder = tmp_path_factory.mktemp("demo")
    async with running_shop(folder, ManualClock()):
        pass
    return folder / "data"


@pytest.fixture
async def shop(demo_data: Path, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Shop]:
    """The demo shop on data of its own, its clock in the test's hand."""
    shutil.copytree(demo_data, tmp_path / "data")
    async with running_shop(tmp_path, clock, seeded=False) as shop:
        yield shop


@pytest.fixture(scope="session")
async def demo(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One demo shop for all the tests that only look, or are refused: opening one takes its time."""
    folder = tmp_path_factory.mktemp("shown")
    shutil.copytree(demo_data, folder / "data")
    async with running_shop(folder, ManualClock(), seeded=False) as shop:
        yield shop


@pytest.fixture
async def dana(shop: Shop) -> dict[str, str]:
    """The headers by which the shop knows a customer."""
    answer = await shop.client.post("/auth/login", json=DANA)
    return {"Authorization": f"Bearer {answer.json()['token']}"}
