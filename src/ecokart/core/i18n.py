"""Languages: what the shop says in German and English, and how each writes money and dates.

Sentences are written in English where they are said; `locales/<language>.po` holds their
translations, read as they are at the start (no compiling, no build).
"""

from __future__ import annotations

from datetime import date, datetime
from functools import cache, lru_cache
from gettext import NullTranslations
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from ecokart.core.money import Money

LANGUAGES = ("de", "en")
DEFAULT = "de"
_LOCALES = {"de": "de_DE", "en": "en_IE"}
SHOP_ZONE = ZoneInfo("Europe/Berlin")


class Text(msgspec.Struct, frozen=True):
    """A text of the shop's own in both languages: `text["de"]`."""

    de: str
    en: str

    def __getitem__(self, language: str) -> str:
        return self.en if language == "en" else self.de


@cache
def translations(language: str) -> NullTranslations:
    """The messages of a language; English is what the code says."""
    resource = files("ecokart") / "locales" / f"{language}.po"
    if not resource.is_file():
        return NullTranslations()
    from io import BytesIO  # noqa: PLC0415

    from babel.messages.mofile import write_mo  # noqa: PLC0415 (needed once, at the first use)
    from babel.messages.pofile import read_po  # noqa: PLC0415
    from babel.support import Translations  # noqa: PLC0415

    compiled = BytesIO()
    with resource.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled)


def gettext(language: str, message: str, **values: Any) -> str:
    """The message in that language, with its `%(name)s` filled in."""
    text = translations(language).gettext(message)
    return text % values if values else text


def preferred(accept_language: str) -> str:
    """The language of ours that an Accept-Language header (RFC 9110, 12.5.4) asks for first."""
    best, best_weight = DEFAULT, 0.0
    for part in accept_language.split(",")[:20]:
        tag, _, weight_text = part.strip().partition(";q=")
        language = tag.strip().lower().partition("-")[0]
        try:
            weight = float(weight_text) if weight_text else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and weight > best_weight:
            best, best_weight = language, weight
    return best


@lru_cache(maxsize=8192)
def format_money(money: Money, language: str) -> str:
    """`12,90 €` in German, `€12.90` in English."""
    from babel.numbers import format_currency  # noqa: PLC0415

    return str(format_currency(money.amount, money.currency, locale=_LOCALES[language]))


def format_date(moment: datetime, language: str) -> str:
    """`20. November 2026`, in the shop's own time zone."""
    return _format_day(moment.astimezone(SHOP_ZONE).date(), language)


@lru_cache(maxsize=1024)
def _format_day(day: date, language: str) -> str:
    from babel.dates import format_date as formatted  # noqa: PLC0415

    return str(formatted(day, "long", locale=_LOCALES[language]))


@lru_cache(maxsize=1024)
def format_moment(moment: datetime, language: str) -> str:
    """Date and time of day, in the shop's own time zone."""
    from babel.dates import format_datetime  # noqa: PLC0415

    return str(format_datetime(moment.astimezone(SHOP_ZONE), "medium", locale=_LOCALES[language]))


@lru_cache(maxsize=1024)
def format_time(moment: datetime, language: str) -> str:
    """The time of day, `11:30`, in the shop's own time zone."""
    from babel.dates import format_time as formatted  # noqa: PLC0415

    return str(formatted(moment.astimezone(SHOP_ZONE), "short", locale=_LOCALES[language]))


@lru_cache(maxsize=1024)
def format_decimal(number: float, language: str) -> str:
    """`4,7` in German, `4.7` in English."""
    from babel.numbers import format_decimal as formatted  # noqa: PLC0415

    return str(formatted(number, locale=_LOCALES[language]))
