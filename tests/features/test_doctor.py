"""`ecokart doctor`: right about what answers, in words about what doesn't, and never at a loss itself."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from redis.asyncio import Redis

from ecokart.core.clock import Clock, SystemClock
from ecokart.core.records import Table
from ecokart.doctor import check_tables
from ecokart.engines.records_sqlite import SqliteRecords
from ecokart.rooms import TABLES
from tests.mail_servers import USER, SmtpServer, certificate
from tests.servers import dynamodb_url, own_redis, postgresql_url, redis_url, sqs_url
from tests.stripe_fake import SECRET_KEY, WEBHOOK_SECRET, StripeFake

SECRET = "s" * 32
CLOSED = "127.0.0.1:1"
ECOKART = str(Path(sys.executable).with_name("ecokart"))


async def ecokart(folder: Path, *command: str, **settings: str) -> tuple[int, str]:
    """The exit code of a command, and all that it says."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ECOKART_")}
    environ |= {"ECOKART_DATA_DIR": str(folder / "data"), "AWS_MAX_ATTEMPTS": "1"} | settings
    process = await asyncio.create_subprocess_exec(
        *(ECOKART, *command),
        env=environ,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def wrong(folder: Path, **settings: str) -> dict[str, str]:
    """What the doctor finds wrong, by part."""
    code, said = await ecokart(folder, "doctor", **settings)
    found = dict(re.findall(r"^✗ (\w+(?: \w+)?): (.+)$", said, flags=re.MULTILINE))
    assert "Traceback" not in said, said
    assert (code, "All is well" in said) == ((1, False) if found else (0, True)), said
    return found


async def test_a_shop_out_of_the_box_is_well(tmp_path: Path) -> None:
    code, said = await ecokart(tmp_path, "doctor")
    assert code == 0, said
    for words in ("SQLite 3.", "jobs in the records", "this process's memory", "GB free"):
        assert words in said
    assert said.endswith("All is well.\n")
    assert "s" * 20 not in said


@pytest.mark.parametrize(
    ("variable", "url", "answers"),
    [
        ("RECORDS_URL", postgresql_url, r"PostgreSQL \d+"),
        ("CACHE_URL", redis_url, r"Redis \d+\."),
        ("LIVE_URL", redis_url, r"Redis \d+\."),
    ],
)
async def test_what_answers_is_named_with_its_version(
    tmp_path: Path, variable: str, url: Callable[[], str], answers: str
) -> None:
    code, said = await ecokart(tmp_path, "doctor", **{f"ECOKART_{variable}": url()})
    assert code == 0, said
    part = variable.removesuffix("_URL").lower()
    assert re.search(rf"✓ +{part} .*{answers}.* \d+$", said, flags=re.MULTILINE), said


@pytest.mark.parametrize(("part", "url"), [("records", dynamodb_url), ("queue", sqs_url)])
async def test_what_must_be_made_first_is_named_with_the_command_that_makes_it(
    tmp_path: Path, part: str, url: Callable[[], str]
) -> None:
    settings = {f"ECOKART_{part.upper()}_URL": url()}
    found = await wrong(tmp_path, **settings)
    assert "`ecokart tables create`" in found[part]
    code, said = await ecokart(tmp_path, "tables", "create", **settings)
    assert code == 0, said
    assert await wrong(tmp_path, **settings) == {}


@pytest.mark.parametrize(
    ("part", "url"),
    [
        ("records", f"postgresql://shop:word@{CLOSED}/shop"),
        ("records", f"dynamodb://eu-central-1/shop?endpoint=http://{CLOSED}"),
        ("queue", f"sqs://eu-central-1/shop?endpoint=http://{CLOSED}"),
        ("cache", f"redis://shop:word@{CLOSED}/0"),
        ("live", f"rediss://shop:word@{CLOSED}/0"),
        ("mail", f"smtp://shop:word@{CLOSED}"),
        ("mail", f"ses://eu-central-1?endpoint=http://{CLOSED}"),
    ],
)
async def test_a_server_that_is_away_is_named_and_no_password(
    tmp_path: Path, part: str, url: str
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    code, said = await ecokart(tmp_path, "doctor", **{f"ECOKART_{part.upper()}_URL": url}, **keys)
    assert code == 1, said
    assert "Traceback" not in said
    assert f"are host and port right in ECOKART_{part.upper()}_URL?" in said
    assert "word" not in said.replace("password", "")


async def test_nothing_answers_at_all(tmp_path: Path) -> None:
    found = await wrong(
        tmp_path,
        ECOKART_RECORDS_URL=f"postgresql://shop:word@{CLOSED}/shop",
        ECOKART_CACHE_URL=f"redis://{CLOSED}/0",
        ECOKART_LIVE_URL=f"redis://{CLOSED}/0",
    )
    assert set(found) == {"records", "queue", "cache", "live", "payments"}
    assert "ECOKART_RECORDS_URL" in found["queue"]


async def test_servers_that_hang_are_not_waited_for(tmp_path: Path) -> None:
    hanging: list[asyncio.Task[Any]] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hanging.append(asyncio.current_task())  # type: ignore[arg-type]
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        writer.transport.abort()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    began = perf_counter()
    try:
        found = await wrong(
            tmp_path,
            ECOKART_RECORDS_URL=f"postgresql://shop:word@{address}/shop",
            ECOKART_QUEUE_URL=f"sqs://eu-central-1/shop?endpoint=http://{address}",
            ECOKART_CACHE_URL=f"redis://{address}/0",
            ECOKART_LIVE_URL=f"redis://{address}/0",
            ECOKART_MAIL_URL=f"smtp://{address}",
            AWS_ACCESS_KEY_ID="local",
            AWS_SECRET_ACCESS_KEY="local",
        )
    finally:
        server.close()
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging)
    assert perf_counter() - began < 30
    assert set(found) == {"records", "queue", "cache", "live", "mail", "payments"}
    for sentence in found.values():
        assert "Is the server overloaded, or a firewall in between?" in sentence


async def test_a_wrong_password_a_wrong_host_and_a_missing_database(tmp_path: Path) -> None:
    with own_redis(tmp_path / "redis") as server:
        admin = Redis.from_url(server.url)
        await admin.config_set("requirepass", "right")
        await admin.aclose()
        no_database = re.sub(r"/\w+\?.*", "/nowhere", postgresql_url())
        found = await wrong(
            tmp_path,
            ECOKART_RECORDS_URL=no_database,
            ECOKART_CACHE_URL=server.url.replace("//", "//shop:wrong@"),
            ECOKART_LIVE_URL="redis://nowhere.invalid/0",
        )
    assert "Create the database" in found["records"]
    assert "Check the user and the password of ECOKART_CACHE_URL." in found["cache"]
    assert "Check the name of the host in ECOKART_LIVE_URL." in found["live"]


async def test_a_mail_server_that_answers_and_one_that_knows_another_password(
    tmp_path: Path,
) -> None:
    async with SmtpServer(starttls=True, sign_in=True) as server:
        trust = {"SSL_CERT_FILE": str(certificate()[0])}
        url = server.url(user=USER, password="a%2Fword%3F")
        code, said = await ecokart(tmp_path, "doctor", ECOKART_MAIL_URL=url, **trust)
        assert code == 0, said
        assert f"SMTP at 127.0.0.1:{server.port}, TLSv1.3" in said
        assert "word" not in said
        wrong_url = server.url(user=USER, password="mystery")
        found = await wrong(tmp_path, ECOKART_MAIL_URL=wrong_url, **trust)
    assert "Check the user and the password of ECOKART_MAIL_URL." in found["mail"]
    assert "mystery" not in found["mail"]


async def test_stripe_that_answers_that_knows_another_key_and_that_is_away(tmp_path: Path) -> None:
    async with StripeFake() as stripe:
        settings = {
            "ECOKART_PAYMENTS_URL": f"stripe:?methods=card&api_base={stripe.url}",
            "ECOKART_STRIPE_SECRET_KEY": SECRET_KEY,
            "ECOKART_STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
            "ECOKART_SECRET": SECRET,
            "ECOKART_ENVIRONMENT": "production",
        }
        code, said = await ecokart(tmp_path, "doctor", **settings)
        assert code == 0, said
        assert "! payments: Stripe's test key takes no money." in said
        assert SECRET_KEY not in said
        other = await wrong(tmp_path, **settings | {"ECOKART_STRIPE_SECRET_KEY": "sk_live_other"})
    away = await wrong(tmp_path, **settings)
    assert other == {
        "payments": "Stripe refuses our key. Check ECOKART_STRIPE_SECRET_KEY.",
    }
    assert away == {
        "payments": "Stripe can't be reached. May this machine call api.stripe.com?",
    }


async def test_settings_and_places_that_cannot_be_used(tmp_path: Path) -> None:
    assert "ECOKART_PORT is 'x'" in (await wrong(tmp_path, ECOKART_PORT="x"))["settings"]
    file = tmp_path / "file"
    file.write_text("This is no database, but long enough to be looked at. " * 20)
    found = await wrong(
        tmp_path,
        ECOKART_RECORDS_URL=f"sqlite:///{file}",
        ECOKART_CACHE_URL="redis://shop:word@",
        ECOKART_MAIL_URL=f"disk:///{file}",
    )
    assert "file is not a database" in found["records"]
    assert found["queue"] == "It can't be asked as long as the records can't be opened."
    assert "it needs a host" in found["cache"]
    assert "File exists" in found["mail"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_is_somebody_elses(tmp_path: Path) -> None:
    mails = tmp_path / "mails"
    mails.mkdir(mode=0o500)
    found = await wrong(tmp_path, ECOKART_MAIL_URL=f"disk:///{mails}")
    assert "Let the user that runs Ecokart write there" in found["mail"]


async def test_a_data_folder_that_isnt_there_yet_is_made(tmp_path: Path) -> None:
    elsewhere = {
        "ECOKART_ENVIRONMENT": "production",
        "ECOKART_SECRET": SECRET,
        "ECOKART_RECORDS_URL": "sqlite:///elsewhere/shop.db",
        "ECOKART_MAIL_URL": "disk:///elsewhere/mail",
    }
    assert not await wrong(tmp_path, **elsewhere)
    (tmp_path / "file").touch()
    assert (
        "It can't be used: Not a directory"
        in (await wrong(tmp_path, **elsewhere, ECOKART_DATA_DIR=str(tmp_path / "file" / "data")))[
            "data folder"
        ]
    )


async def test_worth_knowing_but_not_wrong(tmp_path: Path) -> None:
    code, said = await ecokart(
        tmp_path,
        "doctor",
        ECOKART_ENVIRONMENT="production",
        ECOKART_SECRET=SECRET,
        ECOKART_RECORDS_URL=postgresql_url(),
    )
    assert code == 0, said
    assert re.findall(r"^! (\w+(?: \w+)?): ", said, flags=re.MULTILINE) == [
        "cache",
        "live",
        "public URL",
    ]
    assert SECRET not in said


class Ahead(SqliteRecords):
    """A database whose clock is an hour ahead."""

    def __init__(self, path: Path, tables: Iterable[Table[Any]], clock: Clock) -> None:
        super().__init__(path, tables, clock)
        self.by = timedelta(hours=1)

    async def server_time(self) -> datetime:
        return datetime.now(UTC) + self.by


async def test_clocks_that_are_apart(tmp_path: Path) -> None:
    records = Ahead(tmp_path / "shop.db", TABLES, SystemClock())
    assert "are 3600 s apart" in (await check_tables(records)).wrong
    records.by = timedelta(milliseconds=100)
    assert not (await check_tables(records)).wrong
    await records.close()
