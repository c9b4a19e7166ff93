"""Settings → ports: which engine a URL names, and how it is opened. The only importer of `engines/`.

An engine is imported when a URL names it: the embedded shop loads none of the others' libraries.
Opening connects to nothing yet; the first use does, so a server that is away stops no process here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import parseaddr
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from ecokart.core.clock import Clock, Ids
from ecokart.core.payments import Payments
from ecokart.core.ports import Cache, Live, Mail, Ports, Queue, Records
from ecokart.core.records import Table
from ecokart.core.targets import Targets
from ecokart.core.terms import Bank, Terms
from ecokart.engines.cache_memory import MemoryCache
from ecokart.engines.live_memory import MemoryLive
from ecokart.engines.mail_disk import DiskMail
from ecokart.engines.payments_none import NoPayments
from ecokart.engines.payments_scripted import ScriptedPayments
from ecokart.engines.payments_scripted_book import PRETEND_NOTICES, PRETEND_PAYMENTS
from ecokart.engines.queue_records import JOBS, RecordsQueue
from ecokart.engines.records_sqlite import SqliteRecords
from ecokart.engines.targets_http import HttpTargets
from ecokart.settings import BadSetting, Settings, called, shown, unusable

if TYPE_CHECKING:
    from ecokart.engines.queue_sqs import SqsQueue
    from ecokart.engines.records_dynamodb import DynamoRecords
    from ecokart.engines.records_dynamodb_tables import Making

__all__ = [
    "JOBS",
    "PRETEND_NOTICES",
    "PRETEND_PAYMENTS",
    "making_queues",
    "making_tables",
    "open_engines",
    "open_records",
]

# The IBAN that German banks use in their own examples.
PRETEND_BANK = Bank(holder="Ecokart (no real account)", iban="DE02120300000000202051")
SQS = "sqs://eu-central-1/shop"
# Which extra brings a library, where its name doesn't say so; every other one is Amazon's.
EXTRAS = {"asyncpg": "postgresql", "redis": "redis"} | dict.fromkeys(
    ("stripe", "pybreaker", "httpx"), "stripe"
)
P = TypeVar("P")
# From a URL's scheme to what opens the engine, and how such a URL looks.
Openers = Mapping[str, tuple[Callable[[str], P], str]]


def open_engines(settings: Settings, tables: Iterable[Table[Any]], clock: Clock) -> Ports:
    """The engines that the settings name. Raises `BadSetting` for a URL that names none."""
    records = open_records("RECORDS_URL", settings.records_url, tables, clock)
    return Ports(
        records=records,
        queue=open_queue(settings.queue_url, records, clock),
        cache=open_cache(settings.cache_url),
        live=open_live(settings.live_url),
        mail=open_mail(settings),
        payments=open_payments(settings, records, clock),
        targets=open_targets(settings, clock),
        terms=terms_of(settings),
        clock=clock,
        new_id=Ids(clock),
    )


def open_records(variable: str, url: str, tables: Iterable[Table[Any]], clock: Clock) -> Records:
    """The records at a URL. `variable` is what a `BadSetting` calls the place that names it."""

    def sqlite(url: str) -> Records:
        path = _sqlite_path(variable, url)
        try:
            return SqliteRecords(path, tables, clock)
        except sqlite3.Error as error:
            raise BadSetting(unusable(variable, url, error)) from None

    def postgresql(url: str) -> Records:
        return _postgresql(variable, url, tables, clock)

    def dynamodb(url: str) -> Records:
        return _dynamodb(variable, url, tables, clock)

    openers: Openers[Records] = {
        "sqlite": (sqlite, "sqlite:///file.db"),
        "postgresql": (postgresql, "postgresql://user:password@host/database"),
        "dynamodb": (dynamodb, "dynamodb://eu-central-1/shop"),
    }
    return _open(variable, url, openers)


@asynccontextmanager
async def making_tables(
    settings: Settings, tables: Iterable[Table[Any]], clock: Clock
) -> AsyncIterator[Making | None]:
    """What makes the tables of the records that the settings name; None where they make them themselves."""
    records = open_records("RECORDS_URL", settings.records_url, tables, clock)
    try:
        yield getattr(records, "making", None)
    finally:
        await records.close()


@asynccontextmanager
async def making_queues(settings: Settings, clock: Clock) -> AsyncIterator[SqsQueue | None]:
    """The queue that the settings name, if its lanes have to be made; else None."""
    if not settings.queue_url.startswith("sqs:"):
        yield None
        return
    queue = _open("QUEUE_URL", settings.queue_url, {"sqs": (partial(_sqs, clock=clock), SQS)})
    try:
        yield queue
    finally:
        await queue.close()


def open_queue(url: str, records: Records, clock: Clock) -> Queue:
    """The queue at a URL. Raises `BadSetting`, as all of these do."""

    def in_records(url: str) -> Queue:
        return RecordsQueue(records, clock)

    openers: Openers[Queue] = {
        "records": (in_records, "records:"),
        "sqs": (partial(_sqs, clock=clock), SQS),
    }
    return _open("QUEUE_URL", url, openers)


def open_cache(url: str) -> Cache:
    """The cache at a URL; one that goes on in this process's memory while its server is away."""

    def memory(url: str) -> Cache:
        return MemoryCache()

    def redis(url: str) -> Cache:
        from ecokart.engines.cache_redis import RedisCache  # noqa: PLC0415
        from ecokart.engines.fallback import FallbackCache  # noqa: PLC0415

        return FallbackCache(RedisCache(url))

    return _open("CACHE_URL", url, {"memory": (memory, "memory:"), **_redis(redis)})


