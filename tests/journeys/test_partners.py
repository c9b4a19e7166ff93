"""A partner is let in: from the office's form to its first order, with and without JavaScript."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.features.test_api_partners import ORDER
from tests.journeys.conftest import Visit
from tests.journeys.steps import ADMIN, sign_in
from tests.journeys.test_for_everybody import inspect
from tests.shop import Shop


@pytest.mark.parametrize("java_script_enabled", [True, False])
async def test_the_office_lets_a_partner_in_and_out(
    visit: Visit, shop: Shop, java_script_enabled: bool
) -> None:
    async with visit(java_script_enabled=java_script_enabled) as page:
        await sign_in(page, ADMIN, then="/admin/partners")
        await expect(page.get_by_text("Noch keine Partner.")).to_be_visible()
        await page.get_by_role("link", name="Partner anlegen").click()
        await page.get_by_label("Name des Partners").fill("Acme AG")
        await page.get_by_label("Straße und Hausnummer").fill("Markt 1")
        await page.get_by_role("button", name="Partner anlegen").click()
        await expect(page.get_by_text("Bitte geben Sie den Ort an.")).to_be_visible()
        await page.get_by_label("Vor- und Nachname").fill("Acme AG")
        await page.get_by_label("Postleitzahl").fill("04109")
        await page.get_by_label("Ort", exact=True).fill("Leipzig")
        await page.get_by_role("button", name="Partner anlegen").click()
        await page.get_by_label("Name des Schlüssels").fill("Lager")
        await page.get_by_role("button", name="Schlüssel ausstellen").click()
        shown = await page.locator("pre").first.inner_text()
        key = {"X-API-Key": shown.strip()}
        ordered = await shop.client.post("/orders", json=ORDER, headers=key)
        assert ordered.status_code == 201
        await page.get_by_role("button", name=re.compile("^Widerrufen")).click()
        await expect(page.get_by_text("öffnet nichts mehr")).to_be_visible()
        assert (await shop.client.get("/orders", headers=key)).status_code == 401
        await page.get_by_role("button", name="Rückgängig").click()
        await expect(page.get_by_text("gilt wieder")).to_be_visible()
        await page.get_by_role("button", name="Zugang abschalten").click()
        assert (await shop.client.get("/orders", headers=key)).status_code == 403
        await page.get_by_role("button", name="Rückgängig").click()
        assert (await shop.client.get("/orders", headers=key)).status_code == 200
        await shop.app.trail.flush()
        await page.get_by_role("link", name="Seine Anfragen").click()
        await page.get_by_role("link", name="Abgewiesen").click()
        await expect(page.locator("tbody tr")).to_have_count(2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_these_pages_are_for_everybody(visit: Visit, scheme: str) -> None:
    async with visit(color_scheme=scheme, reduced_motion="reduce") as page:
        await sign_in(page, ADMIN, then="/admin/partners")
        await inspect(page)
        await inspect(page, "/admin/partners/new")
        await page.get_by_role("button", name="Partner anlegen").click()
        await page.get_by_label("Name des Partners").fill("Acme AG")
        await page.get_by_label("Postleitzahl").fill("1")
        await page.get_by_role("button", name="Partner anlegen").click()
        await page.locator("#postalCode-wrong").wait_for()
        await inspect(page)
        await page.get_by_label("Postleitzahl").fill("")
        await page.get_by_role("button", name="Partner anlegen").click()
        await page.get_by_label("Name des Schlüssels").fill("Lager")
        await page.get_by_role("button", name="Schlüssel ausstellen").click()
        await page.locator("#issued-title").wait_for()
        await inspect(page)
        await page.get_by_role("link", name="Seine Anfragen").click()
        await inspect(page)
        await inspect(page, "/admin/partners")
