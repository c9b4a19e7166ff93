"""Paying online, over HTTP: to the provider's page, back again, and what its notices do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ecokart.core.ports import Ports
from ecokart.core.rehearsal import Outcome
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.engines.payments_scripted_book import PRETEND_PAYMENTS
from ecokart.features.orders.model import ORDERS, Order, Stage
from ecokart.features.payments.model import INBOX
from tests.clock import ManualClock
from tests.shop import Shop, running_shop
from tests.stripe_fake import SECRET_KEY, WEBHOOK_SECRET, StripeFake, signed

HOME = {
    "name": "Jo",
    "street": "Markt 1",
    "postalCode": "5020",
    "city": "Salzburg",
    "country": "AT",
}
NOTICES = "/payments/notices"


async def order_by(shop: Shop, method: str = "card", email: str = "jo@example.com") -> str:
    """The id of an order of one mug, paid in that way."""
    filled = await shop.client.post("/api/cart", json={"sku": "EK-020-GREEN"})
    assert filled.status_code == 200, filled.text
    body = {"address": HOME, "email": email, "payment": {"method": method}}
    answer = await shop.client.post("/api/orders", json=body)
    assert answer.status_code == 201, answer.text
    order_id: str = answer.json()["id"]
    return order_id


async def kept(shop: Shop, order_id: str) -> Order:
    found = await shop.ports.records.get(ORDERS, order_id)
    assert found
    return found.value


async def payment_page(shop: Shop, order_id: str) -> str:
    """Where the browser is sent to pay."""
    page = await shop.client.get(f"/account/orders/{order_id}/pay")
    assert page.status_code == 200, page.text
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', page.text)
    assert found, page.text
    return found[1]


async def press(shop: Shop, url: str, **fields: str) -> str:
    """Where it leads to press that on the pretend provider's page."""
    answer = await shop.client.post(url, data=fields)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_the_browser_is_led_to_the_provider_and_back(shop: Shop) -> None:
    order_id = await order_by(shop)
    url = await payment_page(shop, order_id)
    page = (await shop.client.get(url)).text
    assert "Testzahlung" in page
    assert order_id in page
    back = await press(shop, url, card="pays")
    assert back == f"{shop.url}/account/orders/{order_id}/returned"
    returned = await shop.client.get(back)
    assert returned.headers["location"] == f"/account/orders/{order_id}/thanks"
    await shop.settle()
    order = await kept(shop, order_id)
    assert (order.stage, order.payment.captured) == (Stage.COMPLETED, order.total)


async def test_a_declined_card_and_then_another(shop: Shop) -> None:
    order_id = await order_by(shop)
    url = await payment_page(shop, order_id)
    assert url.endswith(await press(shop, url, card="no_funds"))
    assert "nicht genug Geld" in (await shop.client.get(url)).text
    await shop.settle()
    assert (await kept(shop, order_id)).stage is Stage.PLACED
    await press(shop, url, card="pays")
    await shop.settle()
    assert (await kept(shop, order_id)).stage is Stage.COMPLETED


@pytest.mark.parametrize(("answer", "stage"), [("confirm", "COMPLETED"), ("refuse", "PLACED")])
async def test_three_d_secure(shop: Shop, answer: str, stage: str) -> None:
    order_id = await order_by(shop)
    url = await payment_page(shop, order_id)
    await press(shop, url, card="secure")
    assert "Ihre Bank fragt" in (await shop.client.get(url)).text
    await press(shop, url, bank=answer)
    await shop.settle()
    assert (await kept(shop, order_id)).stage == stage


async def test_who_comes_back_unpaid_can_pay_later(shop: Shop) -> None:
    order_id = await order_by(shop)
    url = await payment_page(shop, order_id)
    back = await shop.client.get(f"/account/orders/{order_id}/returned")
    assert back.headers["location"] == f"/account/orders/{order_id}"
    page = (await shop.client.get(back.headers["location"])).text
    assert "noch nicht bezahlt" in page
    assert f"/account/orders/{order_id}/pay" in page
    assert await payment_page(shop, order_id) == url


