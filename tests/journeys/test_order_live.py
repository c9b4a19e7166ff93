"""An order's page moves by itself while the order goes its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from ecokart.core.transaction import transact
from ecokart.features.orders import office, service
from ecokart.features.orders.model import Order, Shipment, Stage
from tests.journeys.conftest import Visit
from tests.journeys.steps import completed, order_by_card
from tests.shop import Shop, running_shop

HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
BOUND_SECONDS = 15


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with running_shop(tmp_path, worker=True, fulfilment="office") as shop:
        yield shop


async def leave_without_paying(page: Page) -> str:
    """Order by card, and go back from the provider's page to the order's. Says which order it is."""
    await order_by_card(page)
    await page.get_by_role("link", name="Zurück zum Laden, ohne zu bezahlen").click()
    await expect(page.get_by_text("noch nicht bezahlt")).to_be_visible()
    return page.url.rpartition("/")[2]


async def pay_in_another_tab(page: Page) -> None:
    other = await page.context.new_page()
    await other.goto(page.url)
    await other.get_by_role("link", name="Jetzt bezahlen").click()
    await other.get_by_label("Zahlt", exact=True).check()
    await other.get_by_role("button", name="Bezahlen").click()
    await expect(other.get_by_role("heading", level=1)).to_have_text("Danke für Ihre Bestellung.")
    await other.close()


async def send_off(shop: Shop, order_id: str) -> None:
    """Pack and ship it, as the office does."""
    ports = shop.ports
    paid = await at_stage(shop, order_id, Stage.AUTHORISED)
    await transact(ports, office.pack, order_id, paid.facts, ports.terms)
    ready = await at_stage(shop, order_id, Stage.CAPTURED)
    parcel = Shipment(carrier="DHL", tracking="0034 0434")
    await transact(ports, office.ship, order_id, ready.facts, parcel, ports.terms)


async def at_stage(shop: Shop, order_id: str, stage: Stage) -> Order:
    """The order, as soon as it has come so far."""
    async with asyncio.timeout(BOUND_SECONDS):
        while (order := await service.any_one(shop.ports.records, order_id)).stage is not stage:
            await asyncio.sleep(0.02)
    return order


async def streams_open(shop: Shop, count: int) -> None:
    """Wait until so many pages follow an order."""
    async with asyncio.timeout(BOUND_SECONDS):
        while f"streams_open {count}.0" not in (await shop.client.get("/metrics")).text:
            await asyncio.sleep(0.02)


async def test_a_page_shows_what_happens_to_its_order(visit: Visit, shop: Shop) -> None:
    async with visit() as page:
        order_id = await leave_without_paying(page)
        await page.evaluate("window.sameDocument = true")
        await page.get_by_role("link", name="Jetzt bezahlen").focus()
        await pay_in_another_tab(page)
        await expect(page.get_by_text("Der Betrag ist reserviert")).to_be_visible()
        await expect(page.get_by_role("link", name="Jetzt bezahlen")).to_have_count(0)
        await expect(page.locator("[data-order]")).to_be_focused()
        await expect(page.locator("[data-announce]")).to_have_text("In Arbeit")
        await expect(page.get_by_role("button", name="Stornieren")).to_be_visible()
        await send_off(shop, order_id)
        await expect(completed(page)).to_be_visible()
        await expect(page.get_by_text("0034 0434")).to_be_visible()
        await expect(page.get_by_role("button", name="Stornieren")).to_have_count(0)
        await expect(page.locator("[data-announce]")).to_have_text("Abgeschlossen")
        assert await page.evaluate("window.sameDocument")
        await streams_open(shop, 0)


async def test_a_page_that_nobody_sees_takes_no_connection_and_catches_up(
    visit: Visit, shop: Shop
) -> None:
    async with visit() as page:
        order_id = await leave_without_paying(page)
        await streams_open(shop, 1)
        await page.evaluate(HIDE, True)
        await streams_open(shop, 0)
        await pay_in_another_tab(page)
        await streams_open(shop, 0)
        await send_off(shop, order_id)
        await expect(page.get_by_text("noch nicht bezahlt")).to_be_visible()
        await page.evaluate(HIDE, False)
        await expect(completed(page)).to_be_visible()


async def test_a_server_that_refuses_to_be_followed_is_asked_for_the_page(
    visit: Visit, shop: Shop
) -> None:
    async with visit() as page:
        await page.clock.install()
        await leave_without_paying(page)
        await streams_open(shop, 1)
        shop.app.streams.close()
        await page.clock.run_for(5_000)
        await pay_in_another_tab(page)
        await expect(page.get_by_text("noch nicht bezahlt")).to_be_visible()
        await page.clock.run_for(30_000)
        await expect(page.get_by_text("Der Betrag ist reserviert")).to_be_visible()
