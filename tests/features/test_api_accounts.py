"""Accounts: registering, signing in and out, what a token is worth, addresses."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter

import bcrypt
import jwt
import pytest
from msgspec.structs import replace
from pwdlib.hashers.argon2 import Argon2Hasher

from ecokart.core.records import ANY, Put
from ecokart.features.accounts.model import CUSTOMERS, EMAILS, MAX_ADDRESSES, Customer
from tests.clock import ManualClock
from tests.features.conftest import ADA, DANA
from tests.shop import Shop

JO = {"email": "Jo@Example.com", "password": "correct horse", "name": " Jo "}
HOME = {
    "name": "Jo",
    "street": "Markt 1",
    "postalCode": "5020",
    "city": "Salzburg",
    "country": "AT",
}


async def _customer(shop: Shop, email: str) -> Customer:
    claim = await shop.ports.records.get(EMAILS, email)
    assert claim
    found = await shop.ports.records.get(CUSTOMERS, claim.value.customer_id)
    assert found
    return found.value


async def test_registering_signs_in(shop: Shop) -> None:
    answer = await shop.client.post("/auth/register", json=JO)
    assert answer.status_code == 201
    user = answer.json()["user"]
    assert (user["email"], user["name"], user["role"]) == ("Jo@Example.com", "Jo", "customer")
    me = await shop.client.get(
        "/auth/me", headers={"Authorization": f"Bearer {answer.json()['token']}"}
    )
    assert me.json() == user
    assert set(user) == {"id", "email", "name", "role", "createdAt"}


async def test_a_password_is_kept_as_argon2id(shop: Shop) -> None:
    await shop.client.post("/auth/register", json=JO)
    assert (await _customer(shop, "jo@example.com")).password_hash.startswith(
        "$argon2id$v=19$m=19456,t=2"
    )


async def test_of_many_registrations_of_one_address_one_succeeds(shop: Shop) -> None:
    spellings = [JO | {"email": email} for email in ("jo@example.com", "JO@example.COM")] * 10
    answers = await asyncio.gather(*(shop.client.post("/auth/register", json=j) for j in spellings))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"email_taken"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "jo"}, "email"),
        ({"email": "jo@example.com\n"}, "email"),
        ({"email": "a@b.de, c@d.de"}, "email"),
        ({"email": "j" * 250 + "@x.de"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "p" * 257}, "password"),
        ({"name": " "}, "name"),
        ({"name": "J\r\nBcc: all@example.com"}, "name"),
        ({"name": 7}, "name"),
    ],
)
async def test_what_does_not_fit_is_refused_by_field(
    demo: Shop, change: dict[str, object], field: str
) -> None:
    answer = await demo.client.post("/auth/register", json=JO | change)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_signing_in_heeds_no_case_in_the_address(demo: Shop) -> None:
    answer = await demo.client.post("/auth/login", json=DANA | {"email": " DEMO@ecokart.com "})
    assert answer.status_code == 200
    assert answer.json()["user"]["name"] == "Dana Demo"


async def test_no_such_account_and_wrong_password_look_alike_and_both_hash(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    verify = Argon2Hasher.verify

    def watched(self: Argon2Hasher, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002
        hashed.append(str(password))
        return verify(self, password, hash)

    monkeypatch.setattr(Argon2Hasher, "verify", watched)
    wrong = await shop.client.post("/auth/login", json=DANA | {"password": "first try"})
    nobody = await shop.client.post(
        "/auth/login", json={"email": "nobody@example.com", "password": "second try"}
    )
    assert hashed == ["first try", "second try"]
    assert wrong.status_code == nobody.status_code == 401
    assert _without_id(wrong.json()) == _without_id(nobody.json())
    assert wrong.headers["www-authenticate"] == "Bearer"


async def test_a_bcrypt_hash_opens_the_door_once_more(shop: Shop) -> None:
    customer = await _customer(shop, DANA["email"])
    old = bcrypt.hashpw(DANA["password"].encode(), bcrypt.gensalt(10, prefix=b"2a")).decode()
    assert old.startswith("$2a$10$")
    await shop.ports.records.commit([Put(CUSTOMERS, replace(customer, password_hash=old), ANY)])

    wrong = await shop.client.post("/auth/login", json=DANA | {"password": "demo12345"})
    assert wrong.status_code == 401
    assert (await _customer(shop, DANA["email"])).password_hash == old
    for _ in range(2):
        assert (await shop.client.post("/auth/login", json=DANA)).status_code == 200
        assert (await _customer(shop, DANA["email"])).password_hash.startswith("$argon2id$")


async def test_a_token_holds_for_seven_days(
    shop: Shop, dana: dict[str, str], clock: ManualClock
) -> None:
    clock.advance(days=7, seconds=-1)
    assert (await shop.client.get("/auth/me", headers=dana)).status_code == 200
    clock.advance(seconds=2)
    answer = await shop.client.get("/auth/me", headers=dana)
    assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")


async def test_a_token_says_who_and_until_when(shop: Shop, dana: dict[str, str]) -> None:
    claims = jwt.decode(dana["Authorization"].split()[1], options={"verify_signature": False})
    assert claims["role"] == "customer"
    assert claims["userId"] == (await shop.client.get("/auth/me", headers=dana)).json()["id"]
    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600


async def test_signing_out_ends_the_token_at_once(shop: Shop, dana: dict[str, str]) -> None:
    other = (await shop.client.post("/auth/login", json=DANA)).json()["token"]
    assert (await shop.client.post("/auth/logout", headers=dana)).status_code == 204
    for path in ("/auth/me", "/api/cart", "/api/orders", "/api/addresses"):
        answer = await shop.client.get(path, headers=dana)
        assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")
    still = await shop.client.get("/auth/me", headers={"Authorization": f"Bearer {other}"})
    assert still.status_code == 200


async def test_forged_tokens_open_nothing(shop: Shop, dana: dict[str, str]) -> None:
    token = dana["Authorization"].split()[1]
    claims = jwt.decode(token, options={"verify_signature": False}) | {"role": "admin"}
    header, body, signature = token.split(".")
    swapped = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    forged = [
        jwt.encode(claims, None, "none"),
        jwt.encode(claims, "another secret, and just as long as ours is", "HS256"),
        f"{header}.{swapped}.{signature}",
        f"{header}.{body}.",
        "x",
        "..",
        "é",
    ]
    for one in forged:
        headers = [(b"Authorization", f"Bearer {one}".encode())]
        answer = await shop.client.get("/auth/me", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "session_ended"), one


async def test_other_schemes_are_nobody(demo: Shop) -> None:
    answer = await demo.client.get("/auth/me", headers={"Authorization": "Basic ZGVtbzpkZW1v"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_cookie_that_holds_no_more_is_as_good_as_none(demo: Shop) -> None:
    answer = await demo.client.get("/api/cart", headers={"Cookie": "ecokart_session=x"})
    assert answer.status_code == 200


async def test_the_demo_admin_is_one(demo: Shop) -> None:
    assert (await demo.client.post("/auth/login", json=ADA)).json()["user"]["role"] == "admin"


async def test_addresses_are_kept_and_removed(shop: Shop, dana: dict[str, str]) -> None:
    added = await shop.client.post("/api/addresses", json=HOME, headers=dana)
    assert added.status_code == 201
    saved = added.json()
    assert saved["address"] == HOME | {"company": ""}
    assert (await shop.client.get("/api/addresses", headers=dana)).json() == {"addresses": [saved]}
    gone = f"/api/addresses/{saved['id']}"
    assert (await shop.client.delete(gone, headers=dana)).status_code == 204
    assert (await shop.client.delete(gone, headers=dana)).json()["code"] == "no_such_address"
    assert (await shop.client.get("/api/addresses", headers=dana)).json() == {"addresses": []}


async def test_an_address_book_has_an_end(shop: Shop, dana: dict[str, str]) -> None:
    for number in range(MAX_ADDRESSES):
        another = HOME | {"street": f"Weg {number}"}
        answer = await shop.client.post("/api/addresses", json=another, headers=dana)
        assert answer.status_code == 201
    answer = await shop.client.post("/api/addresses", json=HOME, headers=dana)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_addresses")
    assert answer.json()["most"] == MAX_ADDRESSES


async def test_the_same_address_is_kept_once(shop: Shop, dana: dict[str, str]) -> None:
    first = await shop.client.post("/api/addresses", json=HOME, headers=dana)
    again = await shop.client.post("/api/addresses", json=HOME, headers=dana)
    assert again.json() == first.json()
    await shop.client.post("/api/addresses", json=HOME | {"company": "Jo & Co."}, headers=dana)
    kept = (await shop.client.get("/api/addresses", headers=dana)).json()["addresses"]
    assert [saved["address"]["company"] for saved in kept] == ["", "Jo & Co."]


@pytest.mark.parametrize(
    ("country", "postal_code", "fits"),
    [
        ("DE", "34117", True),
        ("DE", "3411", False),
        ("AT", "5020", True),
        ("AT", "50200", False),
        ("CH", "8001", True),
        ("CH", "80010", False),
    ],
)
async def test_a_postal_code_is_one_of_its_country(
    shop: Shop, dana: dict[str, str], country: str, postal_code: str, *, fits: bool
) -> None:
    address = HOME | {"country": country, "postalCode": postal_code}
    answer = await shop.client.post("/api/addresses", json=address, headers=dana)
    assert answer.status_code == (201 if fits else 422)
    if not fits:
        assert answer.json()["code"] == "wrong_postal_code"
        assert answer.json()["errors"][0]["field"] == "postalCode"


@pytest.mark.parametrize(
    "change", [{"postalCode": "123"}, {"postalCode": "12345\n"}, {"country": "FR"}, {"city": ""}]
)
async def test_addresses_are_looked_at(
    shop: Shop, dana: dict[str, str], change: dict[str, str]
) -> None:
    answer = await shop.client.post("/api/addresses", json=HOME | change, headers=dana)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == next(iter(change))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/auth/me"),
        ("POST", "/auth/logout"),
        ("GET", "/api/addresses"),
        ("POST", "/api/addresses"),
    ],
)
async def test_some_doors_open_for_customers_only(demo: Shop, method: str, path: str) -> None:
    answer = await demo.client.request(method, path, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def _without_id(document: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in document.items() if key != "requestId"}
