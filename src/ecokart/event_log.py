"""What `ecokart events …` does: shows the log of facts, writes it out, and sends handlers their events again."""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ecokart.app import open_ports
from ecokart.core.clock import SystemClock
from ecokart.core.events import Event, Handler, Reactions
from ecokart.core.handling import job_of
from ecokart.core.log import BEGINNING, SETTLED, LogEntry, follow, since, stream
from ecokart.core.ports import Job, Ports
from ecokart.rooms import JOB_MODULES
from ecokart.settings import BadSetting, Settings

AGO = re.compile(r"([0-9]{1,6})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# The last facts are looked for in longer and longer times, so that those of a busy shop are found at once.
LOOKS = [timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=30)]
BATCH = 100  # jobs sent together
LAST_LINE_BYTES = 1024 * 1024  # more than a fact takes, with its detail

_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct):
    """A fact in an export. `event` has its id, name and time, who did it, and what it says."""

    stream: str
    number: int
    event: msgspec.Raw
    detail: msgspec.Raw | None


class _Head(msgspec.Struct):
    id: str = ""
    actor: str = ""
    cause: str = ""


class _Exported(msgspec.Struct):
    event: _Head


async def tail(settings: Settings, *, name: str, begin: str, last: int, following: bool) -> None:
    """Show the last facts, or all from a time on, of every stream or of one; go on if told so."""
    async with _ports(settings) as ports:
        now = ports.clock.now()
        start = moment(begin, now) if begin else None
        recent = since(ports.records, now - SETTLED, now + SETTLED)
        known = {entry.id async for entry in recent} if following else set()
        async for entry in _newest(ports, now, start, name, last):
            known.add(entry.id)
            _show(entry)
        if not following:
            return
        async for entry in follow(ports.records, ports.clock, now - SETTLED):
            if entry.id not in known and name in ("", entry.stream):
                _show(entry)


async def _newest(
    ports: Ports, now: datetime, start: datetime | None, name: str, last: int
) -> AsyncIterator[LogEntry]:
    """All from `start` on, or else the last so many; of that stream, or of all."""
    if name:
        entries = await stream(ports.records, name)
        for entry in [one for one in entries if one.at >= start] if start else entries[-last:]:
            yield entry
        return
    end = now + SETTLED  # the clocks of the others may be ahead
    if start:
        async for entry in since(ports.records, start, end):
            yield entry
        return
    found: deque[LogEntry] = deque(maxlen=last)
    for begin in (*[now - look for look in LOOKS], BEGINNING):
        found.clear()
        async for entry in since(ports.records, begin, end):
            found.append(entry)
        if len(found) == last:
            break
    for entry in found:
        yield entry


def _show(entry: LogEntry) -> None:
    head = msgspec.json.decode(entry.event, type=_Head)
    said = msgspec.json.decode(entry.event)
    for known in ("name", *Event.__struct_fields__):
        said.pop(known, None)
    place = f"{entry.stream}#{entry.number}" if entry.number else entry.stream
    at = entry.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parts = (at, entry.name, place, head.actor or "-", head.cause or "-", _encode(said).decode())
    click.echo("\t".join(parts))


async def export(settings: Settings, target: str, *, begin: str, end: str, after: str) -> None:
    """Write the facts as JSON lines, into a file behind what an earlier run wrote there, or to stdout (`-`).

    What is so new that others may still come before it stays for the next time.
    """
    async with _ports(settings) as ports:
        now = ports.clock.now()
        settled = now - SETTLED
        start = moment(begin, now) if begin else BEGINNING
        stop = min(moment(end, now), settled) if end else settled
        if after and not re.fullmatch("[0-9a-f]{32}", after):
            raise BadSetting(f"--after is {after!r}, but takes the id of a fact: 32 hex digits.")
        count = 0
        with _opened(target) as (file, written), _progress(start, stop) as show:
            last = max(after, written)
            async for entry in since(ports.records, start, stop, after=last):
                line = Line(entry.stream, entry.number, entry.event, entry.detail)
                file.write(_encode(line) + b"\n")
                count, last = count + 1, entry.id
                if not count % BATCH:
                    show(entry.at, count)
        click.echo(f"{count} facts, the last one {last or 'none'}", err=True)


