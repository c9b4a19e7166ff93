"""`ecokart doctor`: what the settings point to, what answers there, and what is wrong, in words.

It changes nothing but what every start makes: the data folder, the development secret, and the
tables of an engine that makes its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Protocol, TypeVar, runtime_checkable

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from ecokart import __version__
from ecokart.core.clock import SystemClock
from ecokart.core.errors import Problem
from ecokart.core.payments import Payments
from ecokart.core.port import Port
from ecokart.core.ports import Queue, Records
from ecokart.opening import (
    open_cache,
    open_live,
    open_mail,
    open_payments,
    open_queue,
    open_records,
)
from ecokart.rooms import TABLES
from ecokart.settings import BadSetting, Settings, load, shown

# Engines bound their own time, and know better words for it.
PATIENCE_SECONDS = 12.0
MOST_SECONDS_APART = 2.0
LEAST_FREE_BYTES = 1_000_000_000

# What to do about a sentence of an engine, by what it speaks of. `{}` is the setting's name.
ADVICE = {
    r"tables create": "",
    r"refuses our key": "Check ECOKART_STRIPE_SECRET_KEY.",
    r"Stripe can't be reached": "May this machine call api.stripe.com?",
    r"database .* does not exist": "Create the database, or name another one in {}.",
    r"password|authenticat|credential|denied": "Check the user and the password of {}.",
    r"not known|resolv|nodename": "Check the name of the host in {}.",
    r"within|too long|timed? ?out": "Is the server overloaded, or a firewall in between?",
    r"reached|refused|[Cc]onnect|no answer": "Does the server run, and are host and port right in {}?",
    r"written|[Pp]ermission": "Let the user that runs Ecokart write there, or name another place in {}.",
}

# What is away whenever the records are.
IN_RECORDS = ("records:", "scripted:")
P = TypeVar("P")


@runtime_checkable
class TellsTheTime(Protocol):
    """An engine on another machine that says what time it is there."""

    async def server_time(self) -> datetime:
        """Now, by the server's clock, in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. `wrong` is a sentence; a `caution` isn't wrong, but worth knowing."""

    part: str
    points_to: str
    answer: str = ""
    milliseconds: float | None = None
    wrong: str = ""
    caution: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """Everything the settings point to, looked at all at once."""
    records = _opened(
        lambda: open_records("RECORDS_URL", settings.records_url, TABLES, SystemClock())
    )
    ports = {
        "records": (settings.records_url, records),
        "queue": (settings.queue_url, _queue(settings, records)),
        "cache": (settings.cache_url, _opened(lambda: open_cache(settings.cache_url))),
        "live": (settings.live_url, _opened(lambda: open_live(settings.live_url))),
        "mail": (settings.mail_url, _opened(lambda: open_mail(settings))),
        "payments": (settings.payments_url, _payments(settings, records)),
    }
    try:
        asked = [_ask(name, url, port) for name, (url, port) in ports.items()]
        findings = [_cautioned(settings, finding) for finding in await asyncio.gather(*asked)]
        if not isinstance(records, BadSetting) and not findings[0].wrong:
            findings.insert(1, await check_tables(records))
        return [*findings, *_places(settings)]
    finally:
        for _, port in reversed(ports.values()):
            if not isinstance(port, BadSetting):
                with suppress(TimeoutError, Problem):
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await port.close()


def show(findings: list[Finding], settings: Settings) -> None:
    """The table, and below it what is wrong and what is worth knowing."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(f"Ecokart {__version__}, {settings.environment}\n")
    grid = Grid(box=None, pad_edge=False)
    for heading in ("", "part", "points to", "answers"):
        grid.add_column(heading, overflow="fold")
    grid.add_column("ms", justify="right")
    for found in findings:
        mark = "[red]✗[/]" if found.wrong else "[yellow]![/]" if found.caution else "[green]✓[/]"
        time = "" if found.milliseconds is None else f"{found.milliseconds:.0f}"
        grid.add_row(mark, found.part, escape(found.points_to), escape(found.answer), time)
    console.print(grid)
    for found in findings:
        if sentence := found.wrong or found.caution:
            mark = "[red]✗[/]" if found.wrong else "[yellow]![/]"
            console.print(
                f"\n{mark} {found.part}: {escape(sentence)}", highlight=False, soft_wrap=True
            )
    if not any(found.wrong for found in findings):
        console.print("\nAll is well.")


async def doctor() -> bool:
    """Look, show, and say whether all is well."""
    logging.getLogger("ecokart").addHandler(logging.NullHandler())  # the table says it
    try:
        settings = load()
    except BadSetting as error:
        Console().print(
            f"[red]✗[/] settings: {escape(str(error))}", highlight=False, soft_wrap=True
        )
        return False
    findings = await examine(settings)
    show(findings, settings)
    return not any(found.wrong for found in findings)


