"""The floor: what the same server, Starlette and machine do at the most, with nothing behind them.

It answers the very bytes that the shop answers, read from the folder in FLOOR_FOLDER: a GET with
what was recorded for its path, a POST (read to its end) with the JSON of an order likewise.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.processes import Server, free_port

FOLDER = "FLOOR_FOLDER"
ANSWERS = {"list": "application/json", "page": "text/html; charset=utf-8"}
ORDERS = ("order", "partner-order")


def start(folder: Path, recorded: dict[str, bytes]) -> Server:
    """A process that answers `/list` and `/page`, and POST `/order` and `/partner-order`, with these bytes."""
    folder.mkdir()
    for name, body in recorded.items():
        (folder / name).write_bytes(body)
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "bench.floor:application", "--factory"),
        *("--port", str(port), "--loop", "uvloop", "--http", "httptools", "--ws", "none"),
        *("--no-access-log", "--log-level", "warning", "--no-server-header", "--backlog", "2048"),
    ]
    return Server(command, port, folder / "log", environ={FOLDER: str(folder)}, ready="/list")


def application() -> Starlette:
    folder = Path(os.environ[FOLDER])
    routes = [
        _get(name, kind, (folder / name).read_bytes())
        for name, kind in ANSWERS.items()
        if (folder / name).exists()
    ]
    routes += [_post(name, (folder / name).read_bytes()) for name in ORDERS]
    return Starlette(routes=routes)


def _get(name: str, kind: str, body: bytes) -> Route:
    async def answer(request: Request) -> Response:
        return Response(body, media_type=kind)

    return Route(f"/{name}", answer)


def _post(name: str, order: bytes) -> Route:
    async def answer(request: Request) -> Response:
        await request.body()
        return Response(order, 201, media_type="application/json")

    return Route(f"/{name}", answer, methods=["POST"])
