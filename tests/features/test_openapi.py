"""The API's description: complete, sound, and true of a real shop."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from ecokart.features.accounts.api import AccountAuthenticator
from ecokart.features.partners.api import PartnerGate
from ecokart.features.partners.model import Limits
from ecokart.rooms import endpoints
from ecokart.web.openapi import Description
from ecokart.web.responses import encode_json
from tests.api_examples import BASKET, DANA, tell
from tests.clock import ManualClock
from tests.partners import new_partner
from tests.shop import Shop, running_shop

PLENTY = Limits(1_000_000, 1_000_000)
ROOT = Path(__file__).parents[2]
PUBLIC_URL = "https://shop.example"
ENDPOINTS = endpoints()
DESCRIPTION = Description(ENDPOINTS, PUBLIC_URL, AccountAuthenticator(), PartnerGate)
DOCUMENT: dict[str, Any] = json.loads(encode_json(DESCRIPTION.document))
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


async def test_every_example_is_what_a_real_shop_answers(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with running_shop(tmp_path, clock) as shop:
        told = [one async for one in tell(shop)]
    assert {f"{one.endpoint.method} {one.endpoint.path}" for one in told} == set(OPERATIONS)
    for one in told:
        assert one.answer == one.example.get("answer"), one.endpoint.path


async def test_the_document_is_served_ready_made(tmp_path: Path) -> None:
    async with running_shop(tmp_path, seeded=False, public_url=PUBLIC_URL) as shop:
        answer = await shop.client.get("/openapi.json")
        known = {"If-None-Match": answer.headers["etag"]}
        again = await shop.client.get("/openapi.json", headers=known)
    assert answer.json() == DOCUMENT
    assert answer.headers["content-type"] == "application/json"
    assert (again.status_code, again.content) == (304, b"")


def test_all_json_endpoints_are_in_it_and_no_pages() -> None:
    described = {f"{e.method} {e.path}" for e in DESCRIPTION.endpoints}
    assert described == set(OPERATIONS)
    assert not [e.path for e in DESCRIPTION.endpoints if e.page]
    left_out = {e.path for e in ENDPOINTS if e.path.startswith(("/api/", "/auth/")) and not e.gives}
    assert not left_out


def test_operations_have_names_of_their_own_and_say_what_they_do() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert not [name for name, operation in OPERATIONS.items() if not operation["summary"]]


def test_every_reference_leads_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(DOCUMENT))):
        place = DOCUMENT
        for part in reference.split("/"):
            place = place[part]


@pytest.mark.parametrize("name", OPERATIONS)
def test_examples_fit_their_schemas(name: str) -> None:
    operation = OPERATIONS[name]
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    answers = [answer for code, answer in operation["responses"].items() if code < "300"]
    for part in bodies + answers:
        for content in part.get("content", {}).values():
            schema = content["schema"] | {"components": DOCUMENT["components"]}
            assert content["example"] is not None
            Draft202012Validator(schema, validate_formats=True).validate(content["example"])


def test_amounts_are_numbers_with_two_places() -> None:
    raw = encode_json(DESCRIPTION.document).decode()
    amounts = re.findall(r'"(?:price|total\w*|\w+Amount|gross|tax)":(-?[\d.]+|")', raw)
    assert len(amounts) > 20
    assert all(re.fullmatch(r"\d+\.\d\d", amount) for amount in amounts)


def test_who_may_is_said() -> None:
    assert OPERATIONS["GET /api/products"]["security"] == []
    assert OPERATIONS["GET /auth/me"]["security"] == [{"bearer": []}, {"session": []}]
    assert OPERATIONS["POST /orders"]["security"] == [{"apiKey": []}]
    assert "`orders:write`" in OPERATIONS["POST /orders"]["description"]
    assert {} in OPERATIONS["GET /api/cart"]["security"]
    assert DOCUMENT["servers"] == [{"url": PUBLIC_URL}]


def test_what_can_go_wrong_is_said_with_its_codes() -> None:
    answers = OPERATIONS["POST /api/orders"]["responses"]
    codes = {
        status: answer["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"][
            "code"
        ]["enum"]
        for status, answer in answers.items()
        if status > "400"
    }
    assert codes["409"] == ["cart_empty", "idempotency_key_in_use", "out_of_stock"]
    assert codes["401"] == ["session_ended"]
    assert codes["403"] == ["foreign_origin"]
    assert codes["429"] == ["too_many"]
    assert "Retry-After" in answers["429"]["headers"]
    assert "Idempotent-Replayed" in answers["201"]["headers"]


async def test_the_reference_shows_all_of_it_and_loads_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    async with running_shop(tmp_path, seeded=False, public_url=PUBLIC_URL) as shop:
        answer = await shop.client.get("/api", headers={"Accept-Language": "de"})
    page = answer.text
    assert answer.status_code == 200
    for operation in OPERATIONS.values():
        assert f'id="{operation["operationId"]}"' in page
    for schema in DOCUMENT["components"]["schemas"]:
        assert f'id="schema-{schema}"' in page
    missing = {link for link in re.findall(r'href="#([^"]+)"', page) if f'id="{link}"' not in page}
    assert not missing
    assert not re.findall(r'(?:src|href)="(?!/(?!/)|#)[^"]*"', page)
    assert "curl -X POST https://shop.example/api/orders" in page


@pytest.mark.parametrize("who", ["customer", "guest", "partner"])
async def test_schemathesis_finds_nothing(tmp_path: Path, who: str) -> None:
    """About a thousand requests a run, from the examples to invented ones and chains of them."""
    async with running_shop(tmp_path, worker=True) as shop:
        header = await _introduced(shop, who)
        await shop.client.post("/api/cart", json=BASKET, headers=dict([header]))
        # What is for partners is refused to the others, and the other way round.
        paths = "--include-path-regex" if who == "partner" else "--exclude-path-regex"
        asked = [f"--header={header[0]}: {header[1]}", f"{paths}=^/(orders|webhooks)"]
        await _schemathesis(shop.url, asked, tmp_path)
        await shop.app.worker.drain()
        dead = await shop.ports.queue.dead()
    assert not dead.values


async def _introduced(shop: Shop, who: str) -> tuple[str, str]:
    if who == "guest":
        return "Cookie", f"ecokart_guest={secrets.token_hex(16)}"
    if who == "partner":
        return "X-API-Key", (await new_partner(shop.ports, limits=PLENTY)).key
    token = (await shop.client.post("/auth/login", json=DANA)).json()["token"]
    return "Authorization", f"Bearer {token}"


async def _schemathesis(url: str, asked: list[str], folder: Path) -> None:
    """Run it with all its checks. Fails with what it printed."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{url}/openapi.json",
        *asked,
        "--exclude-path=/auth/logout",  # it would sign out whoever asks for the rest
        "--exclude-checks=positive_data_acceptance",  # schemathesis_checks.py has a sharper one
        "--max-examples=10",
        "--generation-deterministic",
        "--continue-on-failure",
        "--suppress-health-check=all",
        "--warnings=off",
        "--no-color",
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.features.schemathesis_checks",
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
