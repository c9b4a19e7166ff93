"""The settings: environment variables that begin with `ECOKART_`, read here and nowhere else.

Every setting is a field below, with its type, its default and its sentence; `settings_page` makes
`docs/settings.md` of them. A value that doesn't fit stops the start with one sentence.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
from collections.abc import Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from ecokart.core.terms import is_iban
from ecokart.settings_chat import ChatSettings

PREFIX = "ECOKART_"
SHORTEST_SECRET = 32
ORIGIN = re.compile(r"https?://[^\s/?#@]+")
PORT = re.compile(r"[1-9][0-9]{0,4}")
MAILBOX = re.compile(r"[!-?A-~]+@[^\s@.]{1,63}(\.[^\s@.]{1,63})*")

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Pieces = Annotated[int, Meta(ge=0)]
Days = Annotated[int, Meta(ge=1, le=365)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class BadSetting(Exception):
    """A setting that can't be used; the message is one sentence that says which and why."""


def _about(sentence: str) -> Any:
    return Meta(description=sentence)


class Settings(ChatSettings, frozen=True, kw_only=True):
    """What a process of Ecokart is told from outside. An empty URL means its default under `data_dir`."""

    environment: Annotated[
        Literal["development", "test", "production"],
        _about("Where this runs. `production` demands a secret and has no demo accounts."),
    ] = "development"
    host: Annotated[str, _about("The address to listen on.")] = "127.0.0.1"
    port: Annotated[Port, _about("The port to listen on; 0 takes a free one.")] = 8000
    public_url: Annotated[
        str, _about("How shoppers reach the shop, for links in mails and secure cookies.")
    ] = ""
    data_dir: Annotated[
        Path, _about("The folder for everything that is kept on disk; made if missing.")
    ] = Path("data")
    records_url: Annotated[
        str,
        _about(
            "Where records are: `sqlite:///file.db` (relative), `sqlite:////srv/file.db`,"
            " `postgresql://user:password@host/database?schema=shop` or"
            " `dynamodb://eu-central-1/shop`."
        ),
    ] = ""
    queue_url: Annotated[
        str,
        _about(
            "Where jobs wait: `records:` keeps them in the records, `sqs://region/prefix` in SQS."
        ),
    ] = "records:"
    cache_url: Annotated[
        str,
        _about(
            "The cache: `memory:` is this process's own,"
            " `redis://user:password@host:6379/0?prefix=shop:` (`rediss` for TLS) is for all processes."
        ),
    ] = "memory:"
    live_url: Annotated[
        str,
        _about("Publish and subscribe: `memory:` within this process, `redis://…` between all."),
    ] = "memory:"
    mail_url: Annotated[
        str,
        _about(
            "Where mail goes: `disk:///folder` writes .eml files (default: the data folder),"
            " `smtp://user:password@host:587` (STARTTLS) or `smtps://user:password@host:465` hands it"
            " to a mail server, `ses://eu-central-1` to Amazon's SES."
        ),
    ] = ""
    mail_from: Annotated[str, _about("The sender of the shop's mails.")] = (
        "Ecokart <shop@ecokart.example>"
    )
    payments_url: Annotated[
        str,
        _about(
            "Who takes the money: `scripted:` is a pretend provider to try everything with (the default"
            " outside production), `stripe:?methods=card,paypal,klarna,sepa` is Stripe (docs/payments.md),"
            " `none:` leaves invoice and prepayment (the default in production)."
        ),
    ] = ""
    stripe_secret_key: Annotated[
        str, _about("Stripe's secret or restricted key, as `sk_live_…` or `rk_live_…`.")
    ] = ""
    stripe_webhook_secrets: Annotated[
        str,
        _about("What Stripe signs its notices with, `whsec_…`; several, separated by commas."),
    ] = ""
    shop_owner: Annotated[
        str,
        _about(
            "Who runs the shop and where, in one line, for the end of each mail:"
            " `Ecokart GmbH, Marktplatz 1, 34117 Kassel, Germany, HRB 1234`."
        ),
    ] = ""
    fulfilment: Annotated[
        Literal["automatic", "office"],
        _about("Who packs and ships: `automatic` the shop by itself, `office` waits for people."),
    ] = "automatic"
    prepayment_days: Annotated[
        Days, _about("How many days after the order a prepayment is to come.")
    ] = 7
    invoice_days: Annotated[
        Days, _about("How many days after the parcel an invoice is to be paid.")
    ] = 14
    bank_holder: Annotated[
        str, _about("Whose account it is to which customers transfer money.")
    ] = ""
    bank_iban: Annotated[
        str,
        _about("That account's IBAN; without one, production doesn't offer prepayment."),
    ] = ""
    bank_bic: Annotated[str, _about("Its BIC, for those who pay from outside SEPA.")] = ""
    secret: Annotated[
        str,
        _about(
            f"Signs the sessions; at least {SHORTEST_SECRET} characters. Outside production one is"
            " made and kept in the data folder."
        ),
    ] = ""
    allowed_origins: Annotated[
        str, _about("Other origins whose pages may call the API, separated by commas.")
    ] = ""
    trusted_proxies: Annotated[
        str, _about("Addresses of proxies whose X-Forwarded-For is believed, separated by commas.")
    ] = ""
    rate_limit: Annotated[
        Count,
        _about(
            "Requests an address may make to each of sign-in, registration and orders in the window below."
        ),
    ] = 100
    rate_window_seconds: Annotated[Seconds, _about("The window of the rate limit.")] = 300.0
    partner_rate_limit: Annotated[
        Count, _about("Requests a minute for each key of a partner that has no limit of its own.")
    ] = 1000
    partner_customer_rate_limit: Annotated[
        Count,
        _about("Orders a minute for each customer of a partner that has no limit of its own."),
    ] = 60
    audit_days: Annotated[
        Count, _about("How many days it stays known what partners asked of the API.")
    ] = 365
    office_email: Annotated[
        str, _about("Where the office is told what it has to know, as that an article runs out.")
    ] = ""
    stock_low_at: Annotated[
        Pieces, _about("An article with so many free pieces or fewer is running out.")
    ] = 5
    webhook_days: Annotated[
        Count,
        _about("How many days it stays known, and can be sent again, what partners were told."),
    ] = 30
    webhook_ports: Annotated[
        str, _about("The ports that a partner's webhook may have, separated by commas.")
    ] = "443"
    webhook_private_targets: Annotated[
        bool,
        _about(
            "Lets webhooks go to private addresses, by plain HTTP and to any port: for tests and"
            " developers, refused in production."
        ),
    ] = False
    max_body_bytes: Annotated[Count, _about("The largest request body that is read.")] = 1_048_576
    request_timeout_seconds: Annotated[
        Seconds, _about("After this long a request is answered with 503.")
    ] = 20.0
    worker: Annotated[bool, _about("Whether `serve` also does the background work.")] = True
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _about("The least important line to log.")
    ] = "info"

    @property
    def production(self) -> bool:
        return self.environment == "production"

    @property
    def stripe_signers(self) -> tuple[str, ...]:
        return tuple(filter(None, map(str.strip, self.stripe_webhook_secrets.split(","))))

    @property
    def origins(self) -> list[str]:
        return [part for part in map(str.strip, self.allowed_origins.split(",")) if part]


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings from an environment. Raises `BadSetting`."""
    hints = get_type_hints(Settings, include_extras=True)
    given: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in hints:
            raise BadSetting(_unknown(variable, hints))
        if text == "":
            continue
        try:
            given[name] = _parsed(text, hints[name])
        except msgspec.ValidationError:
            raise BadSetting(f"{variable} is {text!r}, but takes {takes(hints[name])}.") from None
    settings = Settings(**given)
    _check(settings)
    return _completed(settings)


def inherited(**more: str) -> dict[str, str]:
    """The environment for a process that this one starts: its own, and more."""
    return {**os.environ, **more}


def _check(settings: Settings) -> None:
    """What no type can say. Raises `BadSetting`."""
    if settings.production and not settings.secret:
        raise BadSetting("ECOKART_SECRET is missing, and production doesn't start without one.")
    if settings.secret and len(settings.secret) < SHORTEST_SECRET:
        raise BadSetting(f"ECOKART_SECRET is shorter than {SHORTEST_SECRET} characters.")
    for origin in filter(None, [settings.public_url.rstrip("/"), *settings.origins]):
        if not ORIGIN.fullmatch(origin):
            name = "ALLOWED_ORIGINS" if origin in settings.origins else "PUBLIC_URL"
            raise BadSetting(f"ECOKART_{name} has {origin!r}, but takes https://shop.example.")
    if settings.office_email and not MAILBOX.fullmatch(settings.office_email):
        raise BadSetting(
            f"ECOKART_OFFICE_EMAIL is {settings.office_email!r}, but takes office@shop.example."
        )
    if settings.production and settings.webhook_private_targets:
        raise BadSetting("ECOKART_WEBHOOK_PRIVATE_TARGETS is true, which production never takes.")
    for port in settings.webhook_ports.split(","):
        if not PORT.fullmatch(port.strip()) or int(port) > 65535:
            raise BadSetting(f"ECOKART_WEBHOOK_PORTS has {port!r}, but takes ports like 443,8443.")
    if not MAILBOX.fullmatch(parseaddr(settings.mail_from)[1]):
        raise BadSetting(
            f"ECOKART_MAIL_FROM is {settings.mail_from!r}, but takes Shop <shop@shop.example>."
        )
    _check_payments(settings)
    _check_bank(settings)


def _check_payments(settings: Settings) -> None:
    """Raises `BadSetting` for a provider that can't take money."""
    if settings.production and settings.payments_url.startswith("scripted:"):
        raise BadSetting(
            "ECOKART_PAYMENTS_URL is a pretend provider, which takes no money, and production doesn't"
            " start with it."
        )
    if settings.payments_url.startswith("stripe:"):
        for name in ("stripe_secret_key", "stripe_webhook_secrets"):
            if not getattr(settings, name):
                raise BadSetting(f"ECOKART_{name.upper()} is missing, and Stripe needs it.")


