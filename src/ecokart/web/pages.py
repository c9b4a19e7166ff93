"""HTML pages: templates in two languages, one layout around them, error pages.

Every feature keeps its templates in its own folder and names them with it: `cart/cart.html`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cache, partial
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from jinja2 import (
    Environment,
    FileSystemBytecodeCache,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
)
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ecokart.core.errors import Problem, Unauthenticated
from ecokart.core.i18n import (
    LANGUAGES,
    format_date,
    format_decimal,
    format_moment,
    format_money,
    format_time,
    translations,
)
from ecokart.web.i18n import language_of
from ecokart.web.requests import Request


class Frame(ABC):
    """What stands around every page: basket, categories, who is signed in. `app.py` provides the real one."""

    @abstractmethod
    async def around(self, request: Request) -> dict[str, Any]:
        """What the layout's template needs to know."""


class Templates:
    """The compiled templates, one environment a language."""

    def __init__(self, features: Iterable[str], bytecode_folder: Path) -> None:
        root = Path(str(files("ecokart")))
        places = {name: root / "features" / name / "templates" for name in features}
        places["web"] = root / "web" / "templates"
        loader = PrefixLoader({name: FileSystemLoader(place) for name, place in places.items()})
        bytecode_folder.mkdir(parents=True, exist_ok=True)
        cache = FileSystemBytecodeCache(str(bytecode_folder))
        self._environments = {
            language: _environment(loader, cache, language) for language in LANGUAGES
        }

    def render(self, name: str, language: str, context: dict[str, Any]) -> str:
        return self._environments[language].get_template(name).render(context)


async def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page of ours, with the frame around it, in the visitor's language."""
    frame = await request.use(Frame).around(request)  # type: ignore[type-abstract]
    return _rendered(request, template, status, {**frame, **context})


def error_page(request: Request, error: Problem) -> Response:
    """What a person sees when something went wrong. Stands alone, in case the frame is what failed.

    Who has to sign in first is led there, and back afterwards.
    """
    if isinstance(error, Unauthenticated):
        return see_other(f"/sign-in?next={quote(here(request), safe='/')}")
    return _rendered(request, "web/error.html", error.status, {"error": error, "bare": True})


def see_other(path: str) -> Response:
    """After a form: go and look at `path` (303), so that reloading sends nothing twice."""
    return RedirectResponse(path, status_code=303)


def here(request: Request) -> str:
    """The address to come back to: that of this page, or the shop's where a form was posted."""
    if request.method != "GET":
        return "/"
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def own_path(text: str, otherwise: str = "/") -> str:
    """`text` if it is an address of this shop, so that nobody is led elsewhere by a link they trust."""
    inside = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isprintable()
    return text if inside else otherwise


def wrong_fields(fields: dict[str, str], kind: type[msgspec.Struct]) -> set[str]:
    """The names of all form fields that `kind` wouldn't take, so that each can say so at once."""
    wrong = set()
    for field in msgspec.structs.fields(kind):
        given = fields.get(field.encode_name)
        try:
            if given is not None or field.required:
                msgspec.convert(given or "", field.type, strict=False)
        except msgspec.ValidationError:
            wrong.add(field.encode_name)
    return wrong


def static_url(path: str) -> str:
    """The address of a file in `static/`, with its content's hash: it may be cached for ever."""
    if path not in _STATIC_URLS:
        content = (files("ecokart.web") / "static" / path).read_bytes()
        _STATIC_URLS[path] = f"/static/{path}?v={blake2b(content, digest_size=6).hexdigest()}"
    return _STATIC_URLS[path]


_STATIC_URLS: dict[str, str] = {}


def _rendered(request: Request, name: str, status: int, context: dict[str, Any]) -> Response:
    language = language_of(request)
    context |= {"request": request, "visitor": request.visitor, "language": language}
    html = request.use(Templates).render(name, language, context)
    headers = {"cache-control": "no-store, private", "vary": "accept-language, cookie"}
    return HTMLResponse(html, status, headers)


def _environment(
    loader: PrefixLoader, cache: FileSystemBytecodeCache, language: str
) -> Environment:
    environment = Environment(
        loader=loader,
        bytecode_cache=cache,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    environment.filters |= {
        "money": partial(format_money, language=language),
        "date": partial(format_date, language=language),
        "moment": partial(format_moment, language=language),
        "time": partial(format_time, language=language),
        "decimal": partial(format_decimal, language=language),
        "text": lambda text: text[language],
    }
    translated = _translated(language)
    environment.globals |= {"static": static_url, "_": translated, "gettext": translated}
    return environment


def _translated(language: str) -> Callable[..., Markup]:
    """Jinja's new-style `gettext`, with what has no places to fill in remembered: most messages have none."""
    find = translations(language).gettext

    @cache
    def plain(message: str) -> Markup:
        return Markup(find(message)) % {}  # noqa: S704 (messages are ours, and what is filled in is escaped)

    def translated(message: str, /, **values: object) -> Markup:
        return Markup(find(message)) % values if values else plain(message)  # noqa: S704

    return translated
