"""The API's description: an OpenAPI 3.1 document made from the declared routes.

Only what no declaration can say is added: an example of every request and answer. They lie beside
the routes in `examples.json`, by method and path, and a test plays them all to a real shop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cached_property
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import msgspec
from starlette.responses import Response

from ecokart import __version__
from ecokart.core.errors import Forbidden, Invalid, Problem, TooMany, Unauthenticated, Unavailable
from ecokart.core.records import OutcomeUnknown
from ecokart.core.transaction import Contended
from ecokart.web.edge import BodyTooLarge, ServerError
from ecokart.web.openapi_parts import (
    ABOUT,
    FIELD_ERROR,
    HEADERS,
    PARAMETERS,
    PROBLEM,
    SCHEMES,
    TEXT,
    Json,
    event_schema,
)
from ecokart.web.origin import SAFE_METHODS, ForeignOrigin
from ecokart.web.requests import (
    BadRequest,
    Request,
    UnsupportedMediaType,
)
from ecokart.web.responses import Ready, encode_json
from ecokart.web.routing import Access, Authenticator, Endpoint, KeyGate, Routes
from ecokart.web.watch import TimedOut

routes = Routes("Description")

_SIGNED_IN: list[Json] = [{"bearer": []}, {"session": []}]
SECURITY: dict[Access, list[Json]] = {
    Access.PUBLIC: [],
    Access.ANYONE: [*_SIGNED_IN, {"guest": []}, {}],
    Access.CUSTOMER: _SIGNED_IN,
    Access.ADMIN: _SIGNED_IN,
    Access.PARTNER: [{"apiKey": []}],
}


# What the toolkit itself may answer.
ALWAYS = (TimedOut, Unavailable, ServerError)
TO_CHANGES = (ForeignOrigin, BodyTooLarge, Contended, OutcomeUnknown)
TO_BODIES = (BadRequest, UnsupportedMediaType, Invalid)


class Description:
    """The description of these endpoints at their public address, made when it is first asked for."""

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        public_url: str,
        authenticator: Authenticator,
        gate: type[KeyGate],
    ) -> None:
        self.endpoints = [endpoint for endpoint in endpoints if endpoint.gives]
        self._public_url = public_url
        self._refusals, self._refused_keys = authenticator.refusals, gate.refusals

    @cached_property
    def ready(self) -> Ready:
        return Ready(encode_json(self.document), "application/json")

    @cached_property
    def document(self) -> Json:
        """The whole document."""
        paths: dict[str, Json] = {}
        for endpoint in self.endpoints:
            path = re.sub(r":\w+}", "}", endpoint.path)
            paths.setdefault(path, {})[endpoint.method.lower()] = self._operation(endpoint)
        return {
            "openapi": "3.1.0",
            "info": {"title": "Ecokart", "version": __version__, "description": ABOUT},
            "servers": [{"url": self._public_url}],
            "tags": [{"name": tag} for tag in dict.fromkeys(e.tag for e in self.endpoints)],
            "paths": paths,
            "components": {
                "schemas": self._schemas() | {"Problem": PROBLEM, "FieldError": FIELD_ERROR},
                "parameters": PARAMETERS,
                "headers": HEADERS,
                "securitySchemes": SCHEMES,
            },
        }

    def problems_of(self, endpoint: Endpoint) -> dict[int, dict[str, type[Problem]]]:
        """Everything that can go wrong there, by status and code."""
        kinds: list[type[Problem]] = [*endpoint.problems, *ALWAYS]
        if endpoint.method not in SAFE_METHODS:
            kinds += TO_CHANGES
        if endpoint.takes:
            kinds += TO_BODIES
        if endpoint.query:
            kinds.append(Invalid)
        if endpoint.limited:
            kinds.append(TooMany)
        if endpoint.access is Access.PARTNER:
            kinds += self._refused_keys
        elif endpoint.access is not Access.PUBLIC:
            kinds += self._refusals
        if endpoint.access in (Access.CUSTOMER, Access.ADMIN):
            kinds.append(Unauthenticated)
        if endpoint.access is Access.ADMIN:
            kinds.append(Forbidden)
        by_status: dict[int, dict[str, type[Problem]]] = {}
        for kind in sorted(kinds, key=lambda kind: (kind.status, kind.code)):
            by_status.setdefault(kind.status, {})[kind.code] = kind
        return by_status

    def _schemas(self) -> Json:
        kinds = [
            kind
            for e in self.endpoints
            for kind in (e.takes, *e.gives.values())
            if kind is not None
        ]
        _, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
        return {_shown(name): _published(schema) for name, schema in schemas.items()}

    def _operation(self, endpoint: Endpoint) -> Json:
        example = example_of(endpoint)
        operation: Json = {
            "operationId": _camel(endpoint.run.__name__),
            "tags": [endpoint.tag],
            "summary": endpoint.summary,
            "description": _about(endpoint),
            "security": SECURITY[endpoint.access],
            "parameters": [*_parameters(endpoint, example)],
        }
        if endpoint.takes:
            content = {"schema": _reference(endpoint.takes), "example": example.get("body")}
            operation["requestBody"] = {"required": True, "content": {"application/json": content}}
        answers = {
            str(status): _answer(endpoint, status, kind, example)
            for status, kind in endpoint.gives.items()
        }
        problems = {
            str(status): _problem_answer(status, kinds)
            for status, kinds in self.problems_of(endpoint).items()
        }
        return operation | {"responses": answers | problems}


@routes("GET", "/openapi.json")
async def show_document(request: Request) -> Response:
    """This API's description as an OpenAPI 3.1 document."""
    return request.use(Description).ready.answer(request)


