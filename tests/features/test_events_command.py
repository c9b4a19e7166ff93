"""`ecokart events`, as it is typed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ecokart.app import open_ports
from ecokart.cli import main
from ecokart.core.ports import Ports
from ecokart.core.transaction import Transaction, transact
from ecokart.core.worker import Worker
from ecokart.features.catalog.events import StockLow
from ecokart.features.orders.events import OrderCompleted
from ecokart.opening import JOBS
from ecokart.settings import load
from tests.clock import ManualClock
from tests.core.little_shop import reactions
from tests.features.invoices import everything

HANDLER = "catalog.jobs.tell_office_of_low_stock"
BOUND_SECONDS = 30

Typed = Callable[..., Result]


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    def type_in(*arguments: object) -> Result:
        words = ["events", *map(str, arguments)]
        return CliRunner().invoke(main, words, env={"ECOKART_DATA_DIR": str(tmp_path)})

    return type_in


@pytest.fixture
def clock() -> ManualClock:
    """The commands go by the system's clock, so the facts are from an hour ago."""
    clock = ManualClock()
    ago = datetime.now(UTC) - timedelta(hours=1) - clock.now()
    clock.advance(seconds=ago.total_seconds())
    return clock


@pytest.fixture
async def ports(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Ports]:
    ports = open_ports(load({"ECOKART_DATA_DIR": str(tmp_path)}), clock)
    yield ports
    await ports.close()


async def runs_low(ports: Ports, *skus: str) -> None:
    """State so of each, and hand it on to nobody."""

    async def work(tx: Transaction, sku: str) -> None:
        tx.emit(StockLow(sku=sku, product_id="p", available=1))

    for sku in skus:
        await transact(ports, work, sku)
    await Worker(ports, reactions()).drain()


async def in_thread(typed: Typed, *arguments: object) -> Result:
    """The command has a loop of its own."""
    return await asyncio.to_thread(typed, *arguments)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def skus(text: str) -> list[str]:
    return [line["event"]["sku"] for line in lines(text)]


async def test_tail_shows_the_last_facts_with_who_when_and_what(typed: Typed, ports: Ports) -> None:
    await runs_low(ports, *"abcde")
    result = await in_thread(typed, "tail", "--last", "2")
    assert result.exit_code == 0, result.output
    first, second = [line.split("\t") for line in result.stdout.splitlines()]
    assert first[1:5] == ["stock.low", "stock/d", "-", "-"]
    assert json.loads(second[5]) == {"sku": "e", "product_id": "p", "available": 1}
    assert datetime.fromisoformat(first[0]) < datetime.now(UTC)


async def test_tail_shows_one_stream_or_what_was_stated_since(
    typed: Typed, ports: Ports, clock: ManualClock
) -> None:
    await runs_low(ports, "a", "b")
    clock.advance(minutes=30)
    await runs_low(ports, "b")
    assert len((await in_thread(typed, "tail", "--stream", "stock/b")).stdout.splitlines()) == 2
    recent = await in_thread(typed, "tail", "--from", "40m")
    assert [line.split("\t")[2] for line in recent.stdout.splitlines()] == ["stock/b"]
    of_stream = await in_thread(typed, "tail", "--from", "40m", "--stream", "stock/b")
    assert len(of_stream.stdout.splitlines()) == 1


def test_tail_of_a_shop_without_facts_shows_nothing(typed: Typed) -> None:
    result = typed("tail")
    assert (result.exit_code, result.output) == (0, "")


async def test_tail_follows_what_other_processes_state(tmp_path: Path, ports: Ports) -> None:
    await runs_low(ports, "before")
    command = [str(Path(sys.executable).with_name("ecokart")), "events", "tail", "--follow"]
    environ = {**os.environ, "ECOKART_DATA_DIR": str(tmp_path)}
    now = open_ports(load({"ECOKART_DATA_DIR": str(tmp_path)}))
    tail = await asyncio.create_subprocess_exec(*command, env=environ, stdout=subprocess.PIPE)
    try:
        async with asyncio.timeout(BOUND_SECONDS):
            assert tail.stdout
            shown = [await tail.stdout.readline()]
            for sku in ("one", "two"):
                await runs_low(now, sku)
                shown.append(await tail.stdout.readline())
            assert [line.split(b"\t")[2] for line in shown] == [
                b"stock/before",
                b"stock/one",
                b"stock/two",
            ]
            tail.send_signal(signal.SIGINT)
            assert await tail.wait() == 130
    finally:
        if tail.returncode is None:
            tail.kill()
        await now.close()


