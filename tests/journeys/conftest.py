"""A shop with a worker, and visitors with real browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from bench.places import records_url
from ecokart.core.events import Reactions
from ecokart.rooms import JOB_MODULES
from tests.servers import sqs_url
from tests.shop import Shop, running_shop
from tests.sqs import make_queues

BOUND_MS = 15_000
expect.set_options(timeout=BOUND_MS)
# What a browser says of a request that was refused, and of one that a test cut off.
EXPECTED = ("status of 4", "ERR_INTERNET_DISCONNECTED")

Visit = Callable[..., AbstractAsyncContextManager[Page]]


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """What keeps the records: SQLite, unless the test is run over the engines."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
async def shop(tmp_path: Path, engine: str) -> AsyncIterator[Shop]:
    """With DynamoDB goes SQS, as in the cloud; the others keep their jobs in the records."""
    queue_url = "records:"
    if engine == "dynamodb":
        queue_url = sqs_url()
        make_queues(queue_url, Reactions(JOB_MODULES).lanes)
    where = records_url(engine)
    async with running_shop(tmp_path, worker=True, records_url=where, queue_url=queue_url) as shop:
        yield shop


@pytest.fixture
def visit(shop: Shop, browser: Browser) -> Visit:
    """A visitor: `async with visit(locale="en-GB", java_script_enabled=False) as page`.

    Whatever the browser complains about on the way (a script's error, something that the content
    security policy forbids) fails the test, but for the statuses of refused requests.
    """

    @asynccontextmanager
    async def visiting(**options: Any) -> AsyncIterator[Page]:
        complaints: list[str] = []

        def listen(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and not any(
                known in message.text for known in EXPECTED
            ):
                complaints.append(message.text)

        context = await browser.new_context(base_url=shop.url, **({"locale": "de-DE"} | options))
        context.set_default_timeout(BOUND_MS)
        page = await context.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            yield page
        finally:
            await context.close()
        assert not complaints

    return visiting
