"""The whole shop, as a test meets it: over real HTTP, on a folder and a clock of its own.

async with running_shop(tmp_path, clock=clock, rate_limit=5) as shop:
    answer = await shop.client.get("/api/products")
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from ecokart import app
from ecokart.core.clock import Clock
from ecokart.core.ports import Ports
from ecokart.rooms import Service
from ecokart.serving import Server
from ecokart.settings import load
from ecokart.web.logs import LogWriter
from ecokart.web.sockets_server import OPTIONS, Protocol

# Many requests come from one address here; tests of the limit set their own.
PLENTY = "100000"


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop that is open. `client` keeps its cookies, as one browser does; `browser()` is another one."""

    url: str
    app: app.Application
    ports: Ports
    client: httpx.AsyncClient

    @asynccontextmanager
    async def browser(self, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.url, **options) as client:
            yield client

    async def settle(self) -> None:
        """Do all the background work that is due, and show its effect on the shelf."""
        await self.app.worker.drain()
        await self.app.shelf.refresh()


@asynccontextmanager
async def running_shop(
    folder: Path,
    clock: Clock | None = None,
    *,
    seeded: bool = True,
    through: Callable[[Ports], Ports] = lambda ports: ports,
    log: LogWriter | None = None,
    service: Service | None = None,
    **settings: Any,
) -> AsyncIterator[Shop]:
    """The shop with its demo goods and people, served on a free port until the context ends.

    Settings are those of `ecokart.settings`, by their field's name. The background work stands
    still until `settle`, unless `worker=True`. `through` may put something around the ports.
    """
    given = {"environment": "test", "worker": False, "rate_limit": PLENTY} | settings
    environ = {
        f"ECOKART_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # uvicorn's own sockets send at once; without this every answer here would wait 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port = listener.getsockname()[1]
        built_with = load(
            {"ECOKART_DATA_DIR": str(folder / "data"), "ECOKART_PORT": str(port)} | environ
        )
        application = app.create(
            built_with,
            through(app.open_ports(built_with, clock)),
            log or _silent_log(),
            service=service,
            background=app.Background.WORK if built_with.worker else app.Background.NOTHING,
        )
        if seeded:
            await app.seed(application.ports)
        config = uvicorn.Config(
            application, log_config=None, access_log=False, ws=Protocol, lifespan="on", **OPTIONS
        )
        server = Server(config, application)
        serving = asyncio.create_task(server.serve([listener]))
        url = f"http://127.0.0.1:{port}"
        try:
            async with httpx.AsyncClient(base_url=url) as client:
                await _started(server, serving)
                yield Shop(url, application, application.ports, client)
        finally:
            server.should_exit = True
            await serving


@cache
def _silent_log() -> LogWriter:
    return LogWriter(os.open(os.devnull, os.O_WRONLY))


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            raise RuntimeError("The shop didn't start.") from serving.exception()
        await asyncio.sleep(0.005)
