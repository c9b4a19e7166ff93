"""From the shop window to the completed order, as people go that way."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from bench.places import ENGINES
from tests.journeys.conftest import Visit
from tests.journeys.steps import ADMIN, buy_a_board, completed, give_address, order, sign_in
from tests.shop import Shop

pytestmark = pytest.mark.parametrize("engine", ENGINES, indirect=True)


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_a_guest_buys(visit: Visit, scripts: bool) -> None:
    async with visit(java_script_enabled=scripts) as page:
        await page.goto("/")
        await page.get_by_role("navigation", name="Kategorien").get_by_text("Vorrat").click()
        await page.get_by_role("link", name=re.compile("Kaffee")).click()
        await page.get_by_label(re.compile("1 kg")).check()
        await page.get_by_label("Menge").fill("2")
        await page.get_by_role("button", name="In den Korb").click()
        if scripts:
            await expect(page.locator("[data-basket-count]")).to_have_text("2")
            await expect(page.get_by_role("status")).to_have_text("Liegt im Korb.")
            await page.get_by_role("link", name="Zum Korb").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Korb")
        await page.get_by_role("link", name="Zur Kasse").click()
        await give_address(page, "gast@example.com")
        await order(page)
        done = completed(page)
        if not scripts:
            for _ in range(20):  # the page says at once how it stands, and again when asked
                if await done.count():
                    break
                await page.reload()
        await expect(done).to_be_visible()
        await page.get_by_role("link", name="Ihre Bestellungen").click()
        await expect(page.get_by_text("Abgeschlossen")).to_be_visible()


async def test_a_new_customer_keeps_the_basket_and_finds_the_order(visit: Visit) -> None:
    person = ("nora@example.com", "geheim-genug")
    async with visit() as page:
        await page.goto("/register")
        await page.get_by_label("Vor- und Nachname").fill("Nora Neu")
        await page.get_by_label("E-Mail-Adresse").fill(person[0])
        await page.get_by_label("Passwort").fill(person[1])
        await page.get_by_role("button", name="Konto anlegen").click()
        await page.goto("/account")
        await page.get_by_role("button", name="Abmelden").click()
        await buy_a_board(page)
        await expect(page.locator("[data-basket-count]")).to_have_text("1")
        await sign_in(page, person, then="/cart")
        await expect(page.get_by_role("link", name="Brett aus Eiche")).to_be_visible()
        await page.get_by_role("link", name="Zur Kasse").click()
        await give_address(page)
        await order(page)
        await page.goto("/account/orders")
        await expect(page.get_by_text("Brett aus Eiche")).to_be_visible()
        await buy_a_board(page)
        await expect(page.locator("[data-basket-count]")).to_have_text("1")
        await page.goto("/checkout")
        await expect(page.get_by_label(re.compile("Lange Straße 5"))).to_be_checked()
        await expect(page.get_by_label("Postleitzahl")).to_be_hidden()
        await order(page)


async def test_an_english_visitor_changes_to_german_and_stays(visit: Visit) -> None:
    async with visit(locale="en-GB") as page:
        await page.goto("/products/prod-005")
        await expect(page.get_by_role("button", name="Into the basket")).to_be_visible()
        await expect(page.get_by_text("€8.90").first).to_be_visible()
        await page.get_by_role("button", name="Deutsch").click()
        await page.wait_for_url("**/products/prod-005")
        await expect(page.get_by_role("button", name="In den Korb")).to_be_visible()
        await expect(page.get_by_text("8,90 €").first).to_be_visible()


async def test_the_vat_is_that_of_the_country_chosen(visit: Visit) -> None:
    async with visit() as page:
        await buy_a_board(page)
        await expect(page.locator("[data-basket-count]")).to_have_text("1")
        await page.goto("/checkout")
        await expect(page.get_by_text("darin 19 % MwSt.")).to_be_visible()
        await page.get_by_label("Land").select_option("AT")
        await expect(page.get_by_text("darin 20 % MwSt.")).to_be_visible()
        await expect(page.get_by_text("darin 19 % MwSt.")).to_be_hidden()


async def test_what_a_script_cannot_do_the_form_explains(visit: Visit) -> None:
    async with visit() as page:
        await page.goto("/products/prod-003")
        await page.get_by_label("Menge").fill("9")
        await page.get_by_role("button", name="In den Korb").click()
        await expect(page.get_by_role("alert")).to_contain_text("So viel ist davon nicht mehr da.")
        await expect(page.get_by_label("Menge")).to_have_value("9")


async def test_the_office_restocks_what_was_sold_out(visit: Visit, shop: Shop) -> None:
    async with visit() as page:
        await page.goto("/products/prod-026")
        await expect(page.get_by_text("Zurzeit ausverkauft")).to_be_visible()
        await sign_in(page, ADMIN, then="/admin/stock")
        await page.get_by_label("Artikelnummer oder Name").fill("yoga")
        await page.get_by_role("button", name="Filtern").click()
        field = page.get_by_label("Änderung von EK-026")
        await field.fill("-1")
        await field.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("Frei sind nur 0.")
        await field.fill("+3")
        await field.press("Enter")
        await expect(page.get_by_text("EK-026: +3 ist gebucht.")).to_be_visible()
        await shop.app.shelf.refresh()
        await page.goto("/products/prod-026")
        await expect(page.get_by_text("Nur noch 3 da")).to_be_visible()
        await page.goto("/admin/stock?q=yoga&changed=EK-026&by=3")
        await page.get_by_role("button", name="Rückgängig").click()
        await expect(page.get_by_text("EK-026: -3 ist gebucht.")).to_be_visible()