def _check_bank(settings: Settings) -> None:
    """Raises `BadSetting` for an account to which nobody could transfer money."""
    if settings.bank_iban and not is_iban(settings.bank_iban):
        raise BadSetting(
            f"ECOKART_BANK_IBAN is {settings.bank_iban!r}, which is no IBAN: DE02120300000000202051 is one."
        )
    if settings.bank_iban and not settings.bank_holder:
        raise BadSetting("ECOKART_BANK_HOLDER is missing, and a transfer needs it beside the IBAN.")


def takes(hint: Any) -> str:
    """In words, or by an example, what values a field takes: `a whole number from 0 to 65535`."""
    kind = hint.__origin__
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    words = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    bounds = [m for m in hint.__metadata__ if m.ge is not None or m.gt is not None]
    if not bounds:
        examples = [meta.examples[0] for meta in hint.__metadata__ if meta.examples]
        return str(examples[0]) if examples else words.get(kind, "text")
    least = f"{bounds[0].ge}" if bounds[0].ge is not None else f"above {bounds[0].gt}"
    most = f" to {bounds[0].le}" if bounds[0].le is not None else ""
    return f"{words[kind]} from {least}{most}".replace("from above", "above")


def _parsed(text: str, kind: Any) -> Any:
    return msgspec.convert(text, kind, strict=False, dec_hook=lambda to, value: to(value))


