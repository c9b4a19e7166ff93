"""Paying at Stripe's hosted page, pretended by a server of ours: another site, which calls us back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.journeys.conftest import Visit
from tests.journeys.steps import completed, order_by_card
from tests.shop import Shop, running_shop
from tests.stripe_fake import SECRET_KEY, WEBHOOK_SECRET, StripeFake

NOTICES = "/payments/notices"


@pytest.fixture
async def stripe() -> AsyncIterator[StripeFake]:
    async with StripeFake() as stripe:
        yield stripe


@pytest.fixture
async def shop(tmp_path: Path, stripe: StripeFake) -> AsyncIterator[Shop]:
    async with running_shop(
        tmp_path,
        worker=True,
        payments_url=f"stripe:?methods=card&api_base={stripe.url}",
        stripe_secret_key=SECRET_KEY,
        stripe_webhook_secrets=WEBHOOK_SECRET,
    ) as shop:
        yield shop


async def test_the_notice_comes_before_the_browser(
    visit: Visit, shop: Shop, stripe: StripeFake
) -> None:
    stripe.webhook_url = shop.url + NOTICES
    async with visit() as page:
        await order_by_card(page)
        await page.get_by_role("button", name="Try a declined card").click()
        await expect(page.get_by_role("alert")).to_have_text("card_declined")
        await page.get_by_role("button", name="Try a 3-D Secure card").click()
        await page.get_by_role("button", name="Confirm").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(
            "Danke für Ihre Bestellung."
        )
        await expect(completed(page)).to_be_visible()


async def test_the_notice_comes_after_the_browser_and_twice(
    visit: Visit, shop: Shop, stripe: StripeFake
) -> None:
    async with visit() as page:
        await order_by_card(page)
        await page.get_by_role("button", name="Pay", exact=True).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(
            "Danke für Ihre Bestellung."
        )
        assert await stripe.deliver(shop.url + NOTICES, *stripe.events * 2) == [200, 200]
        await expect(completed(page)).to_be_visible()
    (intent,) = stripe.book.intents.values()
    assert intent["amount_received"] == intent["amount"]


async def test_who_leaves_stripe_without_paying_can_pay_later(
    visit: Visit, stripe: StripeFake
) -> None:
    async with visit() as page:
        await order_by_card(page)
        await page.get_by_role("link", name="Back").click()
        await page.get_by_role("link", name="Jetzt bezahlen").click()
        await page.get_by_role("button", name="Pay", exact=True).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(
            "Danke für Ihre Bestellung."
        )
    assert len(stripe.book.sessions) == 1  # whether the worker opened it or the browser