def open_live(url: str) -> Live:
    """Publish and subscribe at a URL; within this process while the server is away."""

    def memory(url: str) -> Live:
        return MemoryLive()

    def redis(url: str) -> Live:
        from ecokart.engines.fallback import FallbackLive  # noqa: PLC0415
        from ecokart.engines.live_redis import RedisLive  # noqa: PLC0415

        return FallbackLive(RedisLive(url))

    return _open("LIVE_URL", url, {"memory": (memory, "memory:"), **_redis(redis)})


def _redis(opener: Callable[[str], P]) -> Openers[P]:
    return {
        "redis": (opener, "redis://host:6379/0?prefix=shop:"),
        "rediss": (opener, "rediss://host:6379/0?prefix=shop: (with TLS)"),
    }


def open_mail(settings: Settings) -> Mail:
    """What sends the shop's mail, as the settings say."""

    def disk(url: str) -> Mail:
        try:
            return DiskMail(_path(urlsplit(url).path), settings.mail_from)
        except OSError as error:
            raise BadSetting(unusable("MAIL_URL", url, error)) from None

    def smtp(url: str) -> Mail:
        from ecokart.engines.mail_smtp import SmtpMail  # noqa: PLC0415

        return SmtpMail(url, settings.mail_from)

    def ses(url: str) -> Mail:
        from ecokart.engines.mail_ses import SesMail  # noqa: PLC0415

        return SesMail(url, settings.mail_from)

    openers: Openers[Mail] = {
        "disk": (disk, "disk:///folder"),
        "smtp": (smtp, "smtp://user:password@host:587"),
        "smtps": (smtp, "smtps://user:password@host:465"),
        "ses": (ses, "ses://eu-central-1"),
    }
    return _open("MAIL_URL", settings.mail_url, openers)


def open_payments(settings: Settings, records: Records, clock: Clock) -> Payments:
    """The provider of payments that the settings name. The pretend one keeps its own in the records."""

    def none(url: str) -> Payments:
        return NoPayments()

    def scripted(url: str) -> Payments:
        public_url, secret = settings.public_url, settings.secret
        return ScriptedPayments(url, records, clock, public_url=public_url, secret=secret)

    openers: Openers[Payments] = {
        "scripted": (scripted, "scripted:?no_funds=5"),
        "stripe": (partial(_stripe, settings), "stripe:?methods=card,paypal"),
        "none": (none, "none:"),
    }
    given = urlsplit(settings.payments_url)
    if given.scheme in openers and (given.netloc or given.path):
        raise BadSetting(
            f"ECOKART_PAYMENTS_URL is {settings.payments_url!r}, but what it takes stands behind a"
            f" question mark: {openers[given.scheme][1]}."
        )
    return _open("PAYMENTS_URL", settings.payments_url, openers)


