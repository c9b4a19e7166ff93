"""What the shop knows of its partners: limits, the trail of their requests, and the office's pages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from ecokart.cli import main
from ecokart.core import log
from ecokart.core.ports import Ports
from ecokart.core.transaction import transact
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.features.partners import audit, service
from ecokart.features.partners.audit import AuditTrail
from ecokart.features.partners.model import KEY_USES, Limits, Partner
from tests.clock import ManualClock
from tests.features.conftest import ADA
from tests.features.test_api_partners import ORDER
from tests.partners import new_partner
from tests.shop import Shop, running_shop

FORM = {"partner": "Acme", "mailLanguage": "de", "country": "DE"}
KEY = re.compile(r"ek_live_[0-9a-z]{12}_[0-9a-z]{40}")
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def office(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    """A browser in which somebody of the office has signed in."""
    async with shop.browser(follow_redirects=True, headers={"Accept-Language": "en"}) as office:
        await office.post("/sign-in", data=ADA)
        yield office


async def _partner(shop: Shop, partner_id: str) -> Partner:
    return await transact(shop.ports, service.one, partner_id)


async def _asked(
    shop: Shop, partner_id: str, statuses: range = range(600)
) -> list[tuple[str, str, int]]:
    """What was noted of the last day, the newest first."""
    await shop.app.trail.flush()
    now = shop.ports.clock.now()
    day = (now - timedelta(days=1), now + timedelta(seconds=1))
    found = await audit.shown(shop.ports.records, partner_id, *day, statuses=statuses)
    return [(entry.method, entry.path, entry.status) for entry in found.entries]


# Limits.


async def test_each_key_has_its_limit_and_every_answer_says_what_is_left(shop: Shop) -> None:
    acme = await new_partner(shop.ports, limits=Limits(per_key=3))
    other = await new_partner(shop.ports, name="Other")
    answers = [await shop.client.get("/orders", headers=acme.headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=3;w=60'}
    left = [re.match(r'"key";r=(\d+);t=\d+$', answer.headers["ratelimit"]) for answer in answers]
    assert [match and match[1] for match in left] == ["2", "1", "0", "0"]
    assert answers[3].json()["code"] == "too_many"
    assert 0 < int(answers[3].headers["retry-after"]) <= 60
    assert (await shop.client.get("/orders", headers=other.headers)).status_code == 200


async def test_each_customer_of_a_partner_has_a_limit(shop: Shop) -> None:
    acme = await new_partner(shop.ports, limits=Limits(per_customer=2))

    async def order(customer_id: str) -> httpx.Response:
        order = ORDER | {"customerId": customer_id}
        return await shop.client.post("/orders", json=order, headers=acme.headers)

    answers = [await order("hasty") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert '"customer";r=0' in answers[2].headers["ratelimit"]
    assert '"key";r=' in answers[2].headers["ratelimit"]
    assert (await order("other")).status_code == 201


async def test_who_tries_key_after_key_is_not_listened_to_any_more(tmp_path: Path) -> None:
    async with running_shop(tmp_path, rate_limit=3) as shop:
        wrong = {"X-API-Key": "ek_live_aaaaaaaaaaaa_" + "a" * 40}
        answers = [await shop.client.get("/orders", headers=wrong) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        acme = await new_partner(shop.ports)
        assert (await shop.client.get("/orders", headers=acme.headers)).status_code == 200
        assert len(await _asked(shop, audit.NOBODY)) == 3


# The trail.


async def test_whatever_a_partner_asks_is_noted_refusals_too(shop: Shop) -> None:
    acme = await new_partner(shop.ports)
    await shop.client.get("/orders?limit=3", headers=acme.headers)
    await shop.client.post("/orders", json=ORDER, headers=acme.headers)
    await shop.client.post("/orders", json={}, headers=acme.headers)
    await shop.client.post("/orders", content=b" " * 2_000_000, headers=acme.headers | JSON)
    await shop.client.get("/orders/EK%001%0A", headers=acme.headers)
    await shop.client.get("/orders", headers={"X-API-Key": acme.key[:-2] + "uu"})
    asked = [
        ("GET", "/orders", 401),
        ("GET", "/orders/EK%001%0A", 404),
        ("POST", "/orders", 413),
        ("POST", "/orders", 422),
        ("POST", "/orders", 201),
        ("GET", "/orders", 200),
    ]
    assert await _asked(shop, acme.partner_id) == asked
    assert await _asked(shop, acme.partner_id, statuses=range(400, 500)) == asked[:4]


async def test_the_trail_is_written_by_itself_and_at_the_end(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with running_shop(tmp_path, clock) as shop:
        acme = await new_partner(shop.ports)
        await shop.client.get("/orders", headers=acme.headers)
    async with running_shop(tmp_path, clock, seeded=False) as shop:
        assert await _asked(shop, acme.partner_id) == [("GET", "/orders", 200)]
        use = await shop.ports.records.get(KEY_USES, acme.key_id)
        assert use
        assert (use.value.at, use.value.address) == (clock.now(), "127.0.0.1")
        clock.advance(days=366)
        assert await _asked(shop, acme.partner_id) == []


async def test_a_keys_use_is_written_once_a_minute(shop: Shop, clock: ManualClock) -> None:
    acme = await new_partner(shop.ports)
    written = []
    for seconds in (0, 30, 40):
        clock.advance(seconds=seconds)
        await shop.client.get("/orders", headers=acme.headers)
        await shop.app.trail.flush()
        use = await shop.ports.records.get(KEY_USES, acme.key_id)
        assert use
        written.append((clock.now() - use.value.at).total_seconds())
    assert written == [0, 30, 0]


async def test_while_the_records_are_away_the_trail_waits_and_says_what_it_could_not_hold(
    tmp_path: Path,
) -> None:
    chaos = Chaos(seed=1)
    away: list[Ports] = []

    def sometimes_away(ports: Ports) -> Ports:
        away.append(faulty(ports, chaos))
        return ports

    async with running_shop(tmp_path, through=sometimes_away) as shop:
        now = shop.ports.clock.now()
        trail = AuditTrail(away[0], timedelta(days=1), most_held=2)
        chaos.faults = Faults(commit_fails=1)
        for number in range(4):
            trail.note("acme", _entry(shop, f"/{number}"))
        await trail.end()
        chaos.faults = Faults()
        await trail.flush()
        trail.note("acme", _entry(shop, "/after"))
        await trail.flush()
        day = (now - timedelta(hours=1), now + timedelta(hours=1))
        found = await audit.shown(shop.ports.records, "acme", *day)
    assert [entry.path for entry in found.entries] == ["/after", "/1", "/0"]
    assert found.lost == 2


def _entry(shop: Shop, path: str) -> audit.AuditEntry:
    now = shop.ports.clock.now()
    return audit.AuditEntry(now, "GET", path, 200, 0.5, "key", "request", "127.0.0.1")


async def test_a_long_day_is_read_page_by_page(shop: Shop) -> None:
    now = shop.ports.clock.now()
    for number in range(700):
        shop.app.trail.note("acme", _entry(shop, f"/{number}"))
        if number % 150 == 0:
            await shop.app.trail.flush()
    await shop.app.trail.flush()
    day = (now - timedelta(hours=1), now + timedelta(hours=1))
    seen: list[str] = []
    after = None
    while True:
        page = await audit.shown(shop.ports.records, "acme", *day, after=after)
        seen += [entry.path for entry in page.entries]
        if (after := page.after) is None:
            break
    assert sorted(seen, key=lambda path: int(path[1:])) == [f"/{number}" for number in range(700)]


# The office.


async def test_the_office_adds_a_partner_and_hands_over_a_key_that_works(
    shop: Shop, office: httpx.AsyncClient
) -> None:
    page = await office.post("/admin/partners", data=FORM | {"perKey": "5000"})
    partner_id = page.url.path.rpartition("/")[2]
    assert "Next it needs a key" in page.text
    page = await office.post(
        f"/admin/partners/{partner_id}/keys",
        data={"label": "Warehouse", "orders:read": "on", "days": "90"},
    )
    key = set(KEY.findall(page.text)).pop()
    answer = await shop.client.get("/orders", headers={"X-API-Key": key})
    assert answer.status_code == 200
    assert '"key";q=5000' in answer.headers["ratelimit-policy"]
    again = await office.get(f"/admin/partners/{partner_id}")
    assert not KEY.search(again.text)
    assert "Warehouse" in again.text
    partner = await _partner(shop, partner_id)
    assert key.rpartition("_")[2] not in str(partner)
    assert partner.keys[0].expires_at == shop.ports.clock.now() + timedelta(days=90)
    assert ">Acme<" in (await office.get("/admin/partners")).text


async def test_what_the_office_does_is_in_the_log(shop: Shop, office: httpx.AsyncClient) -> None:
    acme = await new_partner(shop.ports)
    at = f"/admin/partners/{acme.partner_id}"
    await office.post(at, data=FORM | {"partner": "Acme AG"})
    await office.post(f"{at}/access", data={"active": "no"})
    await office.post(f"{at}/access", data={"active": "yes"})
    await office.post(f"{at}/keys/{acme.key_id}/revoke")
    await office.post(f"{at}/keys/{acme.key_id}/restore")
    await office.post(f"{at}/keys/{acme.key_id}/rotate", data={"hours": "24"})
    entries = await log.stream(shop.ports.records, f"partners/{acme.partner_id}")
    assert [entry.name for entry in entries] == [
        "partner.added", "partner.key_issued", "partner.changed", "partner.deactivated",
        "partner.activated", "partner.key_revoked", "partner.key_restored", "partner.key_rotated",
    ]  # fmt: skip
    assert all(b'"actor":"staff:' in bytes(entry.event) for entry in entries[2:])
    secret = acme.key.rpartition("_")[2].encode()
    assert not [entry for entry in entries if secret in bytes(entry.event)]


async def test_a_revoked_key_comes_back_for_ten_minutes(
    shop: Shop, office: httpx.AsyncClient, clock: ManualClock
) -> None:
    acme = await new_partner(shop.ports)
    at = f"/admin/partners/{acme.partner_id}/keys/{acme.key_id}"
    page = await office.post(f"{at}/revoke")
    assert f'action="{at}/restore"' in page.text
    clock.advance(minutes=11)
    late = await office.post(f"{at}/restore")
    assert late.status_code == 409
    assert "brought back any more" in late.text
    assert (await office.post(f"{at}/rotate", data={"hours": "1"})).status_code == 409


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"partner": ""}, "partner"),
        ({"email": "jo"}, "email"),
        ({"perKey": "0"}, "perKey"),
        ({"perCustomer": "many"}, "perCustomer"),
        ({"street": "Weg 2"}, "postalCode"),
        ({"name": "A", "street": "W", "city": "O", "postalCode": "1234"}, "postalCode"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field(
    shop: Shop, office: httpx.AsyncClient, typed: dict[str, str], field: str
) -> None:
    acme = await new_partner(shop.ports)
    before = await _partner(shop, acme.partner_id)
    for path in ("/admin/partners", f"/admin/partners/{acme.partner_id}"):
        page = await office.post(path, data=FORM | typed)
        assert page.status_code == 422
        assert f'id="{field}-wrong"' in page.text
        for text in filter(None, typed.values()):
            assert f'value="{text}"' in page.text
    assert await _partner(shop, acme.partner_id) == before


async def test_a_key_needs_a_name_and_a_purpose(shop: Shop, office: httpx.AsyncClient) -> None:
    acme = await new_partner(shop.ports)
    page = await office.post(f"/admin/partners/{acme.partner_id}/keys", data={"label": ""})
    assert page.status_code == 422
    assert 'id="label-wrong"' in page.text
    assert "Please choose what it is for." in page.text
    assert len((await _partner(shop, acme.partner_id)).keys) == 1


async def test_twenty_keys_are_enough(shop: Shop, office: httpx.AsyncClient) -> None:
    acme = await new_partner(shop.ports)
    key = {"label": "more", "orders:read": "on"}
    at = f"/admin/partners/{acme.partner_id}"
    for _ in range(19):
        assert (await office.post(f"{at}/keys", data=key)).status_code == 200
    assert (await office.post(f"{at}/keys", data=key)).status_code == 409
    await office.post(f"{at}/keys/{acme.key_id}/revoke")
    assert (await office.post(f"{at}/keys", data=key)).status_code == 409


async def test_what_was_asked_is_shown_by_day_and_answer(
    shop: Shop, office: httpx.AsyncClient, clock: ManualClock
) -> None:
    acme = await new_partner(shop.ports)
    at = f"/admin/partners/{acme.partner_id}/requests"
    await shop.client.get("/orders", headers=acme.headers)
    await shop.client.get("/orders/EK-77", headers=acme.headers)
    await shop.app.trail.flush()
    day = clock.now().date().isoformat()
    clock.advance(days=1)
    assert "Nothing was asked" in (await office.get(at)).text
    page = (await office.get(at, params={"day": day})).text
    assert "GET /orders/EK-77" in page
    page = (await office.get(at, params={"day": day, "answered": "well"})).text
    assert "GET /orders<" in page
    assert "EK-77" not in page
    assert (await office.get("/admin/partners/nobody/requests")).status_code == 200
    assert (await office.get(at, params={"day": "9999-12-31"})).status_code == 404


async def test_these_pages_are_for_the_office(shop: Shop, dana: dict[str, str]) -> None:
    acme = await new_partner(shop.ports)
    for path in ("/admin/partners", f"/admin/partners/{acme.partner_id}"):
        assert (await shop.client.get(path)).status_code == 303
        assert (await shop.client.get(path, headers=dana)).status_code == 403


# The command.


def test_the_command_prints_a_key_and_nothing_else(tmp_path: Path) -> None:
    environ = {"ECOKART_DATA_DIR": str(tmp_path), "ECOKART_LOG_LEVEL": "error"}
    added = CliRunner().invoke(
        main, ["partner", "add", "Acme", "--email", "orders@acme.example"], env=environ
    )
    assert added.exit_code == 0
    assert KEY.fullmatch(added.stdout.strip())
    refused = CliRunner().invoke(main, ["partner", "add", "Acme", "--email", "acme"], env=environ)
    assert refused.exit_code == 2
    assert "--email is 'acme'" in refused.stderr
