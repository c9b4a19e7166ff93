"""The API's reference: the same description as a page to read, with nothing to load from elsewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup, escape
from starlette.responses import Response

from ecokart.web.openapi import Description
from ecokart.web.openapi_parts import Json
from ecokart.web.pages import page
from ecokart.web.requests import Request
from ecokart.web.responses import encode_json
from ecokart.web.routing import Access, Routes

routes = Routes("Reference", page=True, access=Access.ANYONE)


class Field(NamedTuple):
    """A parameter, or a field of a document."""

    name: str
    kind: Markup
    needed: bool
    about: Markup


class Answer(NamedTuple):
    """What may come back: one status, and for a problem each of its codes."""

    status: str
    about: Markup
    good: bool


class Operation(NamedTuple):
    """One method of one path, ready to be shown."""

    id: str
    method: str
    path: str
    summary: Markup
    description: Markup
    access: str
    parameters: list[Field]
    body: list[Field]
    curl: str
    example: str
    answers: list[Answer]


class Schema(NamedTuple):
    """A document's shape, ready to be shown."""

    name: str
    about: Markup
    fields: list[Field]


@routes("GET", "/api")
async def show_reference(request: Request) -> Response:
    """The API's reference."""
    description = request.use(Description)
    return await page(request, "web/reference.html", **_shown(description))


@lru_cache(maxsize=1)
def _shown(description: Description) -> dict[str, Any]:
    document = description.document
    groups: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            shown = _operation(document, method.upper(), path, operation)
            groups.setdefault(operation["tags"][0], []).append(shown)
    schemas = document["components"]["schemas"]
    return {
        "info": document["info"],
        "about": [_prose(part) for part in document["info"]["description"].split("\n\n")],
        "server": document["servers"][0]["url"],
        "groups": groups,
        "schemas": [_schema(name, schemas[name]) for name in sorted(schemas)],
    }


def _operation(document: Json, method: str, path: str, operation: Json) -> Operation:
    parameters = [_resolved(document, parameter) for parameter in operation["parameters"]]
    body = _content(operation.get("requestBody", {}))
    answers = operation["responses"]
    good = next((_content(answer) for code, answer in answers.items() if code < "300"), {})
    return Operation(
        id=operation["operationId"],
        method=method,
        path=path,
        summary=_prose(operation["summary"]),
        description=_prose(operation["description"]),
        access=_access(operation["security"]),
        parameters=[_parameter(parameter) for parameter in parameters],
        body=_fields(_resolved(document, body["schema"])) if body else [],
        curl=_curl(document, method, path, operation, parameters),
        example=_pretty(good["example"]) if good else "",
        answers=[_answer(code, answer) for code, answer in sorted(answers.items())],
    )


def _schema(name: str, schema: Json) -> Schema:
    if "enum" in schema:
        values = Markup(", ").join(Markup("<code>{}</code>").format(v) for v in schema["enum"])
        return Schema(name, _prose(schema.get("description", "")) + Markup(" One of ") + values, [])
    return Schema(name, _prose(schema.get("description", "")), _fields(schema))


def _parameter(parameter: Json) -> Field:
    about = [f"In the {parameter['in']}.", parameter.get("description", "")]
    default = parameter["schema"].get("default")
    if default not in (None, ""):
        about.append(f"Without it `{default}`.")
    kind = _kind(parameter["schema"])
    return Field(parameter["name"], kind, parameter.get("required", False), _prose(" ".join(about)))


def _fields(schema: Json) -> list[Field]:
    needed = schema.get("required", [])
    return [
        Field(name, _kind(part), name in needed, _prose(part.get("description", "")))
        for name, part in schema.get("properties", {}).items()
    ]


def _kind(schema: Json) -> Markup:
    """What a field holds, in words, with a link to the schema where it has a name."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return Markup(" · ").join(Markup("<code>{}</code>").format(v) for v in schema["enum"])
    if schema.get("type") == "array":
        return Markup("list of ") + _kind(schema["items"])
    words = [schema.get("format") or schema.get("type", "anything"), *_bounds(schema)]
    return escape(", ".join(words))


def _bounds(schema: Json) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        yield f"{low} to {high}" if high is not None else f"from {low}"
    low, high = schema.get("minLength"), schema.get("maxLength")
    if high is not None:
        yield f"{low} to {high} characters" if low else f"at most {high} characters"
    elif low and low > 1:
        yield f"{low} characters or more"


def _answer(code: str, answer: Json) -> Answer:
    if "application/problem+json" in answer.get("content", {}):
        return Answer(code, _prose(answer["description"]), good=False)
    content = _content(answer)
    kind = Markup(": ") + _kind(content["schema"]) if content else Markup("")
    return Answer(code, escape(answer["description"]) + kind, good=True)


def _access(security: list[Json]) -> str:
    if not security:
        return "For everybody"
    if {"apiKey": []} in security:
        return "For partners"
    return "For guests and customers" if {} in security else "For customers"


def _curl(document: Json, method: str, path: str, operation: Json, parameters: list[Json]) -> str:
    """The example request, to be pasted into a shell."""
    asked = {p["name"]: p["example"] for p in parameters if "example" in p and p["in"] == "query"}
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter.get("example", "…")))
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    url = document["servers"][0]["url"] + path + (f"?{query}" if query else "")
    lines = [f"curl {'' if method == 'GET' else f'-X {method} '}{shlex.quote(url)}"]
    if {"apiKey": []} in operation["security"]:
        lines.append('-H "X-API-Key: $API_KEY"')
    elif operation["security"]:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    lines += [
        f"-H '{p['name']}: {p['example']}'" for p in parameters if p["name"] == "Idempotency-Key"
    ]
    if body := _content(operation.get("requestBody", {})):
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d {shlex.quote(_pretty(body['example']))}")
    return " \\\n  ".join(lines)


def _content(part: Json) -> Json:
    content: Json = part.get("content", {}).get("application/json", {})
    return content


def _resolved(document: Json, part: Json) -> Json:
    """What a `$ref` leads to; anything else is itself."""
    if "$ref" not in part:
        return part
    place = document
    for step in part["$ref"].split("/")[1:]:
        place = place[step]
    return place


def _pretty(example: Any) -> str:
    return msgspec.json.format(encode_json(example)).decode()


def _prose(text: str) -> Markup:
    """Our few marks of emphasis as HTML: `code`, **strong**, and lists of one level."""
    html = str(escape(text))
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", html)
    html = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", html)
    if html.startswith("- "):
        items = "".join(f"<li>{item}</li>" for item in html.removeprefix("- ").split("\n- "))
        html = f"<ul>{items}</ul>"
    return Markup(html)  # noqa: S704 (escaped above)
