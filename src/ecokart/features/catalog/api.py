"""The product API, answered from ready-made bytes."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from starlette.responses import Response

from ecokart.core.records import Cursor
from ecokart.features.catalog.kept import Kept
from ecokart.features.catalog.model import NoSuchProduct, Variant
from ecokart.features.catalog.shelf import Shelf, Shown, Sort, base_price
from ecokart.web import paging
from ecokart.web.i18n import language_of
from ecokart.web.paging import BadCursor, CursorText, Limit
from ecokart.web.requests import Request
from ecokart.web.responses import Moment, Ready, encode_json
from ecokart.web.routing import Routes

routes = Routes("Products")

MOST_BYTES = 32 * 1024 * 1024  # of answers that are kept: those of ten thousand products


class ListQuery(msgspec.Struct, frozen=True):
    """Which products, in which order."""

    category: str = ""
    sort: Sort = Sort.RELEVANCE
    limit: Limit = 50
    cursor: CursorText = ""


class ChoiceView(msgspec.Struct, rename="camel"):
    id: str
    name: str


class OptionView(msgspec.Struct, rename="camel"):
    id: str
    name: str
    values: list[ChoiceView]


class VariantView(msgspec.Struct, rename="camel", omit_defaults=True):
    """An article. `basePrice` is that of one `basePriceUnit`, where it is sold by weight or volume."""

    sku: str
    title: str
    options: dict[str, str]
    price: Decimal
    currency: str
    stock: int
    reserved: int
    available: int
    compare_at_price: Decimal | None = None
    base_price: Decimal | None = None
    base_price_unit: str | None = None


class ProductView(msgspec.Struct, rename="camel"):
    """A product. `price` is its lowest; `stock` and `reserved` are the sums over its variants."""

    id: str
    name: str
    summary: str
    description: str
    price: Decimal
    currency: str
    image_url: str
    category: str
    rating: float
    review_count: int
    stock: int
    reserved: int
    available: int
    material: str
    origin: str
    options: list[OptionView]
    variants: list[VariantView]
    created_at: Moment
    updated_at: Moment


class ProductList(msgspec.Struct, rename="camel"):
    products: list[ProductView]
    next_cursor: str | None


class Answers:
    """The answers of this API as bytes, made once for each state of what they show."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._ready: Kept[Ready] = Kept(shelf, lambda ready: len(ready.body), most_bytes=MOST_BYTES)

    def page(self, query: ListQuery, language: str) -> Ready:
        """Raises `BadCursor`."""

        def shows() -> tuple[list[Shown], Cursor | None]:
            after = paging.read(query.cursor)
            return self._shelf.page(
                query.category, query.sort, language, after=after, limit=query.limit
            )

        def make(shown: tuple[list[Shown], Cursor | None]) -> Ready:
            products = [view(one, language) for one in shown[0]]
            return _ready(ProductList(products, paging.write(shown[1])))

        return self._ready.get((query, language), shows, make)

    def one(self, product_id: str, language: str) -> Ready:
        """Raises `NoSuchProduct`."""

        def shows() -> Shown:
            shown = self._shelf.product(product_id)
            if shown is None:
                raise NoSuchProduct
            return shown

        return self._ready.get(
            (product_id, language), shows, lambda shown: _ready(view(shown, language))
        )


def _ready(answer: ProductList | ProductView) -> Ready:
    return Ready(encode_json(answer), "application/json")


@routes(
    "GET",
    "/api/products",
    query=ListQuery,
    gives={200: ProductList, 304: None},
    problems=(BadCursor,),
)
async def list_products(request: Request, query: ListQuery) -> Response:
    """The products, page by page.

    Texts are in the language that `Accept-Language` prefers, German or English. The answer carries
    an ETag and is at most one second behind the stock.
    """
    return request.use(Answers).page(query, language_of(request)).answer(request)


@routes("GET", "/api/products/{id}", gives={200: ProductView, 304: None}, problems=(NoSuchProduct,))
async def show_product(request: Request, id: str) -> Response:  # noqa: A002 (the path's own name)
    """One product with its variants."""
    return request.use(Answers).one(id, language_of(request)).answer(request)


def view(shown: Shown, language: str) -> ProductView:
    product = shown.product
    stock = list(shown.stock.values())
    variants = [_variant(shown, variant, language) for variant in product.variants]
    return ProductView(
        id=product.id,
        name=product.name[language],
        summary=product.summary[language],
        description=product.description[language],
        price=product.lowest_price.amount,
        currency=product.price.currency,
        image_url=f"/pictures/{product.picture}",
        category=product.category,
        rating=product.rating,
        review_count=product.review_count,
        stock=sum(one.stock for one in stock),
        reserved=sum(one.reserved for one in stock),
        available=sum(one.available for one in stock),
        material=product.material[language],
        origin=product.origin[language],
        options=[
            OptionView(
                option.id,
                option.name[language],
                [ChoiceView(choice.id, choice.name[language]) for choice in option.values],
            )
            for option in product.options
        ],
        variants=variants,
        created_at=product.created_at,
        updated_at=max([product.changed_at, *(one.changed_at for one in stock)]),
    )


def _variant(shown: Shown, variant: Variant, language: str) -> VariantView:
    product, stock = shown.product, shown.stock.get(variant.sku)
    per_unit = base_price(product, variant)
    return VariantView(
        sku=variant.sku,
        title=product.title_of(variant)[language],
        options=variant.options,
        price=product.price_of(variant).amount,
        currency=product.price_of(variant).currency,
        stock=stock.stock if stock else 0,
        reserved=stock.reserved if stock else 0,
        available=stock.available if stock else 0,
        compare_at_price=variant.compare_at.amount if variant.compare_at else None,
        base_price=per_unit[0].amount if per_unit else None,
        base_price_unit=per_unit[1] if per_unit else None,
    )