@contextmanager
def _opened(target: str) -> Iterator[tuple[IO[bytes], str]]:
    """Where the lines go, and the id of the last one that is there. A line that was cut off is taken away."""
    if target == "-":
        yield sys.stdout.buffer, ""
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    try:
        file = path.open("r+b" if path.exists() else "x+b")
    except OSError as error:
        raise BadSetting(f"{path} can't be written: {error.strerror}.") from None
    with file:
        size = file.seek(0, os.SEEK_END)
        begin = max(0, size - LAST_LINE_BYTES)
        file.seek(begin)
        whole, newline, _ = file.read().rpartition(b"\n")
        file.seek(begin + len(whole) + len(newline))
        file.truncate()
        yield file, _id_of(path, whole.rpartition(b"\n")[2])


def _id_of(path: Path, line: bytes) -> str:
    if not line:
        return ""
    try:
        return msgspec.json.decode(line, type=_Exported).event.id
    except msgspec.DecodeError:
        raise BadSetting(f"{path} holds something else than an export of events.") from None


@contextmanager
def _progress(start: datetime, stop: datetime) -> Iterator[Callable[[datetime, int], None]]:
    """A bar over the time that is written, on a terminal; elsewhere nothing."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[facts]:,} facts"),
        TimeRemainingColumn(),
    )
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off) as bar:
        whole = max((stop - start).total_seconds(), 1)
        task = bar.add_task("", total=whole, facts=0)

        def show(at: datetime, count: int) -> None:
            bar.update(task, completed=(at - start).total_seconds(), facts=count)

        yield show


async def replay(settings: Settings, name: str, *, begin: str, end: str, dry: bool) -> None:
    """Send a handler the facts of that time again, as jobs; those that still wait aren't added again."""
    handler = _handler(name)
    async with _ports(settings) as ports:
        now = ports.clock.now()
        start, stop = moment(begin, now), moment(end, now) if end else now + SETTLED
        jobs: list[Job] = []
        count = 0
        async for entry in since(ports.records, start, stop):
            if entry.name != handler.event.named() or not handler.concerns(entry.event):
                continue
            count += 1
            jobs.append(job_of(entry.id, entry.event, handler, now))
            if len(jobs) == BATCH and not dry:
                await ports.queue.send(jobs)
                jobs = []
        if jobs and not dry:
            await ports.queue.send(jobs)
        does = "would be sent" if dry else "sent"
        click.echo(f"{count} of {handler.event.named()} {does} to {handler.name}", err=True)


def handlers() -> None:
    """List who reacts to what, and whether it can be replayed."""
    for _, handler in sorted(Reactions(JOB_MODULES).handlers.items()):
        kept = "replayable" if _is_kept(handler) else "not logged"
        click.echo(f"{handler.name}\t{handler.event.named()}\tlane {handler.lane}\t{kept}")


def _handler(name: str) -> Handler:
    handler = Reactions(JOB_MODULES).handlers.get(name)
    if handler is None:
        raise BadSetting(f"There is no handler {name!r}; `ecokart events handlers` lists them.")
    if not _is_kept(handler):
        event = handler.event.named()
        raise BadSetting(f"{name} reacts to {event}, which is a signal and no logged fact.")
    return handler


def _is_kept(handler: Handler) -> bool:
    """Whether the event names a stream, whichever it is: only such are in the log."""
    return handler.event.about is not Event.about


def moment(text: str, now: datetime) -> datetime:
    """`2026-11-21`, `2026-11-21T14:30+01:00` (UTC where it names no zone), or how long ago: `90s`, `10m`, `2h`, `7d`."""
    if ago := AGO.fullmatch(text):
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadSetting(
            f"{text!r} is no time; it takes 2026-11-21T14:30, or 10m for ten minutes ago."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@asynccontextmanager
async def _ports(settings: Settings) -> AsyncIterator[Ports]:
    async with AsyncExitStack() as stack:
        ports = open_ports(settings, SystemClock())
        stack.push_async_callback(ports.close)
        yield ports