def example_of(endpoint: Endpoint) -> Json:
    """The example of this endpoint: `path`, `query` and `body` of a request, and its `answer`."""
    return _examples(endpoint.run.__module__).get(f"{endpoint.method} {endpoint.path}", {})


def _examples(module: str) -> dict[str, Json]:
    if module not in _EXAMPLES:
        file = files(module.rpartition(".")[0]) / "examples.json"
        # As decimals, so that an amount keeps its two places.
        _EXAMPLES[module] = json.loads(file.read_text("utf-8"), parse_float=Decimal)
    return _EXAMPLES[module]


_EXAMPLES: dict[str, dict[str, Json]] = {}
_REFERENCE = "#/components/schemas/{name}"


def _parameters(endpoint: Endpoint, example: Json) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)", endpoint.path):
        schema = TEXT | {"minLength": 1}
        shown = {"example": example["path"][name]} if name in example.get("path", {}) else {}
        yield {"name": name, "in": "path", "required": True, "schema": schema} | shown
    if endpoint.query:
        for name, schema in _query_fields(endpoint.query).items():
            shown = {"example": example["query"][name]} if name in example.get("query", {}) else {}
            yield {"name": name, "in": "query", "schema": schema} | shown
    yield {"$ref": "#/components/parameters/AcceptLanguage"}
    if 304 in endpoint.gives:
        yield {"$ref": "#/components/parameters/IfNoneMatch"}
    if endpoint.idempotent:
        yield {"$ref": "#/components/parameters/IdempotencyKey"}


def _query_fields(query: Any) -> Json:
    """The fields of a query struct, each with its whole schema."""
    _, schemas = msgspec.json.schema_components([query], ref_template="{name}")
    fields: Json = schemas[query.__name__]["properties"]
    return {
        name: schemas.get(schema.get("$ref"), {})
        | {key: value for key, value in schema.items() if key != "$ref"}
        for name, schema in fields.items()
    }


def _about(endpoint: Endpoint) -> str:
    """What the handler says of itself, and what a key must be good for."""
    needs = f"Takes a key with the scope `{endpoint.scope}`." if endpoint.scope else ""
    return "\n\n".join(filter(None, [endpoint.description, needs]))


def _answer(endpoint: Endpoint, status: int, kind: Any, example: Json) -> Json:
    headers = ["X-Request-ID"]
    if 304 in endpoint.gives:
        headers.append("ETag")
    if endpoint.idempotent:
        headers.append("Idempotent-Replayed")
    if endpoint.new_guests:
        headers.append("Set-Cookie")
    if endpoint.access is Access.PARTNER:
        headers += ["RateLimit-Policy", "RateLimit"]
    answer: Json = {"description": HTTPStatus(status).phrase, "headers": _headers(headers)}
    if kind is not None and endpoint.streams:
        shown = {"id": "1", "data": encode_json(example.get("answer")).decode()}
        streamed: Json = {"schema": event_schema(_reference(kind)), "example": shown}
        answer["content"] = {"text/event-stream": streamed}
    elif kind is not None:
        content = {"schema": _reference(kind), "example": example.get("answer")}
        answer["content"] = {"application/json": content}
    return answer


def _problem_answer(status: int, kinds: dict[str, type[Problem]]) -> Json:
    headers = ["X-Request-ID", *(["Retry-After"] if status == HTTPStatus.TOO_MANY_REQUESTS else [])]
    codes = {"properties": {"code": {"enum": sorted(kinds)}, "status": {"const": status}}}
    schema = {"allOf": [{"$ref": _REFERENCE.format(name="Problem")}, codes]}
    return {
        "description": "\n".join(f"- `{code}`: {_sentences(k)}" for code, k in kinds.items()),
        "headers": _headers(headers),
        "content": {"application/problem+json": {"schema": schema}},
    }


def _headers(names: list[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _sentences(kind: type[Problem]) -> str:
    return " ".join((kind.__doc__ or kind.title).split())


def _reference(kind: Any) -> Json:
    return {"$ref": _REFERENCE.format(name=_shown(kind.__name__))}


def _shown(name: str) -> str:
    """`OrderView` is called Order by those who look at it."""
    return name.removesuffix("View")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _published(schema: Any) -> Any:
    """A schema as it is published: amounts are numbers, views go by the name of what they show."""
    if isinstance(schema, list):
        return [_published(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {"type": "number", "format": "decimal"}
    return {
        key: _shown(value)
        if key in ("$ref", "title") and isinstance(value, str)
        else _published(value)
        for key, value in schema.items()
    }
