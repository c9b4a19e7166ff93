"""A whole shop that moves: while it sells, killed on the way, and as the command is typed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from ecokart.cli import main
from ecokart.copying.copy import ShopCopy
from ecokart.core.clock import SystemClock
from ecokart.core.records import ABSENT, MAX_RECORD_BYTES, Put
from ecokart.features.accounts.model import EMAILS, EmailClaim
from ecokart.features.orders.model import ORDERS, Status
from ecokart.opening import open_records
from ecokart.rooms import TABLES
from tests.copying.test_steps import differing, quietly
from tests.shop import Shop, running_shop

ADDRESS = {"name": "Jo", "street": "Markt 1", "postalCode": "5020", "city": "Salzburg"}
ORDER = {"address": ADDRESS | {"country": "AT"}, "email": "jo@example.com"}
MANY = 30_000  # records, so that a copy takes about a second
LONGEST_SECONDS = 60.0


async def test_a_shop_moves_while_it_sells(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/data/ecokart.db", f"sqlite:///{tmp_path}/new.db"]
    clock = SystemClock()
    async with running_shop(tmp_path, worker=True) as shop:
        source, target = [open_records("--to", url, TABLES, clock) for url in urls]
        copy = ShopCopy(source, target, TABLES, clock)
        placed: list[str] = []
        enough = asyncio.Event()
        buying = [asyncio.create_task(_buys(shop, placed, enough)) for _ in range(3)]
        begun = await copy.copy_all(await copy.begin(*urls), quietly)
        carried, seen = 0, len(placed)
        while len(placed) < seen + 20:
            carried += await copy.catch_up(quietly)
        enough.set()
        await asyncio.gather(*buying)
    assert carried > 20  # it had to be followed, or this proves nothing
    await copy.catch_up(quietly)
    assert differing(await copy.verify(quietly)) == {}
    await copy.finish(begun)
    await source.close()
    await target.close()
    async with running_shop(tmp_path / "new", seeded=False, records_url=urls[1]) as moved:
        await moved.settle()
        for order_id in placed:
            found = await moved.ports.records.get(ORDERS, order_id)
            assert found
            assert found.value.status is Status.COMPLETED


async def _buys(shop: Shop, placed: list[str], enough: asyncio.Event) -> None:
    while not enough.is_set():
        async with shop.browser() as client:
            await client.post("/api/cart", json={"sku": "EK-006"})
            answer = await client.post("/api/orders", json=ORDER)
            assert answer.status_code == 201, answer.text
            placed.append(answer.json()["id"])


def copied(url: str, target_url: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["copy", "--from", url, "--to", target_url, *options])


def urls_of(folder: Path) -> tuple[str, str]:
    return f"sqlite:///{folder}/from.db", f"sqlite:///{folder}/to.db"


async def keep(url: str, count: int) -> None:
    """So many records in the shop at that URL."""
    records = open_records("--from", url, TABLES, SystemClock())
    claims = [EmailClaim(f"e{number:06}@example.com", "user-1") for number in range(count)]
    portions = [claims[at : at + 100] for at in range(0, count, 100)]
    await asyncio.gather(
        *(records.commit([Put(EMAILS, one, ABSENT) for one in portion]) for portion in portions)
    )
    await records.close()


def reached(folder: Path) -> int:
    """How many records the copy in the target says it has copied by now."""
    with sqlite3.connect(f"file:{folder}/to.db?mode=ro", uri=True) as target:
        (body,) = target.execute("SELECT body FROM copies").fetchone()
    return int(json.loads(body)["tables"].get("emails", {}).get("records", 0))


def test_killed_on_the_way_it_goes_on_where_it_was(tmp_path: Path) -> None:
    url, target_url = urls_of(tmp_path)
    asyncio.run(keep(url, MANY))
    command = [sys.executable, "-m", "ecokart", "copy", "--from", url, "--to", target_url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if reached(tmp_path):
                break
        except (sqlite3.Error, TypeError):  # there is no file yet, or no table, or no record
            pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = reached(tmp_path)
    assert 0 < before < MANY
    again = copied(url, target_url, "--final")
    assert again.exit_code == 0, again.output
    assert f"Going on: {before:,} records" in again.output
    assert f"emails{MANY:,}{MANY:,}" in "".join(again.output.split())
    assert reached(tmp_path) == MANY


def test_it_says_how_far_it_is_and_what_to_do_next(tmp_path: Path) -> None:
    url, target_url = urls_of(tmp_path)
    asyncio.run(keep(url, 200))
    first = copied(url, target_url)
    assert first.exit_code == 0
    assert "Copied 200 records in" in first.output
    assert "run this again with --final" in first.output
    assert "same" not in first.output  # nothing is promised that wasn't verified
    last = copied(url, target_url, "--final")
    assert last.exit_code == 0
    assert "Both sides hold the same." in last.output


def test_what_differs_is_named_and_ends_it_with_1(tmp_path: Path) -> None:
    url, target_url = urls_of(tmp_path)
    asyncio.run(keep(url, 200))
    claim = EmailClaim("e000007@example.com", "x" * MAX_RECORD_BYTES)
    with closing(sqlite3.connect(tmp_path / "from.db")) as source, source:
        body = msgspec.json.encode(claim)  # larger than any engine lets a record become
        source.execute("UPDATE emails SET body = ? WHERE key = ?", (body, claim.folded))
    last = copied(url, target_url, "--final")
    assert last.exit_code == 1
    assert f"differs: emails/{claim.folded}: emails/{claim.folded} has" in last.output
    assert "Not the same: 1 of 200." in last.output


@pytest.mark.parametrize("command", [["serve"], ["serve", "--workers", "2"], ["work"]])
def test_a_shop_that_has_not_arrived_does_not_open(tmp_path: Path, command: list[str]) -> None:
    url, target_url = urls_of(tmp_path)
    asyncio.run(keep(url, 200))
    assert copied(url, target_url).exit_code == 0
    environ = os.environ | {"ECOKART_DATA_DIR": str(tmp_path), "ECOKART_PORT": "0"}
    refused = subprocess.run(
        [sys.executable, "-m", "ecokart", *command],
        env=environ | {"ECOKART_RECORDS_URL": target_url},
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert refused.returncode == 2, refused.stderr
    assert f"A shop is still being copied to here, from {url}." in refused.stderr


def test_a_source_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    url, target_url = urls_of(tmp_path)
    missing = copied(url, target_url)
    assert missing.exit_code == 2
    assert "--from is" in missing.output
    assert "no such file" in missing.output
    assert not list(tmp_path.iterdir())
    unknown = copied("mysql://db", target_url)
    assert unknown.output.startswith("ecokart: --from is 'mysql://db', but takes")
