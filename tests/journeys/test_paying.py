"""Paying by card at the pretend provider: with one that works, and with those that don't."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.journeys.conftest import Visit
from tests.journeys.steps import completed, order_by_card


async def pay_with(page: Page, card: str) -> None:
    await expect(page.get_by_role("heading", level=1)).to_have_text("Testzahlung")
    await page.get_by_label(card, exact=True).check()
    await page.get_by_role("button", name="Bezahlen").click()


async def expect_thanks(page: Page) -> None:
    await expect(page.get_by_role("heading", level=1)).to_have_text("Danke für Ihre Bestellung.")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_a_guest_pays_by_card(visit: Visit, scripts: bool) -> None:
    async with visit(java_script_enabled=scripts) as page:
        await order_by_card(page)
        await pay_with(page, "Zahlt")
        await expect_thanks(page)
        await expect(page.get_by_text("Kredit- oder Debitkarte")).to_be_visible()


async def test_a_declined_card_then_the_bank_says_no_and_then_yes(visit: Visit) -> None:
    async with visit() as page:
        await order_by_card(page)
        await pay_with(page, "Abgelehnt: nicht genug Geld")
        await expect(page.get_by_role("alert")).to_contain_text("nicht genug Geld")
        await pay_with(page, "Fragt erst die Bank (3-D Secure)")
        await page.get_by_role("button", name="Nein, ablehnen").click()
        await expect(page.get_by_role("alert")).to_contain_text("nicht bestätigt")
        await pay_with(page, "Fragt erst die Bank (3-D Secure)")
        await page.get_by_role("button", name="Ja, bezahlen").click()
        await expect_thanks(page)


async def test_who_leaves_without_paying_can_pay_later(visit: Visit) -> None:
    async with visit() as page:
        await order_by_card(page)
        await page.get_by_role("link", name="Zurück zum Laden, ohne zu bezahlen").click()
        await expect(page.get_by_text("noch nicht bezahlt")).to_be_visible()
        await page.get_by_role("link", name="Jetzt bezahlen").click()
        await pay_with(page, "Zahlt")
        await expect_thanks(page)


async def test_who_pays_and_never_comes_back_has_ordered(visit: Visit) -> None:
    async with visit() as page:
        await order_by_card(page)
        await pay_with(page, "Zahlt, und dieser Browser kommt nicht zurück")
        await expect(page.get_by_text("Hier ist nichts mehr zu tun.")).to_be_visible()
        done = completed(page)
        await page.goto("/account/orders")
        await page.get_by_role("main").get_by_role("link", name="EK-").first.click()
        await expect(done).to_be_visible()