def terms_of(settings: Settings) -> Terms:
    """What the settings say of how the shop does business."""
    shop_name, contact_email = parseaddr(settings.mail_from)
    return Terms(
        fulfilment=settings.fulfilment,
        prepayment_days=settings.prepayment_days,
        invoice_days=settings.invoice_days,
        bank=_bank_of(settings),
        public_url=settings.public_url,
        shop_name=shop_name or "Ecokart",
        shop_owner=settings.shop_owner,
        contact_email=contact_email,
        office_email=settings.office_email,
        stock_low_at=settings.stock_low_at,
        webhooks_kept=timedelta(days=settings.webhook_days),
    )


def _bank_of(settings: Settings) -> Bank | None:
    """The account for transfers; outside production there is always one, so that all can be tried."""
    iban = settings.bank_iban.replace(" ", "")
    if iban:
        return Bank(holder=settings.bank_holder, iban=iban, bic=settings.bank_bic)
    return None if settings.production else PRETEND_BANK


def open_targets(settings: Settings, clock: Clock) -> Targets:
    """What calls partners back, at the ports that the settings name."""
    ports = [int(port) for port in settings.webhook_ports.split(",")]
    return HttpTargets(clock, ports=ports, private=settings.webhook_private_targets)


def _open(variable: str, url: str, openers: Openers[P]) -> P:
    scheme, separator, _ = url.partition(":")
    if not separator or scheme not in openers:
        known = " or ".join([example for _, example in openers.values()])
        raise BadSetting(f"{called(variable)} is {shown(url)!r}, but takes {known}.")
    try:
        return openers[scheme][0](url)
    except ValueError as error:
        raise BadSetting(unusable(variable, url, error)) from None
    except ModuleNotFoundError as error:
        library = str(error.name).partition(".")[0]
        extra = EXTRAS.get(library, "aws")
        needs = f"needs more than the shop alone: pip install 'ecokart[{extra}]'"
        raise BadSetting(f"{called(variable)} is {shown(url)!r}, which {needs}.") from None


def _sqs(url: str, clock: Clock) -> SqsQueue:
    from ecokart.engines.queue_sqs import SqsQueue  # noqa: PLC0415

    return SqsQueue(url, clock)


def _postgresql(variable: str, url: str, tables: Iterable[Table[Any]], clock: Clock) -> Records:
    from ecokart.engines.records_postgres import PostgresRecords  # noqa: PLC0415

    try:
        return PostgresRecords(url, tables, clock)
    except ValueError as error:
        raise BadSetting(unusable(variable, url, error)) from None


def _dynamodb(variable: str, url: str, tables: Iterable[Table[Any]], clock: Clock) -> DynamoRecords:
    from ecokart.engines.records_dynamodb import DynamoRecords  # noqa: PLC0415

    try:
        return DynamoRecords(url, tables, clock)
    except ValueError as error:
        raise BadSetting(unusable(variable, url, error)) from None


def _stripe(settings: Settings, url: str) -> Payments:
    from ecokart.engines.payments_guarded import GuardedPayments  # noqa: PLC0415
    from ecokart.engines.payments_stripe import StripePayments  # noqa: PLC0415

    if not settings.stripe_secret_key.startswith(("sk_", "rk_")):
        raise BadSetting(
            "ECOKART_STRIPE_SECRET_KEY is no secret key of Stripe, which begins with sk_ or rk_."
        )
    if not all(secret.startswith("whsec_") for secret in settings.stripe_signers):
        raise BadSetting(
            "ECOKART_STRIPE_WEBHOOK_SECRETS has one that is none of Stripe's, which begin with whsec_."
        )
    provider = StripePayments(
        url,
        secret_key=settings.stripe_secret_key,
        webhook_secrets=settings.stripe_signers,
    )
    return GuardedPayments(provider)


def _sqlite_path(variable: str, url: str) -> Path:
    path = url.removeprefix("sqlite:///")
    if path in ("", url):
        raise BadSetting(f"{called(variable)} is {url!r}, but takes sqlite:///file.db.")
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(unusable(variable, url, error)) from None
    return file


def _path(text: str) -> Path:
    """`/folder` of `disk:///folder` is relative, `//folder` is absolute, as with SQLite's URLs."""
    return Path(text.removeprefix("/"))
