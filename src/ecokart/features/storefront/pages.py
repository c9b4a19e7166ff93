"""Home, categories, products, and the frame.

What everybody sees alike is rendered once for each state of what it shows; only the frame around it is
made for each visitor, and for one without cookies it reads nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import getsizeof
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from markupsafe import Markup
from msgspec import Meta
from starlette.responses import Response

from ecokart.core.errors import NotFound, Problem
from ecokart.core.i18n import LANGUAGES
from ecokart.core.records import Cursor
from ecokart.core.transaction import transact
from ecokart.features.cart import service as cart
from ecokart.features.cart.model import MAX_QUANTITY
from ecokart.features.catalog.kept import Kept
from ecokart.features.catalog.model import Category, NoSuchProduct
from ecokart.features.catalog.shelf import Shelf, Shown, Sort
from ecokart.features.orders.taxes import SHIPPING
from ecokart.features.storefront.view import card, groups
from ecokart.web import paging
from ecokart.web.i18n import language_of
from ecokart.web.pages import Frame, Templates, here, own_path, page, see_other
from ecokart.web.paging import CursorText
from ecokart.web.requests import Request, convert
from ecokart.web.routing import Access, Routes
from ecokart.web.visitors import keep_guest, keep_language, owner_or_new_guest

routes = Routes(page=True, access=Access.ANYONE)

PAGE_SIZE = 24
SELECTION_SIZE = 8
MOST_BYTES = 64 * 1024 * 1024  # of parts that are kept: the pages of ten thousand products

S = TypeVar("S")


class NoSuchCategory(NotFound):
    """This category doesn't exist."""


class ListQuery(msgspec.Struct, frozen=True):
    sort: Sort = Sort.RELEVANCE
    cursor: CursorText = ""


class Choice(msgspec.Struct):
    """What is put into the basket from a product's page."""

    sku: Annotated[str, Meta(max_length=100)] = ""
    quantity: Annotated[int, Meta(ge=1, le=MAX_QUANTITY)] = 1


class _Listed(NamedTuple):
    """A page of products: those on it, and where the next begins."""

    room: Category | None
    found: list[Shown]
    following: Cursor | None


class ShopFrame(Frame):
    """The categories, what is in the basket, and who is signed in."""

    async def around(self, request: Request) -> dict[str, Any]:
        owner, ports, count = request.visitor.owner, request.ports, 0
        if owner:
            count = (await cart.look(ports.records, owner, ports.clock.now())).count
        return {
            "bare": False,
            "categories": request.use(Shelf).categories,
            "basket_count": count,
            "here": here(request),
            "path": request.scope["path"],
        }


class Fragments:
    """The parts of pages that are the same for everybody, kept until what they show changes."""

    def __init__(self, shelf: Shelf, templates: Templates) -> None:
        self._templates = templates
        self._kept: Kept[Markup] = Kept(shelf, getsizeof, most_bytes=MOST_BYTES)

    def get(
        self,
        name: str,
        language: str,
        key: object,
        shows: Callable[[], S],
        context: Callable[[S], dict[str, Any]],
    ) -> Markup:
        """The template rendered with the context of what is shown, or as it was before for that key."""

        def make(shown: S) -> Markup:
            html = self._templates.render(f"storefront/{name}.html", language, context(shown))
            return Markup(html)  # noqa: S704 (a rendered template of ours)

        return self._kept.get((name, language, key), shows, make)


@routes("GET", "/")
async def home(request: Request) -> Response:
    """A word of welcome, the categories, and what others liked best."""
    shelf, language = request.use(Shelf), language_of(request)

    def shows() -> tuple[list[Shown], list[tuple[Category, str]]]:
        best, _ = shelf.page("", Sort.RATING, language, after=None, limit=SELECTION_SIZE)
        return best, [(room, _face(shelf, room)) for room in shelf.categories]

    def context(shown: tuple[list[Shown], list[tuple[Category, str]]]) -> dict[str, Any]:
        best, rooms = shown
        return {"rooms": rooms, "cards": [card(one, language) for one in best]}

    main = request.use(Fragments).get("home", language, None, shows, context)
    return await page(request, "storefront/home_page.html", main=main)


@routes("GET", "/products", query=ListQuery)
async def everything(request: Request, query: ListQuery) -> Response:
    """All that is for sale."""
    return await _list(request, query, None)


