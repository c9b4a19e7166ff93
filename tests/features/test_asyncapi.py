"""The sockets' description: complete, sound, and true of the frames that are taken."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest
from jsonschema_rs import Draft202012Validator

from ecokart.features.chat import frames
from ecokart.rooms import socket_endpoints
from ecokart.web.asyncapi import SocketDescription
from ecokart.web.responses import encode_json
from tests.shop import Shop

DOCUMENT: dict[str, Any] = json.loads(
    encode_json(SocketDescription(socket_endpoints(), "https://shop.example").document)
)


async def test_the_document_is_served(demo: Shop) -> None:
    answer = await demo.client.get("/asyncapi.json")
    assert answer.json()["channels"] == DOCUMENT["channels"]


def test_it_has_what_asyncapi_3_demands() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"].keys() >= {"title", "version"}
    assert DOCUMENT["servers"]["shop"] == {"host": "shop.example", "protocol": "wss"}
    assert DOCUMENT["channels"]["chat"]["address"] == "/chat"
    actions = {name: one["action"] for name, one in DOCUMENT["operations"].items()}
    assert actions == {"chat.receive": "receive", "chat.send": "send"}
    for message in DOCUMENT["components"]["messages"].values():
        assert message["summary"]


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(DOCUMENT)))
    assert references
    for reference in references:
        place = DOCUMENT
        for part in reference.split("/"):
            place = place[part]


@pytest.mark.parametrize(
    ("union", "operation"), [(frames.Asked, "chat.receive"), (frames.AllTold, "chat.send")]
)
def test_every_frame_is_in_it(union: Any, operation: str) -> None:
    told = {reference["$ref"] for reference in DOCUMENT["operations"][operation]["messages"]}
    assert told == {f"#/channels/chat/messages/{kind.__name__}" for kind in get_args(union)}


@pytest.mark.parametrize(
    ("frame", "fits"),
    [
        ({"action": "sendMessage", "roomId": "r", "content": "Hallo"}, True),
        ({"action": "sendMessage", "roomId": "r", "content": ""}, False),
        ({"action": "sendMessage", "roomId": "r"}, False),
        ({"action": "openRoom", "kind": "support", "title": "x"}, False),
    ],
)
def test_its_schemas_take_what_the_shop_takes(frame: dict[str, Any], fits: bool) -> None:
    schemas = {"components": {"schemas": DOCUMENT["components"]["schemas"]}}
    name = frame["action"][0].upper() + frame["action"][1:]
    schema = schemas | {"$ref": f"#/components/schemas/{name}"}
    assert Draft202012Validator(schema).is_valid(frame) == fits
