"""The command line. Thin: every command is a few lines over the parts that do the work."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ecokart import __version__
from ecokart.core.errors import Problem
from ecokart.core.money import MINOR_DIGITS
from ecokart.core.records import MAX_SHARDS
from ecokart.settings import BadSetting, Settings, load
from ecokart.settings_page import page

if TYPE_CHECKING:
    from ecokart.rooms import Service


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ecokart")
def main() -> None:
    """Ecokart: a shop that never oversells and never loses an order.

    Settings are environment variables that begin with ECOKART_; see docs/settings.md.
    """


@main.command()
@click.option("--workers", type=click.IntRange(min=1, max=256), help="Processes behind the port.")
@click.option("--service", "name", help="Open only these rooms; see docs/operating.md.")
# What a supervisor starts its workers with.
@click.option("--socket", "descriptor", type=int, hidden=True)
def serve(workers: int | None, name: str | None, descriptor: int | None) -> None:
    """Start the shop; on the first start with the demo goods."""
    from ecokart import serving  # noqa: PLC0415 (commands import what they need, when they need it)

    settings, service = _settings(), _service(name)
    if descriptor is not None:
        _run(lambda: serving.serve_as_worker(settings, service, descriptor))
    elif workers is not None:
        sys.exit(_run(lambda: serving.supervise(settings, service, workers)))
    else:
        _run(lambda: serving.serve(settings, service))


@main.command()
def work() -> None:
    """Do the background work alone, without serving."""
    from ecokart import serving  # noqa: PLC0415

    settings = _settings()
    _run(lambda: serving.work(settings))


@main.command()
def seed() -> None:
    """Put the demo goods and people into an empty shop."""
    from ecokart import serving  # noqa: PLC0415

    settings = _settings()
    _run(lambda: serving.seed(settings))


@main.group(name="import")
def import_() -> None:
    """Take over what was sold elsewhere before."""


@import_.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--currency",
    type=click.Choice(sorted(MINOR_DIGITS)),
    default="EUR",
    show_default=True,
    help="What the files' amounts are in.",
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path),
    help="Where the lines go that aren't imported.  [default: import-rejects.csv in the data folder]",
)
@click.option("--limit", type=click.IntRange(min=1), help="Stop after that many invoices.")
def orders(files: tuple[Path, ...], currency: str, rejects: Path | None, limit: int | None) -> None:
    """Replay FILES of invoice lines (.csv, .csv.gz) as products, customers and orders.

    Running it again changes nothing, and completes what was interrupted; see docs/import.md.
    """
    from ecokart import serving  # noqa: PLC0415

    settings = _settings()
    _run(lambda: serving.import_orders(settings, files, currency, rejects, limit))


@main.command()
@click.argument("job_ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
def redrive(job_ids: tuple[str, ...], everything: bool) -> None:
    """Bring dead letters back to life; without arguments, list them."""
    from ecokart import serving  # noqa: PLC0415

    settings = _settings()
    _run(lambda: serving.redrive(settings, list(job_ids), everything=everything))


@main.group()
def events() -> None:
    """The log of every fact: who did what, when, and by which request; see docs/events.md."""


@events.command()
@click.option("--follow", "-f", "following", is_flag=True, help="Go on as facts are stated.")
@click.option("--stream", "name", default="", help="Of this stream alone: orders/EK-…")
@click.option("--from", "begin", default="", help="All from this time on: 2026-11-21T14:30, 10m.")
@click.option("--last", "-n", type=click.IntRange(min=1), default=20, show_default=True)
def tail(*, following: bool, name: str, begin: str, last: int) -> None:
    """Show the newest facts: time, name, stream and number, who, request, and what was said."""
    from ecokart import event_log  # noqa: PLC0415

    settings = _settings()
    _run(lambda: event_log.tail(settings, name=name, begin=begin, last=last, following=following))


@events.command()
@click.argument("target", metavar="FILE|-")
@click.option("--from", "begin", default="", help="From this time on, instead of the beginning.")
@click.option("--to", "end", default="", help="Up to this time, instead of a minute ago.")
@click.option("--after", default="", help="Behind the fact with this id, where an export ended.")
def export(target: str, begin: str, end: str, after: str) -> None:
    """Write the facts as JSON lines. A file that is there already is continued behind its last line."""
    from ecokart import event_log  # noqa: PLC0415

    settings = _settings()
    _run(lambda: event_log.export(settings, target, begin=begin, end=end, after=after))


@events.command()
@click.argument("handler")
@click.option("--from", "begin", required=True, help="The facts from this time on.")
@click.option("--to", "end", default="", help="Up to this time, instead of now.")
@click.option("--dry-run", "dry", is_flag=True, help="Only count them.")
def replay(handler: str, begin: str, end: str, *, dry: bool) -> None:
    """Send HANDLER the facts of a time again. Each becomes a job; one that still waits isn't doubled."""
    from ecokart import event_log  # noqa: PLC0415

    settings = _settings()
    _run(lambda: event_log.replay(settings, handler, begin=begin, end=end, dry=dry))