def _completed(settings: Settings) -> Settings:
    """The settings with what depends on others filled in, and the development secret made."""
    folder = settings.data_dir.absolute()
    public_url = settings.public_url or f"http://{settings.host}:{settings.port}"
    changes: dict[str, Any] = {
        "data_dir": folder,
        "records_url": settings.records_url or f"sqlite:///{folder / 'ecokart.db'}",
        "mail_url": settings.mail_url or f"disk:///{folder / 'mail'}",
        "payments_url": settings.payments_url or ("none:" if settings.production else "scripted:"),
        "public_url": public_url.rstrip("/"),
    }
    if not settings.secret:
        changes["secret"] = _kept_secret(folder / "secret")
    return msgspec.structs.replace(settings, **changes)


def _kept_secret(path: Path) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(48))
        return path.read_text().strip()
    except OSError as error:
        raise BadSetting(unusable("DATA_DIR", path.parent, error)) from None


def unusable(name: str, given: object, error: Exception) -> str:
    """The sentence about a place that can't be read or written."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    return f"{called(name)} is {shown(str(given))!r}, which can't be used: {why}."


def shown(url: str) -> str:
    """A URL as people may see it: `redis://shop:***@host:6379/0`."""
    url = re.sub(r"://([^:/?#@]*):.*@", r"://\1:***@", url)
    return re.sub(r"([?&]\w*password=)[^&]*", r"\1***", url)


def called(name: str) -> str:
    """What people call the place where something was given: an option of a command, or a setting."""
    return name if name.startswith("--") else f"{PREFIX}{name}"


def _unknown(variable: str, known: Mapping[str, Any]) -> str:
    names = [name.upper() for name in known]
    near = difflib.get_close_matches(variable.removeprefix(PREFIX), names, 1)
    return f"{variable} is no setting of Ecokart{f'; {PREFIX}{near[0]} is' if near else ''}."