@routes("GET", "/categories/{id}", query=ListQuery)
async def category(request: Request, id: str, query: ListQuery) -> Response:  # noqa: A002
    """One room of the shop."""
    found = next((room for room in request.use(Shelf).categories if room.id == id), None)
    if found is None:
        raise NoSuchCategory
    return await _list(request, query, found)


@routes("GET", "/products/{id}")
async def product(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    """One product."""
    shown = _shown(request, id)
    language = language_of(request)
    main = request.use(Fragments).get(
        "product",
        language,
        id,
        lambda: (shown, _room(request, shown)),
        lambda seen: _product_context(request, seen[0], {}, None),
    )
    title = shown.product.name[language]
    return await page(request, "storefront/page.html", main=main, title=title)


@routes("POST", "/products/{id}")
async def put_into_basket(request: Request, id: str) -> Response:  # noqa: A002
    """Put it into the basket, and go and look at that; what hinders is said on the product's page."""
    shown, fields = _shown(request, id), await request.form_fields()
    try:
        choice = convert(fields, Choice)
        owner = owner_or_new_guest(request)
        await transact(
            request.ports, cart.add, owner, choice.quantity, sku=choice.sku, product_id=id
        )
    except Problem as why:
        if why.status not in (409, 422):
            raise
        return await _refused(request, shown, fields, why)
    return keep_guest(request, see_other("/cart"))


@routes("GET", "/shipping")
async def shipping(request: Request) -> Response:
    """What shipping costs, where we deliver to, how one pays."""
    return await page(request, "storefront/shipping.html", shipping=SHIPPING)


@routes("POST", "/language")
async def choose_language(request: Request) -> Response:
    """Remember the language, and go back to where the visitor was."""
    fields = await request.form_fields()
    response = see_other(own_path(fields.get("next", "/")))
    language = fields.get("language")
    return keep_language(request, response, language) if language in LANGUAGES else response


async def _list(request: Request, query: ListQuery, room: Category | None) -> Response:
    shelf, language = request.use(Shelf), language_of(request)

    room_id = room.id if room else ""

    def shows() -> _Listed:
        after = paging.read(query.cursor)
        page = shelf.page(room_id, query.sort, language, after=after, limit=PAGE_SIZE)
        return _Listed(room, *page)

    def context(listed: _Listed) -> dict[str, Any]:
        return {
            "room": room,
            "cards": [card(shown, language) for shown in listed.found],
            "query": query,
            "following": paging.write(listed.following),
        }

    main = request.use(Fragments).get("list", language, (room_id, query), shows, context)
    if room is None:
        return await page(request, "storefront/all_page.html", main=main)
    return await page(request, "storefront/page.html", main=main, title=room.name[language])


async def _refused(request: Request, shown: Shown, typed: dict[str, str], why: Problem) -> Response:
    """The product's page again, with what was chosen and why it can't be had."""
    language = language_of(request)
    context = _product_context(request, shown, typed, why)
    html = request.use(Templates).render("storefront/product.html", language, context)
    return await page(
        request,
        "storefront/page.html",
        why.status,
        main=Markup(html),  # noqa: S704 (a rendered template of ours)
        title=shown.product.name[language],
        here=f"/products/{shown.product.id}",
    )


def _product_context(
    request: Request, shown: Shown, typed: dict[str, str], why: Problem | None
) -> dict[str, Any]:
    language = language_of(request)
    return {
        "product": shown.product,
        "card": card(shown, language),
        "groups": groups(shown, language),
        "room": _room(request, shown),
        "typed": typed,
        "why": why,
        "most": MAX_QUANTITY,
    }


def _room(request: Request, shown: Shown) -> Category | None:
    rooms = request.use(Shelf).categories
    return next((room for room in rooms if room.id == shown.product.category), None)


def _shown(request: Request, product_id: str) -> Shown:
    shown = request.use(Shelf).product(product_id)
    if shown is None:
        raise NoSuchProduct
    return shown


def _face(shelf: Shelf, room: Category) -> str:
    """The picture that stands for a category: that of its first product."""
    first, _ = shelf.page(room.id, Sort.RELEVANCE, "de", after=None, limit=1)
    return first[0].product.picture if first else "missing.svg"