@events.command()
def handlers() -> None:
    """List the handlers, what each reacts to, and whether that can be replayed."""
    from ecokart import event_log  # noqa: PLC0415

    event_log.handlers()


@main.command()
@click.argument("sku")
@click.argument("shards", type=click.IntRange(1, MAX_SHARDS))
def spread(sku: str, shards: int) -> None:
    """Split a SKU's stock into SHARDS, so that very many can buy it at once.

    Only DynamoDB splits it; the other records need no such thing. See docs/engines.md.
    """
    from ecokart import serving  # noqa: PLC0415

    settings = _settings()
    _run(lambda: serving.spread(settings, sku, shards))


@main.group()
def partner() -> None:
    """Partners, whose programs order by an API key; see docs/partners.md."""


@partner.command(name="add")
@click.argument("name")
@click.option("--email", default="", help="Where mails go about orders that name no address.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True)
def add_partner(name: str, email: str, days: int) -> None:
    """Add the partner NAME and print its API key, once."""
    from ecokart import partner_command  # noqa: PLC0415

    settings = _settings()
    _run(lambda: partner_command.add(settings, name, email, days))


@main.group()
def tables() -> None:
    """The tables of DynamoDB and the queues of SQS, which must be made before the shop starts."""


@tables.command(name="create")
@click.option("--refill", is_flag=True, help="Go through the old records for attributes they lack.")
def create_tables(*, refill: bool) -> None:
    """Make the tables and queues that are missing, and add to older ones what is declared since.

    Running it again changes nothing. Needed after every release that says so, before it starts.
    """
    from ecokart import serving  # noqa: PLC0415

    settings = _settings()
    _run(lambda: serving.make_tables(settings, refill=refill))


@tables.command(name="show")
def show_tables() -> None:
    """List the tables, whether they are ready, and whether they can be restored."""
    from ecokart import serving  # noqa: PLC0415

    settings = _settings()
    _run(lambda: serving.show_tables(settings))


@main.command()
@click.option("--from", "source_url", required=True, help="Where the shop is now.")
@click.option("--to", "target_url", required=True, help="Where it shall be: an empty place.")
@click.option("--final", is_flag=True, help="The shop stands still: copy the rest and verify.")
def copy(source_url: str, target_url: str, *, final: bool) -> None:
    """Move a shop's records to another engine while it sells.

    URLs are those of ECOKART_RECORDS_URL. Run again after an interruption it goes on where it was;
    see docs/engines.md. Ends with 1 if the two sides differ in the end.
    """
    from ecokart import serving  # noqa: PLC0415

    held = _run(lambda: serving.copy(source_url, target_url, final=final))
    sys.exit(0 if held else 1)


@main.command()
def doctor() -> None:
    """Show what the settings point to, what answers there, and what is wrong; ends with 1 if anything is."""
    from ecokart import doctor as examining  # noqa: PLC0415

    sys.exit(0 if _run(examining.doctor) else 1)


@main.command()
def settings() -> None:
    """Print every setting with its default, as docs/settings.md."""
    click.echo(page(), nl=False)


def _settings() -> Settings:
    try:
        return load()
    except BadSetting as error:
        _refuse(error)


def _service(name: str | None) -> Service | None:
    from ecokart.rooms import Service  # noqa: PLC0415

    if name is not None and name not in list(Service):
        _refuse(BadSetting(f"There is no service {name!r}; there are {', '.join(Service)}."))
    return Service(name) if name else None


def _run(command: Callable[[], Any]) -> Any:
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(command())
    except (BadSetting, Problem) as error:
        _refuse(error)
    except KeyboardInterrupt:
        sys.exit(130)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's event loop, where there is one: it costs a request less than asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:  # on Windows
        return None
    return uvloop.new_event_loop


def _refuse(error: Exception) -> NoReturn:
    click.echo(f"ecokart: {error}", err=True)
    sys.exit(2)
