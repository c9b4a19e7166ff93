"""A service opens its own rooms and no others, but always tells how it is and what it answers."""

from __future__ import annotations

import json
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest

from ecokart.core.events import OUTBOX
from ecokart.engines.queue_records import JOBS
from ecokart.rooms import EVERYWHERE, ROUTES, Service, endpoints
from tests.features.conftest import DANA
from tests.shop import running_shop

OPENED = {
    Service.PRODUCT: ["/", "/products", "/products/prod-001", "/api/products", "/shipping"],
    Service.CHECKOUT: ["/cart", "/checkout", "/account/orders", "/api/cart", "/api/orders"],
    Service.USER: ["/sign-in", "/register", "/account", "/auth/me", "/api/addresses"],
    Service.ANALYTICS: ["/admin", "/admin/stock"],
    Service.CHAT: ["/chat/rooms/none/messages", "/chat/support"],
    Service.WORK: [],
}
PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
ALWAYS = ["/health/live", "/health/ready", "/metrics", "/openapi.json", "/api", "/static/shop.css"]


def test_every_room_is_in_exactly_one_service() -> None:
    everywhere = {e.path for routes in EVERYWHERE for e in routes.endpoints}
    of_services = [
        (e.method, e.path)
        for service in Service
        for e in endpoints(service)
        if e.path not in everywhere
    ]
    whole = [(e.method, e.path) for e in endpoints() if e.path not in everywhere]
    assert sorted(of_services) == sorted(whole)
    assert list(ROUTES) == list(Service)


def test_the_page_about_services_sends_every_path_to_its_service() -> None:
    """docs/operating.md says which paths go where; the first line that fits counts."""
    rows = re.findall(r"^\| `(\w+)` \| ((?:`/\S*` ?)+)\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    rules = [(Service(name), pattern) for name, paths in rows for pattern in paths.split()]
    for service, routes in ROUTES.items():
        for path in {endpoint.path for part in routes for endpoint in part.endpoints}:
            fits = (name for name, pattern in rules if fnmatch(path, pattern.strip("`")))
            assert next(fits) is service, path


@pytest.mark.parametrize("service", Service)
async def test_a_service_answers_for_its_rooms_alone(
    service: Service, demo_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_data, tmp_path / "data")
    async with running_shop(tmp_path, seeded=False, service=service) as shop:
        for other, paths in OPENED.items():
            for path in paths:
                answer = await shop.client.get(path)
                if other is service:
                    assert answer.status_code in {200, 303, 401} or _is_no_room(answer), path
                else:
                    assert answer.status_code == 404, path
                    assert answer.json()["code"] == "not_found"
        for path in ALWAYS:
            assert (await shop.client.get(path)).status_code == 200, path
        described = set(json.loads((await shop.client.get("/openapi.json")).text)["paths"])
    theirs = {path for path in OPENED[service] if path.startswith(("/api/", "/auth/"))}
    assert theirs <= described
    assert described - theirs <= {e.path.replace(":path", "") for e in endpoints(service)}
    assert not described & {p for s, paths in OPENED.items() if s is not service for p in paths}


def _is_no_room(answer: httpx.Response) -> bool:
    """A room that isn't there: who says so knows of rooms."""
    return answer.status_code == 404 and answer.json()["code"] == "no_such_room"


async def test_services_share_a_customers_shopping(demo_data: Path, tmp_path: Path) -> None:
    """Signed in at one, filled at another, ordered at a third: the records are what they share."""
    shutil.copytree(demo_data, tmp_path / "data")
    address = {"name": "Dana", "street": "Weg 1", "postalCode": "10115", "city": "Berlin"}
    async with (
        running_shop(tmp_path, seeded=False, service=Service.USER) as user,
        running_shop(tmp_path, seeded=False, service=Service.CHECKOUT) as checkout,
        running_shop(tmp_path, seeded=False, service=Service.WORK) as working,
    ):
        signed_in = await user.client.post("/auth/login", json=DANA)
        headers = {"Authorization": f"Bearer {signed_in.json()['token']}"}
        item = {"sku": "EK-001", "quantity": 1}
        added = await checkout.client.post("/api/cart", json=item, headers=headers)
        assert added.status_code == 200
        placed = await checkout.client.post(
            "/api/orders", json={"address": address}, headers=headers | {"Idempotency-Key": "k" * 8}
        )
        assert placed.status_code == 201
        await working.settle()
        order = await checkout.client.get(f"/api/orders/{placed.json()['id']}", headers=headers)
        assert order.json()["status"] == "COMPLETED"
        # What calls the provider is done by those who work, and by nobody else.
        card = await checkout.client.post("/api/cart", json=item, headers=headers)
        assert card.status_code == 200
        body = {"address": address, "payment": {"method": "card"}}
        paying = await checkout.client.post("/api/orders", json=body, headers=headers)
        assert paying.status_code == 201
        await working.settle()
        order = await checkout.client.get(f"/api/orders/{paying.json()['id']}", headers=headers)
        assert order.json()["payment"]["state"] == "OPEN"
        assert "/pay/test/" in order.json()["payment"]["url"]
        assert not (await working.ports.records.scan(OUTBOX)).values
        assert not (await working.ports.records.scan(JOBS)).values
