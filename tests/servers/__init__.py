"""The real servers for tests and benches: PostgreSQL, Redis, DynamoDB Local, and ElasticMQ for SQS.

`make test` starts one set for all tests, `make engines` one for a developer; whichever runs is found
here. Each call gives a place of its own on it, empty at first, so tests don't see each other's things.
Without the server the test skips with one line that says what is missing; under `CI=true` it fails.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from tests.servers.processes import REGION, PostgreSQL, Redis, Server
from tests.setup_engines import (
    DYNAMODB,
    ELASTICMQ,
    POSTGRESQL,
    REDIS,
    ROOT,
    Engine,
    JavaEngine,
    do_without,
)

# Where `make engines` says what it has started: from a variable's name below to a URL.
RUNNING = ROOT / "data" / "engines" / "running.json"
# Not `ECOKART_…`: the settings refuse what they don't know.
VARIABLES = {
    POSTGRESQL: "TEST_POSTGRESQL_URL",
    REDIS: "TEST_REDIS_URL",
    DYNAMODB: "TEST_DYNAMODB_URL",
    ELASTICMQ: "TEST_SQS_URL",
}
# The local servers take any keys, but AWS's libraries don't call without. Never a developer's own.
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


def postgresql_url() -> str:
    """PostgreSQL, with the name of a schema that doesn't exist yet."""
    return f"{_running(POSTGRESQL)}?schema={_fresh()}"


def redis_url() -> str:
    """Redis, with a prefix that nobody uses yet."""
    return f"{_running(REDIS)}?prefix={_fresh()}:"


def dynamodb_url() -> str:
    """DynamoDB Local, with a prefix that no table has yet."""
    endpoint = _running(DYNAMODB)
    os.environ.update(AWS_KEYS)
    return f"dynamodb://{REGION}/{_fresh()}?endpoint={endpoint}"


def sqs_url() -> str:
    """ElasticMQ, with a prefix that no queue has yet."""
    endpoint = _running(ELASTICMQ)
    os.environ.update(AWS_KEYS)
    return f"sqs://{REGION}/{_fresh()}?endpoint={endpoint}"


@contextmanager
def own_postgresql(folder: Path) -> Iterator[PostgreSQL]:
    """A PostgreSQL of one's own that may be killed and started again: same port, same data."""
    with _own(PostgreSQL(folder)) as server:
        yield server


@contextmanager
def own_redis(folder: Path) -> Iterator[Redis]:
    """A Redis of one's own that may be killed and started again: same port, nothing kept."""
    with _own(Redis(folder)) as server:
        yield server


def listens(url: str) -> bool:
    """Whether somebody listens at a URL's host and port."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname or "", address.port or 0), 2).close()
    except OSError:
        return False
    return True


S = TypeVar("S", bound=Server)


@contextmanager
def _own(server: S) -> Iterator[S]:
    if server.engine.find() is None:
        do_without(_missing(server.engine))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _running(engine: Engine | JavaEngine) -> str:
    """The URL of the set's server. Skips or fails the test if there is none."""
    variable = VARIABLES[engine]
    url = os.environ.get(variable)
    if url is None and RUNNING.is_file():
        url = json.loads(RUNNING.read_text("utf-8")).get(variable)
    if url is None or not listens(url):
        if engine.find() is None:
            do_without(_missing(engine))
        do_without(f"{engine.name} doesn't run: `make engines` starts it, and so does `make test`")
    return url


def _missing(engine: Engine | JavaEngine) -> str:
    return f"{engine.name} is missing: install {engine.package} to run this test"


def _fresh() -> str:
    return f"test_{secrets.token_hex(6)}"
