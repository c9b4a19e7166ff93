"""Whatever fails outside, over real connections: no order is lost, no money moves twice, and the office sees it."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from bench import books, ledger
from ecokart.core.ports import Ports
from ecokart.core.transaction import transact
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.engines.payments_guarded import GuardedPayments
from ecokart.engines.targets_http import HttpTargets
from ecokart.features.orders.model import ORDERS, Method, Order, Stage
from ecokart.features.webhooks import service as webhooks
from ecokart.features.webhooks.model import Topic
from tests import webhook_target
from tests.clock import ManualClock
from tests.features.conftest import ADA
from tests.partners import Known, new_partner
from tests.shop import Shop, running_shop
from tests.stripe_fake import Fault, StripeFake
from tests.webhook_target import Behaviour, WebhookTarget, answer

MUG = "EK-020-GREEN"
HOME = {
    "name": "Jo",
    "street": "Markt 1",
    "postalCode": "5020",
    "city": "Salzburg",
    "country": "AT",
}
TIMEOUT_SECONDS = 0.3
LIFE = [
    *("order.placed", "order.processing", "order.picked"),
    *("order.captured", "order.shipped", "order.completed"),
]


async def order_by(shop: Shop, method: Method, email: str = "jo@example.com") -> str:
    """The id of an order of one mug, which isn't worked on yet."""
    filled = await shop.client.post("/api/cart", json={"sku": MUG})
    assert filled.status_code == 200, filled.text
    body = {"address": HOME, "email": email, "payment": {"method": method.value}}
    placed = await shop.client.post("/api/orders", json=body)
    assert placed.status_code == 201, placed.text
    return str(placed.json()["id"])


async def ordered_by(shop: Shop, partner: Known) -> str:
    body = {
        "customerId": "kunde-7",
        "items": [{"productId": "prod-020", "sku": MUG, "quantity": 1, "price": 14.90}],
        "totalAmount": 14.90,
    }
    placed = await shop.client.post("/orders", json=body, headers=partner.headers)
    assert placed.status_code == 201, placed.text
    return str(placed.json()["orderId"])


async def kept(shop: Shop, order_id: str) -> Order:
    found = await shop.ports.records.get(ORDERS, order_id)
    assert found
    return found.value


async def later(shop: Shop, clock: ManualClock, minutes: float) -> None:
    """Time goes by, and what is due is done."""
    clock.advance(minutes=minutes)
    await shop.app.worker.run_due_timers()
    await shop.settle()


def at(order_id: str) -> str:
    """The order's page in the office."""
    return f"/admin/orders/{order_id}"


class Office:
    """Somebody who is signed in at the office and looks at its pages."""

    def __init__(self, browser: httpx.AsyncClient) -> None:
        self._browser = browser

    async def page(self, path: str) -> str:
        answered = await self._browser.get(path)
        assert answered.status_code == 200, answered.text
        return answered.text

    async def lists(self, path: str) -> list[str]:
        """The orders of a list."""
        return re.findall(r'href="/admin/orders/(EK[\w-]+)"', await self.page(path))

    async def facts(self, order_id: str) -> str:
        """What has happened to the order, on its page."""
        return (await self.page(at(order_id))).partition("What has happened</h2>")[2]

    async def send_what_was_missed(self, endpoint_id: str) -> None:
        """To an endpoint that was disabled."""
        await self._browser.post(f"/admin/webhooks/{endpoint_id}/enable")
        fields = {"hours": "1", "everything": ""}
        await self._browser.post(f"/admin/webhooks/{endpoint_id}/replay", data=fields)

    async def give_back(self, order_id: str, amount: str) -> None:
        facts = re.findall(r'name="facts" value="(\d+)"', await self.page(at(order_id)))
        fields = {"facts": facts[0], "amount": amount, "reason": "broken"}
        asked = await self._browser.post(f"/admin/orders/{order_id}/refund", data=fields)
        assert asked.status_code == 303, asked.text


@asynccontextmanager
async def office(shop: Shop) -> AsyncIterator[Office]:
    async with shop.browser(headers={"Accept-Language": "en"}) as browser:
        await browser.post("/sign-in", data=ADA)
        yield Office(browser)


def mails_twice(folder: Path) -> list[tuple[str, str]]:
    return [mail for mail, times in books.mails(folder / "data").items() if times > 1]


# The provider of payments.


@asynccontextmanager
async def by_stripe(folder: Path, clock: ManualClock, stripe: StripeFake) -> AsyncIterator[Shop]:
    """A shop whose provider isn't waited for as long as usual."""

    def impatient(ports: Ports) -> Ports:
        engine = stripe.engine("card", timeout_seconds=TIMEOUT_SECONDS)
        return dataclasses.replace(ports, payments=GuardedPayments(engine))

    async with running_shop(folder, clock, through=impatient) as shop:
        yield shop


