"""Routes. Each says what it takes, what it gives, who may use it and what can go wrong.

From the same declaration come the dispatch, the checks, and the OpenAPI document.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from ecokart.core.errors import Forbidden, NotFound, Problem, Unauthenticated
from ecokart.core.events import actor
from ecokart.web.limits import Limit
from ecokart.web.requests import (
    BadRequest,
    Request,
    UnsupportedMediaType,
    Visitor,
    convert,
    invalid,
)

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Response]])


class Access(StrEnum):
    """Who may use a route."""

    PUBLIC = "public"  # nobody is asked who they are
    ANYONE = "anyone"  # guests and customers alike
    CUSTOMER = "customer"
    ADMIN = "admin"
    PARTNER = "partner"  # a program, by its API key


class MethodNotAllowed(Problem):
    """This can't be done with this address."""

    status = 405

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__(f"It takes {', '.join(sorted(allowed))}.")
        self.allowed = sorted(allowed)


class Authenticator(ABC):
    """Finds out who asks. `app.py` provides the one that knows the accounts.

    `refusals` are the problems of those whose proof doesn't hold.
    """

    refusals: tuple[type[Problem], ...] = ()

    @abstractmethod
    async def visitor(self, request: Request) -> Visitor:
        """Who sends the request; a proof that doesn't hold is refused."""


class KeyGate(ABC):
    """Lets programs in by their API key. `app.py` provides the one that knows the partners.

    `refusals` are the problems of those who stay outside.
    """

    refusals: tuple[type[Problem], ...] = ()

    @abstractmethod
    async def admit(self, request: Request, scope: str) -> Visitor:
        """Who sends the request, if its key may be used for `scope`."""


class RouteLimit(msgspec.Struct, frozen=True):
    """The limit an address has on each route that is declared `limited`."""

    limit: Limit


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path, as declared."""

    method: str
    path: str
    run: Callable[..., Awaitable[Response]]
    page: bool = False
    access: Access = Access.PUBLIC
    scope: str = ""
    takes: Any = None
    decode: Callable[[bytes], Any] | None = None
    query: Any = None
    gives: Mapping[int, Any] = {}
    problems: tuple[type[Problem], ...] = ()
    limited: str = ""
    idempotent: bool = False
    new_guests: bool = False
    streams: bool = False
    tag: str = ""
    summary: str = ""
    description: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        given: dict[str, Any] = scope["path_params"]
        if self.limited:
            client = request.client.host if request.client else "unknown"
            limit = request.use(RouteLimit).limit
            await limit.take(request.ports.cache, f"{self.limited}:{client}")
        if self.access is not Access.PUBLIC:
            await self._admit(request)
        if self.query:
            given = given | {"query": convert(request.query(), self.query)}
        if self.decode:
            given = given | {"body": await self._body(request, self.decode)}
        response = await self.run(request, **given)
        await response(scope, receive, send)

    async def _admit(self, request: Request) -> None:
        # The base classes by name: `app.py` provides their subclasses under it.
        if self.access is Access.PARTNER:
            visitor = await request.use(KeyGate).admit(request, self.scope)  # type: ignore[type-abstract]
        else:
            visitor = await request.use(Authenticator).visitor(request)  # type: ignore[type-abstract]
        request.visitor = visitor
        actor.set(visitor.actor)
        if self.access in (Access.ANYONE, Access.PARTNER):
            return
        if not visitor.customer_id:
            raise Unauthenticated
        if self.access is Access.ADMIN and visitor.role != "admin":
            raise Forbidden

    @staticmethod
    async def _body(request: Request, decode: Callable[[bytes], Any]) -> Any:
        kind = request.header(b"content-type").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise UnsupportedMediaType("A body comes as application/json.")
        try:
            return decode(await request.body())
        except msgspec.ValidationError as error:
            raise invalid(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"The body is no JSON: {error}.") from None


class Routes:
    """Collects the endpoints of one feature."""

    def __init__(
        self, tag: str = "", *, page: bool = False, access: Access = Access.PUBLIC
    ) -> None:
        self.endpoints: list[Endpoint] = []
        self._tag, self._page, self._access = tag, page, access

    def __call__(
        self,
        method: str,
        path: str,
        *,
        takes: Any = None,
        query: Any = None,
        gives: Mapping[int, Any] | None = None,
        problems: tuple[type[Problem], ...] = (),
        access: Access | None = None,
        scope: str = "",
        limited: str = "",
        idempotent: bool = False,
        new_guests: bool = False,
        streams: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare a route. The handler gets the request, the path's parameters, `query` and `body`.

        `limited` names the bucket in which an address's requests are counted; `new_guests` says that
        who comes without a name gets a guest's cookie. `scope` is what a partner's key must be good for.
        `streams`: it answers with server-sent events, whose data are what it `gives`.
        """

        def declare(handler: Handler) -> Handler:
            summary, _, description = (inspect.getdoc(handler) or "").partition("\n\n")
            self.endpoints.append(
                Endpoint(
                    method=method,
                    path=path,
                    run=handler,
                    page=self._page,
                    access=access or self._access,
                    scope=scope,
                    takes=takes,
                    decode=msgspec.json.Decoder(takes).decode if takes else None,
                    query=query,
                    gives=gives or {},
                    problems=problems,
                    limited=limited,
                    idempotent=idempotent,
                    new_guests=new_guests,
                    streams=streams,
                    tag=self._tag,
                    summary=" ".join(summary.split()),
                    description=description,
                )
            )
            return handler

        return declare


class Router:
    """Finds the endpoint: fixed paths in a dictionary, the others by pattern in the order declared."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = list(endpoints)
        self._fixed: dict[str, dict[str, Endpoint]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Endpoint]]] = {}
        for endpoint in self.endpoints:
            if "{" in endpoint.path:
                pattern, _, _ = compile_path(endpoint.path)
                methods = self._patterns.setdefault(endpoint.path, (pattern, {}))[1]
            else:
                methods = self._fixed.setdefault(endpoint.path, {})
            if endpoint.method in methods:
                raise ValueError(f"{endpoint.method} {endpoint.path} is declared twice")
            methods[endpoint.method] = endpoint
            if endpoint.method == "GET":
                methods["HEAD"] = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self._methods(scope)
        if methods is None:
            raise NotFound
        endpoint = methods.get(scope["method"])
        if endpoint is None:
            raise MethodNotAllowed(methods)
        scope["endpoint"] = endpoint
        await endpoint(scope, receive, send)

    def _methods(self, scope: Scope) -> dict[str, Endpoint] | None:
        path = scope["path"]
        scope["path_params"] = {}
        if (fixed := self._fixed.get(path)) is not None:
            return fixed
        for pattern, methods in self._patterns.values():
            if match := pattern.match(path):
                scope["path_params"] = match.groupdict()
                return methods
        return None
