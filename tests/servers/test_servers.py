"""The servers for tests: what is killed comes back, what was started ends, what is missing is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis.asyncio

from tests.servers import (
    VARIABLES,
    dynamodb_url,
    listens,
    own_postgresql,
    own_redis,
    postgresql_url,
    redis_url,
    sqs_url,
)
from tests.setup_engines import REDIS, ROOT


async def test_a_postgresql_of_ones_own_keeps_through_a_kill_what_it_acknowledged(
    tmp_path: Path,
) -> None:
    with own_postgresql(tmp_path) as server:
        before = await asyncpg.connect(server.url)
        assert await before.fetchval("SHOW fsync") == "on"
        await before.execute("CREATE TABLE kept (number int)")
        await before.execute("INSERT INTO kept VALUES (7)")
        server.kill()
        assert not listens(server.url)
        with pytest.raises(asyncpg.PostgresConnectionError):
            await before.fetchval("SELECT 1")
        server.start()
        after = await asyncpg.connect(server.url)
        assert await after.fetchval("SELECT number FROM kept") == 7
        await after.close()
    assert not listens(server.url)


async def test_a_redis_of_ones_own_comes_back_empty_at_the_same_address(tmp_path: Path) -> None:
    with own_redis(tmp_path) as server:
        client = redis.asyncio.Redis.from_url(server.url, retry=None)
        await client.set("key", "value")
        server.kill()
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.get("key")
        server.start()
        assert await client.get("key") is None
        await client.aclose()


@pytest.mark.parametrize("url", [postgresql_url, redis_url, dynamodb_url, sqs_url])
def test_everybody_gets_a_place_of_their_own(url: object) -> None:
    assert callable(url)
    one, other = url(), url()
    assert one != other


def test_without_the_server_a_test_skips_and_under_ci_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLES[REDIS], "redis://127.0.0.1:1/1")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Redis"):
        redis_url()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Redis"):
        redis_url()


def test_a_command_has_servers_beside_it_and_keeps_its_exit_code() -> None:
    command = "import os; print(*[os.environ.get(name, '') for name in %r]); raise SystemExit(7)"
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "tests.servers"),
            *(sys.executable, "-c", command % [*VARIABLES.values()]),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 7, ran.stderr
    for url in ran.stdout.split():
        assert urlsplit(url).hostname == "127.0.0.1"
        assert not listens(url), "the server outlives the command"
