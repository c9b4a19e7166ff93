"""Webhooks from the order to the partner's server and back into the delivery log, over real HTTP."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ecokart.core import log
from ecokart.core.events import Reactions, stated
from ecokart.core.ports import Ports
from ecokart.core.targets import Answer, Failure
from ecokart.core.transaction import Transaction, transact
from ecokart.engines.targets_http import HttpTargets
from ecokart.features.catalog import service as catalog
from ecokart.features.orders import service as orders
from ecokart.features.orders.events import OrderFailed
from ecokart.features.partners.model import Scope
from ecokart.features.webhooks import deliveries, jobs
from ecokart.features.webhooks.events import DeliveryDue
from ecokart.features.webhooks.model import DELAYS, DELIVERIES, FAILING, JITTER, State
from tests import webhook_target
from tests.clock import ManualClock
from tests.mail_servers import read
from tests.partners import new_partner
from tests.shop import Shop, running_shop
from tests.webhook_target import Received, WebhookTarget, answer

ORDER = {
    "customerId": "kunde-7",
    "reference": "PO-1",
    "items": [{"productId": "prod-020", "sku": "EK-020-GREEN", "quantity": 1, "price": 14.90}],
    "totalAmount": 14.90,
}
HOME = {
    "name": "Jo",
    "street": "Markt 1",
    "postalCode": "34117",
    "city": "Kassel",
    "country": "DE",
}
LIFE = ["order.placed", "order.processing", "order.shipped", "order.completed"]


@pytest.fixture
async def shop(demo_data: Path, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Shop]:
    """A shop that may call this machine."""
    shutil.copytree(demo_data, tmp_path / "data")
    async with running_shop(tmp_path, clock, seeded=False, webhook_private_targets=True) as shop:
        yield shop


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookTarget]:
    async with WebhookTarget() as server:
        yield server


@dataclass(frozen=True)
class Partner:
    """A partner's program: it orders, and sets up its webhooks."""

    shop: Shop
    clock: ManualClock
    key: dict[str, str]

    async def call(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = await self.shop.client.request(method, path, json=body, headers=self.key)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def listen(self, url: str, *topics: str) -> tuple[str, str]:
        """A new endpoint; its id and its secret."""
        body = {"url": url, "topics": topics or [*LIFE, "order.cancelled", "stock.low"]}
        made = await self.call("POST", "/webhooks/endpoints", body, 201)
        return made["endpoint"]["id"], made["secret"]

    async def order(self) -> str:
        placed = await self.call("POST", "/orders", ORDER, 201)
        await self.shop.settle()
        return str(placed["orderId"])

    async def log(self, endpoint_id: str) -> list[dict[str, Any]]:
        told = await self.call("GET", f"/webhooks/endpoints/{endpoint_id}/deliveries?limit=100")
        found: list[dict[str, Any]] = told["deliveries"]
        return found

    async def later(self, **time: float) -> None:
        self.clock.advance(**time)
        await self.shop.app.worker.run_due_timers()
        await self.shop.settle()


@pytest.fixture
async def partner(shop: Shop, clock: ManualClock) -> Partner:
    return Partner(shop, clock, (await new_partner(shop.ports)).headers)


def topic(received: Received) -> str:
    return str(json.loads(received.body)["type"])


async def test_an_order_is_told_step_by_step_and_signed(
    partner: Partner, receiver: WebhookTarget, clock: ManualClock
) -> None:
    clock.advance(seconds=(datetime.now(UTC) - clock.now()).total_seconds())
    _, secret = await partner.listen(receiver.url)
    order_id = await partner.order()
    assert sorted(map(topic, receiver.received)) == sorted(LIFE)
    bodies = {}
    for received in receiver.received:
        body = Webhook(secret).verify(received.body, received.headers)
        assert received.headers["content-type"] == "application/json"
        bodies[body["type"]] = body
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(receiver.received[0].body + b" ", receiver.received[0].headers)
    shown = await partner.call("GET", f"/orders/{order_id}")
    assert bodies["order.completed"]["data"] == shown
    # Each tells of the order as it was then, though all four steps were taken at once.
    told = {kind: body["data"]["status"] for kind, body in bodies.items()}
    assert list(map(told.get, LIFE)) == ["PENDING", "PROCESSING", "PROCESSING", "COMPLETED"]
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 4


async def test_only_what_was_asked_for_and_only_ones_own(
    partner: Partner, receiver: WebhookTarget, shop: Shop
) -> None:
    await partner.listen(receiver.url, "order.completed")
    other = Partner(shop, partner.clock, (await new_partner(shop.ports)).headers)
    await other.order()
    assert receiver.received == []
    await partner.order()
    assert list(map(topic, receiver.received)) == ["order.completed"]


async def test_the_shops_own_orders_do_not_even_reach_who_tells_partners(
    partner: Partner, receiver: WebhookTarget, shop: Shop
) -> None:
    await partner.listen(receiver.url)
    item = {"sku": "EK-020-GREEN", "quantity": 1}
    await shop.client.post("/api/cart", json=item)
    given = {"email": "jo@example.com", "address": {**HOME, "name": 'Jo "source":"partner:1"'}}
    own = (await shop.client.post("/api/orders", json=given)).json()["id"]
    await shop.settle()
    theirs = await partner.order()

    async def reacting(order_id: str) -> list[str]:
        told = await log.stream(shop.ports.records, f"orders/{order_id}")
        by_event = Reactions([jobs]).by_event
        return [
            handler.name.removeprefix("webhooks.jobs.")
            for fact in told
            for handler in by_event.get(fact.name, [])
            if handler.concerns(fact.event)
        ]

    assert await reacting(own) == []
    assert await reacting(theirs) == [f"tell_{topic.removeprefix('order.')}" for topic in LIFE]
    assert {json.loads(one.body)["data"]["orderId"] for one in receiver.received} == {theirs}
    posing = OrderFailed(
        order_id=own, reason='"source":"partner:1"', note='\\","source":"partner:1"'
    )
    failed = stated(posing, "1", shop.ports.clock.now())
    assert not Reactions([jobs]).handlers["webhooks.jobs.tell_failed"].concerns(failed.event)


async def test_what_fails_is_tried_again_for_days_with_the_same_bytes(
    partner: Partner, receiver: WebhookTarget, clock: ManualClock
) -> None:
    endpoint_id, secret = await partner.listen(receiver.url, "order.placed")
    receiver.always = answer(500, "down for the moment")
    await partner.order()
    for tries, delay in enumerate(DELAYS, 1):
        assert len(receiver.received) == tries
        (waiting,) = await partner.log(endpoint_id)
        waits = datetime.fromisoformat(waiting["nextAt"]) - clock.now()
        assert delay <= waits <= delay * (1 + JITTER)
        await partner.later(seconds=delay.total_seconds() - 1)
        assert len(receiver.received) == tries
        await partner.later(seconds=delay.total_seconds() * JITTER + 11)
    assert len(receiver.received) == 1 + len(DELAYS)
    await partner.later(days=3)
    assert len(receiver.received) == 1 + len(DELAYS)
    (dead,) = await partner.log(endpoint_id)
    assert (dead["state"], dead["nextAt"], len(dead["attempts"])) == ("DEAD", None, 10)
    assert {attempt["excerpt"] for attempt in dead["attempts"]} == {"down for the moment"}
    assert len({received.body for received in receiver.received}) == 1
    assert {received.headers["webhook-id"] for received in receiver.received} == {dead["id"]}
    times = [int(received.headers["webhook-timestamp"]) for received in receiver.received]
    assert times == sorted(set(times))
    for received, at in zip(receiver.received, times, strict=True):
        signed = Webhook(secret).sign(
            dead["id"], datetime.fromtimestamp(at, UTC), received.body.decode()
        )
        assert received.headers["webhook-signature"] == signed


async def test_what_was_given_up_can_be_sent_again(
    partner: Partner, receiver: WebhookTarget, shop: Shop
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    receiver.always = answer(500)
    await partner.order()
    for delay in DELAYS:
        await partner.later(seconds=delay.total_seconds() * (1 + JITTER) + 11)
    receiver.always = answer(200)
    (dead,) = await partner.log(endpoint_id)
    await partner.call("POST", f"/webhooks/deliveries/{dead['id']}/replay", status=202)
    await shop.settle()
    (alive,) = await partner.log(endpoint_id)
    assert (alive["state"], len(alive["attempts"])) == ("DELIVERED", 11)
    assert receiver.received[-1].headers["webhook-id"] == dead["id"]


async def test_all_since_a_time_can_be_sent_again_and_once(
    partner: Partner, receiver: WebhookTarget, shop: Shop, clock: ManualClock
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed", "order.completed")
    await partner.order()
    clock.advance(hours=1)
    since, replay = clock.now(), f"/webhooks/endpoints/{endpoint_id}/replay"
    refused = await partner.call("POST", replay, {"since": "yesterday"}, status=422)
    assert refused["errors"] == [
        {"field": "since", "message": "Takes a time like 2026-11-21T14:30:00Z."}
    ]
    for _ in range(3):
        await partner.order()
    before = len(receiver.received)
    path, body = f"/webhooks/endpoints/{endpoint_id}/replay", {"since": since.isoformat()}
    await partner.call("POST", path, body, 202)
    await shop.settle()
    assert len(receiver.received) == before  # nothing had failed
    clock.advance(seconds=1)
    await partner.call("POST", path, body | {"everything": True}, 202)
    await shop.settle()
    again = receiver.received[before:]
    assert len(again) == 6
    assert {r.headers["webhook-id"] for r in again} == {
        r.headers["webhook-id"] for r in receiver.received[2:before]
    }


async def test_patience_that_a_target_asks_for_is_kept_within_bounds(
    partner: Partner, receiver: WebhookTarget, clock: ManualClock
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    receiver.behaviours.append(answer(429, retry_after="600"))
    await partner.order()
    (waiting,) = await partner.log(endpoint_id)
    assert waiting["nextAt"] == _json_time(clock.now() + timedelta(seconds=600))
    receiver.behaviours.append(answer(503, retry_after="9999999"))
    await partner.later(seconds=600)
    (waiting,) = await partner.log(endpoint_id)
    assert waiting["nextAt"] == _json_time(clock.now() + timedelta(hours=24))
    await partner.later(hours=24)
    (delivered,) = await partner.log(endpoint_id)
    assert [a["status"] for a in delivered["attempts"]] == [429, 503, 200]


async def test_410_disables_at_once_and_the_partner_is_told(
    partner: Partner, receiver: WebhookTarget, shop: Shop, tmp_path: Path
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    receiver.behaviours.append(answer(410))
    await partner.order()
    shown = await partner.call("GET", f"/webhooks/endpoints/{endpoint_id}")
    assert shown["disabledBecause"] == "gone"
    (mail,) = [m for m in _mails(tmp_path) if "Webhooks" in m]
    assert receiver.url in mail
    assert "410" in mail
    # What happens meanwhile is kept, and comes when it is asked for.
    await partner.order()
    assert len(receiver.received) == 1
    path = f"/webhooks/endpoints/{endpoint_id}"
    await partner.call("POST", f"{path}/ping", status=409)
    await partner.call("POST", f"{path}/enable")
    since = {"since": _json_time(partner.clock.now() - timedelta(days=1))}
    partner.clock.advance(seconds=1)
    await partner.call("POST", f"{path}/replay", since, 202)
    await shop.settle()
    assert len(receiver.received) == 3
    assert {one["state"] for one in await partner.log(endpoint_id)} == {"DELIVERED"}


async def test_days_of_failing_disable_an_endpoint_and_a_success_between_forgives(
    partner: Partner, receiver: WebhookTarget, tmp_path: Path
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    path = f"/webhooks/endpoints/{endpoint_id}"
    receiver.always = answer(500)
    await partner.order()
    assert (await partner.call("GET", path))["failingSince"]
    receiver.behaviours.append(answer(200))
    partner.clock.advance(days=FAILING.days)
    await partner.order()
    assert (await partner.call("GET", path))["failingSince"] is None
    await partner.order()
    partner.clock.advance(days=FAILING.days)
    await partner.order()
    assert (await partner.call("GET", path))["disabledBecause"] == "failing"
    assert [m for m in _mails(tmp_path) if "fünf Tage" in m]


async def test_a_worker_that_dies_after_the_post_sends_again_under_the_same_id(
    partner: Partner, receiver: WebhookTarget, shop: Shop
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    receiver.behaviours.append(webhook_target.hang)
    await partner.call("POST", "/orders", ORDER, 201)
    (delivery_id,) = await _announced(partner, endpoint_id)
    # As the handler does, up to the note that it never makes.
    taken = await transact(shop.ports, deliveries.claim, delivery_id, 0)
    assert taken
    await shop.settle()
    assert receiver.received == []  # whoever has it may still be at it
    receiver.behaviours.clear()
    await partner.later(minutes=2)
    (received,) = receiver.received
    assert received.headers["webhook-id"] == delivery_id
    (delivered,) = await partner.log(endpoint_id)
    assert delivered["state"] == "DELIVERED"
    # And the outcome of the one who was taken for dead comes too late to count.
    late = await transact(
        shop.ports, deliveries.note, delivery_id, 0, Answer(status=500, failure=Failure.ANSWER)
    )
    assert late is None


async def test_a_signal_that_comes_twice_sends_once(
    partner: Partner, receiver: WebhookTarget, shop: Shop
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    await partner.order()
    (told,) = await partner.log(endpoint_id)
    await jobs.deliver(shop.ports, DeliveryDue(delivery_id=told["id"], tries=0))
    assert len(receiver.received) == 1


async def test_while_a_secret_is_rotated_both_sign(
    partner: Partner, receiver: WebhookTarget, clock: ManualClock
) -> None:
    clock.advance(seconds=(datetime.now(UTC) - clock.now()).total_seconds())
    endpoint_id, old = await partner.listen(receiver.url, "order.placed")
    rotated = await partner.call("POST", f"/webhooks/endpoints/{endpoint_id}/rotate")
    new = rotated["secret"]
    assert new != old
    await partner.order()
    for secret in (old, new):
        Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)
    clock.advance(hours=24)
    await partner.order()
    assert " " not in receiver.received[1].headers["webhook-signature"]


async def test_a_slow_target_does_not_hold_up_another(
    demo_data: Path, tmp_path: Path, clock: ManualClock, receiver: WebhookTarget
) -> None:
    def impatient(ports: Ports) -> Ports:
        targets = HttpTargets(clock, private=True, answer_seconds=1.2)
        return dataclasses.replace(ports, targets=targets)

    shutil.copytree(demo_data, tmp_path / "data")
    async with (
        WebhookTarget() as slow,
        running_shop(tmp_path, clock, seeded=False, through=impatient) as shop,
    ):
        slow.always = webhook_target.hang
        partner = Partner(shop, clock, (await new_partner(shop.ports)).headers)
        slow_id, _ = await partner.listen(slow.url, "order.placed")
        await partner.listen(receiver.url, "order.placed")
        for _ in range(20):
            await partner.call("POST", "/orders", ORDER, 201)
        await shop.settle()
        log = await partner.log(slow_id)
        assert {one["state"] for one in log} == {"WAITING"}
        failures = [one["attempts"][0]["failure"] for one in log if one["attempts"]]
        # Some weren't sent at all, since as many as may be were under way; no attempt is counted.
        assert set(failures) == {"timeout"}
        assert len(failures) < 20
        await partner.later(seconds=5)
        assert len({got.headers["webhook-id"] for got in receiver.received}) == 20


async def test_a_ping_arrives(partner: Partner, receiver: WebhookTarget, shop: Shop) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    await partner.call("POST", f"/webhooks/endpoints/{endpoint_id}/ping", status=202)
    await shop.settle()
    assert json.loads(receiver.received[0].body)["data"] == {"endpointId": endpoint_id}
    assert topic(receiver.received[0]) == "endpoint.ping"


async def test_an_endpoint_that_is_removed_gets_nothing_more(
    partner: Partner, receiver: WebhookTarget
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    receiver.behaviours.append(answer(500))
    await partner.order()
    await partner.call("DELETE", f"/webhooks/endpoints/{endpoint_id}", status=204)
    await partner.later(minutes=5)
    await partner.order()
    assert len(receiver.received) == 1
    await partner.call("GET", f"/webhooks/endpoints/{endpoint_id}", status=404)


async def test_anothers_endpoints_and_deliveries_are_not_there(
    partner: Partner, receiver: WebhookTarget, shop: Shop
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    await partner.order()
    (told,) = await partner.log(endpoint_id)
    other = Partner(shop, partner.clock, (await new_partner(shop.ports)).headers)
    path = f"/webhooks/endpoints/{endpoint_id}"
    for method, suffix in [("GET", ""), ("DELETE", ""), ("GET", "/deliveries")]:
        await other.call(method, path + suffix, status=404)
    for action in ("ping", "rotate", "enable", "disable"):
        await other.call("POST", f"{path}/{action}", status=404)
    await other.call("POST", f"/webhooks/deliveries/{told['id']}/replay", status=404)
    assert (await other.call("GET", "/webhooks/endpoints"))["endpoints"] == []


async def test_a_key_needs_the_scope(shop: Shop) -> None:
    known = await new_partner(shop.ports, scopes=[Scope.ORDERS_READ])
    refused = await shop.client.get("/webhooks/endpoints", headers=known.headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


async def test_a_url_within_our_network_is_refused(demo_data: Path, tmp_path: Path) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    async with running_shop(tmp_path, ManualClock(), seeded=False) as shop:
        key = (await new_partner(shop.ports)).headers
        for url in ("https://127.0.0.1/x", "http://shop.example/", "https://[::1]/", "nothing"):
            refused = await shop.client.post(
                "/webhooks/endpoints",
                json={"url": url, "topics": ["order.placed"]},
                headers=key,
            )
            problem = refused.json()
            assert (refused.status_code, problem["code"]) == (422, "target_refused")
            assert problem["errors"][0]["field"] == "url"


async def test_no_more_than_ten(partner: Partner) -> None:
    for number in range(10):
        await partner.listen(f"https://hooks.example/{number}", "order.placed")
    body = {"url": "https://hooks.example/", "topics": ["order.placed"]}
    refused = await partner.call("POST", "/webhooks/endpoints", body, 409)
    assert refused["code"] == "too_many_endpoints"


async def test_low_stock_is_told_once_until_there_was_more(
    partner: Partner, receiver: WebhookTarget, shop: Shop
) -> None:
    await partner.later(minutes=1)  # what is low already is told now, to nobody
    await partner.listen(receiver.url, "stock.low")
    sku = ORDER["items"][0]["sku"]  # type: ignore[index]
    await _leave(shop, sku, 5)
    for _ in range(3):
        await partner.later(minutes=1)
    (received,) = receiver.received
    assert json.loads(received.body)["data"] == {
        "sku": sku,
        "productId": "prod-020",
        "available": 5,
    }
    await _leave(shop, sku, 4)
    await partner.later(minutes=1)
    assert len(receiver.received) == 1
    await _leave(shop, sku, 6)
    await partner.later(minutes=1)
    await _leave(shop, sku, 0)
    await partner.later(minutes=1)
    assert len(receiver.received) == 2


async def test_deliveries_are_forgotten_in_time(
    partner: Partner, receiver: WebhookTarget, shop: Shop
) -> None:
    endpoint_id, _ = await partner.listen(receiver.url, "order.placed")
    await partner.order()
    (told,) = await partner.log(endpoint_id)
    partner.clock.advance(days=30)
    assert await shop.ports.records.get(DELIVERIES, told["id"]) is None


async def test_a_cancelled_order_is_told(
    demo_data: Path, tmp_path: Path, clock: ManualClock, receiver: WebhookTarget
) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    async with running_shop(tmp_path, clock, seeded=False, webhook_private_targets=True) as shop:
        partner = Partner(shop, clock, (await new_partner(shop.ports)).headers)
        await partner.listen(receiver.url, "order.cancelled")
        placed = await partner.call("POST", "/orders", ORDER, 201)
        await partner.call("POST", f"/orders/{placed['orderId']}/cancel")
        await shop.settle()
        order = await orders.any_one(shop.ports.records, placed["orderId"])
        assert order.status == "CANCELLED"
    assert list(map(topic, receiver.received)) == ["order.cancelled"]


async def _announced(partner: Partner, endpoint_id: str) -> list[str]:
    """The ids of what is to be told, before any of it is sent: the handlers of facts alone have run."""
    worker = partner.shop.app.worker
    entries = partner.shop.ports.handoff.take(100)
    await worker.express(entries)
    page = await deliveries.to_endpoint(partner.shop.ports.records, endpoint_id)
    assert {one.state for one in page.values} == {State.WAITING}
    return [one.id for one in page.values]


async def _leave(shop: Shop, sku: str, pieces: int) -> None:
    stock = await transact(shop.ports, catalog.stock_of, sku)

    async def leave(tx: Transaction) -> None:
        catalog.restock(tx, sku, pieces - stock.available)

    await transact(shop.ports, leave)


def _json_time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _mails(folder: Path) -> list[str]:
    texts = []
    for path in (folder / "data/mail").glob("*.eml"):
        mail = read(path.read_bytes())
        body = mail.get_body(("plain",))
        assert body
        texts.append(f"{mail['Subject']}\n{body.get_content()}")
    return texts
