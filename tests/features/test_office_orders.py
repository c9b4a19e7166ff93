"""The office's pages for orders: what they show, what they do, and what they refuse."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from ecokart.core.ports import Job
from ecokart.core.transaction import transact
from ecokart.features.accounts.model import Address
from ecokart.features.cart import service as cart
from ecokart.features.orders import office, service
from ecokart.features.orders.model import Method, Order, Stage
from ecokart.features.orders.service import Buyer
from tests.clock import ManualClock
from tests.features.conftest import ADA
from tests.shop import Shop, running_shop

HOME = Address(name="Jo", street="Markt 1", postal_code="34117", city="Kassel", country="DE")


@pytest.fixture
async def shop(demo_data: Path, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Shop]:
    """A shop whose people pack and ship, with somebody of them signed in."""
    shutil.copytree(demo_data, tmp_path / "data")
    async with running_shop(tmp_path, clock, seeded=False, fulfilment="office") as shop:
        await shop.client.post("/sign-in", data=ADA)
        shop.client.headers["Accept-Language"] = "en"
        yield shop


async def _order(shop: Shop, method: Method = Method.INVOICE, outcome: str = "") -> Order:
    """An order of two mugs, 34.70 in all, as far as it goes by itself."""
    owner = f"guest:{method}{outcome}"
    await transact(shop.ports, cart.add, owner, 2, sku="EK-020-GREEN")
    buyer = Buyer(owner, f"jo+{outcome}@example.com", HOME, "en", method)
    order = await transact(shop.ports, service.place, buyer, shop.ports.terms)
    await shop.settle()
    return await service.any_one(shop.ports.records, order.id)


async def _stage(shop: Shop, order: Order) -> Stage:
    return (await service.any_one(shop.ports.records, order.id)).stage


async def _page(shop: Shop, order: Order) -> str:
    return (await shop.client.get(f"/admin/orders/{order.id}")).text


async def _send(shop: Shop, order: Order, form: str, **fields: str) -> httpx.Response:
    """Send a form of the order's page as it is now."""
    page = await _page(shop, order)
    (facts,) = set(re.findall(r'name="facts" value="(\d+)"', page))
    assert f'action="/admin/orders/{order.id}/{form}"' in page
    at = f"/admin/orders/{order.id}/{form}"
    return await shop.client.post(at, data={"facts": facts, **fields}, follow_redirects=True)


async def test_packed_and_shipped_by_hand(shop: Shop) -> None:
    order = await _order(shop, Method.CARD, "pays")
    assert "It is packed." in (await _send(shop, order, "pack")).text
    await shop.settle()
    parcel = {"carrier": "DHL", "tracking": "00340", "url": "https://example.com/00340"}
    refused = await _send(shop, order, "ship", **parcel | {"url": "javascript:alert(1)"})
    assert refused.status_code == 422
    assert 'value="00340"' in refused.text
    page = (await _send(shop, order, "ship", **parcel)).text
    assert 'href="https://example.com/00340"' in page
    assert await _stage(shop, order) is Stage.COMPLETED


async def test_what_has_happened_is_told_with_who_did_it(shop: Shop) -> None:
    order = await _order(shop)
    await _send(shop, order, "pack")
    rows = re.findall(
        r'<th scope="row">(.+?)</th>.*?<span title="([^"]*)">', await _page(shop, order), re.DOTALL
    )
    packed = [actor for what, actor in rows if what == "Packed"]
    assert [what for what, _ in rows][-1] == "Ordered"
    assert packed[0].startswith("staff:")


async def test_who_comes_late_is_told_that_the_order_moved(shop: Shop) -> None:
    order = await _order(shop)
    at = f"/admin/orders/{order.id}"
    await transact(shop.ports, office.pack, order.id, order.facts, shop.ports.terms)
    for form, fields in {
        "pack": {},
        "ship": {"carrier": "DHL"},
        "cancel": {"note": "sold out"},
        "refund": {"amount": "1"},
        "receive": {"received": "1"},
        "sent": {"refund": "x"},
    }.items():
        for facts in (str(order.facts), "", "-1", "²", "9" * 5000):
            late = await shop.client.post(f"{at}/{form}", data=fields | {"facts": facts})
            assert late.status_code == 409
            assert "This order has moved on meanwhile." in late.text
    assert await _stage(shop, order) is Stage.CAPTURED


async def test_cancelled_with_a_word_why(shop: Shop) -> None:
    order = await _order(shop, Method.TWINT, "pays")
    page = (await _send(shop, order, "cancel", note="the mugs are broken")).text
    assert "the mugs are broken" in page
    assert "on its way since" in page
    await shop.settle()
    assert "went back" in await _page(shop, order)


