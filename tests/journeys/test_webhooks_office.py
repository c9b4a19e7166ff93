"""The office looks at what a partner was told, sends it again, and sets things right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, expect

from ecokart.core.transaction import transact
from ecokart.features.webhooks import service
from ecokart.features.webhooks.model import Topic
from tests.journeys.conftest import Visit
from tests.journeys.steps import ADMIN, sign_in
from tests.journeys.test_for_everybody import inspect
from tests.partners import new_partner
from tests.shop import Shop, running_shop
from tests.webhook_target import WebhookTarget, answer

ORDER = {
    "customerId": "kunde-7",
    "items": [{"productId": "prod-020", "sku": "EK-020-GREEN", "quantity": 1, "price": 14.90}],
    "totalAmount": 14.90,
}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop that works, and may call this machine."""
    async with running_shop(tmp_path, worker=True, webhook_private_targets=True) as shop:
        yield shop


async def _shows(page: Page, text: str) -> None:
    """Reload until the log says so: the worker is at it."""
    for _ in range(100):
        if await page.locator("tbody tr").first.get_by_text(text).count():
            return
        await page.wait_for_timeout(50)
        await page.reload()
    await expect(page.locator("tbody tr").first).to_contain_text(text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_office_sends_again_what_a_partner_missed(
    visit: Visit, shop: Shop, scheme: Literal["light", "dark"]
) -> None:
    known = await new_partner(shop.ports)
    async with (
        WebhookTarget() as receiver,
        visit(color_scheme=scheme, reduced_motion="reduce") as page,
    ):
        await sign_in(page, ADMIN, then="/admin/webhooks")
        await expect(page.locator(".empty")).to_be_visible()
        await inspect(page)
        await transact(
            shop.ports, service.add, known.partner_id, receiver.url, [Topic.ORDER_PLACED]
        )
        receiver.behaviours.append(answer(500, "The warehouse is on fire"))
        placed = await shop.client.post("/orders", json=ORDER, headers=known.headers)
        assert placed.status_code == 201, placed.text
        await inspect(page, "/admin/webhooks")
        await page.locator("tbody td a").click()
        await _shows(page, "Wartet")
        await page.locator("summary").click()
        await expect(page.locator("details")).to_contain_text("The warehouse is on fire")
        await inspect(page)
        await page.locator("tbody").get_by_role("button", name="Noch einmal senden").click()
        await _shows(page, "Zugestellt")
        assert len({received.body for received in receiver.received}) == 1
        await page.get_by_role("button", name="Neues Geheimnis").click()
        await expect(page.locator("pre.copy")).to_contain_text("whsec_")
        await inspect(page)
        await page.get_by_role("button", name="Abschalten").click()
        await expect(page.locator(".heading-row .badge")).to_have_text("Abgeschaltet")
        await inspect(page)
        await page.get_by_role("button", name="Rückgängig").click()
        await expect(page.locator(".heading-row .badge")).to_have_text("In Ordnung")
        await page.get_by_role("button", name="Test senden").click()
        await _shows(page, "Zugestellt")
