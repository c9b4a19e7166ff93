"""Settings: what is wrong with one is said in a sentence, before anything has begun."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path

import httpx
import pytest

from ecokart.app import open_ports
from ecokart.core.rehearsal import Outcome
from ecokart.features.orders import paying
from ecokart.features.orders.model import Method
from ecokart.settings import BadSetting, load
from ecokart.settings_page import describe, page

ROOT = Path(__file__).parents[2]
SECRET = "s" * 32
REDIS = "redis://host:6379/0?prefix=shop: or rediss://host:6379/0?prefix=shop: (with TLS)"


def _start(
    command: str, folder: Path, variables: dict[str, str]
) -> Coroutine[None, None, asyncio.subprocess.Process]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ECOKART_")}
    environment |= {"ECOKART_DATA_DIR": str(folder / "data")} | variables
    return asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("ecokart")),
        command,
        env=environment,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def test_the_page_about_settings_is_up_to_date() -> None:
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == page()


def test_every_setting_says_what_it_takes_and_is_for() -> None:
    for variable, takes, _, purpose in describe():
        assert re.fullmatch(r"ECOKART_[A-Z_]+", variable)
        assert takes
        assert purpose.endswith(".")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"PORT": "abc"}, "ECOKART_PORT is 'abc', but takes a whole number from 0 to 65535."),
        ({"PORT": "70000"}, "ECOKART_PORT is '70000', but takes a whole number from 0 to 65535."),
        ({"ENVIRONMENT": "prod"}, "ECOKART_ENVIRONMENT is 'prod', but takes development or test or production."),
        ({"RATE_LIMIT": "0"}, "ECOKART_RATE_LIMIT is '0', but takes a whole number from 1."),
        ({"RATE_WINDOW_SECONDS": "-1"}, "ECOKART_RATE_WINDOW_SECONDS is '-1', but takes a number above 0 to 86400."),
        ({"WORKER": "maybe"}, "ECOKART_WORKER is 'maybe', but takes true or false."),
        ({"LOG_LEVEL": "loud"}, "ECOKART_LOG_LEVEL is 'loud', but takes debug or info or warning or error."),
        ({"SECRET": "short"}, "ECOKART_SECRET is shorter than 32 characters."),
        ({"ENVIRONMENT": "production"}, "ECOKART_SECRET is missing, and production doesn't start without one."),
        ({"PUBLIC_URL": "shop.example"}, "ECOKART_PUBLIC_URL has 'shop.example', but takes https://shop.example."),
        ({"ALLOWED_ORIGINS": "https://a.example/"}, "ECOKART_ALLOWED_ORIGINS has 'https://a.example/', but takes https://shop.example."),
        ({"MAIL_FROM": "the shop"}, "ECOKART_MAIL_FROM is 'the shop', but takes Shop <shop@shop.example>."),
        ({"BANK_IBAN": "DE02 1203 0000 0000 2020 52", "BANK_HOLDER": "Jo"}, "ECOKART_BANK_IBAN is 'DE02 1203 0000 0000 2020 52', which is no IBAN: DE02120300000000202051 is one."),
        ({"BANK_IBAN": "DE02120300000000202051"}, "ECOKART_BANK_HOLDER is missing, and a transfer needs it beside the IBAN."),
        ({"PREPAYMENT_DAYS": "0"}, "ECOKART_PREPAYMENT_DAYS is '0', but takes a whole number from 1 to 365."),
        ({"WEBHOOK_PORTS": "443,x"}, "ECOKART_WEBHOOK_PORTS has 'x', but takes ports like 443,8443."),
        ({"CHAT_HOURS": "Mo 9-17"}, "ECOKART_CHAT_HOURS is 'Mo 9-17', but takes Mon-Fri 09:00-17:00, Sat 10:00-14:00."),
        ({"OFFICE_EMAIL": "the office"}, "ECOKART_OFFICE_EMAIL is 'the office', but takes office@shop.example."),
        ({"WEBHOOK_PRIVATE_TARGETS": "true", "ENVIRONMENT": "production", "SECRET": "x" * 32}, "ECOKART_WEBHOOK_PRIVATE_TARGETS is true, which production never takes."),
        ({"PROT": "8000"}, "ECOKART_PROT is no setting of Ecokart; ECOKART_PORT is."),
        ({"XYZ": "1"}, "ECOKART_XYZ is no setting of Ecokart."),
        ({"RECORDS_URL": "postgres://db"}, "ECOKART_RECORDS_URL is 'postgres://db', but takes sqlite:///file.db or postgresql://user:password@host/database or dynamodb://eu-central-1/shop."),
        ({"QUEUE_URL": "kafka:"}, "ECOKART_QUEUE_URL is 'kafka:', but takes records: or sqs://eu-central-1/shop."),
        ({"QUEUE_URL": "sqs://shop"}, "ECOKART_QUEUE_URL is 'sqs://shop', which can't be used: it takes sqs://region/prefix, as sqs://eu-central-1/shop."),
        ({"CACHE_URL": "memcached://x"}, f"ECOKART_CACHE_URL is 'memcached://x', but takes memory: or {REDIS}."),
        ({"CACHE_URL": "redis:"}, "ECOKART_CACHE_URL is 'redis:', which can't be used: it needs a host and the number of a database."),
        ({"CACHE_URL": "redis://me:w@rd@h/0?db=1"}, "ECOKART_CACHE_URL is 'redis://me:***@h/0?db=1', which can't be used: db is no option of it."),
        ({"LIVE_URL": "nats://me:word@h"}, f"ECOKART_LIVE_URL is 'nats://me:***@h', but takes memory: or {REDIS}."),
        ({"LIVE_URL": "rediss://h/shop"}, "ECOKART_LIVE_URL is 'rediss://h/shop', which can't be used: it needs a host and the number of a database."),
        ({"PAYMENTS_URL": "adyen:"}, "ECOKART_PAYMENTS_URL is 'adyen:', but takes scripted:?no_funds=5 or stripe:?methods=card,paypal or none:."),
        ({"PAYMENTS_URL": "stripe:"}, "ECOKART_STRIPE_SECRET_KEY is missing, and Stripe needs it."),
        ({"PAYMENTS_URL": "stripe:", "STRIPE_SECRET_KEY": "sk_test_x"}, "ECOKART_STRIPE_WEBHOOK_SECRETS is missing, and Stripe needs it."),
        ({"PAYMENTS_URL": "stripe:", "STRIPE_SECRET_KEY": "pk_live_x", "STRIPE_WEBHOOK_SECRETS": "whsec_x"}, "ECOKART_STRIPE_SECRET_KEY is no secret key of Stripe, which begins with sk_ or rk_."),
        ({"PAYMENTS_URL": "stripe:", "STRIPE_SECRET_KEY": "rk_live_x", "STRIPE_WEBHOOK_SECRETS": "whsec_x, we_1"}, "ECOKART_STRIPE_WEBHOOK_SECRETS has one that is none of Stripe's, which begin with whsec_."),
        ({"PAYMENTS_URL": "stripe:?method=card", "STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_WEBHOOK_SECRETS": "whsec_x"}, "ECOKART_PAYMENTS_URL is 'stripe:?method=card', which can't be used: it takes methods, not method."),
        ({"PAYMENTS_URL": "scripted:?no_funds=80&pays=30"}, "ECOKART_PAYMENTS_URL is 'scripted:?no_funds=80&pays=30', which can't be used: shares are percentages, and 100 of them at most."),
        ({"PAYMENTS_URL": "scripted:?no_funds=few"}, "ECOKART_PAYMENTS_URL is 'scripted:?no_funds=few', which can't be used: no_funds is 'few', but takes a percentage."),
        ({"STOCK_LOW_AT": "-1"}, "ECOKART_STOCK_LOW_AT is '-1', but takes a whole number from 0."),
        ({"FULFILMENT": "robots"}, "ECOKART_FULFILMENT is 'robots', but takes automatic or office."),
        ({"PAYMENTS_URL": "stripe:?methods=cash", "STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_WEBHOOK_SECRETS": "whsec_x"}, "ECOKART_PAYMENTS_URL is 'stripe:?methods=cash', which can't be used: there is no method 'cash', but card, paypal, klarna, sepa, twint."),
        ({"PAYMENTS_URL": "scripted:", "ENVIRONMENT": "production", "SECRET": SECRET}, "ECOKART_PAYMENTS_URL is a pretend provider, which takes no money, and production doesn't start with it."),
        ({"PAYMENTS_URL": "stripe:methods=paypal", "STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_WEBHOOK_SECRETS": "whsec_x"}, "ECOKART_PAYMENTS_URL is 'stripe:methods=paypal', but what it takes stands behind a question mark: stripe:?methods=card,paypal."),
        ({"PAYMENTS_URL": "scripted://pays=90"}, "ECOKART_PAYMENTS_URL is 'scripted://pays=90', but what it takes stands behind a question mark: scripted:?no_funds=5."),
        ({"PAYMENTS_URL": "scripted:?luck=5"}, f"ECOKART_PAYMENTS_URL is 'scripted:?luck=5', which can't be used: there is no outcome 'luck', but {', '.join(Outcome)}."),
        ({"DATA_DIR": "FILE"}, "ECOKART_DATA_DIR is 'FILE', which can't be used: File exists."),
        ({"RECORDS_URL": "sqlite:///FILE"}, "ECOKART_RECORDS_URL is 'sqlite:///FILE', which can't be used: file is not a database."),
        ({"MAIL_URL": "disk:///FILE"}, "ECOKART_MAIL_URL is 'disk:///FILE', which can't be used: File exists."),
        ({"HOST": "192.0.2.1"}, "ECOKART_HOST 192.0.2.1 and ECOKART_PORT 8000 can't be listened on: Cannot assign requested address."),
    ],
)  # fmt: skip
async def test_a_wrong_setting_stops_the_start_with_one_sentence(
    tmp_path: Path, variables: dict[str, str], sentence: str
) -> None:
    file = tmp_path / "file"
    file.write_text("This is no database, but a text that is long enough to be looked at. " * 20)
    given = {f"ECOKART_{k}": v.replace("FILE", str(file)) for k, v in variables.items()}
    process = await _start("serve", tmp_path, given)
    output, errors = await process.communicate()
    assert errors.decode() == f"ecokart: {sentence.replace('FILE', str(file))}\n"
    assert (process.returncode, output) == (2, b"")


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = await _start("serve", tmp_path, {"ECOKART_PORT": port})
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode() == (
        f"ecokart: ECOKART_HOST 127.0.0.1 and ECOKART_PORT {port} can't be listened on:"
        " Address already in use.\n"
    )


@pytest.mark.parametrize(("environment", "expected"), [("production", 401), ("development", 200)])
async def test_demo_accounts_are_for_trying_out_only(
    tmp_path: Path, environment: str, expected: int
) -> None:
    variables = {"ECOKART_ENVIRONMENT": environment, "ECOKART_SECRET": SECRET, "ECOKART_PORT": "0"}
    process = await _start("serve", tmp_path, variables)
    assert process.stderr
    welcome = ""
    while "/api" not in welcome:
        line = await process.stderr.readline()
        assert line, welcome
        welcome += line.decode()
    (url,) = re.findall(r"(http://\S+)/api", welcome)
    try:
        async with httpx.AsyncClient(base_url=url, transport=_patient()) as client:
            demo = {"email": "demo@ecokart.com", "password": "demo1234"}
            assert (await client.post("/auth/login", json=demo)).status_code == expected
            products = (await client.get("/api/products")).json()["products"]
            assert bool(products) == (environment == "development")
    finally:
        process.terminate()
        rest = (await process.communicate())[1].decode()
    assert ("demo1234" in rest) == (environment == "development")
    assert process.returncode == 0


def _patient() -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(retries=10)


async def test_the_command_prints_the_page(tmp_path: Path) -> None:
    process = await _start("settings", tmp_path, {})
    output, _ = await process.communicate()
    assert output.decode() == page()


def test_a_secret_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    environ = {"ECOKART_DATA_DIR": str(tmp_path / "data")}
    secret = load(environ).secret
    assert len(secret) >= 32
    assert load(environ).secret == secret
    assert (tmp_path / "data" / "secret").stat().st_mode & 0o777 == 0o600


def test_an_empty_value_is_as_good_as_none(tmp_path: Path) -> None:
    environ = {"ECOKART_DATA_DIR": str(tmp_path), "ECOKART_PORT": "", "ECOKART_SECRET": ""}
    assert load(environ).port == 8000


def test_where_things_are_follows_from_the_data_folder(tmp_path: Path) -> None:
    settings = load({"ECOKART_DATA_DIR": str(tmp_path), "ECOKART_PORT": "9000"})
    assert settings.records_url == f"sqlite:///{tmp_path}/ecokart.db"
    assert settings.mail_url == f"disk:///{tmp_path}/mail"
    assert settings.public_url == "http://127.0.0.1:9000"


@pytest.mark.parametrize("text", ["1e400", "nan", "inf", "0x10", "１"])
def test_odd_numbers_are_no_time(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadSetting):
        load({"ECOKART_DATA_DIR": str(tmp_path), "ECOKART_REQUEST_TIMEOUT_SECONDS": text})


@pytest.mark.parametrize(
    ("variables", "offered"),
    [
        ({}, True),
        ({"ENVIRONMENT": "production", "SECRET": SECRET}, False),
        (
            {
                "ENVIRONMENT": "production",
                "SECRET": SECRET,
                "BANK_HOLDER": "Ecokart GmbH",
                "BANK_IBAN": "AT61 1904 3002 3457 3201",
            },
            True,
        ),
    ],
)
async def test_prepayment_is_offered_where_there_is_an_account(
    tmp_path: Path, variables: dict[str, str], offered: bool
) -> None:
    environ = {"ECOKART_DATA_DIR": str(tmp_path)}
    ports = open_ports(load(environ | {f"ECOKART_{k}": v for k, v in variables.items()}))
    assert (Method.PREPAYMENT in paying.offered(ports)) is offered
    await ports.close()
