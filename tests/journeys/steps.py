"""What visitors do, step by step, by the words they see."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

ADMIN = ("admin@ecokart.com", "admin1234")


async def buy_a_board(page: Page) -> None:
    await page.goto("/products/prod-001")
    await page.get_by_role("button", name="In den Korb").click()


async def give_address(page: Page, email: str = "") -> None:
    if email:
        await page.get_by_label("E-Mail-Adresse").fill(email)
    await page.get_by_label("Vor- und Nachname").fill("Nora Neu")
    await page.get_by_label("Straße und Hausnummer").fill("Lange Straße 5")
    await page.get_by_label("Postleitzahl").fill("34117")
    await page.get_by_label("Ort", exact=True).fill("Kassel")


async def order(page: Page) -> None:
    await page.get_by_role("button", name="Zahlungspflichtig bestellen").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Danke für Ihre Bestellung.")


async def order_by_card(page: Page) -> None:
    """From the shop window to the provider's page."""
    await buy_a_board(page)
    await expect(page.locator("[data-basket-count]")).to_have_text("1")
    await page.goto("/checkout")
    await give_address(page, "gast@example.com")
    await page.get_by_label("Kredit- oder Debitkarte").check()
    await page.get_by_role("button", name="Zahlungspflichtig bestellen").click()


def completed(page: Page) -> Locator:
    """On an order's page: that it is completed."""
    return page.locator(".way .is-done", has_text="Abgeschlossen")


async def sign_in(page: Page, person: tuple[str, str], *, then: str = "/") -> None:
    await page.goto(f"/sign-in?next={then}")
    await page.locator("#email").fill(person[0])
    await page.locator("#password").fill(person[1])
    await page.locator("main form button").click()
    await page.wait_for_url(f"**{then}")