@pytest.mark.parametrize("fault", [None, Fault.BROKEN], ids=["says nothing", "500"])
async def test_the_provider_fails_at_each_call(
    tmp_path: Path, clock: ManualClock, fault: Fault | None
) -> None:
    """The order stands in a list of the office, and goes on when the provider is back."""
    async with StripeFake() as stripe, by_stripe(tmp_path, clock, stripe) as shop:

        def fails(*, now: bool) -> None:
            stripe.losing = fault if now else None
            stripe.silent = now and fault is None

        async with office(shop) as desk:
            fails(now=True)
            order_id = await order_by(shop, Method.CARD)
            await shop.settle()
            assert await desk.lists("/admin?stage=PLACED") == [order_id]
            fails(now=False)
            await later(shop, clock, 1)
            await pay(shop, stripe, order_id)
            fails(now=True)
            await shop.settle()
            assert await desk.lists("/admin?stage=PICKED") == [order_id]
            assert "The provider is asked for the money" in await desk.page(at(order_id))
            fails(now=False)
            await later(shop, clock, 1)
            await desk.give_back(order_id, "10.00")
            fails(now=True)
            await shop.settle()
            assert await desk.lists("/admin?show=refunds") == [order_id]
            assert "on its way since" in await desk.page(at(order_id))
            fails(now=False)
            await later(shop, clock, 1)
            assert await desk.lists("/admin?show=refunds") == []
        await assert_paid_once(shop, stripe, order_id)
    assert mails_twice(tmp_path) == []


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.HUNG])
async def test_the_provider_does_it_and_the_answer_is_lost(
    tmp_path: Path, clock: ManualClock, fault: Fault
) -> None:
    """At the opening of the payment, the capture and the refund: each is asked for again, and done once."""
    async with StripeFake() as stripe, by_stripe(tmp_path, clock, stripe) as shop:
        stripe.losing = fault
        order_id = await order_by(shop, Method.CARD)
        await later(shop, clock, 1)
        await pay(shop, stripe, order_id)
        await later(shop, clock, 1)
        async with office(shop) as desk:
            await desk.give_back(order_id, "10.00")
            await later(shop, clock, 1)
            assert "went back" in await desk.page(at(order_id))
            facts = await desk.facts(order_id)
            assert [facts.count(name) for name in ("Money taken", "Money went back")] == [1, 1]
        assert len(stripe.keys) > len(set(stripe.keys)) == 3
        await assert_paid_once(shop, stripe, order_id)
    assert mails_twice(tmp_path) == []


async def pay(shop: Shop, stripe: StripeFake, order_id: str) -> None:
    """The buyer pays at the provider, and comes back."""
    stripe.book.act((await kept(shop, order_id)).payment.reference, "pay")
    await shop.client.get(f"/account/orders/{order_id}/returned")


async def assert_paid_once(shop: Shop, stripe: StripeFake, order_id: str) -> None:
    """The order and the provider's book say the same: taken once, and a part given back once."""
    order = await kept(shop, order_id)
    (intent,) = stripe.book.intents.values()
    assert order.stage is Stage.COMPLETED
    assert intent["amount_received"] == order.payment.captured.minor == order.total.minor
    assert [refund["amount"] for refund in stripe.book.refunds] == [order.payment.refunded.minor]
    assert len(stripe.book.sessions) == 1


# The queue.


async def test_every_job_comes_twice_late_and_out_of_order(
    tmp_path: Path, clock: ManualClock
) -> None:
    """And half of what is said about a job is lost: each fact is in the office's book once, and each mail went once."""
    chaos = Chaos(
        8, Faults(delivered_twice=1, delivered_late=0.5, reordered=1, settlement_lost=0.5)
    )
    methods = [Method.INVOICE, Method.CARD, Method.PAYPAL, Method.KLARNA]
    async with running_shop(tmp_path, clock, through=lambda ports: faulty(ports, chaos)) as shop:
        ids = [await order_by(shop, method, "jo+pays@example.com") for method in methods]
        supplied = books.read(tmp_path / "data").supplied()
        for _ in range(8):
            await later(shop, clock, 2)
        chaos.faults = Faults()
        await later(shop, clock, 6)
        async with office(shop) as desk:
            assert sorted(await desk.lists("/admin?stage=COMPLETED")) == sorted(ids)
            assert "Nothing is stuck" in await desk.page("/admin/jobs")
        found = books.read(tmp_path / "data")
    wrong = books.imbalances(found, supplied) + books.unfinished(found, tmp_path / "data")
    wrong += ledger.forgotten(found) + ledger.overdrawn(found) + ledger.unsettled(found)
    assert wrong == []
    for order_id in ids:
        told = Counter(fact.name for fact in found.facts[order_id])
        assert {name: told[name] for name in LIFE} == dict.fromkeys(LIFE, 1)


# A partner's server.


@pytest.mark.parametrize(
    ("behaviour", "shown"),
    [
        (webhook_target.hang, "no answer in time"),
        (answer(302, location="http://127.0.0.1:1/elsewhere"), "302, leads elsewhere"),
        (answer(410), "It answered 410 Gone."),
    ],
    ids=["slow", "redirects", "410"],
)
async def test_a_target_misbehaves(
    tmp_path: Path, clock: ManualClock, behaviour: Behaviour, shown: str
) -> None:
    """The order goes its way, the office sees what the partner wasn't told, and later the partner is told."""

    def impatient(ports: Ports) -> Ports:
        targets = HttpTargets(clock, private=True, answer_seconds=TIMEOUT_SECONDS)
        return dataclasses.replace(ports, targets=targets)

    async with WebhookTarget() as target, running_shop(tmp_path, clock, through=impatient) as shop:
        partner = await new_partner(shop.ports)
        endpoint = await transact(
            shop.ports, webhooks.add, partner.partner_id, target.url, (Topic.ORDER_COMPLETED,)
        )
        target.always = behaviour
        order_id = await ordered_by(shop, partner)
        await shop.settle()
        assert (await kept(shop, order_id)).stage is Stage.COMPLETED
        async with office(shop) as desk:
            page = await desk.page(f"/admin/webhooks/{endpoint.id}")
            assert shown in page
            assert f'href="/admin/orders/{order_id}"' in page
            target.always = answer(204)
            if "Disabled" in page:
                clock.advance(seconds=1)
                await desk.send_what_was_missed(endpoint.id)
            await later(shop, clock, 6)
            assert "Delivered" in await desk.page(f"/admin/webhooks/{endpoint.id}")
    first, second = target.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