async def test_a_transfer_is_booked_and_the_rest_is_still_owed(shop: Shop) -> None:
    order = await _order(shop, Method.PREPAYMENT)
    assert 'value="34.70"' in await _page(shop, order)
    for amount in ("", "ten", "1,234.5", "0,001"):
        refused = await _send(shop, order, "receive", received=amount)
        assert refused.status_code == 422
        assert "amount of money" in refused.text
    page = (await _send(shop, order, "receive", received="30,00")).text
    assert "€4.70" in page
    await _send(shop, order, "receive", received="4.70")
    assert await _stage(shop, order) is Stage.AUTHORISED


async def test_money_goes_back_in_part(shop: Shop) -> None:
    order = await _order(shop, Method.CARD, "refund_refused")
    await _send(shop, order, "pack")
    await shop.settle()
    await _send(shop, order, "ship")
    too_much = await _send(shop, order, "refund", amount="34.71", reason="broken")
    assert too_much.status_code == 409
    assert 'value="broken"' in too_much.text
    assert "What is left to give back is €34.70." in too_much.text
    await _send(shop, order, "refund", amount="10", reason="broken", restock="on")
    await shop.settle()
    page = await _page(shop, order)
    assert "refund_not_possible" in page
    (refund_id,) = set(re.findall(r'name="refund" value="(\w+)"', page))
    assert order.id in (await shop.client.get("/admin?show=failed-refunds")).text
    await _send(shop, order, "sent", refund=refund_id)
    found = await service.any_one(shop.ports.records, order.id)
    assert found.payment.refunded.minor == 1000
    assert order.id not in (await shop.client.get("/admin?show=failed-refunds")).text


async def test_lists_of_what_is_to_be_done(shop: Shop, clock: ManualClock) -> None:
    prepaid, invoice = await _order(shop, Method.PREPAYMENT), await _order(shop)
    await _send(shop, invoice, "pack")
    await _send(shop, invoice, "ship")

    async def listed(show: str) -> list[str]:
        page = (await shop.client.get(f"/admin?show={show}")).text
        return re.findall(r'href="/admin/orders/(EK[\w-]+)"', page)

    assert await listed("unpaid") == [prepaid.id]
    assert await listed("invoices") == [invoice.id]
    for _ in range(5):
        clock.advance(days=14)
        await shop.app.worker.run_due_timers()
    await shop.client.post("/sign-in", data=ADA)
    assert (await listed("invoices"), await listed("overdue")) == ([], [invoice.id])
    assert await listed("refunds") == []


async def test_lists_by_due_time_go_on_where_the_page_ends(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecokart.features.admin.pages.ORDERS_SIZE", 2)
    methods = (Method.PREPAYMENT, Method.CARD, Method.PAYPAL, Method.KLARNA, Method.SEPA)
    ids = {(await _order(shop, method)).id for method in methods}
    seen: list[str] = []
    at = "/admin?show=unpaid"
    while at:
        page = (await shop.client.get(at)).text
        seen += re.findall(r'href="/admin/orders/(EK[\w-]+)"', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        at = following[1].replace("&amp;", "&") if following else ""
    assert sorted(seen) == sorted(ids)


async def test_stuck_jobs_are_shown_and_tried_again(shop: Shop) -> None:
    order = await _order(shop)
    assert "Nothing is stuck" in (await shop.client.get("/admin/jobs")).text
    event = msgspec.Raw(msgspec.json.encode({"name": "order.placed", "order_id": order.id}))
    job = Job(
        id="e1:orders.jobs.confirmation",
        lane="mail",
        handler="orders.jobs.confirmation",
        event=event,
        sent_at=shop.ports.clock.now(),
    )
    await shop.ports.queue.send([job])
    (delivery,) = await shop.ports.queue.receive("mail", limit=1)
    await shop.ports.queue.bury(delivery, error="Unavailable: no <mail> server")
    page = (await shop.client.get("/admin/jobs")).text
    assert order.id in page
    assert "no &lt;mail&gt; server" in page
    again = await shop.client.post("/admin/jobs", data={"jobs": job.id}, follow_redirects=True)
    assert "1 job is tried again." in again.text
    await shop.settle()
    assert not (await shop.ports.queue.dead()).values


async def test_nobody_else_acts(shop: Shop) -> None:
    order = await _order(shop)
    async with shop.browser() as stranger:
        for form in ("pack", "ship", "cancel", "receive", "refund", "sent"):
            led = await stranger.post(
                f"/admin/orders/{order.id}/{form}", data={"facts": str(order.facts)}
            )
            assert led.headers["location"].startswith("/sign-in")
        assert (await stranger.get("/admin/jobs")).status_code == 303
    assert await _stage(shop, order) is Stage.AUTHORISED
