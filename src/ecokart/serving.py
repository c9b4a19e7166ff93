"""Running the parts: the server, the worker, and the commands that need neither."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import click
import uvicorn

from ecokart.app import Application, Background, create, open_ports
from ecokart.app import seed as seed_ports
from ecokart.copying import run as copying
from ecokart.copying.copy import ShopCopy
from ecokart.copying.model import ArrivalUnfinished, refuse_unfinished
from ecokart.core.clock import SystemClock
from ecokart.core.errors import Unavailable
from ecokart.core.events import Reactions
from ecokart.core.ports import Ports
from ecokart.core.transaction import transact
from ecokart.core.worker import RELAY_BATCH, Worker
from ecokart.features.accounts.demo import PEOPLE
from ecokart.features.catalog import service as catalog
from ecokart.features.imports import service as imports
from ecokart.features.imports.files import InvoiceFile
from ecokart.features.imports.report import RejectsFile, progress_bar, show_summary
from ecokart.opening import making_queues, making_tables, open_records
from ecokart.rooms import JOB_MODULES, TABLES, Service
from ecokart.settings import BadSetting, Settings
from ecokart.supervising import Supervisor
from ecokart.web import logs
from ecokart.web.sockets_server import OPTIONS, Protocol

GRACE_SECONDS = 10
BACKLOG = 2048
BY_THEMSELVES = "These records make their tables by themselves, when they are first used."

log = logging.getLogger("ecokart")


async def serve(settings: Settings, service: Service | None = None) -> None:
    """The shop, or a service of it, until it is told to stop; requests under way are finished first."""
    listener = _listener(settings)
    app = build(settings, service)
    await _refuse_unfinished(app.ports)
    if not settings.production:
        await seed_ports(app.ports)
    _greet(settings, listener)
    await _server(settings, app).serve([listener])


async def serve_as_worker(settings: Settings, service: Service | None, descriptor: int) -> None:
    """The same over a socket that listens already, and until the supervisor ends, whose pipe is stdin."""
    app = build(settings, service, several=True)
    server = _server(settings, app)

    def end() -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        server.should_exit = True

    asyncio.get_running_loop().add_reader(sys.stdin, end)
    await server.serve([socket.socket(fileno=descriptor)])


async def supervise(settings: Settings, service: Service | None, count: int) -> int:
    """Several processes of the shop behind one port, until told to stop. The exit code."""
    if os.name == "nt":
        raise BadSetting("--workers takes a system whose processes can share a socket.")
    logs.configure(settings.log_level)
    listener = _listener(settings)
    async with _ports(settings) as ports:
        await _refuse_unfinished(ports)
    if not settings.production:
        await seed(settings)
    if settings.cache_url.startswith("memory:"):
        log.warning("each of %d processes counts the rate limits for itself", count)
    _greet(settings, listener)
    arguments = ["serve", *(["--service", service] if service else [])]
    return await Supervisor(arguments, count, listener).run()


class Server(uvicorn.Server):
    """uvicorn for the shop: when it is to stop it ends the open streams, for each of which it would wait."""

    def __init__(self, config: uvicorn.Config, app: Application) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.streams.close()
        await super().shutdown(sockets)


def _server(settings: Settings, app: Application) -> uvicorn.Server:
    _settle_memory()
    # When all is finished uvicorn raises the signal that it was told to end with once more: that would
    # end the process before the log's last lines are written.
    signal.signal(signal.SIGTERM, lambda *_: None)
    return Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws=Protocol,
            **OPTIONS,
            # Else uvicorn takes a start that failed for an application without one, and serves.
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=BACKLOG,
        ),
        app,
    )


def _greet(settings: Settings, listener: socket.socket) -> None:
    url = _url(listener)
    log.info("running on %s", url)
    click.echo(_welcome(settings, url), err=True)


def _listener(settings: Settings) -> socket.socket:
    """The socket to serve on. Raises `BadSetting` where there is none to be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    place = (settings.host, settings.port)
    try:
        listener = socket.create_server(place, family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"ECOKART_HOST {settings.host} and ECOKART_PORT {settings.port}"
        why = str(error.strerror).partition(" (while")[0]
        raise BadSetting(f"{where} can't be listened on: {why}.") from None
    # Answers go out at once: waiting for more to send would cost 40 ms each.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _settle_memory() -> None:
    """What is there now stays: the collector needn't look at it with every few hundred new objects.

    Requests make little garbage that counting references doesn't free; looking for it so often took
    a seventh of an order's CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def build(
    settings: Settings, service: Service | None = None, *, several: bool = False
) -> Application:
    """The application over the engines that the settings name."""
    ports, log_writer = open_ports(settings), logs.configure(settings.log_level)
    works = service is Service.WORK or (service is None and settings.worker)
    background = Background.WORK if works else Background.HANDING_ON
    return create(
        settings, ports, log_writer, service=service, background=background, several=several
    )


async def work(settings: Settings) -> None:
    """The background work until it is told to stop."""
    logs.configure(settings.log_level)
    async with _ports(settings) as ports:
        await _refuse_unfinished(ports)
        worker = Worker(ports, Reactions(JOB_MODULES))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()


async def seed(settings: Settings) -> None:
    async with _ports(settings) as ports:
        await seed_ports(ports)


async def import_orders(
    settings: Settings,
    paths: Sequence[Path],
    currency: str,
    rejects_path: Path | None,
    most_invoices: int | None,
) -> None:
    """Take over the sales of these files. Raises `UnreadableFile` before anything is changed."""
    started = time.perf_counter()
    rejects_path = rejects_path or settings.data_dir / "import-rejects.csv"
    async with AsyncExitStack() as stack:
        files = [stack.enter_context(InvoiceFile(path)) for path in paths]
        rejects = stack.enter_context(RejectsFile(rejects_path, files))
        ports = await stack.enter_async_context(_ports(settings))
        progress = stack.enter_context(progress_bar(files))
        try:
            tally = await imports.take_over(
                ports,
                files,
                currency=currency,
                reject=rejects.add,
                progress=progress,
                most_invoices=most_invoices,
            )
        except asyncio.CancelledError:
            click.echo("Interrupted. Run it again, and it goes on where it stopped.", err=True)
            raise
        await _relay(ports)
    show_summary(tally, rejects_path, seconds=time.perf_counter() - started)


async def copy(source_url: str, target_url: str, *, final: bool) -> bool:
    """Move a shop to another engine; says whether nothing is wrong. See `ecokart.copying`."""
    _refuse_missing_file("--from", source_url)
    clock = SystemClock()
    asked = _has_stopped if sys.stdin.isatty() else None
    async with AsyncExitStack() as stack:
        source = open_records("--from", source_url, TABLES, clock)
        stack.push_async_callback(source.close)
        target = open_records("--to", target_url, TABLES, clock)
        stack.push_async_callback(target.close)
        shop = ShopCopy(source, target, TABLES, clock)
        return await copying.run(shop, source_url, target_url, final=final, has_stopped=asked)


async def _refuse_unfinished(ports: Ports) -> None:
    """Raises `ArrivalUnfinished`: the next pass of that copy would take back what was sold here."""
    try:
        with suppress(
            Unavailable
        ):  # then nothing is sold, and whoever starts it finds out otherwise
            await refuse_unfinished(ports.records)
    except ArrivalUnfinished:
        await ports.close()
        raise


def _refuse_missing_file(option: str, url: str) -> None:
    """Opening it would make it."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        raise BadSetting(f"{option} is {url!r}, and there is no such file.")


def _has_stopped() -> bool:
    return click.confirm("Does it stand still?", default=True, err=True)


async def spread(settings: Settings, sku: str, shards: int) -> None:
    """Split a SKU's stock into that many shards, where the records do such a thing."""
    async with _ports(settings) as ports:
        await transact(ports, catalog.spread, sku, shards)


async def make_tables(settings: Settings, *, refill: bool) -> None:
    """Make the tables and queues that the shop needs, or bring older ones up to what it needs now."""
    async with making_tables(settings, TABLES, SystemClock()) as making:
        if making is None:
            click.echo(BY_THEMSELVES)
        else:
            await making.make(click.echo, refill=refill)
    async with making_queues(settings, SystemClock()) as queue:
        if queue is not None:
            await queue.create(Reactions(JOB_MODULES).lanes, click.echo)


async def show_tables(settings: Settings) -> None:
    """List every table that the shop needs, as it is."""
    async with making_tables(settings, TABLES, SystemClock()) as making:
        if making is None:
            return click.echo(BY_THEMSELVES)
        for table in await making.show():
            indexes = ", ".join(table.indexes) or "none"
            about = f"about {table.records} items\t{table.size_bytes} bytes\tindexes: {indexes}"
            click.echo(f"{table.name}\t{table.status}\t{about}\trecovery: {table.recovery or '-'}")
    return None


async def redrive(settings: Settings, job_ids: list[str], *, everything: bool) -> None:
    """Bring these dead letters back, or all of them; list them where none is named."""
    async with _ports(settings) as ports:
        after = None
        while True:
            page = await ports.queue.dead(after=after)
            for job in page.values:
                if everything:
                    job_ids.append(job.id)
                elif not job_ids:
                    click.echo(f"{job.id}\t{job.attempts} attempts\t{job.error}")
            if (after := page.after) is None:
                break
        click.echo(f"{await ports.queue.redrive(job_ids)} redriven", err=True)


async def _relay(ports: Ports) -> None:
    """Hand on what this process has stated, and what an interrupted one has left behind."""
    worker = Worker(ports, Reactions(JOB_MODULES))
    while entries := ports.handoff.take(RELAY_BATCH):
        await worker.relay(entries)
    while await worker.relay_orphans():
        pass


@asynccontextmanager
async def _ports(settings: Settings) -> AsyncIterator[Ports]:
    ports = open_ports(settings)
    try:
        yield ports
    finally:
        await ports.close()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _welcome(settings: Settings, url: str) -> str:
    lines = [
        "",
        f"  Ecokart is at    {url}",
        f"  The API          {url}/api",
        f"  Its office       {url}/admin",
        "",
    ]
    if not settings.production:
        lines += [f"  {role:<10} {email}  /  {password}" for email, password, _, role in PEOPLE]
        lines.append("")
    return "\n".join(lines)