async def test_who_asks_to_pay_what_is_paid_is_shown_the_order(shop: Shop) -> None:
    order_id = await order_by(shop)
    rehearsal, payment = shop.ports.payments.rehearsal, await payment_page(shop, order_id)
    assert rehearsal
    await rehearsal.choose(payment.rpartition("/")[2], Outcome.NOTICE_LOST)
    again = await shop.client.get(f"/account/orders/{order_id}/pay")
    assert (again.status_code, again.headers["location"]) == (303, f"/account/orders/{order_id}")
    await shop.settle()
    assert (await kept(shop, order_id)).stage is Stage.COMPLETED


async def test_a_notice_alone_settles_the_order(shop: Shop) -> None:
    order_id = await order_by(shop)
    url = await payment_page(shop, order_id)
    assert url.endswith(await press(shop, url, card="vanishes"))
    await shop.settle()
    assert (await kept(shop, order_id)).stage is Stage.COMPLETED


async def test_the_return_alone_settles_the_order(shop: Shop) -> None:
    order_id = await order_by(shop)
    url = await payment_page(shop, order_id)
    await shop.client.get(await press(shop, url, card="notice_lost"))
    await shop.settle()
    assert (await kept(shop, order_id)).stage is Stage.COMPLETED


async def test_a_direct_debit_is_waited_for(shop: Shop, clock: ManualClock) -> None:
    order_id = await order_by(shop, "sepa")
    back = await press(shop, await payment_page(shop, order_id), card="settles")
    thanks = await shop.client.get((await shop.client.get(back)).headers["location"])
    assert "Ihre Bank bearbeitet die Zahlung" in thanks.text
    await shop.settle()
    assert (await kept(shop, order_id)).stage is Stage.PLACED
    clock.advance(minutes=2)
    await shop.app.worker.run_due_timers()
    await shop.settle()
    order = await kept(shop, order_id)
    assert (order.stage, order.payment.captured) == (Stage.COMPLETED, order.total)


@pytest.mark.parametrize(
    ("outcome", "stage"),
    [
        ("pays", Stage.COMPLETED),
        ("answer_lost", Stage.COMPLETED),
        ("refused", Stage.FAILED),
        ("no_funds", Stage.FAILED),
        ("capture_refused", Stage.FAILED),
    ],
)
async def test_without_a_browser_the_address_chooses_how_it_goes(
    shop: Shop, clock: ManualClock, outcome: str, stage: Stage
) -> None:
    order_id = await order_by(shop, email=f"jo+{outcome}@example.com")
    for _ in range(4):  # what failed is tried again later
        await shop.settle()
        clock.advance(minutes=10)
    assert (await kept(shop, order_id)).stage is stage


async def test_a_method_that_is_not_offered_orders_nothing(shop: Shop) -> None:
    await shop.client.post("/api/cart", json={"sku": "EK-020-GREEN"})
    body = {"address": HOME, "email": "jo@example.com", "payment": {"method": "twint"}}
    refused = await shop.client.post("/api/orders", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "method_not_offered")
    assert (await shop.client.get("/api/orders")).json()["orders"] == []


async def test_somebody_else_is_led_nowhere(shop: Shop) -> None:
    order_id = await order_by(shop)
    async with shop.browser() as other:
        for page in ("pay", "returned"):
            assert (await other.get(f"/account/orders/{order_id}/{page}")).status_code == 404


async def test_while_the_provider_is_away_the_order_is_taken(
    tmp_path: Path, clock: ManualClock
) -> None:
    chaos = Chaos(1, Faults(payment_fails=1))

    def unsound(ports: Ports) -> Ports:
        return faulty(ports, chaos)

    async with running_shop(tmp_path, clock, through=unsound) as shop:
        order_id = await order_by(shop)
        page = await shop.client.get(f"/account/orders/{order_id}/pay")
        assert page.status_code == 200
        assert "Die Zahlung folgt" in page.text
        chaos.faults = Faults()
        await press(shop, await payment_page(shop, order_id), card="pays")
        await shop.settle()
        assert (await kept(shop, order_id)).stage is Stage.COMPLETED


