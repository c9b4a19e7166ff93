"""The shop speaks German and English completely: every sentence that is shown has its translation.

Sentences come from the templates, from `_(…)` in the code, and from the errors: the first line of an
error's docstring is what people read.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import ecokart
from ecokart.core.errors import Problem
from ecokart.core.i18n import LANGUAGES, gettext

SOURCE = Path(ecokart.__file__).parent
LOCALES = SOURCE / "locales"
WRITTEN_IN = "en"
TRANSLATED = sorted(set(LANGUAGES) - {WRITTEN_IN})
PLACES = re.compile(r"%\((\w+)\)s")

MessageId = str | tuple[str, ...]


def _said() -> set[MessageId]:
    """Every message that the shop may want to say."""
    found: set[MessageId] = {problem.title for problem in _problems()}
    for path in SOURCE.rglob("*.html"):
        with path.open("rb") as file:
            for _, _, message, _ in babel_extract(
                file, ("_", "gettext", "ngettext"), [], {"trimmed": "false"}
            ):
                found |= _ids(message)
    for path in SOURCE.rglob("*.py"):
        with path.open("rb") as file:
            for _, message, _, _ in extract("python", file, keywords={"_": None}):
                found |= _ids(message)
    return found


def _ids(message: object) -> set[MessageId]:
    """The message, or its singular and plural. A variable (`_(error.title)`) is none."""
    parts = message if isinstance(message, tuple) else (message,)
    said = tuple(part for part in parts if isinstance(part, str))
    return {said if len(said) > 1 else said[0]} if said else set()


def _problems() -> set[type[Problem]]:
    """Every error of ours, from every module there is."""
    for module in pkgutil.walk_packages(ecokart.__path__, "ecokart."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(kind: type[Problem]) -> Iterator[type[Problem]]:
        for child in kind.__subclasses__():
            if child.__module__.startswith("ecokart."):
                yield child
                yield from below(child)

    return {Problem, *below(Problem)}


def _catalog(language: str) -> Catalog:
    with (LOCALES / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


def _messages(language: str) -> dict[MessageId, Message]:
    return {
        tuple(message.id) if isinstance(message.id, list | tuple) else message.id: message
        for message in _catalog(language)
        if message.id
    }


def _texts(message: Message) -> list[str]:
    """The translation, in singular and plural where it has both."""
    return [message.string] if isinstance(message.string, str) else list(message.string or ())


@pytest.mark.parametrize("language", TRANSLATED)
def test_everything_that_is_said_is_translated(language: str) -> None:
    missing = _said() - set(_messages(language))
    assert not sorted(map(str, missing))


@pytest.mark.parametrize("language", TRANSLATED)
def test_nothing_is_translated_that_nobody_says(language: str) -> None:
    left_over = set(_messages(language)) - _said()
    assert not sorted(map(str, left_over))
    assert not list(_catalog(language).obsolete)


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_is_empty_or_a_guess(language: str) -> None:
    poor = [
        str(message.id)
        for message in _messages(language).values()
        if message.fuzzy or not all(text.strip() for text in _texts(message))
    ]
    assert not poor


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_fill_in_the_same_places(language: str) -> None:
    for message_id, message in _messages(language).items():
        asked = " ".join(message_id) if isinstance(message_id, tuple) else message_id
        for text in _texts(message):
            assert set(PLACES.findall(text)) <= set(PLACES.findall(asked)), text


def test_a_shopper_reads_the_translation() -> None:
    assert gettext("de", "Into the basket") == "In den Korb"
    assert gettext("en", "Into the basket") == "Into the basket"
