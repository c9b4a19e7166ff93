"""The sockets' description: an AsyncAPI 3 document made from the declared sockets and their frames."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import cached_property
from typing import Any, get_args
from urllib.parse import urlsplit

import msgspec
from starlette.responses import Response

from ecokart import __version__
from ecokart.web.requests import Request
from ecokart.web.responses import Ready, encode_json
from ecokart.web.routing import Routes
from ecokart.web.sockets import SocketEndpoint

Json = dict[str, Any]

routes = Routes("Description")

_SCHEMA = "#/components/schemas/{name}"


class SocketDescription:
    """The description of these sockets at their public address, made when it is first asked for."""

    def __init__(self, endpoints: Iterable[SocketEndpoint], public_url: str) -> None:
        self._endpoints, self._public_url = list(endpoints), public_url

    @cached_property
    def ready(self) -> Ready:
        return Ready(encode_json(self.document), "application/json")

    @cached_property
    def document(self) -> Json:
        """The whole document. `receive` is what the shop takes, `send` what it tells."""
        public = urlsplit(self._public_url)
        frames = [
            kind for one in self._endpoints for kind in (*_frames(one.takes), *_frames(one.gives))
        ]
        queries = [one.query for one in self._endpoints if one.query]
        _, schemas = msgspec.json.schema_components([*frames, *queries], ref_template=_SCHEMA)
        return {
            "asyncapi": "3.0.0",
            "info": {"title": "Ecokart", "version": __version__},
            "servers": {
                "shop": {
                    "host": public.netloc,
                    "protocol": "wss" if public.scheme == "https" else "ws",
                }
            },
            "defaultContentType": "application/json",
            "channels": {_name(one): _channel(one, schemas) for one in self._endpoints},
            "operations": {
                f"{_name(one)}.{action}": _operation(one, action, union)
                for one in self._endpoints
                for action, union in (("receive", one.takes), ("send", one.gives))
            },
            "components": {
                "schemas": schemas,
                "messages": {kind.__name__: _message(kind) for kind in frames},
            },
        }


@routes("GET", "/asyncapi.json")
async def show_document(request: Request) -> Response:
    """The sockets' description as an AsyncAPI 3 document."""
    return request.use(SocketDescription).ready.answer(request)


def _channel(endpoint: SocketEndpoint, schemas: Json) -> Json:
    binding: Json = {"method": "GET", "bindingVersion": "0.1.0"}
    if endpoint.query:
        binding["query"] = schemas[endpoint.query.__name__]
    kinds = (*_frames(endpoint.takes), *_frames(endpoint.gives))
    return {
        "address": endpoint.path,
        "summary": endpoint.summary,
        "description": "\n\n".join(filter(None, [endpoint.description, _closes(endpoint.closes)])),
        "messages": {
            kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in kinds
        },
        "bindings": {"ws": binding},
    }


def _operation(endpoint: SocketEndpoint, action: str, union: Any) -> Json:
    channel = f"#/channels/{_name(endpoint)}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{kind.__name__}"} for kind in _frames(union)],
    }


def _message(kind: type[msgspec.Struct]) -> Json:
    return {
        "name": str(kind.__struct_config__.tag),
        "summary": " ".join((kind.__doc__ or "").split()),
        "payload": {"$ref": _SCHEMA.format(name=kind.__name__)},
    }


def _closes(codes: type[IntEnum] | None) -> str:
    if codes is None:
        return ""
    return "Closed with " + ", ".join(f"{code.value} {code.name.lower()}" for code in codes) + "."


def _frames(union: Any) -> tuple[type[msgspec.Struct], ...]:
    return get_args(union)


def _name(endpoint: SocketEndpoint) -> str:
    return endpoint.path.strip("/").replace("/", ".")