async def test_a_notice_that_comes_again_is_heard_once(shop: Shop, clock: ManualClock) -> None:
    order_id = await order_by(shop, email="jo+notice_late@example.com")
    await shop.client.get(f"/account/orders/{order_id}/pay")
    clock.advance(minutes=3)
    rehearsal = shop.ports.payments.rehearsal
    assert rehearsal
    notices = await rehearsal.notices()
    assert len(notices) == 2
    for notice in notices:
        answer = await shop.client.post(NOTICES, content=notice.body, headers=notice.headers)
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    inbox = await shop.ports.records.scan(INBOX)
    assert [one.order_id for one in inbox.values] == [order_id]


async def test_what_the_provider_did_not_sign_is_forbidden(shop: Shop) -> None:
    answer = await shop.client.post(NOTICES, content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert not (await shop.ports.records.scan(INBOX)).values


async def test_a_notice_is_no_larger_than_a_body_may_be(shop: Shop) -> None:
    answer = await shop.client.post(NOTICES, content=b" " * 2_000_000)
    assert answer.status_code == 413


async def test_the_pretend_page_is_only_where_the_pretend_provider_is(tmp_path: Path) -> None:
    async with running_shop(tmp_path, payments_url="none:", seeded=False) as shop:
        assert (await shop.client.get("/pay/test/test_1")).status_code == 404
        checkout = await shop.client.post(NOTICES, content=b"{}")
        assert checkout.status_code == 403


async def test_shares_of_the_orders_go_as_the_setting_says(tmp_path: Path) -> None:
    async with running_shop(tmp_path, payments_url="scripted:?pays=50&no_funds=50") as shop:
        for _ in range(12):
            await order_by(shop)
        await shop.settle()
        page = await shop.ports.records.scan(PRETEND_PAYMENTS)
        assert {payment.state for payment in page.values} == {"CAPTURED", "FAILED"}


@pytest.fixture
async def by_stripe(tmp_path: Path) -> AsyncIterator[tuple[Shop, StripeFake]]:
    async with StripeFake() as stripe:
        settings: dict[str, Any] = {
            "payments_url": f"stripe:?methods=card,sepa&api_base={stripe.url}",
            "stripe_secret_key": SECRET_KEY,
            "stripe_webhook_secrets": WEBHOOK_SECRET,
        }
        async with running_shop(tmp_path, **settings) as shop:
            yield shop, stripe


@pytest.mark.parametrize("first", ["notice", "return"])
async def test_return_and_notices_in_any_order_and_number_settle_once(
    by_stripe: tuple[Shop, StripeFake], first: str
) -> None:
    shop, stripe = by_stripe
    order_id = await order_by(shop)
    url = await payment_page(shop, order_id)
    assert url.startswith(stripe.url)
    stripe.book.act(url.rpartition("/")[2], "pay")
    steps = [
        lambda: stripe.deliver(shop.url + NOTICES, *stripe.events * 2),
        lambda: shop.client.get(f"/account/orders/{order_id}/returned"),
    ]
    for step in steps if first == "notice" else reversed(steps):
        await step()
        await shop.settle()
    order = await kept(shop, order_id)
    assert (order.stage, order.payment.captured) == (Stage.COMPLETED, order.total)
    assert stripe.calls.count("POST checkout/sessions") == 1
    assert len([call for call in stripe.calls if call.endswith("/capture")]) == 1


async def test_stripe_signs_its_notices(by_stripe: tuple[Shop, StripeFake]) -> None:
    shop, stripe = by_stripe
    url = await payment_page(shop, await order_by(shop))
    stripe.book.act(url.rpartition("/")[2], "pay")
    (body,) = stripe.events
    for headers, status in ((signed(body), 200), (signed(body, "whsec_of_others"), 403)):
        answer = await shop.client.post(NOTICES, content=body, headers=headers)
        assert answer.status_code == status


async def test_while_stripe_is_away_health_says_so_and_orders_are_taken(
    by_stripe: tuple[Shop, StripeFake],
) -> None:
    shop, stripe = by_stripe
    stripe.away = True
    order_id = await order_by(shop)
    for _ in range(6):
        page = await shop.client.get(f"/account/orders/{order_id}/pay")
        assert "Die Zahlung folgt" in page.text
    asked = len(stripe.calls)
    health = (await shop.client.get("/health/ready")).json()
    assert health["status"] == "degraded"
    assert "set aside" in health["degraded"]["payments"]
    assert 'port_up{port="payments"} 0.0' in (await shop.client.get("/metrics")).text
    assert len(stripe.calls) == asked