async def test_export_writes_every_fact_as_a_line(
    typed: Typed, ports: Ports, tmp_path: Path
) -> None:
    await runs_low(ports, *"abc")
    result = await in_thread(typed, "export", "-")
    assert result.exit_code == 0, result.output
    assert skus(result.stdout) == ["a", "b", "c"]
    first = lines(result.stdout)[0]
    assert (first["stream"], first["number"], first["detail"]) == ("stock/a", 0, None)
    assert first["event"]["name"] == "stock.low"
    last = lines(result.stdout)[-1]["event"]["id"]
    assert result.stderr == f"3 facts, the last one {last}\n"


async def test_export_goes_on_where_its_file_ends_though_it_was_cut_off(
    typed: Typed, ports: Ports, tmp_path: Path, clock: ManualClock
) -> None:
    await runs_low(ports, *"abc")
    file = tmp_path / "facts.jsonl"
    assert (await in_thread(typed, "export", file)).exit_code == 0
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    clock.advance(minutes=1)
    await runs_low(ports, "d")
    assert (await in_thread(typed, "export", file)).exit_code == 0
    assert file.read_bytes().startswith(whole)
    assert skus(file.read_text()) == ["a", "b", "c", "d"]


async def test_export_goes_on_behind_a_fact(typed: Typed, ports: Ports) -> None:
    await runs_low(ports, *"abc")
    known = lines((await in_thread(typed, "export", "-")).stdout)[0]["event"]["id"]
    rest = await in_thread(typed, "export", "-", "--after", known)
    assert skus(rest.stdout) == ["b", "c"]


async def test_export_leaves_what_others_may_still_come_before(
    typed: Typed, ports: Ports, clock: ManualClock
) -> None:
    clock.advance(minutes=59.5)
    await runs_low(ports, "a")
    assert (await in_thread(typed, "export", "-", "--to", "0s")).stdout == ""


def test_export_leaves_a_file_alone_that_is_none_of_its_own(typed: Typed, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("buy soap\n")
    result = typed("export", file)
    assert result.exit_code == 2
    assert result.stderr == f"ecokart: {file} holds something else than an export of events.\n"
    assert file.read_text() == "buy soap\n"


async def test_replay_sends_a_handler_the_facts_of_a_time_once(
    typed: Typed, ports: Ports, clock: ManualClock
) -> None:
    await runs_low(ports, "a")
    clock.advance(minutes=30)
    await runs_low(ports, "b", "c")
    counted = await in_thread(typed, "replay", HANDLER, "--from", "40m", "--dry-run")
    assert counted.stderr == f"2 of stock.low would be sent to {HANDLER}\n"
    assert await everything(ports, JOBS) == []
    for _ in range(2):
        result = await in_thread(typed, "replay", HANDLER, "--from", "40m")
        assert result.exit_code == 0, result.output
        jobs = [queued.job for queued, _ in await everything(ports, JOBS)]
        assert sorted(json.loads(bytes(job.event))["sku"] for job in jobs) == ["b", "c"]
        assert {job.handler for job in jobs} == {HANDLER}


async def test_replay_sends_only_what_concerns_the_handler(typed: Typed, ports: Ports) -> None:
    async def happened(tx: Transaction) -> None:
        for source in ("shop", "partner:acme"):
            tx.emit(OrderCompleted(order_id="EK-1", source=source))

    await transact(ports, happened)
    told = await in_thread(typed, "replay", "webhooks.jobs.tell_completed", "--from", "2h")
    assert told.stderr == "1 of order.completed sent to webhooks.jobs.tell_completed\n"


def test_handlers_are_listed_with_what_they_react_to(typed: Typed) -> None:
    listed = [line.split("\t") for line in typed("handlers").stdout.splitlines()]
    assert [HANDLER, "stock.low", "lane mail", "replayable"] in listed
    assert ["orders.pipeline.capture", "capture.needed", "lane payments", "not logged"] in listed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["replay", "nobody", "--from", "1h"], "There is no handler 'nobody'"),
        (["replay", "orders.pipeline.capture", "--from", "1h"], "is a signal and no logged fact"),
        (["replay", HANDLER, "--from", "soon"], "'soon' is no time"),
        (["tail", "--from", "2026-13-01"], "'2026-13-01' is no time"),
        (["export", "-", "--after", "xyz"], "takes the id of a fact"),
        (["export", "/no/such/folder/facts"], "can't be written"),
    ],
)
def test_what_it_does_not_understand_it_refuses_in_a_sentence(
    typed: Typed, arguments: list[str], sentence: str
) -> None:
    result = typed(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
