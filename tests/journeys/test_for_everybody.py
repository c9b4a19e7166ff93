"""Every page holds to WCAG 2.1 AA as far as a program can tell, light and dark, and fits a phone."""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Page

from tests.journeys.conftest import Visit
from tests.journeys.steps import ADMIN, buy_a_board, give_address, order, sign_in
from tests.shop import Shop

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


async def inspect(page: Page, path: str = "") -> None:
    """No violations, and nothing to scroll sideways on a phone."""
    if path:
        await page.goto(path)
    found = await Axe().run(page, options=RULES)
    assert not found.response["violations"], f"{page.url}\n{found.generate_report()}"
    await page.set_viewport_size({"width": 360, "height": 740})
    sideways = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not sideways, f"{page.url} is wider than a phone"
    await page.set_viewport_size({"width": 1280, "height": 800})


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pages_are_for_everybody(visit: Visit, scheme: Literal["light", "dark"]) -> None:
    async with visit(color_scheme=scheme, reduced_motion="reduce") as page:
        for path in (
            "/", "/products", "/categories/pantry?sort=price", "/products/prod-004",
            "/products/prod-005", "/products/prod-009", "/products/prod-026", "/cart", "/account/orders",
            "/sign-in", "/register", "/shipping", "/chat/support", "/nowhere",
        ):  # fmt: skip
            await inspect(page, path)
        await page.goto("/")
        await page.get_by_role("button", name="Fragen?").click()
        await page.get_by_label("Ihre Nachricht").fill("Hallo?")
        await page.get_by_label("Ihre Nachricht").press("Enter")
        await page.locator(".chat-entry[data-sequence]").wait_for()
        await inspect(page)
        await page.keyboard.press("Escape")
        await buy_a_board(page)
        await page.get_by_role("link", name="Zum Korb").click()
        await inspect(page, "/cart")
        await page.get_by_label("Menge von").fill("99")
        await page.get_by_role("button", name="Ändern").click()
        await page.locator(".wrong").wait_for()
        await inspect(page)
        await page.goto("/checkout")
        await inspect(page)
        await page.locator("form.checkout").evaluate("form => form.noValidate = true")
        await page.get_by_role("button", name="Zahlungspflichtig bestellen").click()
        await page.locator(".wrong").first.wait_for()
        await inspect(page)
        await give_address(page, "gast@example.com")
        await order(page)
        await inspect(page)
        await inspect(page, page.url.removesuffix("/thanks"))
        await inspect(page, "/account/orders")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_office_is_for_everybody(
    shop: Shop, visit: Visit, scheme: Literal["light", "dark"]
) -> None:
    async with visit(color_scheme=scheme, reduced_motion="reduce") as page:
        await buy_a_board(page)
        await page.get_by_role("link", name="Zum Korb").wait_for()
        await page.goto("/checkout")
        await give_address(page, "gast@example.com")
        await order(page)
        await sign_in(page, ADMIN, then="/admin")
        await inspect(page)
        await page.locator("tbody a").first.click()
        await page.wait_for_url("**/admin/orders/*")
        await inspect(page)
        for path in ("/admin/stock", "/admin/stock?changed=EK-001&by=3", "/admin/stock?q=nothing"):
            await inspect(page, path)
        guest = await page.context.browser.new_context()  # type: ignore[union-attr]
        asked: dict[str, str | float | bool] = {"content": "Hallo?", "number": "1"}
        await guest.request.post(f"{shop.url}/chat/support", form=asked)
        await inspect(page, "/admin/chat")
        await page.get_by_role("link", name="guest-").click()
        await page.get_by_label("Ihre Antwort").fill("Ja?")
        await page.get_by_label("Ihre Antwort").press("Enter")
        await page.locator(".is-mine[data-entry]").wait_for()
        await inspect(page)
        await inspect(page, "/admin/chat/answers")
        await inspect(page, "/account")
        await page.goto("/admin/stock?q=EK-001")
        await page.get_by_label("Änderung von EK-001").fill("zehn")
        await page.get_by_role("button", name="Buchen").click()
        await page.locator(".wrong").wait_for()
        await inspect(page)
