"""`python -m tests.servers` starts the real servers until Ctrl-C; with a command, for as long as it runs.

Alone it is `make engines`: for a developer, whose PostgreSQL keeps its data in `data/engines`. With a
command it is how `make test` runs pytest: a set of its own that leaves nothing behind, and the
command's exit code. Only what was started here is ended here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import NoReturn

from tests.servers import AWS_KEYS, RUNNING, VARIABLES, listens
from tests.servers.processes import (
    HOST,
    REGION,
    DynamoDB,
    ElasticMQ,
    NotStarted,
    PostgreSQL,
    Redis,
    Server,
    free_port,
)
from tests.setup_engines import POSTGRESQL, ROOT, SERVERS, provide

FOLDER = RUNNING.parent
KEYS = " ".join(f"{name}={value}" for name, value in AWS_KEYS.items())
COMMAND_SECONDS = 10  # for a command to end when we are told to


def main(command: Sequence[str]) -> int:
    """Run the servers, and the command beside them. Returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    if command:
        return _beside(command)
    provide(SERVERS)
    try:
        _for_a_developer()
    except KeyboardInterrupt:
        return 0
    return 0


def _beside(command: Sequence[str]) -> int:
    folder = FOLDER / f"tests-{os.getpid()}"
    servers: list[Server] = [
        kind(folder / kind.__name__.lower()) for kind in (DynamoDB, ElasticMQ, Redis, PostgreSQL)
    ]
    try:
        with _running(servers) as urls:
            return _run(command, urls)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str], urls: dict[str, str]) -> int:
    process = subprocess.Popen(command, env=os.environ | urls)
    try:
        code = process.wait()
    except SystemExit:
        # Ctrl-C reaches the command by itself, from the terminal.
        process.send_signal(signal.SIGINT)
        raise
    finally:
        try:
            process.wait(COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    return code if code >= 0 else 128 - code


def _for_a_developer() -> None:
    if RUNNING.is_file() and any(listens(url) for url in json.loads(RUNNING.read_text()).values()):
        sys.exit(f"They run already: {RUNNING.relative_to(ROOT)} says where.")
    postgresql = PostgreSQL(FOLDER / "postgresql", _usual_port(0))
    redis = Redis(FOLDER / "redis", _usual_port(1))
    dynamodb = DynamoDB(FOLDER / "dynamodb", _usual_port(2))
    elasticmq = ElasticMQ(FOLDER / "elasticmq", _usual_port(3))
    settings = {
        postgresql: [f"ECOKART_RECORDS_URL='{postgresql.database('shop')}'"],
        redis: [
            f"ECOKART_{port}_URL='redis://{HOST}:{redis.port}/0?prefix=shop:'"
            for port in ("CACHE", "LIVE")
        ],
        dynamodb: [f"ECOKART_RECORDS_URL='dynamodb://{REGION}/shop?endpoint={dynamodb.url}'", KEYS],
        elasticmq: [f"ECOKART_QUEUE_URL='sqs://{REGION}/shop?endpoint={elasticmq.url}'", KEYS],
    }
    with _running([dynamodb, elasticmq, redis, postgresql]) as urls:
        if VARIABLES[POSTGRESQL] in urls:
            postgresql.forget_tests()
        RUNNING.parent.mkdir(parents=True, exist_ok=True)
        RUNNING.write_text(json.dumps(urls), "utf-8")
        try:
            _tell(settings, urls)
            while True:
                signal.pause()
        finally:
            RUNNING.unlink(missing_ok=True)


def _tell(settings: Mapping[Server, Sequence[str]], urls: Mapping[str, str]) -> None:
    print("What the shop is told to use each (the tests find them by themselves):")
    for server, lines in settings.items():
        if VARIABLES[server.engine] in urls:
            print(f"\n  {server.engine.name}", *lines, sep="\n    ")
    print("\nCtrl-C stops them.", flush=True)


@contextmanager
def _running(servers: Sequence[Server]) -> Iterator[dict[str, str]]:
    """From a variable's name to the URL of each server that could be started; stopped at the end."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:
        begun = []
        for server in servers:
            if server.engine.find() is None:
                continue
            stack.callback(server.stop)
            try:
                server.begin()
                begun.append(server)
            except NotStarted as error:
                print(f"{server.engine.name} doesn't start: {error}", flush=True)
        for server in begun:
            try:
                server.wait()
                urls[VARIABLES[server.engine]] = server.url
            except NotStarted as error:
                print(error, flush=True)
        yield urls


def _usual_port(number: int) -> int:
    """The same at every start where it is free, so that what was copied from the screen stays true."""
    port = 8711 + number
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return free_port()
    return port


def _leave(number: int, frame: object) -> NoReturn:
    # Once is enough: what is being stopped is to be stopped to the end.
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
