"""The composition root: the rooms, put together over the ports. `opening` makes those from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.resources import files
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ecokart.core.clock import Clock, SystemClock
from ecokart.core.errors import Unavailable
from ecokart.core.events import Reactions
from ecokart.core.ports import Ports
from ecokart.core.worker import Worker
from ecokart.features.accounts import api as accounts_api
from ecokart.features.accounts import demo as accounts_demo
from ecokart.features.accounts.sign_in import AtSignIn
from ecokart.features.accounts.tokens import Tokens
from ecokart.features.cart import service as cart
from ecokart.features.catalog import api as catalog_api
from ecokart.features.catalog import demo as catalog_demo
from ecokart.features.catalog.shelf import Shelf
from ecokart.features.chat import hours
from ecokart.features.chat.api import ChatLimits
from ecokart.features.chat.figures import Figures
from ecokart.features.chat.hub import Hub
from ecokart.features.chat.terms import ChatTerms
from ecokart.features.partners.api import PartnerGate, PartnerLimits
from ecokart.features.partners.audit import AuditTrail
from ecokart.features.storefront.pages import Fragments, ShopFrame
from ecokart.opening import open_engines
from ecokart.rooms import (
    FEATURES_WITH_PAGES,
    JOB_MODULES,
    TABLES,
    Service,
    endpoints,
    socket_endpoints,
)
from ecokart.settings import Settings
from ecokart.web.assets import Assets
from ecokart.web.asyncapi import SocketDescription
from ecokart.web.cors import Cors
from ecokart.web.edge import Edge
from ecokart.web.limits import Limit
from ecokart.web.logs import LogWriter
from ecokart.web.metrics import Metrics
from ecokart.web.openapi import Description
from ecokart.web.origin import OriginRule
from ecokart.web.pages import Frame, Templates, error_page
from ecokart.web.routing import Authenticator, KeyGate, RouteLimit, Router
from ecokart.web.sockets import SocketEndpoint, SocketLimits, Sockets
from ecokart.web.streams import Streams


def open_ports(settings: Settings, clock: Clock | None = None) -> Ports:
    """The engines that the settings name, with every room's tables."""
    return open_engines(settings, TABLES, clock or SystemClock())


class Background(StrEnum):
    """What a process does beside answering."""

    NOTHING = "nothing"
    HANDING_ON = "handing on"  # its own events, to the processes that work
    WORK = "work"


@dataclass
class Application:
    """The shop as an ASGI application, with the parts that tests and commands want to reach."""

    settings: Settings
    ports: Ports
    worker: Worker
    shelf: Shelf
    hub: Hub
    router: Router
    metrics: Metrics
    streams: Streams
    trail: AuditTrail
    asgi: ASGIApp
    background: Background

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.asgi(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything that goes on beside the requests: the shelf is kept fresh, the worker works.

        Records that are away stop no start: `/health/ready` says so until they are back.
        """
        with suppress(Unavailable):  # keeping it fresh tries again, and logs why
            await self.shelf.refresh()
        tasks = [
            asyncio.create_task(self.shelf.keep_fresh()),
            asyncio.create_task(self.metrics.keep_fresh(self.ports)),
            asyncio.create_task(self.hub.keep()),
            asyncio.create_task(self.trail.keep_writing()),
        ]
        works = {Background.WORK: self.worker.run, Background.HANDING_ON: self.worker.hand_on}
        work = asyncio.create_task(works[self.background]()) if self.background in works else None
        try:
            yield
        finally:
            self.worker.stop()
            if work:
                await work
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await self.hub.close()
            await self.trail.end()
            await self.ports.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def create(
    settings: Settings,
    ports: Ports,
    log_writer: LogWriter,
    *,
    service: Service | None = None,
    background: Background = Background.NOTHING,
    several: bool = False,
) -> Application:
    """The shop over these ports, or a service of it. `several`: others answer at the same port too."""
    shelf, metrics = Shelf(ports), Metrics(several=several)
    trail = AuditTrail(ports, timedelta(days=settings.audit_days))
    streams = Streams(changed=metrics.streams)
    worker = Worker(ports, Reactions(JOB_MODULES))
    router = Router(endpoints(service))
    limit = Limit(settings.rate_limit, settings.rate_window_seconds)
    authenticator, gate = accounts_api.AccountAuthenticator(), PartnerGate(trail, limit)
    templates = Templates(FEATURES_WITH_PAGES, settings.data_dir / "templates")
    provided: dict[type, Any] = {
        Ports: ports,
        Settings: settings,
        Shelf: shelf,
        Metrics: metrics,
        Streams: streams,
        Reactions: worker.reactions,
        Tokens: Tokens(settings.secret),
        Authenticator: authenticator,
        KeyGate: gate,
        PartnerLimits: PartnerLimits(
            settings.partner_rate_limit, settings.partner_customer_rate_limit
        ),
        Description: Description(router.endpoints, settings.public_url, authenticator, PartnerGate),
        RouteLimit: RouteLimit(limit),
        AtSignIn: AtSignIn(cart.merge),
        Templates: templates,
        Fragments: Fragments(shelf, templates),
        Frame: ShopFrame(),
        Assets: Assets(
            {
                "static": files("ecokart.web") / "static",
                "pictures": catalog_demo.folder() / "pictures",
            }
        ),
        catalog_api.Answers: catalog_api.Answers(shelf),
        SocketDescription: SocketDescription(socket_endpoints(service), settings.public_url),
        ChatLimits: ChatLimits(settings.chat_rate_limit),
    }
    hub = provided[Hub] = Hub(ports, _chat_terms(settings), Figures(metrics.registry))
    sockets = socket_endpoints(service)
    edge = _edge(
        settings, router, sockets, provided=provided, metrics=metrics, log_writer=log_writer
    )
    return Application(
        settings, ports, worker, shelf, hub, router, metrics, streams, trail, edge, background
    )


def _edge(
    settings: Settings,
    router: Router,
    sockets: list[SocketEndpoint],
    *,
    provided: dict[type, Any],
    metrics: Metrics,
    log_writer: LogWriter,
) -> Edge:
    """What is around every request, and every socket."""
    secure = settings.public_url.startswith("https:")
    origin_rule = OriginRule(settings.origins, settings.public_url)
    return Edge(
        router,
        sockets=Sockets(
            sockets,
            provided=provided,
            origin_rule=origin_rule,
            log_writer=log_writer,
            secure=secure,
            limits=SocketLimits(settings.chat_connections, settings.chat_connections_each),
        ),
        provided=provided,
        origin_rule=origin_rule,
        cors=Cors(settings.origins),
        metrics=metrics,
        log_writer=log_writer,
        error_page=error_page,
        secure=secure,
        max_body_bytes=settings.max_body_bytes,
        timeout_seconds=settings.request_timeout_seconds,
    )


def _chat_terms(settings: Settings) -> ChatTerms:
    words = [word.strip() for word in settings.chat_blocked_words.split(",")]
    return ChatTerms(
        kept_for=timedelta(days=settings.chat_days),
        blocked_words=tuple(word for word in words if word),
        hours=hours.read(settings.chat_hours),
    )


async def seed(ports: Ports) -> None:
    """The demo shop, where there is no shop yet."""
    await accounts_demo.seed(ports)
    await catalog_demo.seed(ports)
