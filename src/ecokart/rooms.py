"""Which rooms there are: what they keep, what they react to, where they answer, and which service opens which.

A service is a choice at start: `serve --service user` routes the pages and the API of that service's
rooms, and answers 404 elsewhere. Whichever it is, it tells how it is, what it counts and what its API
is, and has the files that its pages need.
"""

from __future__ import annotations

from enum import StrEnum

from ecokart.copying.model import COPIES
from ecokart.core.events import OUTBOX
from ecokart.core.idempotency import MARKS
from ecokart.core.log import LOG
from ecokart.core.timers import TIMERS
from ecokart.features.accounts import api as accounts_api
from ecokart.features.accounts import pages as accounts_pages
from ecokart.features.accounts.model import CUSTOMERS, EMAILS, SESSIONS
from ecokart.features.admin import pages as admin_pages
from ecokart.features.cart import api as cart_api
from ecokart.features.cart import jobs as cart_jobs
from ecokart.features.cart import pages as cart_pages
from ecokart.features.cart.model import CARTS
from ecokart.features.catalog import api as catalog_api
from ecokart.features.catalog import jobs as catalog_jobs
from ecokart.features.catalog.low_stock import LOW_STOCK, STOCK_WATCH
from ecokart.features.catalog.model import CATEGORIES, PRODUCTS, STOCK
from ecokart.features.chat import api as chat_api
from ecokart.features.chat import jobs as chat_jobs
from ecokart.features.chat import pages as chat_pages
from ecokart.features.chat.model import BLOCKS, ENTRIES, READ_MARKS, ROOMS, SENT
from ecokart.features.inbox import pages as inbox_pages
from ecokart.features.inbox.model import AGENTS, ANSWERS
from ecokart.features.orders import api as orders_api
from ecokart.features.orders import deadlines, paying, pipeline, refunds
from ecokart.features.orders import jobs as orders_jobs
from ecokart.features.orders import pages as orders_pages
from ecokart.features.orders.model import ORDERS
from ecokart.features.orders.posting import MAIL_FAILURES
from ecokart.features.partners import api as partners_api
from ecokart.features.partners import pages as partners_pages
from ecokart.features.partners.audit import AUDIT
from ecokart.features.partners.model import KEY_USES, PARTNERS
from ecokart.features.payments import api as payments_api
from ecokart.features.payments import jobs as payments_jobs
from ecokart.features.payments import pages as payments_pages
from ecokart.features.payments.model import INBOX
from ecokart.features.storefront import pages as storefront_pages
from ecokart.features.webhooks import api as webhooks_api
from ecokart.features.webhooks import jobs as webhooks_jobs
from ecokart.features.webhooks import pages as webhooks_pages
from ecokart.features.webhooks.model import DELIVERIES, ENDPOINTS
from ecokart.opening import JOBS, PRETEND_NOTICES, PRETEND_PAYMENTS
from ecokart.web import assets, asyncapi, health, openapi, reference
from ecokart.web.routing import Endpoint, Routes
from ecokart.web.sockets import SocketEndpoint, SocketRoutes

TABLES = (
    PRODUCTS, STOCK, CATEGORIES, CUSTOMERS, EMAILS, SESSIONS, CARTS, ORDERS, MAIL_FAILURES,
    PARTNERS, KEY_USES, AUDIT,
    LOW_STOCK, STOCK_WATCH, ENDPOINTS, DELIVERIES, INBOX, ROOMS, ENTRIES, SENT, READ_MARKS, BLOCKS,
    AGENTS, ANSWERS,
    MARKS, OUTBOX, LOG, JOBS, TIMERS, COPIES, PRETEND_PAYMENTS, PRETEND_NOTICES,
)  # fmt: skip
JOB_MODULES = (
    pipeline,
    paying,
    refunds,
    deadlines,
    orders_jobs,
    payments_jobs,
    cart_jobs,
    catalog_jobs,
    webhooks_jobs,
    chat_jobs,
)
FEATURES_WITH_PAGES = (
    "storefront",
    "cart",
    "orders",
    "accounts",
    "admin",
    "partners",
    "payments",
    "webhooks",
    "chat",
    "inbox",
)


class Service(StrEnum):
    """A part of the shop that can run in processes of its own."""

    PRODUCT = "product"
    CHECKOUT = "checkout"
    USER = "user"
    ANALYTICS = "analytics"
    CHAT = "chat"
    WORK = "work"  # answers nothing but how it is; the background work is done here


ROUTES: dict[Service, tuple[Routes, ...]] = {
    Service.PRODUCT: (catalog_api.routes, storefront_pages.routes),
    Service.CHECKOUT: (
        cart_api.routes,
        orders_api.routes,
        partners_api.routes,
        webhooks_api.routes,
        payments_api.routes,
        payments_pages.routes,
        cart_pages.routes,
        orders_pages.routes,
    ),
    Service.USER: (accounts_api.routes, accounts_pages.routes),
    Service.ANALYTICS: (admin_pages.routes, partners_pages.routes, webhooks_pages.routes),
    Service.CHAT: (chat_api.routes, chat_pages.routes, inbox_pages.routes),
    Service.WORK: (),
}
SOCKETS: dict[Service, tuple[SocketRoutes, ...]] = {Service.CHAT: (chat_api.sockets,)}
EVERYWHERE = (health.routes, openapi.routes, asyncapi.routes, reference.routes, assets.routes)


def endpoints(service: Service | None = None) -> list[Endpoint]:
    """What a service answers, or the whole shop where none is named."""
    opened = [service] if service else list(Service)
    routes = [routes for one in opened for routes in ROUTES[one]]
    return [endpoint for part in (*routes, *EVERYWHERE) for endpoint in part.endpoints]


def socket_endpoints(service: Service | None = None) -> list[SocketEndpoint]:
    """The sockets that a service takes, or the whole shop where none is named."""
    opened = [service] if service else list(Service)
    routes = [routes for one in opened for routes in SOCKETS.get(one, ())]
    return [endpoint for part in routes for endpoint in part.endpoints]
