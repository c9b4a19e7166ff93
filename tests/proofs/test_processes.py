"""Several processes of one shop: each is up to date, a timer is one's alone, and who dies is replaced."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from bench.crowd import ADDRESS
from bench.places import Place, place
from bench.processes import Server, free_port, kill, service
from ecokart.core.clock import SystemClock
from ecokart.opening import open_records
from tests.proofs.timer_process import EVERY_SECONDS, RUNS

BOUND_SECONDS = 60
ENGINES = ["sqlite", "postgresql"]
RUNS_TOGETHER = 40


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("engine", ENGINES)
async def test_of_three_processes_exactly_one_runs_a_timer_that_is_due(engine: str) -> None:
    with place(engine) as where:
        url = where.settings.records_url
        await asyncio.gather(*[_time(where, url, name) for name in ("one", "two", "three")])
        records = open_records("RECORDS_URL", url, [RUNS], SystemClock())
        runs = sorted((await records.scan(RUNS, limit=1000)).values, key=lambda run: run.claimed_at)
        await records.close()
    assert len(runs) >= RUNS_TOGETHER
    assert {run.process for run in runs} == {"one", "two", "three"}
    for earlier, later in pairwise(runs):
        assert later.began_at >= earlier.ended_at
        assert (later.claimed_at - earlier.claimed_at).total_seconds() >= EVERY_SECONDS


async def _time(where: Place, url: str, name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.proofs.timer_process",
        *(url, name, str(RUNS_TOGETHER), str(where.folder)),
    )
    async with asyncio.timeout(BOUND_SECONDS):
        assert await process.wait() == 0


@pytest.mark.parametrize("engine", ENGINES)
async def test_what_one_process_sold_is_soon_shown_by_all(engine: str) -> None:
    with place(engine) as where:
        servers: list[Server] = []
        try:
            servers += [where.serve(free_port()) for _ in range(3)]
            async with where.crowd() as people:
                (customer,) = await people.come([[("EK-001", 3)]])
            first = f"http://127.0.0.1:{servers[0].port}"
            headers = {"Authorization": f"Bearer {customer.token}"}
            item = {"sku": "EK-001", "quantity": 2}
            added = httpx.post(f"{first}/api/cart", json=item, headers=headers)
            assert added.status_code == 200
            left = (await where.auditor().books()).stock["EK-001"].available
            await until(lambda: [_available(server) for server in servers] == [left] * 3)
        finally:
            for server in servers:
                server.stop()


def _available(server: Server) -> int:
    product = httpx.get(f"http://127.0.0.1:{server.port}/api/products/prod-001").json()
    (variant,) = [one for one in product["variants"] if one["sku"] == "EK-001"]
    return int(variant["available"])


async def test_one_service_down_takes_only_its_own_paths_with_it(tmp_path: Path) -> None:
    services: dict[str, Server] = {}
    try:
        for name in ("product", "checkout", "user", "work"):
            services[name] = service(name, tmp_path, free_port())
        url = {name: f"http://127.0.0.1:{server.port}" for name, server in services.items()}
        async with Place(tmp_path, {}).crowd() as people:
            (customer,) = await people.come([[]])
        headers = {"Authorization": f"Bearer {customer.token}"}
        assert httpx.get(f"{url['product']}/api/products").status_code == 200
        services["product"].kill()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url['product']}/api/products")
        assert httpx.get(f"{url['user']}/auth/me", headers=headers).status_code == 200
        item = {"sku": "EK-001", "quantity": 1}
        added = httpx.post(f"{url['checkout']}/api/cart", json=item, headers=headers)
        assert added.status_code == 200
        body = {"address": ADDRESS}
        placed = httpx.post(f"{url['checkout']}/api/orders", json=body, headers=headers)
        assert placed.status_code == 201
        order = f"{url['checkout']}/api/orders/{placed.json()['id']}"
        # Another process does the work.
        await until(lambda: httpx.get(order, headers=headers).json()["status"] == "COMPLETED")
    finally:
        for server in services.values():
            server.stop()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Server]:
    """Three processes behind a port."""
    shop = Place(tmp_path, {}).serve(free_port(), 3)
    yield shop
    shop.stop()


async def test_a_process_that_dies_is_replaced_and_nobody_is_kept_waiting(shop: Server) -> None:
    url = f"http://127.0.0.1:{shop.port}/api/products"
    await until(lambda: len(shop.workers()) == 3)
    for _ in range(3):
        before = set(shop.workers())
        kill(min(before))
        assert httpx.get(url, timeout=BOUND_SECONDS).status_code == 200
        await until(lambda before=before: len(set(shop.workers()) - before) == 1)  # type: ignore[misc]
        assert len(shop.workers()) == 3


async def test_each_shows_what_all_have_counted(shop: Server) -> None:
    url = f"http://127.0.0.1:{shop.port}"
    await until(lambda: len(_started(shop)) == 3)
    for _ in range(20):  # each over a connection of its own, so any may answer
        assert httpx.get(f"{url}/shipping").status_code == 200
    for _ in range(5):
        assert _counted(httpx.get(f"{url}/metrics").text, "/shipping") == 20
    kill(shop.workers()[0])
    assert _counted(httpx.get(f"{url}/metrics").text, "/shipping") == 20


async def test_told_to_end_it_finishes_and_leaves_nobody_behind(shop: Server) -> None:
    await until(lambda: len(_started(shop)) == 3)
    workers = shop.workers()
    shop.stop()
    assert not [worker for worker in workers if _alive(worker)]
    assert shop.log.read_text().count("Application shutdown complete") == 3
    assert "Traceback" not in shop.log.read_text()


async def test_the_processes_end_when_their_supervisor_dies(shop: Server) -> None:
    await until(lambda: len(_started(shop)) == 3)
    workers = shop.workers()
    kill(shop.process_id)
    await until(lambda: not [worker for worker in workers if _alive(worker)])
    assert shop.log.read_text().count("Application shutdown complete") == 3


async def test_a_wrong_setting_ends_all_of_it(tmp_path: Path) -> None:
    """Where the processes refuse to start there is nothing to wait for."""
    (tmp_path / "mail").write_text("no folder")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ecokart", "serve", "--workers", "2"),
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ECOKART")},
            "ECOKART_ENVIRONMENT": "production",
            "ECOKART_SECRET": "s" * 32,
            "ECOKART_PORT": "0",
            "ECOKART_DATA_DIR": str(tmp_path),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(BOUND_SECONDS):
        _, said = await process.communicate()
    assert process.returncode == 2
    assert b"ECOKART_MAIL_URL" in said


async def test_an_unknown_service_is_refused_in_a_sentence() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ecokart", "serve", "--service", "cinema"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    expected = (
        "There is no service 'cinema'; there are product, checkout, user, analytics, chat, work."
    )
    assert said.decode().strip() == f"ecokart: {expected}"


def _started(shop: Server) -> list[str]:
    lines = [json.loads(line) for line in shop.log.read_text().splitlines() if line[:1] == "{"]
    return [line["at"] for line in lines if line["message"] == "Application startup complete."]


def _counted(metrics: str, route: str) -> float:
    counts = re.findall(rf'duration_seconds_count{{.*route="{route}".*}} (\S+)', metrics)
    return sum(map(float, counts))


def _alive(process: int) -> bool:
    try:
        os.kill(process, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return True
