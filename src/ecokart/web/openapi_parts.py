"""The parts of the API's description that stand in no route: what is true of all of them."""

from __future__ import annotations

from typing import Any

from ecokart.core.i18n import DEFAULT, LANGUAGES
from ecokart.web.idempotency import LONGEST_KEY
from ecokart.web.requests import GUEST_COOKIE, SESSION_COOKIE

Json = dict[str, Any]

ABOUT = """\
Names are in camelCase, times are RFC 3339 in UTC, amounts are decimal numbers with two places
beside an ISO 4217 currency. Lists come in pages: `nextCursor` of one is the `cursor` of the next, and
`null` at the end.

**Who asks.** `POST /auth/register` and `POST /auth/login` give a token, which goes into
`Authorization: Bearer …` and holds for seven days. Guests need none: the first thing they put into
their cart brings the cookie `ecokart_guest`, and who sends that has the cart and its orders. Partners'
programs send their key as `X-API-Key`; what is left of its limits stands in every answer.

**What goes wrong** is told as a problem document (RFC 9457). Its `code` is stable, its sentences are for
people. `errors` names fields; `requestId` finds the request in our log. An unknown address answers 404
`not_found`; a method that an address doesn't take answers 405 `method_not_allowed` with `Allow`.

**Sending again.** Where `Idempotency-Key` is taken, the same key with the same body answers the first
result again for 24 hours, marked `Idempotent-Replayed: true`.
"""

SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The token that signing in gives.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "The same token, as a browser keeps it that signed in on our pages.",
    },
    "guest": {
        "type": "apiKey",
        "in": "cookie",
        "name": GUEST_COOKIE,
        "description": "Comes with the first article that a guest puts into the cart.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A partner's key, which the shop's office issues.",
    },
}

TEXT: Json = {"type": "string"}
PARAMETERS: Json = {
    "AcceptLanguage": {
        "name": "Accept-Language",
        "in": "header",
        "description": f"The language of texts: {' or '.join(LANGUAGES)}. Otherwise it is {DEFAULT}.",
        "schema": TEXT,
        "example": "en",
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of the answer one has. While it still holds, the answer is 304.",
        "schema": TEXT,
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A key of the sender's own choice, new for every new request.",
        "schema": TEXT | {"minLength": 1, "maxLength": LONGEST_KEY},
        "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
    },
}
HEADERS: Json = {
    "X-Request-ID": {
        "required": True,
        "description": "The request's id; the sender's own where it sent one.",
        "schema": TEXT,
    },
    "ETag": {"required": True, "description": "Names this state of the answer.", "schema": TEXT},
    "Retry-After": {
        "required": True,
        "description": "After how many seconds to try again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Idempotent-Replayed": {
        "description": "`true` where this is the first answer, sent again.",
        "schema": TEXT | {"enum": ["true"]},
    },
    "RateLimit-Policy": {
        "required": True,
        "description": "The limits that were counted: `q` requests in any `w` seconds, for each `key` and"
        " each `customer`.",
        "schema": TEXT,
        "example": '"key";q=1000;w=60',
    },
    "RateLimit": {
        "required": True,
        "description": "`r` more requests fit into that limit's window, which ends in `t` seconds.",
        "schema": TEXT,
        "example": '"key";r=998;t=42',
    },
    "Set-Cookie": {
        "description": f"`{GUEST_COOKIE}` for a guest who has none yet.",
        "schema": TEXT,
    },
}

PROBLEM: Json = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). Some codes add fields of their own.",
    "type": "object",
    "properties": {
        "type": TEXT | {"description": "Always `about:blank`: `code` says which problem it is."},
        "title": TEXT | {"description": "The problem in a sentence."},
        "status": {"type": "integer", "description": "The answer's status."},
        "code": TEXT | {"description": "The problem by its stable name."},
        "detail": TEXT | {"description": "What is the matter this time."},
        "errors": {
            "type": "array",
            "description": "The fields that can't be accepted.",
            "items": {"$ref": "#/components/schemas/FieldError"},
        },
        "requestId": TEXT | {"description": "The request's id, as in our log."},
    },
    "required": ["type", "title", "status", "code", "requestId"],
}
FIELD_ERROR: Json = {
    "title": "FieldError",
    "description": "A field and what to do about it.",
    "type": "object",
    "properties": {
        "field": TEXT | {"description": "Where it is: `address.city`; empty for all of the body."},
        "message": TEXT,
    },
    "required": ["field", "message"],
}


def event_schema(data: Json) -> Json:
    """One event of a stream, whose data are JSON of this schema (as OpenAPI 3.2 describes them)."""
    text = TEXT | {"contentMediaType": "application/json", "contentSchema": data}
    return {"type": "object", "required": ["data"], "properties": {"data": text, "id": TEXT}}
