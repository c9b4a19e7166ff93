"""A real browser for the journeys: the system's own Chromium, driven by Playwright.

`tests/conftest.py` loads it: `pytest_plugins = ["tests.browser"]`. The browser lives as long as the
session, so all tests that run while it is open share one event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.setup_engines import CHROMIUM, require

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is. Skips the test without it, or fails it under `CI=true`."""
    return require(CHROMIUM)


@pytest.fixture(scope="session")
async def browser(anyio_backend: object, chromium: str) -> AsyncIterator[Browser]:
    """One Chromium for the session. Take a context of your own: `await browser.new_context()`."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()