def _opened(open_port: Callable[[], P]) -> P | BadSetting:
    try:
        return open_port()
    except BadSetting as error:
        return error


def _queue(settings: Settings, records: Records | BadSetting) -> Queue | BadSetting:
    if isinstance(records, BadSetting):
        return BadSetting("It can't be asked as long as the records can't be opened.")
    return _opened(lambda: open_queue(settings.queue_url, records, SystemClock()))


def _payments(settings: Settings, records: Records | BadSetting) -> Payments | BadSetting:
    if isinstance(records, BadSetting):
        return BadSetting("It can't be asked as long as the records can't be opened.")
    return _opened(lambda: open_payments(settings, records, SystemClock()))


async def _ask(name: str, url: str, port: Port | BadSetting) -> Finding:
    points_to = shown(url)
    variable = "ECOKART_RECORDS_URL" if url in IN_RECORDS else f"ECOKART_{name.upper()}_URL"
    if isinstance(port, BadSetting):
        return Finding(name, points_to, wrong=str(port))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await port.ping()  # connects
            began = perf_counter()
            answer = await port.ping()
            return Finding(name, points_to, answer, (perf_counter() - began) * 1000)
    except TimeoutError:
        sentence = f"Nothing answers within {PATIENCE_SECONDS:.0f} s."
    except Exception as error:  # noqa: BLE001 (whatever it is, it is what is wrong there)
        sentence = _sentence(error)
    return Finding(name, points_to, wrong=_with_advice(sentence, variable))


async def check_tables(records: Records) -> Finding:
    """Whether each table can be read, and how far the clocks of the two machines are apart."""
    count = f"{len(TABLES)} tables"
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*[records.get(table, "doctor") for table in TABLES])
            if isinstance(records, TellsTheTime):
                apart = abs((datetime.now(UTC) - await records.server_time()).total_seconds())
                if apart > MOST_SECONDS_APART:
                    sentence = (
                        f"The clocks of this machine and the database are {apart:.0f} s apart."
                    )
                    return Finding(
                        "tables", count, wrong=f"{sentence} Let both follow a time server."
                    )
    except TimeoutError:
        sentence = f"They can't be read within {PATIENCE_SECONDS:.0f} s."
    except Exception as error:  # noqa: BLE001 (as above)
        sentence = _sentence(error)
    else:
        return Finding("tables", count, "all can be read")
    return Finding("tables", count, wrong=_with_advice(sentence, "ECOKART_RECORDS_URL"))


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, Problem) else f"{type(error).__name__}: {error}."


def _with_advice(sentence: str, variable: str) -> str:
    for pattern, advice in ADVICE.items():
        if re.search(pattern, sentence):
            return f"{sentence} {advice.format(variable)}".rstrip()
    return sentence


def _places(settings: Settings) -> list[Finding]:
    """What needs no port: the data folder, the secret, and the address."""
    data = _data_folder(settings.data_dir)
    made = not settings.production and (settings.data_dir / "secret").exists()
    secret = Finding("secret", "made here, in the data folder" if made else "from the setting")
    url = Finding("public URL", settings.public_url)
    if settings.production and not settings.public_url.startswith("https:"):
        sentence = "Cookies and links are not for TLS alone: set ECOKART_PUBLIC_URL=https://…"
        url = replace(url, caution=sentence)
    return [data, secret, url]


def _data_folder(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        why = f"It can't be used: {error.strerror}."
        return Finding("data folder", str(folder), wrong=_with_advice(why, "ECOKART_DATA_DIR"))
    data = Finding("data folder", str(folder), f"{free / 1e9:.1f} GB free")
    if not os.access(folder, os.W_OK):
        return replace(data, wrong=_with_advice("It can't be written.", "ECOKART_DATA_DIR"))
    if free < LEAST_FREE_BYTES:
        return replace(data, wrong="The disk is nearly full: records and mails need room.")
    return data


def _cautioned(settings: Settings, finding: Finding) -> Finding:
    """A caution where several machines may share the records, but not this; or where nobody really pays."""
    if finding.part == "payments" and not finding.wrong and _takes_no_money(settings):
        return replace(finding, caution="Stripe's test key takes no money.")
    several = not settings.records_url.startswith("sqlite:")
    if several and finding.points_to == "memory:" and not finding.wrong:
        what = {"cache": "counts its limits", "live": "tells news"}[finding.part]
        return replace(
            finding, caution=f"Each process {what} for itself; Redis is for all of them."
        )
    return finding


def _takes_no_money(settings: Settings) -> bool:
    by_stripe = settings.payments_url.startswith("stripe:")
    return settings.production and by_stripe and "_test_" in settings.stripe_secret_key
